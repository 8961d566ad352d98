//! Fakes and the binary under test, for tests only.

#![forbid(unsafe_code)]

pub mod client;
pub mod docker;
pub mod process;
pub mod upstream;
