//! A Docker Engine of the test's own, which can be stopped and started.
//!
//! It has no network, or is at home on a host of its own: in the network of
//! that host, and at the socket where engines are. A mount namespace has the
//! socket; all other files are those of the machine.
//!
//! It is never in the network of the machine: an engine that shall have no
//! bridge takes away the one that is there.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::netns::Namespace;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use tempfile::TempDir;

use super::engine::Engine;
use crate::support::needs;
use crate::support::needs_root;

/// How long an engine may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine, and everything it leaves behind.
#[derive(Debug)]
pub(super) struct Dockerd {
    /// Where it keeps everything, its socket too.
    directory: TempDir,
    /// Its process, while there is one.
    child: Option<Child>,
    /// The network that it is in.
    network: Arc<Namespace>,
    /// Whether that is a host of its own.
    at_home: bool,
    /// Arguments that others do not have.
    arguments: Vec<String>,
}

// === impl Dockerd ===

impl Dockerd {
    /// Starts an engine, ready to run containers; nothing if that cannot be
    /// done here, which is said. With `live_restore`, its containers go on
    /// without it.
    pub(super) fn start(live_restore: bool) -> anyhow::Result<Option<Self>> {
        if !is_possible() {
            return Ok(None);
        }
        let configuration = format!("{{\"live-restore\": {live_restore}}}\n");
        let arguments = ["--bridge=none", "--iptables=false", "--ip-forward=false"];
        let network = Arc::new(Namespace::new()?);
        Self::run(
            &configuration,
            network,
            false,
            &arguments.map(str::to_owned),
        )
        .map(Some)
    }

    /// Starts an engine on a host of its own, with further arguments; nothing
    /// if that cannot be done here, which is said.
    pub(super) fn on_host(
        host: Arc<Namespace>,
        arguments: &[String],
    ) -> anyhow::Result<Option<Self>> {
        if !is_possible() || !needs(&["unshare", "mount", "iptables"]) {
            return Ok(None);
        }
        Self::run("{}\n", host, true, arguments).map(Some)
    }

    /// Starts an engine with this configuration and waits for it.
    fn run(
        configuration: &str,
        network: Arc<Namespace>,
        at_home: bool,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        // The path of a socket is short: 107 octets at most.
        let directory = tempfile::Builder::new()
            .prefix("engine-")
            .tempdir_in("/tmp")?;
        // The configuration of the machine's engine is not for this one.
        fs::write(directory.path().join("daemon.json"), configuration)?;
        fs::create_dir(directory.path().join("run"))?;
        let mut dockerd = Self {
            directory,
            child: None,
            network,
            at_home,
            arguments: arguments.to_vec(),
        };
        dockerd.resume()?;
        dockerd.await_api()?;
        dockerd.engine().import_image()?;
        Ok(dockerd)
    }

    /// Its command line.
    pub(super) fn engine(&self) -> Engine {
        Engine::at(&format!("unix://{}", self.socket().display()))
    }

    /// Runs it again; does not wait for it.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        let path = |name: &str| self.directory.path().join(name);
        // A process that was killed leaves it behind.
        drop(fs::remove_file(path("pid")));
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))?;
        let mut command = self.command();
        command
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--storage-driver=vfs")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = self.network.enter(|| command.spawn().context("dockerd"))?;
        self.child = Some(child);
        Ok(())
    }

    /// Its program, told where to listen.
    fn command(&self) -> Command {
        if !self.at_home {
            let mut command = Command::new("dockerd");
            command.arg(format!("--host=unix://{}", self.socket().display()));
            return command;
        }
        let mut command = Command::new("unshare");
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount --bind \"$0\" /run && exec dockerd \"$@\"")
            .arg(self.directory.path().join("run"))
            .arg("--host=unix:///run/docker.sock");
        command
    }

    /// Waits until it answers.
    pub(super) fn await_api(&self) -> anyhow::Result<()> {
        let start = clock();
        while ping(&self.socket()).is_err() {
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.path().join("log"))?;
                anyhow::bail!("the engine does not answer:\n{log}");
            }
            pause(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends it by force. It leaves its socket and its containers behind.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops it.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        signal(child.id(), "TERM")?;
        let start = clock();
        while child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                anyhow::bail!("the engine does not stop");
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("the engine does not run")?;
        signal(child.id(), name)
    }

    /// Its socket.
    fn socket(&self) -> PathBuf {
        let path = if self.at_home {
            "run/docker.sock"
        } else {
            "d.sock"
        };
        self.directory.path().join(path)
    }

    /// Ends every process that it left behind: its containerd, the shims of
    /// containers, and their containers.
    fn end_processes(&self) {
        let own = processes_with(self.directory.path());
        let children = processes()
            .into_iter()
            .filter(|pid| parent(*pid).is_some_and(|parent| own.contains(&parent)));
        for pid in children.collect::<BTreeSet<u32>>().union(&own) {
            // It may be gone already.
            drop(signal(*pid, "KILL"));
        }
    }

    /// Ends every mount below its directory.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.directory.path())) {
            drop(Command::new("umount").arg("-l").arg(point).output());
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let engine = self.engine();
        if self.child.is_some()
            && let Ok(ids) = engine.docker(&["ps", "-aq"])
        {
            for id in ids.lines() {
                drop(engine.docker(&["rm", "-f", id]));
            }
        }
        drop(self.stop());
        self.end_processes();
        self.unmount();
    }
}

/// Whether engines can be started here; else says what is missing.
fn is_possible() -> bool {
    needs(&["dockerd", "containerd", "docker", "busybox", "tar"]) && needs_root()
}

/// Sends a signal to a process.
pub(super) fn signal(pid: u32, signal: &str) -> anyhow::Result<()> {
    let status = Command::new("busybox")
        .args(["kill", &format!("-{signal}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "cannot signal process {pid}");
    Ok(())
}

/// Asks an engine whether it is there.
fn ping(socket: &Path) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains(" 200 "), "{answer}");
    Ok(())
}

/// The processes whose command line names something in a directory.
fn processes_with(directory: &Path) -> BTreeSet<u32> {
    let directory = format!("{}/", directory.display());
    let names_it = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&directory)
    };
    processes().into_iter().filter(names_it).collect()
}

/// All processes.
fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The parent of a process.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}
