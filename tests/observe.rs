//! Logs, metrics and the admin endpoints.

mod endpoints;
mod error_log;
mod exposition;
mod families;
pub(crate) mod http;
mod labels;
mod odd_input;
mod query_log;
mod query_rules;
pub(crate) mod reference;
mod start;
mod stdout;
mod version;
