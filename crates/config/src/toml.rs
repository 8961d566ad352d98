//! Configuration in TOML.
//!
//! The file is read into a tree ([`tree`]) that knows names and kinds of
//! values only. The tree is then written down as the words of a Corefile
//! ([`lower`]), which take the same way as those of a Corefile: the two forms
//! cannot mean different things.

mod draft;
mod lower;
mod tree;
mod value;

use std::sync::Arc;

use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::env::Env;
use crate::token::RawBlock;
use crate::toml::draft::Source;

/// Reads the server blocks of a TOML file.
pub(crate) fn parse(file: &Arc<str>, text: &str, env: Env<'_>, sink: &mut Sink) -> Vec<RawBlock> {
    let mut source = Source::new(file, text, env, sink);
    match ::toml::from_str::<tree::File>(text) {
        Ok(tree) => lower::blocks(&tree, &mut source),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let position = source.position(offset);
            source.sink.error(ConfigError::parsing(
                &position,
                error.message().replace('\n', ", "),
            ));
            Vec::new()
        }
    }
}
