//! `any`: questions of type ANY.
//!
//! They are answered as RFC 8482 has it with and without this directive.

use crate::directive::debug;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;

/// Reads the occurrences of `any`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<()>> {
    debug::setup(scope, written)
}
