//! What Traefik's configuration says of names.
//!
//! A router of Traefik has a [`Rule`], which names the hosts that it is for;
//! a file of routers may be a [`template`] that takes values from the
//! environment. Rules stand in files and in the labels of containers alike,
//! so both sources of names read them here. The crate does not know files,
//! containers or records.
//!
//! Both are written by others: everything is bounded, read in one pass, and
//! nothing panics.

#![forbid(unsafe_code)]

mod rule;
pub mod template;
mod tokens;

pub use rule::BadName;
pub use rule::MAX_DEPTH;
pub use rule::MAX_RULE;
pub use rule::Rule;
pub use rule::RuleError;
