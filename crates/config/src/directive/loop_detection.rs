//! `loop`: detection of forwarding loops.
//!
//! They are detected with and without this directive.

use crate::directive::debug;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;

/// Reads the occurrences of `loop`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<()>> {
    debug::setup(scope, written)
}
