//! Members that share their records.
//!
//! Every server watches its own containers and answers for those of all. The
//! invariant: **a member alone writes its records, and what a member serves of
//! another is what that one last said, for as long as that one is there.**
//! There is nothing to merge, no clock to compare and nothing to bury:
//!
//! - Each process is a member of its own, a [`MemberId`](member::MemberId): the
//!   node's name and a number drawn at start. Its records are one *set* under
//!   `(epoch, version)`; each change adds one to the version. The higher pair
//!   of the *owner* wins; what its set lacks does not exist.
//! - Changes travel as deltas: at once to a few members, from there by gossip.
//!   Digests tell who has which versions; whoever lacks some pulls the set.
//! - Membership decides what is served: a member that says good-bye, or is
//!   found dead, takes its set with it, whatever others still believe.
//!
//! Inside, [`ledger`] is that protocol as a pure state machine, without clock,
//! socket or randomness of its own; [`wire`] its messages; [`gossip`] the SWIM
//! membership below (crate memberlist, behind a guarded transport); [`seeds`]
//! and [`discovery`] find members; [`task`] joins them, on a runtime of its
//! own that no query waits for.
//!
//! The crate does not know Docker, zones or how the table answers.

#![forbid(unsafe_code)]

mod advertise;
mod cluster;
mod config;
mod discovery;
mod feed;
mod gossip;
mod joiner;
mod ledger;
mod locals;
mod member;
mod metrics;
mod outlet;
mod secret;
mod seeds;
mod task;
mod unjoined;
mod validate;
mod wire;

pub use advertise::AdvertiseError;
pub use cluster::Cluster;
pub use cluster::StartError;
pub use config::Config;
pub use config::Rules;
pub use config::Secret;
pub use config::Seed;
pub use config::Settings;
pub use feed::Attachment;
pub use member::Member;
pub use metrics::Families;
