//! Integration tests: the real binary on real sockets, beside real peers.
//!
//! Each module below is a part of what a user sees. A test that needs a program
//! or a Docker Engine that is not there says so and counts as skipped; with
//! `CI=true` it fails instead (see [`support::needs`]).

#![forbid(unsafe_code)]

mod cli;
mod deploy;
mod dns;
mod docker;
mod gossip;
mod observe;
mod support;
