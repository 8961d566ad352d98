//! What the integration tests share.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use portolan_testkit::process::Launch;

/// The binary under test.
pub(crate) fn portolan() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_portolan"))
}

/// Whether the programs are there. A test that needs others returns at once,
/// after this has said so; where tests have to run, this fails instead.
pub(crate) fn needs(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !is_there(program))
        .collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("needs {}", missing.join(", ")));
    false
}

/// Whether the test runs as root, which namespaces and other users need.
pub(crate) fn needs_root() -> bool {
    // The owner of a process is the owner of its directory in /proc.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        skip("needs to be root");
    }
    is_root
}

/// Whether a Docker Engine answers.
pub(crate) fn needs_docker() -> bool {
    if !needs(&["docker"]) {
        return false;
    }
    let up = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output();
    if up.is_ok_and(|output| output.status.success()) {
        return true;
    }
    skip("needs a running Docker Engine");
    false
}

/// Says that a test is skipped, or fails where it may not be.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "must run here: {reason}");
    eprintln!("skipped: {reason}");
}

/// Whether a program is in one of the usual directories.
fn is_there(program: &str) -> bool {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .any(|directory| Path::new(directory).join(program).exists())
}
