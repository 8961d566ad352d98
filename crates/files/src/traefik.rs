//! Files of Traefik's dynamic configuration: the names that their routers are
//! for, and the task that follows the files of one `traefik-externals`
//! directive.
//!
//! A file is a template first, then YAML or TOML, and then routers with rules.
//! Nothing but the rules is looked at: whether Traefik would take the rest of a
//! file is for Traefik to say.

mod config;
mod document;
mod env_file;
mod ledger;
mod metrics;
mod routers;
mod task;
mod yaml;

pub use config::Config;
pub use config::DEFAULT_RELOAD;
pub use config::DEFAULT_TTL;
pub use config::Variables;
pub use metrics::Families;
pub use task::TraefikTask;

/// Longest file that is read, in octets; also of variables.
pub const MAX_FILE_SIZE: u64 = 1 << 20;

/// Files that a directory stands for at most; the first by name.
pub const MAX_FILES: usize = 1000;

/// Names that one directive may have.
pub const MAX_NAMES: usize = 100_000;

/// Extensions of the files that count.
pub const EXTENSIONS: [&str; 3] = ["yml", "yaml", "toml"];

/// Files that are not read: by custom they hold middleware and no routers.
pub const EXCLUDED: [&str; 4] = [
    "middleware.yml",
    "authentik_middleware.yml",
    "authelia_middlewares.yml",
    "crowdsec-bouncer.yml",
];
