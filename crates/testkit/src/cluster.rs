//! Several servers that share names, each with a Docker Engine of its own.
//!
//! A [`Node`] is one process under test and a fake engine, whose containers
//! the test starts and stops. A [`Cluster`] is several of them, on loopback
//! addresses or on hosts of a [`crate::netns::Network`]. Who ought to answer
//! what follows from the containers: [`Cluster::truth`]. Whether they do is
//! asked over DNS, never of the servers' own counters.

mod admin;
mod bounds;
mod churn;
mod dice;
mod engine;
mod group;
mod hostile;
mod node;
mod place;
mod probe;
mod rolling;
mod series;
mod settings;
#[cfg(test)]
mod tests;
mod truth;

pub use admin::Member;
pub use bounds::Bounds;
pub use churn::Churn;
pub use dice::Dice;
pub use group::Cluster;
pub use hostile::send_datagrams;
pub use hostile::send_garbage;
pub use hostile::send_kill_payloads;
pub use node::Node;
pub use place::Place;
pub use probe::Probe;
pub use probe::Reply;
pub use rolling::Rolled;
pub use rolling::restart_all;
pub use series::Series;
pub use settings::Settings;
pub use truth::Truth;
pub use truth::Verdict;
