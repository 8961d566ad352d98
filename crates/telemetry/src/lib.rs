//! Logs, metrics and admin HTTP.
//!
//! Everything an operator sees of the server besides its answers: log lines on
//! standard output ([`log`]), the query log ([`query_log`]), consolidated errors
//! ([`errors`]), Prometheus metrics ([`metrics`]) and the HTTP endpoints for
//! health, readiness and metrics ([`admin`]).
//!
//! Nothing here may hold up a query: log lines are queued in bounded memory and
//! dropped when the reader stalls, and the HTTP endpoints live on a thread of
//! their own. This crate decides nothing about DNS and knows no other crate of
//! the workspace.

#![forbid(unsafe_code)]

pub mod admin;
pub mod errors;
pub mod log;
pub mod metrics;
pub mod query_log;
pub mod readiness;
