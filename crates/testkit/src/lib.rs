//! Fakes and the binary under test, for tests only.

#![forbid(unsafe_code)]
