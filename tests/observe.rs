//! Logs, metrics and the admin endpoints.
