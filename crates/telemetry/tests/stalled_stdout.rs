//! A whole process whose standard output nobody reads.

use std::env;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use portolan_telemetry::log::{LogConfig, PLUGIN_TARGET, init};
use tracing::info;

/// Without the variable this is an empty test; with it, the process under test.
#[test]
fn child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let guard = init(LogConfig::default()).expect("the first set-up succeeds");
    assert!(init(LogConfig::default()).is_err(), "there is one log");
    for number in 0..200_000 {
        info!(target: PLUGIN_TARGET, number, "a line that nobody reads");
    }
    let dropped = guard.dropped_lines();
    drop(guard);
    #[expect(
        clippy::exit,
        reason = "the test harness would block on standard output"
    )]
    std::process::exit(if dropped.get() > 0 { DROPPED } else { 0 });
}

#[test]
fn a_process_whose_output_stalls_logs_on_and_ends() {
    let mut child = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts");

    // The pipe stays open and unread.
    let status = wait(&mut child, Duration::from_secs(30));

    assert_eq!(status.code(), Some(DROPPED));
}

/// Waits for the end of `child`, and ends it if that takes too long.
fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let start = now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    child.kill().expect("a child");
    panic!("the process is blocked after {limit:?}");
}

/// The time, to measure with.
#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Set in the environment of the process under test.
const CHILD: &str = "PORTOLAN_STALLED_STDOUT";

/// The exit code of a process that dropped lines.
const DROPPED: i32 = 42;
