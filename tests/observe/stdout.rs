//! Standard output that stalls, fails or is gone. Queries never wait for it.

use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::http;
use crate::cli::site::BINARY;
use crate::cli::site::Ports;

/// A server whose output is not read by this test's library.
struct Unread {
    /// The process.
    child: Child,
    /// Its ports.
    ports: Ports,
    /// Its directory.
    _directory: TempDir,
}

// === impl Unread ===

impl Unread {
    /// Starts a server that logs every query to `stdout`.
    fn start(stdout: Stdio) -> anyhow::Result<Self> {
        let ports = Ports::choose();
        let corefile = format!(
            ".:@dns {{
    bind 127.0.0.1
    log
    health 127.0.0.1:@health
    prometheus 127.0.0.1:@metrics
    hosts {{
        192.0.2.1 {}
    }}
}}
",
            long_name()
        );
        let directory = TempDir::new()?;
        std::fs::write(directory.path().join("Corefile"), ports.fill(&corefile))?;
        let child = Command::new(BINARY)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()?;
        let unread = Self {
            child,
            ports,
            _directory: directory,
        };
        let client = Client::udp(ports.server()).timeout(Duration::from_millis(200));
        wait_for(|| client.query(&long_name(), RecordType::A).ok()).context("does not start")?;
        Ok(unread)
    }

    /// Asks so many queries a second for so long; all have to be answered.
    fn ask(&self, rate: u32, seconds: u64) -> anyhow::Result<()> {
        let plan = Plan {
            names: vec![long_name()],
            qtype: RecordType::A,
            rate,
            duration: Duration::from_secs(seconds),
            patience: Duration::from_secs(2),
        };
        let report = Load::start(self.ports.server(), &plan, |_, _| Ok(()))?.wait();
        ensure!(report.lost == 0, "{} of {} lost", report.lost, report.sent);
        Ok(())
    }

    /// How many lines were dropped.
    fn dropped(&self) -> anyhow::Result<u64> {
        let (_, metrics) = http::get(self.ports.metrics, "/metrics")?;
        let prefix = "portolan_log_lines_dropped_total ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(prefix));
        Ok(line.context("no figure")?.parse()?)
    }

    /// Ends it by SIGTERM, which has to work all the same.
    fn end(&mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        ensure!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()?
                .success(),
            "gone already"
        );
        let status = wait_for(|| self.child.try_wait().ok().flatten()).context("does not end")?;
        ensure!(status.code() == Some(0), "{status}");
        Ok(())
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A name that makes long lines.
fn long_name() -> String {
    let label = "a".repeat(60);
    format!("{label}.{label}.{label}.{label}.example")
}

#[test]
fn timing_a_reader_that_stalls_stalls_nobody() -> anyhow::Result<()> {
    // The pipe stays open and is never read.
    let mut server = Unread::start(Stdio::piped())?;
    ensure!(server.dropped()? == 0, "dropped already");
    server.ask(3_000, 5)?;
    ensure!(server.dropped()? > 0, "nothing was dropped, or not counted");
    let (status, _) = http::get(server.ports.health, "/health")?;
    ensure!(status == 200, "{status}");
    server.end()
}

#[test]
fn an_output_that_is_full_is_counted() -> anyhow::Result<()> {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let mut server = Unread::start(Stdio::from(full))?;
    server.ask(200, 1)?;
    let all = || server.dropped().ok().filter(|count| *count >= 200);
    wait_for(all).context("lost lines are not counted")?;
    server.end()
}

#[test]
fn an_output_that_is_closed_is_counted() -> anyhow::Result<()> {
    let mut server = Unread::start(Stdio::piped())?;
    drop(server.child.stdout.take());
    server.ask(200, 1)?;
    let most = || server.dropped().ok().filter(|count| *count >= 190);
    wait_for(most).context("lost lines are not counted")?;
    server.end()
}
