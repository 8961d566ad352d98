//! What an upstream sends: read or refused, and passed on within the limit.

#![no_main]

#[path = "../checks/message.rs"]
mod message;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| message::check(octets));
