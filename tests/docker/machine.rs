//! Machines of the test's own, joined by a switch. Each has an engine at
//! `/var/run/docker.sock` and all ports for itself, so that a compose file runs
//! on it as it stands.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::sync::Arc;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::netns;
use portolan_testkit::netns::Namespace;
use portolan_testkit::netns::Network;
use portolan_testkit::process::wait_for;

use super::dockerd::Dockerd;
use super::engine::Engine;
use crate::support::needs;
use crate::support::needs_root;
use crate::support::skip;

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its engine.
    dockerd: Dockerd,
    /// Its network.
    namespace: Arc<Namespace>,
    /// Its address.
    address: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Site {
    /// The machines with an engine.
    pub(super) machines: Vec<Machine>,
    /// A host that has none: a client of the others.
    client: Arc<Namespace>,
    /// What joins them.
    _network: Network,
}

// === impl Machine ===

impl Machine {
    /// Its address.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Its engine.
    pub(super) fn engine(&self) -> Engine {
        self.dockerd.engine()
    }

    /// Does something on it.
    pub(super) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.namespace.enter(work)
    }

    /// Runs docker-compose in a directory, with variables.
    pub(super) fn compose(
        &self,
        directory: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> anyhow::Result<()> {
        let output = Command::new("docker-compose")
            .env("DOCKER_HOST", self.engine().host())
            .envs(variables.iter().copied())
            .args(arguments)
            .current_dir(directory)
            .output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {complaint}");
        Ok(())
    }

    /// Runs dig on it.
    pub(super) fn dig(&self, arguments: &[impl AsRef<OsStr> + Sync]) -> anyhow::Result<Output> {
        dig(&self.namespace, arguments)
    }

    /// What the engine knows of a container.
    pub(super) fn inspect(&self, container: &str, format: &str) -> anyhow::Result<String> {
        let arguments = ["inspect", "--format", format, container];
        self.engine().docker(&arguments)
    }

    /// Waits until the engine calls containers healthy, for longer than a test
    /// waits as a rule: it asks in its own time.
    pub(super) fn await_healthy(&self, container: &str) -> anyhow::Result<()> {
        let is_healthy = || {
            let state = self.inspect(container, "{{.State.Health.Status}}").ok()?;
            (state == "healthy").then_some(())
        };
        let healthy = (0..3).find_map(|_| wait_for(is_healthy));
        healthy.with_context(|| {
            let state = self.inspect(container, "{{json .State}}");
            let logs = self.engine().docker(&["logs", container]);
            format!("{container} is not healthy: {state:?}\n{logs:?}")
        })
    }
}

// === impl Site ===

impl Site {
    /// Starts so many machines; nothing if that cannot be done here, which is
    /// said.
    pub(super) fn start(count: usize) -> anyhow::Result<Option<Self>> {
        Self::with(count, &[])
    }

    /// The same; their engines have further arguments.
    pub(super) fn with(count: usize, arguments: &[String]) -> anyhow::Result<Option<Self>> {
        if !needs(&["ip", "iptables-restore", "docker-compose", "dig"]) || !needs_root() {
            return Ok(None);
        }
        if let Err(reason) = netns::check() {
            skip(&format!("needs networks: {reason:#}"));
            return Ok(None);
        }
        let network = Network::start(count + 1)?;
        let mut machines = Vec::new();
        for number in 0..count {
            let namespace = network.namespace(number);
            let Some(dockerd) = Dockerd::on_host(Arc::clone(&namespace), arguments)? else {
                return Ok(None);
            };
            machines.push(Machine {
                dockerd,
                namespace,
                address: network.address(number).to_string(),
            });
        }
        Ok(Some(Self {
            machines,
            client: network.namespace(count),
            _network: network,
        }))
    }

    /// Does something on the client.
    pub(super) fn enter<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.client.enter(work)
    }

    /// Runs dig on the client.
    pub(super) fn dig(&self, arguments: &[impl AsRef<OsStr> + Sync]) -> anyhow::Result<Output> {
        dig(&self.client, arguments)
    }

    /// Waits until a server answers a name with this, as `dig +short` has it.
    pub(super) fn await_answer(
        &self,
        server: &str,
        name: &str,
        expected: &str,
    ) -> anyhow::Result<()> {
        let mut last = None;
        let found = wait_for(|| {
            let said = self.short(server, name).ok()?;
            let is_right = said == expected;
            last = Some(said);
            is_right.then_some(())
        });
        found.with_context(|| format!("{name} at {server}: {last:?}, not {expected:?}"))
    }

    /// What a server answers, as `dig +short` has it.
    pub(super) fn short(&self, server: &str, name: &str) -> anyhow::Result<String> {
        let server = format!("@{server}");
        let output = self.dig(&[&server, "-p", "54", "+short", "+time=1", "+tries=1", name])?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Fetches a page as the client.
    pub(super) fn fetch(&self, url: &str) -> anyhow::Result<String> {
        self.client.run(&["busybox", "wget", "-q", "-O-", url], "")
    }
}

/// Runs dig in a network.
fn dig(namespace: &Namespace, arguments: &[impl AsRef<OsStr> + Sync]) -> anyhow::Result<Output> {
    namespace.enter(|| Ok(Command::new("dig").args(arguments).output()?))
}

/// Makes sure that a query was not answered at all: not by a refusal, not by a
/// denial.
pub(super) fn ensure_silence(output: &Output) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(9), "{}: {text}", output.status);
    ensure!(text.contains("timed out"), "{text}");
    ensure!(
        !text.contains("NXDOMAIN") && !text.contains("REFUSED"),
        "{text}"
    );
    Ok(())
}
