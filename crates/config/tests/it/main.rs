//! The configuration language through the public interface.

mod builtin;
mod cluster;
mod directives;
mod docker;
mod edge_cases;
mod environment;
mod forward;
mod imports;
mod keys;
mod long_words;
mod never_panics;
mod secrets;
mod support;
mod twins;
