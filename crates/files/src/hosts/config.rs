//! What a `hosts` directive asks for.

use std::time::Duration;

use portolan_proto::Name;
use portolan_table::LayerId;

/// One `hosts` directive.
#[derive(Clone, Debug)]
pub struct Config {
    /// Layer that the rows go to.
    pub layer: LayerId,
    /// Files, directories and patterns, each relative to the working directory
    /// unless absolute. May be empty: inline lines only.
    pub paths: Vec<String>,
    /// Lines in hosts format from the configuration itself.
    pub inline: Vec<InlineLine>,
    /// Names outside these zones are left out; no zone at all keeps every name.
    pub zones: Vec<Name>,
    /// TTL of every row in seconds; [`DEFAULT_TTL`].
    pub ttl: u32,
    /// Whether each address answers for its reverse name; true.
    pub reverse: bool,
    /// How often to look at the files even if no change is reported;
    /// [`DEFAULT_RELOAD`]. `None` loads once and never again.
    pub reload: Option<Duration>,
    /// Whether to ask the operating system for change notification; true.
    /// Without it, `reload` alone finds changes.
    pub notify: bool,
}

/// A line in hosts format within a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineLine {
    /// The line.
    pub text: String,
    /// Where it stands, for messages: `Corefile:12`.
    pub position: String,
}

// === impl Config ===

impl Config {
    /// A directive without files, lines or zones, and the defaults otherwise.
    pub fn new(layer: LayerId) -> Self {
        Self {
            layer,
            paths: Vec::new(),
            inline: Vec::new(),
            zones: Vec::new(),
            ttl: DEFAULT_TTL,
            reverse: true,
            reload: Some(DEFAULT_RELOAD),
            notify: true,
        }
    }
}

/// TTL in seconds unless the directive says another.
pub const DEFAULT_TTL: u32 = 3600;

/// Interval of looking at the files unless the directive says another.
pub const DEFAULT_RELOAD: Duration = Duration::from_secs(5);
