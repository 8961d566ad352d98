//! Upstreams, health, retry and cache.
//!
//! ```text
//! Resolver ── Cache          what is known already (sync, no wait)
//!     └────── Forward ...    one stanza each, in order
//!                └── Upstream ...   health, and one of
//!                      udp      a socket per query
//!                      stream   lines: TCP or TLS, many queries on each
//!                      https    HTTP/2, many queries on one
//! ```
//!
//! The server sees a [`Resolver`]: [`Resolver::cached`] answers at once or not
//! at all, [`Resolver::resolve`] asks upstreams within [`TOTAL_BUDGET`]. A
//! response passes through as the octets the upstream sent; only its id, TTLs
//! and OPT are ours.
//!
//! Decisions are pure and take the time as an argument: which upstream to ask
//! next ([`policy`]), when an upstream is probed ([`health`]), what is cached
//! and for how long ([`cache`]). The shells around them do I/O only.
//!
//! The crate does not listen, does not know local names, and does not look at
//! who asks beyond the address ranges a stanza serves.

#![forbid(unsafe_code)]

mod answer;
mod cache;
mod config;
mod context;
mod dial;
mod error;
mod flight;
mod health;
mod hedge;
mod https;
mod idle;
mod lane;
mod lapse;
mod line;
mod lines;
mod lookup;
mod loops;
mod measured;
mod metrics;
mod origin;
mod policy;
mod pool;
mod question;
mod race;
mod resolv_conf;
mod resolver;
mod room;
mod sockets;
mod special;
mod stanza;
mod stream;
mod target;
mod tls;
mod udp;
mod upstream;

pub use answer::Answer;
pub use answer::Failure;
pub use cache::Cache;
pub use cache::CacheConfig;
pub use cache::CacheLabels;
pub use cache::Kept;
pub use cache::Names;
pub use cache::Prefetch;
pub use cache::ServeStale;
pub use cache::StaleMode;
pub use cache::StoreConfig;
pub use config::Config;
pub use config::DohMethod;
pub use config::EncryptedTransport;
pub use config::HealthCheck;
pub use config::MAX_UPSTREAMS;
pub use config::TlsConfig;
pub use config::UpstreamConfig;
pub use config::default_allow_from;
pub use context::Context;
pub use context::MAX_IN_FLIGHT;
pub use lane::Arrival;
pub use lane::Asks;
pub use lane::Lane;
pub use loops::Asker;
pub use metrics::Families;
pub use policy::Policy;
pub use question::Question;
pub use question::Transport;
pub use race::TOTAL_BUDGET;
pub use resolver::Known;
pub use resolver::Resolver;
pub use resolver::Unfinished;
pub use sockets::SocketRoom;
pub use stanza::BuildError;
pub use stanza::Forward;
