//! The configuration language through the public interface.

mod builtin;
mod directives;
mod docker;
mod edge_cases;
mod forward;
mod imports;
mod keys;
mod never_panics;
mod support;
mod twins;
