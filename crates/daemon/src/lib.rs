//! Composition root of the server.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
