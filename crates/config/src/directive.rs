//! The directives: one module each, with the typed value and how it is read.
//!
//! A module's `setup` takes every occurrence of its directive in a server
//! block. It notes mistakes in the scope's sink and goes on; the value it
//! gives is used only when there were none.

pub(crate) mod any;
pub(crate) mod bind;
pub(crate) mod cache;
pub(crate) mod debug;
pub(crate) mod docker_cluster;
pub(crate) mod errors;
pub(crate) mod fallthrough;
pub(crate) mod forward;
pub(crate) mod health;
pub(crate) mod hosts;
pub(crate) mod loadbalance;
pub(crate) mod log;
pub(crate) mod loop_detection;
pub(crate) mod multisocket;
pub(crate) mod prometheus;
pub(crate) mod ready;
pub(crate) mod reload;
pub(crate) mod traefik_externals;
pub(crate) mod unknown_action;
pub(crate) mod whoami;
