//! `debug`: log messages of the debug level. The process as a whole has them
//! when one block asks.

use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// Reads the occurrences of `debug`, or of another directive that is either
/// there or not.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<()>> {
    for directive in written {
        let end = Words::arguments(scope.plugin, directive).end();
        scope.sink.keep(end);
        scope.no_properties(directive);
    }
    written
        .first()
        .map(|first| Located::new((), &first.name.position))
}
