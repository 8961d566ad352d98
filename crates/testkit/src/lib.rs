//! Fakes and the binary under test, for tests only.

#![forbid(unsafe_code)]

pub mod client;
pub mod cluster;
pub mod docker;
pub mod exposition;
pub mod netns;
pub mod process;
pub mod tls;
pub mod upstream;
