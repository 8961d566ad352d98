//! Upstreams, health, retry and cache.

#![forbid(unsafe_code)]
