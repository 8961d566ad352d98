//! A server with ports of its own, and programs that run to their end.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use crate::observe::http;
use crate::support::portolan;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portolan");

/// Ports of one server, free when they were chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Of queries.
    pub(crate) dns: u16,
    /// Of `/health`.
    pub(crate) health: u16,
    /// Of `/ready`.
    pub(crate) ready: u16,
    /// Of `/metrics`.
    pub(crate) metrics: u16,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Site {
    /// Its ports.
    pub(crate) ports: Ports,
    /// The process.
    pub(crate) process: Process,
}

/// A program that has run to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

// === impl Ports ===

impl Ports {
    /// Chooses ports.
    pub(crate) fn choose() -> Self {
        Self {
            dns: choose_port(),
            health: choose_port(),
            ready: choose_port(),
            metrics: choose_port(),
        }
    }

    /// A text with `@dns`, `@health`, `@ready` and `@metrics` replaced by the
    /// ports.
    pub(crate) fn fill(self, text: &str) -> String {
        text.replace("@dns", &self.dns.to_string())
            .replace("@health", &self.health.to_string())
            .replace("@ready", &self.ready.to_string())
            .replace("@metrics", &self.metrics.to_string())
    }

    /// Where queries go.
    pub(crate) fn server(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.dns).into()
    }

    /// Asks over UDP, with the patience of a test that expects an answer.
    pub(crate) fn client(self) -> Client {
        Client::udp(self.server())
    }

    /// The first address of a name; none if it has none.
    pub(crate) fn address(self, name: &str) -> anyhow::Result<Option<Ipv4Addr>> {
        let response = self.client().query(name, RecordType::A)?;
        Ok(response
            .answers
            .iter()
            .find_map(|record| match record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            }))
    }

    /// Asks for an address and gives the response, if it comes soon.
    pub(crate) fn asked(self, name: &str) -> Option<Message> {
        let client = self.client().timeout(Duration::from_millis(300));
        client.query(name, RecordType::A).ok()
    }

    /// Waits until a name has an address.
    pub(crate) fn await_address(self, name: &str, expected: [u8; 4]) -> anyhow::Result<()> {
        let expected = Some(Ipv4Addr::from(expected));
        wait_for(|| (self.address(name).ok()? == expected).then_some(()))
            .with_context(|| format!("{name} does not become {expected:?}"))
    }
}

// === impl Site ===

impl Site {
    /// Starts a server that logs in text, with a Corefile in which `@dns` and
    /// the like stand for ports (see [`Ports::fill`]).
    pub(crate) fn start(corefile: &str) -> anyhow::Result<Self> {
        Self::start_with(corefile, |launch, _| launch.args(["-log-format", "text"]))
    }

    /// Starts a server, with what `prepare` adds, and waits for its banner. A
    /// port may be taken between being chosen and being opened: then others
    /// are tried.
    pub(crate) fn start_with(
        corefile: &str,
        prepare: impl Fn(Launch, Ports) -> Launch,
    ) -> anyhow::Result<Self> {
        for _ in 0..5 {
            let ports = Ports::choose();
            let launch = prepare(portolan(), ports).corefile(&ports.fill(corefile));
            let site = Self {
                ports,
                process: launch.start()?,
            };
            let line = wait_for(|| {
                site.line("Portolan-")
                    .or_else(|| site.line("already in use"))
            });
            match line {
                Some(line) if line.contains("already in use") => {}
                Some(_) => return Ok(site),
                None => bail!("does not start:\n{}", site.output()),
            }
        }
        bail!("no port stays free")
    }

    /// The first line that contains `text`.
    pub(crate) fn line(&self, text: &str) -> Option<String> {
        let mut lines = self.process.lines().into_iter();
        lines.find(|line| line.contains(text))
    }

    /// How many lines contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.process.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until `count` lines contain `text`.
    pub(crate) fn await_count(&self, text: &str, count: usize) -> anyhow::Result<()> {
        wait_for(|| (self.count(text) >= count).then_some(()))
            .with_context(|| format!("not {count} lines with {text:?}:\n{}", self.output()))
    }

    /// Everything it wrote.
    pub(crate) fn output(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Replaces the Corefile by another, at once, and gives its ports to it.
    pub(crate) fn rewrite(&self, corefile: &str) -> anyhow::Result<()> {
        let text = self.ports.fill(corefile);
        let path = self.process.directory().join("Corefile");
        let draft = self.process.directory().join("Corefile.new");
        fs::write(&draft, text)?;
        fs::rename(draft, path).context("cannot replace the Corefile")
    }

    /// Status and body of `/ready`.
    pub(crate) fn ready(&self) -> anyhow::Result<(u16, String)> {
        http::get(self.ports.ready, "/ready")
    }

    /// Status and body of `/health`.
    pub(crate) fn health(&self) -> anyhow::Result<(u16, String)> {
        http::get(self.ports.health, "/health")
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        let (status, body) = http::get(self.ports.metrics, "/metrics")?;
        ensure!(status == 200, "/metrics answers {status}");
        Ok(body)
    }

    /// The sum of the series that begin with `series`; zero if there is none.
    pub(crate) fn metric(&self, series: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for line in self.metrics()?.lines() {
            if let Some((name, value)) = line.rsplit_once(' ')
                && name.starts_with(series)
            {
                sum += value.parse::<f64>()?;
            }
        }
        Ok(sum)
    }

    /// Ends it and checks the exit code.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait()?;
        ensure!(status.code() == Some(0), "{status}\n{}", self.output());
        Ok(())
    }
}

// === impl Ended ===

impl Ended {
    /// Fails unless the exit code is as expected.
    pub(crate) fn ensure_code(&self, code: i32) -> anyhow::Result<()> {
        ensure!(self.code == Some(code), "not exit code {code}: {self:?}");
        Ok(())
    }
}

/// Runs the program under test in an empty directory with some files, to its
/// end.
pub(crate) fn run(arguments: &[&str], files: &[(&str, &str)]) -> anyhow::Result<Ended> {
    run_with_input(arguments, files, "")
}

/// As [`run`], with a pipe as standard input.
pub(crate) fn run_with_input(
    arguments: &[&str],
    files: &[(&str, &str)],
    input: &str,
) -> anyhow::Result<Ended> {
    let directory = TempDir::new()?;
    for (name, text) in files {
        fs::write(directory.path().join(name), text)?;
    }
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(directory.path());
    finish(command, input)
}

/// Runs a command to its end, without an environment to speak of.
pub(crate) fn finish(mut command: Command, input: &str) -> anyhow::Result<Ended> {
    let mut child = command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run a program")?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read its input closes it.
        drop(stdin.write_all(input.as_bytes()));
    }
    let Some(status) = wait_for(|| child.try_wait().ok().flatten()) else {
        child.kill()?;
        let output = child.wait_with_output()?;
        bail!("does not end: {}", String::from_utf8_lossy(&output.stdout));
    };
    let mut ended = Ended {
        code: status.code(),
        stdout: String::new(),
        stderr: String::new(),
    };
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut ended.stdout)?;
    }
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut ended.stderr)?;
    }
    Ok(ended)
}

/// A port that is free for UDP and TCP on all addresses just now, below those
/// that the system gives to clients.
pub(crate) fn choose_port() -> u16 {
    static TRIES: AtomicU16 = AtomicU16::new(0);
    // Tests run in processes of their own, one after the other in number.
    let start = u16::try_from(std::process::id() % 1_000).unwrap_or_default() * 20;
    for _ in 0..20_000 {
        let step = TRIES.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + start.wrapping_add(step) % 20_000;
        let any = (Ipv4Addr::UNSPECIFIED, port);
        if UdpSocket::bind(any).is_ok() && TcpListener::bind(any).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Fails unless a response has this code.
pub(crate) fn ensure_rcode(response: &Message, expected: ResponseCode) -> anyhow::Result<()> {
    let found = response.metadata.response_code;
    ensure!(
        found == expected,
        "{found} instead of {expected}: {response:?}"
    );
    Ok(())
}
