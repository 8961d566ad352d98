//! Listeners, stages and limits: from a datagram to its answer.
//!
//! ```text
//! listener ── Routing ── Block ── local layers ── cache ── forward ── whoami
//!  (udp, tcp)  (zones)    (one server block: its stages in order)
//! ```
//!
//! A query is first handled inline, on the thread or task that read it
//! ([`handle::handle`]): local names and cache hits end there. What has to be
//! asked elsewhere becomes a [`pending::Pending`] and finishes on the query
//! runtime, within a bound. The crate never waits for the sources of the
//! table, and decides nothing about configuration: it is told its blocks and
//! its sockets.

#![forbid(unsafe_code)]

mod block;
mod event;
mod fast;
mod handle;
mod histogram;
mod limits;
mod listen;
mod loadbalance;
mod local;
mod metrics;
mod pending;
mod places;
mod relay;
mod responder;
mod rotation;
mod routing;
mod server;
mod tally;
mod tcp;
#[cfg(test)]
mod testing;
mod udp;
mod whoami;
mod writer;

pub use block::Block;
pub use block::Hooks;
pub use event::ErrorLog;
pub use event::Event;
pub use event::LookupLog;
pub use event::QueryLog;
pub use event::Transport;
pub use limits::Limits;
pub use listen::BindError;
pub use listen::ListenAddr;
pub use listen::SocketOptions;
pub use loadbalance::LoadBalance;
pub use loadbalance::Weights;
pub use loadbalance::WeightsError;
pub use local::Fallthrough;
pub use local::LocalLayer;
pub use local::UnknownAction;
pub use metrics::BlockMetrics;
pub use metrics::Families;
pub use responder::Responder;
pub use routing::Routing;
pub use server::Prepared;
pub use server::Server;
