//! What a `traefik-externals` directive asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_table::LayerId;

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// One `traefik-externals` directive.
#[derive(Clone, Debug)]
pub struct Config {
    /// Layer that the rows go to.
    pub layer: LayerId,
    /// Directory of the files. It need not exist yet.
    pub directory: String,
    /// File of variables for templates. It need not exist yet.
    pub env_file: Option<String>,
    /// Variables of the process. They beat those of the file.
    pub variables: Arc<Variables>,
    /// Where the names point.
    pub host_ips: Vec<IpAddr>,
    /// TTL of every row in seconds; [`DEFAULT_TTL`].
    pub ttl: u32,
    /// How often to look at the files even if no change is reported;
    /// [`DEFAULT_RELOAD`].
    pub reload: Duration,
}

// === impl Config ===

impl Config {
    /// A directive without variables, and the defaults otherwise.
    pub fn new(layer: LayerId, directory: String, host_ips: Vec<IpAddr>) -> Self {
        Self {
            layer,
            directory,
            env_file: None,
            variables: Arc::default(),
            host_ips,
            ttl: DEFAULT_TTL,
            reload: DEFAULT_RELOAD,
        }
    }
}

/// TTL in seconds unless the directive says another.
pub const DEFAULT_TTL: u32 = 60;

/// Interval of looking at the files.
pub const DEFAULT_RELOAD: Duration = Duration::from_secs(5);
