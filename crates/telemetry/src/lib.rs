//! Logs, metrics and admin HTTP.

#![forbid(unsafe_code)]
