//! `fallthrough [ZONES…]`, which several directives have.

use portolan_proto::Name;

use crate::diagnostic::ConfigError;
use crate::words::Words;

/// For which unknown names the next stage is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallthrough {
    /// Names within one of these zones; the root stands for every name.
    pub zones: Vec<Name>,
}

// === impl Fallthrough ===

impl Fallthrough {
    /// Whether a name goes to the next stage.
    pub fn covers(&self, name: &Name) -> bool {
        self.zones.iter().any(|zone| name.is_within(zone))
    }

    /// Reads the zones, none for every name.
    pub(crate) fn read(words: &mut Words<'_>) -> Result<Self, ConfigError> {
        let tokens = words.rest();
        let zones = if tokens.is_empty() {
            vec![Name::root()]
        } else {
            words.zones(tokens)?
        };
        Ok(Self { zones })
    }
}
