//! Listeners, stages and limits.

#![forbid(unsafe_code)]
