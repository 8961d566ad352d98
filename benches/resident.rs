//! How much memory the server takes: with hardly a name, with 10,000 and with
//! 100,000, from a hosts file and from containers of a fake engine.
//!
//! Each server is asked before it is looked at, so that what answers take is
//! there, and a second after the last change, so that what the change took is
//! gone. `--binary PATH` measures another program, such as that of the image.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use tempfile::TempDir;

/// Prints the measurements.
#[expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]
fn main() -> anyhow::Result<()> {
    let binary = binary(env::args().skip(1))?;
    // The engine's.
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    println!("{}, MiB", binary.display());
    let columns = ["names", "resident", "anonymous", "file", "peak"];
    let columns = columns.map(|column| format!("{column:>10}")).concat();
    println!("{columns}  from");
    for names in SIZES {
        let hosts = Hosts::start(&binary, names)?;
        println!("{}  hosts file", hosts.server.measure(names)?);
        if names > FEW {
            for number in 0..READS {
                hosts.change(number)?;
            }
            println!(
                "{}  the same, read {READS} times more",
                hosts.server.measure(names)?
            );
        }
        drop(hosts);
        let containers = Containers::start(&binary, names)?;
        println!(
            "{}  containers of {FEW} names",
            containers.server.measure(names)?
        );
    }
    Ok(())
}

/// The program to measure.
fn binary(arguments: impl Iterator<Item = String>) -> anyhow::Result<PathBuf> {
    // `cargo bench` adds this one to what it is given.
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(env!("CARGO_BIN_EXE_portolan").into()),
        (Some("--binary"), Some(path)) => {
            fs::canonicalize(&path).with_context(|| format!("no program at {path}"))
        }
        _ => bail!("usage: memory [--binary PATH]"),
    }
}

/// A server at work.
struct Server {
    /// Its process.
    process: Process,
    /// Where it listens.
    address: SocketAddr,
}

/// A server that reads a hosts file.
struct Hosts {
    /// The server.
    server: Server,
    /// What the file says.
    text: String,
}

/// A server that knows containers.
struct Containers {
    /// The server.
    server: Server,
    /// Their engine.
    _engine: FakeDocker,
    /// Where it listens.
    _directory: TempDir,
}

// === impl Hosts ===

impl Hosts {
    /// One that has read that many names.
    fn start(binary: &PathBuf, names: u32) -> anyhow::Result<Self> {
        let lines = (0..names).map(|number| format!("{} {}\n", address(number), owner(number)));
        let text: String = lines.collect();
        let server = Server::start(binary, "hosts hosts.txt", &text)?;
        server.answers(&owner(names - 1))?;
        Ok(Self { server, text })
    }

    /// Has it read the file again, with a name more than the first time.
    fn change(&self, number: u32) -> anyhow::Result<()> {
        let name = format!("more{number}.example.org");
        let file = self.server.process.directory().join("hosts.txt");
        fs::write(file, format!("{}192.0.2.1 {name}\n", self.text))?;
        self.server.answers(&name)
    }
}

// === impl Containers ===

impl Containers {
    /// One whose containers have that many names.
    fn start(binary: &PathBuf, names: u32) -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let engine = FakeDocker::start(directory.path().join("docker.sock"))?;
        for first in (0..names).step_by(FEW as usize) {
            let owners: Vec<String> = (first..first + FEW).map(owner).collect();
            let id = format!("{first:064x}");
            let container = FakeContainer::new(&id, "coredns.host.name", &owners.join(","));
            engine.control().put(container);
        }
        let stage = format!(
            "docker-cluster {{\n docker_socket unix://{}\n host_ip 192.0.2.7\n }}",
            engine.path().display()
        );
        let server = Server::start(binary, &stage, "")?;
        server.answers(&owner(names - 1))?;
        Ok(Self {
            server,
            _engine: engine,
            _directory: directory,
        })
    }
}

// === impl Server ===

impl Server {
    /// A server with one stage, and what is on by default.
    fn start(binary: &PathBuf, stage: &str, hosts: &str) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let (ip, port) = (address.ip(), address.port());
        let corefile = format!(
            ".:{port} {{\n bind {ip}\n errors\n prometheus {ip}:{}\n {stage}\n}}\n",
            process::free_port()
        );
        let launch = Launch::new(binary).corefile(&corefile);
        let process = launch.file("hosts.txt", hosts).start()?;
        Ok(Self { process, address })
    }

    /// Waits until a name is known.
    fn answers(&self, name: &str) -> anyhow::Result<()> {
        let client = Client::udp(self.address).timeout(Duration::from_millis(200));
        let is_known = || {
            let response = client.query(name, RecordType::A).ok()?;
            (!response.answers.is_empty()).then_some(())
        };
        // 100,000 names may take some time on a busy machine.
        (0..6)
            .find_map(|_| process::wait_for(is_known))
            .with_context(|| format!("{name} is not known: {}", self.process.lines().join("\n")))
    }

    /// Asks, waits, and says how much memory there is.
    fn measure(&self, names: u32) -> anyhow::Result<String> {
        for client in [Client::udp(self.address), Client::tcp(self.address)] {
            for number in 0..QUERIES {
                let name = owner(number * 7919 % names);
                let response = client.query(&name, RecordType::A)?;
                anyhow::ensure!(!response.answers.is_empty(), "{name} is not known");
            }
        }
        process::pause(SETTLED);
        let path = format!("/proc/{}/smaps_rollup", self.process.pid());
        let text = fs::read_to_string(path)?;
        let resident = kib(&text, "Rss:")?;
        let anonymous = kib(&text, "Anonymous:")?;
        let peak = self.process.peak_kib()?;
        let figures = [resident, anonymous, resident - anonymous, peak];
        let figures = figures.map(|kib| format!("{:>8}.{}", kib / 1024, kib % 1024 * 10 / 1024));
        Ok(format!("{names:>10}{}", figures.concat()))
    }
}

/// A figure of `smaps_rollup` (proc(5)).
fn kib(text: &str, field: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure
        .with_context(|| format!("no {field}"))?
        .parse()
        .with_context(|| format!("{field} is no number"))
}

/// A name.
fn owner(number: u32) -> String {
    format!("host{number:07}.bench.example.org")
}

/// Its address.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

/// Names of a server that has hardly any, and of one container.
const FEW: u32 = 10;

/// How many names there are.
const SIZES: [u32; 3] = [FEW, 10_000, 100_000];

/// How often a hosts file is read again.
const READS: u32 = 3;

/// Queries over each transport.
const QUERIES: u32 = 200;

/// How long after a change all that it took is given back.
const SETTLED: Duration = Duration::from_secs(2);
