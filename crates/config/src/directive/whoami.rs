//! `whoami`: answers with the address and the port of who asks.

use crate::directive::debug;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;

/// Reads the occurrences of `whoami`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<()>> {
    debug::setup(scope, written)
}
