//! The binary under test, as a process of its own.

use std::fs;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::io::BufRead as _;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::ensure;
use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

pub use nix::sys::signal::Signal;

/// Ports that Linux leaves to be asked for by number, less the well-known.
const OWN_PORTS: Range<u16> = 10_000..32_000;

/// How long anything in a test may take before it has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An address of this machine, with a port that the system chooses.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running program, its output and its working directory.
#[derive(Debug)]
pub struct Process {
    /// The child.
    child: Child,
    /// What it wrote to standard output and standard error, line by line.
    lines: Arc<Mutex<Vec<String>>>,
    /// Its working directory, removed with it.
    directory: TempDir,
}

/// How a program is to be started.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    binary: PathBuf,
    /// Arguments.
    arguments: Vec<String>,
    /// Environment on top of `PATH` and of a version endpoint that is in nobody's
    /// way; nothing else is inherited.
    environment: Vec<(String, String)>,
    /// Files of its working directory: name and text.
    files: Vec<(String, String)>,
    /// Whether a copy of the program is run.
    unconfined: bool,
}

// === impl Launch ===

impl Launch {
    /// Will start `binary` without arguments, in an empty directory.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            unconfined: false,
        }
    }

    /// Runs a copy of the program: what the system allows the one that is
    /// installed (`AppArmor` goes by paths) would keep it from its directory.
    #[must_use]
    pub fn unconfined(self) -> Self {
        Self {
            unconfined: true,
            ..self
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file into the working directory.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Puts a Corefile into the working directory, where it is found.
    #[must_use]
    pub fn corefile(self, text: &str) -> Self {
        self.file("Corefile", text)
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or the program cannot be run.
    pub fn start(self) -> anyhow::Result<Process> {
        let directory = TempDir::new().context("temporary directory")?;
        for (name, text) in &self.files {
            let path = directory.path().join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        let mut binary = self.binary.clone();
        if self.unconfined {
            binary = directory.path().join("program");
            fs::copy(&self.binary, &binary)?;
        }
        let mut child = Command::new(&binary)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            // Servers of several tests run at a time.
            .env("COREDNS_VERSION_PORT", ANY_PORT)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let streams: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as Box<_>),
            child.stderr.take().map(|stream| Box::new(stream) as Box<_>),
        ];
        for stream in streams.into_iter().flatten() {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    lines
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(line);
                }
            });
        }
        Ok(Process {
            child,
            lines,
            directory,
        })
    }
}

// === impl Process ===

impl Process {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Working directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What was written so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that contains `text`.
    ///
    /// # Errors
    ///
    /// If there is none within [`PATIENCE`]; the error shows all lines.
    pub fn wait_for_line(&self, text: &str) -> anyhow::Result<String> {
        wait_for(|| self.lines().into_iter().find(|line| line.contains(text)))
            .with_context(|| format!("no line with {text:?} in:\n{}", self.lines().join("\n")))
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(pid), signal).context("cannot signal")
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// If it has not ended within [`PATIENCE`].
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let status = wait_for(|| self.child.try_wait().ok().flatten());
        // The readers may still be at the last lines.
        pause(Duration::from_millis(20));
        status.with_context(|| format!("still running:\n{}", self.lines().join("\n")))
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most memory that was resident since it was started, in KiB.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn peak_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("VmHWM:")
    }

    /// A figure of `/proc/PID/status`.
    fn status_kib(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .with_context(|| format!("no {field}"))?;
        let figure = line.split_whitespace().nth(1).context("no figure")?;
        figure.parse().context("not a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks again and again until there is an answer, for [`PATIENCE`] at most.
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = clock();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > PATIENCE {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}

/// A port that is free for UDP and TCP just now.
///
/// It is none of those that the system itself gives to sockets: such a one may
/// be somebody's by the time that it is used.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    let chance = RandomState::new();
    for attempt in 0..1_000_u16 {
        let offset = chance.hash_one(attempt) % u64::from(OWN_PORTS.end - OWN_PORTS.start);
        let port = OWN_PORTS.start + u16::try_from(offset).expect("fewer than 65,536 ports");
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// Lets this process have as many files open as the system allows it to, and
/// what it starts as well.
///
/// # Errors
///
/// If that is fewer than `count`.
pub fn allow_open_files(count: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        hard >= count,
        "{count} open files are needed and the hard limit is {hard} (ulimit -Hn)"
    );
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// Waits a little.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]
pub fn pause(duration: Duration) {
    thread::sleep(duration);
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a test measures another process")]
pub fn clock() -> Instant {
    Instant::now()
}
