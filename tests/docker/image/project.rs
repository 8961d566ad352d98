//! A compose file at work.

use std::fs;
use std::fs::Permissions;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::super::engine::Engine;
use super::super::server::addresses;
use super::super::server::ips;
use super::build::Image;

/// A project of one container, taken down in the end.
#[derive(Debug)]
pub(super) struct Project {
    /// Its directory.
    directory: TempDir,
    /// Name of the project and of the container.
    name: String,
    /// Where it runs.
    engine: Engine,
    /// When it was told to start.
    told: std::time::Instant,
    /// Where it answers, if that is not a port that is published.
    dns: Option<SocketAddr>,
}

// === impl Project ===

impl Project {
    /// Brings a compose file up, with files beside it. In it, `IMAGE` and
    /// `PROJECT` stand for names.
    pub(super) fn up(
        engine: &Engine,
        image: &Image,
        compose: &str,
        files: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let name = format!("portolan-image-{}", std::process::id());
        let compose = compose
            .replace("IMAGE", image.name())
            .replace("PROJECT", &name);
        let project = Self {
            directory,
            name,
            engine: engine.clone(),
            told: clock(),
            dns: None,
        };
        project.write("docker-compose.yml", &compose)?;
        for (path, text) in files {
            project.write(path, text)?;
        }
        project.compose(&["up", "--detach"])?;
        Ok(project)
    }

    /// The same, which is asked at this address.
    pub(super) fn at(self, dns: &str) -> anyhow::Result<Self> {
        let mut project = self;
        project.dns = Some(dns.parse()?);
        Ok(project)
    }

    /// Writes a file that everybody may read.
    pub(super) fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        write_open(self.directory.path(), path, text)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks over UDP.
    pub(super) fn udp(&self) -> anyhow::Result<Client> {
        Ok(Client::udp(self.dns("54/udp")?))
    }

    /// Asks over TCP.
    pub(super) fn tcp(&self) -> anyhow::Result<Client> {
        Ok(Client::tcp(self.dns("54/tcp")?))
    }

    /// Runs a command of docker.
    pub(super) fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.engine.docker(arguments)
    }

    /// Runs a program in the container.
    pub(super) fn exec(&self, command: &[&str]) -> anyhow::Result<String> {
        self.docker(&[&["exec", &self.name], command].concat())
    }

    /// Everything it wrote.
    pub(super) fn logs(&self) -> anyhow::Result<String> {
        let output = Command::new("docker").args(["logs", &self.name]).output()?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Ok(text(&output.stdout) + &text(&output.stderr))
    }

    /// Waits until the engine calls it healthy; how long that took.
    pub(super) fn await_healthy(&self) -> anyhow::Result<Duration> {
        // Longer than a test waits as a rule: the engine asks in its own time.
        for _ in 0..300 {
            if self.inspect("{{.State.Health.Status}}")? == "healthy" {
                return Ok(self.told.elapsed());
            }
            pause(Duration::from_millis(100));
        }
        anyhow::bail!(
            "not healthy: {}\n{}",
            self.inspect("{{json .State.Health}}")?,
            self.logs()?
        )
    }

    /// Waits until a name has these addresses.
    pub(super) fn await_addresses(&self, name: &str, expected: &[&str]) -> anyhow::Result<()> {
        let expected: Vec<IpAddr> = ips(expected)?;
        let found = wait_for(|| {
            let response = self.udp().ok()?.query(name, RecordType::A).ok()?;
            let mut found = addresses(&response);
            found.sort_unstable();
            (found == expected).then_some(())
        });
        found.with_context(|| {
            let logs = self.logs().unwrap_or_default();
            format!("{name} has not {expected:?}\n{logs}")
        })
    }

    /// Checks that every thread is an ordinary user with no more than the right
    /// to low ports, and that there is no way back.
    pub(super) fn ensure_ordinary(&self) -> anyhow::Result<()> {
        const NET_BIND_SERVICE: u64 = 1 << 10;
        let tasks = format!("/proc/{}/task", self.pid()?);
        for task in fs::read_dir(tasks)? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let field = |name: &str| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
                    .with_context(|| format!("no {name}"))
            };
            ensure!(field("Uid")? == "1000\t1000\t1000\t1000", "{status}");
            ensure!(field("Gid")? == "1000\t1000\t1000\t1000", "{status}");
            ensure!(field("NoNewPrivs")? == "1", "{status}");
            for name in ["CapEff", "CapPrm", "CapAmb"] {
                let capabilities = u64::from_str_radix(field(name)?.trim(), 16)?;
                ensure!(capabilities & !NET_BIND_SERVICE == 0, "{name}: {status}");
            }
        }
        Ok(())
    }

    /// How long after the container's start the banner was complete.
    pub(super) fn start_time(&self) -> anyhow::Result<Duration> {
        let started = self.inspect("{{.State.StartedAt}}")?;
        let logs = self.docker(&["logs", "--timestamps", &self.name])?;
        let banner = logs
            .lines()
            .find(|line| line.contains("Portolan-"))
            .context("no banner")?;
        let (stamp, _) = banner.split_once(' ').context("no time stamp")?;
        Ok(time_of_day(stamp)?.saturating_sub(time_of_day(&started)?))
    }

    /// Resident memory in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.context("no VmRSS")?.trim();
        Ok(figure.trim_end_matches(" kB").parse()?)
    }

    /// The most memory that the container ever had, in KiB, as its control
    /// group counts; nothing where the kernel keeps no such figure.
    pub(super) fn peak_kib(&self) -> Option<u64> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid().ok()?)).ok()?;
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let file = match controllers {
                "" => format!("/sys/fs/cgroup{path}/memory.peak"),
                "memory" => format!("/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes"),
                _ => return None,
            };
            let octets: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
            Some(octets / 1024)
        })
    }

    /// Stops it; it has to end by itself.
    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.docker(&["stop", "--time", "10", &self.name])?;
        let code = self.inspect("{{.State.ExitCode}}")?;
        ensure!(code == "0", "exit code {code}\n{}", self.logs()?);
        Ok(())
    }

    /// Where it answers: as told, or where the engine has published a port.
    fn dns(&self, port: &str) -> anyhow::Result<SocketAddr> {
        if let Some(dns) = self.dns {
            return Ok(dns);
        }
        let published = self.docker(&["port", &self.name, port])?;
        let first = published
            .lines()
            .next()
            .context("the port is not published")?;
        Ok(first.parse()?)
    }

    /// Its process on this machine.
    fn pid(&self) -> anyhow::Result<String> {
        self.inspect("{{.State.Pid}}")
    }

    /// What the engine knows of the container.
    pub(super) fn inspect(&self, format: &str) -> anyhow::Result<String> {
        let answer = self.docker(&["inspect", "--format", format, &self.name])?;
        Ok(answer.trim().to_owned())
    }

    /// Runs a command of compose.
    fn compose(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("docker-compose")
            .args(["--project-name", &self.name])
            .args(arguments)
            .current_dir(self.directory.path())
            .output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "docker-compose {arguments:?}: {complaint}"
        );
        Ok(())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.compose(&["down", "--timeout", "1", "--volumes"]));
    }
}

/// The time of a stamp such as `2026-01-04T12:00:00.5Z`, since midnight.
fn time_of_day(stamp: &str) -> anyhow::Result<Duration> {
    let (_, time) = stamp.split_once('T').context("no time")?;
    let mut parts = time.trim_end_matches('Z').split(':');
    let mut next = || anyhow::Ok(parts.next().context("a part")?.parse::<f64>()?);
    let seconds = next()? * 3600.0 + next()? * 60.0 + next()?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Writes a file into a directory, and lets everybody read it.
pub(super) fn write_open(root: &Path, path: &str, text: &str) -> anyhow::Result<()> {
    let path = root.join(path);
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    fs::write(&path, text)?;
    let above = parent
        .ancestors()
        .take_while(|above| above.starts_with(root));
    for directory in above {
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(())
}
