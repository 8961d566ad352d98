//! Networks of the test's own: hosts joined by a switch, each a network
//! namespace.
//!
//! A namespace has no name and no file: this process holds it open, so that
//! the kernel takes it away with the process, however that ends. Nothing of it
//! shows in the network of the machine. A thread can step into a namespace
//! ([`Namespace::enter`]); what it opens or starts there, sockets as well as
//! programs, belongs to the namespace from then on, whoever uses it.
//!
//! A [`Network`] can do what home networks do: lose a cable, lose packets, let
//! some hosts not hear some others. What passes can be listened to
//! ([`Capture`]), held up and damaged ([`Weather`]). It needs root, `ip` and
//! `iptables`.

mod capture;
mod filter;
mod network;
#[cfg(test)]
mod tests;
mod weather;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::panic;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use anyhow::Context as _;
use anyhow::ensure;
use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sched::unshare;

pub use capture::Capture;
pub use capture::Packet;
pub use network::Network;
pub use weather::Fate;
pub use weather::Weather;

/// A network namespace, there as long as somebody holds it or runs in it.
#[derive(Debug)]
pub struct Namespace {
    /// What holds it.
    file: File,
}

// === impl Namespace ===

impl Namespace {
    /// Makes one, with nothing in it but a loopback interface that is down.
    ///
    /// # Errors
    ///
    /// If that is not allowed.
    pub fn new() -> anyhow::Result<Self> {
        let file = aside(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })?;
        Ok(Self { file })
    }

    /// The one that a process is in.
    ///
    /// # Errors
    ///
    /// If the process is gone, or of somebody else.
    pub fn of_process(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file = File::open(&path).with_context(|| path)?;
        Ok(Self { file })
    }

    /// Does something on a thread that is in the namespace.
    ///
    /// # Errors
    ///
    /// What the work fails with, or that the thread is not let in.
    pub fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        aside(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET).context("entering a namespace")?;
            work()
        })
    }

    /// Runs a program in it, with this on its standard input; gives what it
    /// wrote.
    ///
    /// # Errors
    ///
    /// If the program is not there or fails.
    pub fn run(&self, program: &[&str], input: &str) -> anyhow::Result<String> {
        self.enter(|| run(program, input))
    }

    /// A path at which other processes find it.
    fn path(&self) -> PathBuf {
        let fd = self.file.as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id()))
    }
}

/// Whether this process may make networks, or why not.
///
/// # Errors
///
/// What is missing.
pub fn check() -> anyhow::Result<()> {
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "set", "lo", "up"], "")?;
    namespace.run(&["iptables-restore"], &filter::rules(&[], 0.01))?;
    Ok(())
}

/// Does something on a thread of its own, which ends with it.
fn aside<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(cause) => panic::resume_unwind(cause),
    })
}

/// Runs a program, with this on its standard input; gives what it wrote.
fn run(program: &[&str], input: &str) -> anyhow::Result<String> {
    let (name, arguments) = program.split_first().context("no program")?;
    let mut child = Command::new(name)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read says so by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{}: {}\n{input}",
        program.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}
