//! Forwarding against fake upstreams on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod caching;
mod encrypted;
mod exchange;
mod failover;
mod lane;
mod patience;
mod special;
mod support;
