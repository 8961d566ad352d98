//! What a client sends: read or refused, and answered within the limit.

#![no_main]

#[path = "../checks/query.rs"]
mod query;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| query::check(octets));
