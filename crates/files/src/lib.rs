//! Hosts files to record changes.

#![forbid(unsafe_code)]
