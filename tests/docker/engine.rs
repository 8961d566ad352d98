//! A Docker Engine, driven by its command line as people drive it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use anyhow::ensure;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::needs;
use crate::support::needs_docker;

/// Image of all containers: busybox, as a shell too, and nothing else.
pub(crate) const IMAGE: &str = "portolan-test:1";

/// What a container does unless a test says otherwise.
const COMMAND: [&str; 3] = ["/bin/busybox", "sleep", "1000"];

/// The engine of this machine.
pub(crate) const SOCKET: &str = "unix:///var/run/docker.sock";

/// A Docker Engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    /// Its address, as in `DOCKER_HOST`.
    host: String,
}

/// A container that is removed in the end.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its engine.
    engine: Engine,
    /// Its name.
    name: String,
}

// === impl Engine ===

impl Engine {
    /// The engine of this machine, ready to run containers; nothing if there
    /// is none, which is said.
    pub(crate) fn of_this_machine() -> anyhow::Result<Option<Self>> {
        if !needs_docker() || !needs(&["busybox", "tar"]) {
            return Ok(None);
        }
        let engine = Self::at(SOCKET);
        engine.import_image()?;
        Ok(Some(engine))
    }

    /// The engine at an address.
    pub(super) fn at(host: &str) -> Self {
        Self {
            host: host.to_owned(),
        }
    }

    /// Its address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Makes the image of all containers, if it is not there.
    pub(super) fn import_image(&self) -> anyhow::Result<()> {
        self.import(IMAGE, |root| {
            // Health checks are commands of a shell.
            Ok(symlink("busybox", root.join("bin/sh"))?)
        })
    }

    /// Makes an image of this machine's static busybox and of what else is to
    /// be in it, if it is not there.
    pub(super) fn import(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.docker(&["image", "inspect", name]).is_ok() {
            return Ok(());
        }
        let root = TempDir::new()?;
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin)?;
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .context("busybox is nowhere")?;
        std::fs::copy(busybox, bin.join("busybox"))?;
        fill(root.path())?;
        let directory = TempDir::new()?;
        let archive = directory.path().join("image.tar");
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(root.path())
            .args(
                std::fs::read_dir(root.path())?
                    .flatten()
                    .map(|entry| entry.file_name()),
            )
            .status()?;
        ensure!(packed.success(), "tar: {packed}");
        let archive = archive.to_str().context("a path that is no text")?;
        self.docker(&["import", archive, name]).map(drop)
    }

    /// Runs a container with these options.
    pub(super) fn run(&self, options: &[&str]) -> anyhow::Result<Container> {
        let container = self.create(options)?;
        container.start()?;
        Ok(container)
    }

    /// Creates a container with these options.
    pub(super) fn create(&self, options: &[&str]) -> anyhow::Result<Container> {
        let container = Container {
            engine: self.clone(),
            name: unique_name(),
        };
        let mark = test_label();
        let mut arguments = vec!["create", "--network", "none", "--name", &container.name];
        arguments.extend(["--label", &mark]);
        arguments.extend(options);
        arguments.push(IMAGE);
        arguments.extend(COMMAND);
        self.docker(&arguments)?;
        Ok(container)
    }

    /// Runs a container whose names are in the label of this test.
    pub(super) fn run_named(&self, names: &str) -> anyhow::Result<Container> {
        self.run_labelled(&[(&names_label(), names)])
    }

    /// Runs a container with labels.
    pub(crate) fn run_labelled(&self, labels: &[(&str, &str)]) -> anyhow::Result<Container> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("--label={key}={value}"))
            .collect();
        let options: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.run(&options)
    }

    /// Runs the command line.
    pub(crate) fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("docker")
            .env("DOCKER_HOST", &self.host)
            .args(arguments)
            .output()
            .context("docker")?;
        let command = arguments.first().copied().unwrap_or_default();
        ensure!(
            output.status.success(),
            "docker {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

// === impl Container ===

impl Container {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Starts it.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        self.command(&["start"])
    }

    /// Stops it, without waiting for its process to agree.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.command(&["stop", "-t", "0"])
    }

    /// Restarts it, without waiting for its process to agree.
    pub(super) fn restart(&self) -> anyhow::Result<()> {
        self.command(&["restart", "-t", "0"])
    }

    /// Freezes it.
    pub(super) fn pause(&self) -> anyhow::Result<()> {
        self.command(&["pause"])
    }

    /// Lets it go on.
    pub(super) fn unpause(&self) -> anyhow::Result<()> {
        self.command(&["unpause"])
    }

    /// Removes it by force.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        self.command(&["rm", "-f"])
    }

    /// Runs an applet of busybox in it.
    pub(super) fn exec(&self, applet: &[&str]) -> anyhow::Result<()> {
        let arguments = [&["exec", &self.name, "/bin/busybox"], applet].concat();
        self.engine.docker(&arguments).map(drop)
    }

    /// Process id of its first process.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        let pid = self
            .engine
            .docker(&["inspect", "-f", "{{.State.Pid}}", &self.name])?;
        Ok(pid.parse()?)
    }

    /// When the engine said that something happened to it, for the last time
    /// since `since`, as times since 1970.
    pub(super) fn event(&self, action: &str, since: Duration) -> anyhow::Result<Duration> {
        let seconds = |time: Duration| format!("{:.9}", time.as_secs_f64());
        let (since, until) = (seconds(since), seconds(wall_clock()));
        let filters = [
            format!("container={}", self.name),
            format!("event={action}"),
        ];
        let [container, event] = &filters;
        let events = self.engine.docker(&[
            "events",
            "--format",
            "{{json .}}",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            container,
            "--filter",
            event,
        ])?;
        let last = events.lines().last().context("no such event")?;
        let event: Value = serde_json::from_str(last)?;
        let time = event["timeNano"]
            .as_u64()
            .context("an event without time")?;
        Ok(Duration::from_nanos(time))
    }

    /// Runs a command about it.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let arguments = [arguments, &[&self.name]].concat();
        self.engine.docker(&arguments).map(drop)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The test may have removed it.
        drop(self.remove());
    }
}

/// A label that holds names for the servers of this test alone: containers of
/// others do not disturb them.
pub(super) fn names_label() -> String {
    format!("portolan.test.{}.name", std::process::id())
}

/// The time on the clock, since 1970; the engine's events carry it.
#[expect(
    clippy::disallowed_methods,
    reason = "a test compares with the engine's clock"
)]
pub(super) fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A label that marks the containers of tests, for whoever has to clean up
/// after a test that was killed.
fn test_label() -> String {
    format!("portolan.test={}", std::process::id())
}

/// A container name that no other test has.
fn unique_name() -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("portolan-test-{}-{number}", std::process::id())
}

/// Number of the next container.
static NEXT: AtomicU32 = AtomicU32::new(1);
