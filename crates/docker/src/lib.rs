//! Docker Engine containers to record changes.

#![forbid(unsafe_code)]
