//! Corefile and TOML to typed, validated configuration.

#![forbid(unsafe_code)]
