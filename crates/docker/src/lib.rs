//! Docker Engine containers to record changes.
//!
//! [`DockerTask`] follows the containers of one engine and sends a
//! [`Batch`](portolan_table::Batch) for every change of their names. It
//! subscribes to events first and lists the containers then, so that nothing
//! falls between the two; it lists again every minute and whenever it has
//! reconnected. While the engine is away, what is known stays.
//!
//! Inside, [`inventory`] decides and does no I/O; [`labels`] and [`records`]
//! turn labels into rows; [`session`] is one connection, [`watcher`] the
//! sequence of them; [`client`] and [`transport`] speak to the engine, with
//! `GET` requests only; [`list`] is the one answer that may be large.
//!
//! The crate does not know zones, the cluster or who else asserts names.

#![forbid(unsafe_code)]

mod backoff;
mod client;
mod config;
mod endpoint;
mod host_ip;
mod inventory;
mod labels;
mod list;
mod metrics;
mod model;
mod names;
mod outage;
mod outlet;
mod records;
mod session;
mod socket_watch;
mod task;
mod tls;
mod transport;
mod watcher;

pub use config::Config;
pub use config::DEFAULT_LABELS;
pub use config::DEFAULT_LINGER;
pub use config::DEFAULT_MAX_NAMES;
pub use config::DEFAULT_RECONCILE;
pub use config::DEFAULT_TTL;
pub use endpoint::Authority;
pub use endpoint::Endpoint;
pub use endpoint::EndpointError;
pub use host_ip::DetectError;
pub use host_ip::detect_host_ips;
pub use labels::MAX_TTL;
pub use labels::TARGET_LABEL;
pub use labels::TTL_LABEL;
pub use metrics::Families;
pub use task::DockerHandle;
pub use task::DockerTask;
pub use task::SyncState;
