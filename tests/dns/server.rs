//! The server under test, and who asks it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use anyhow::Context as _;
use anyhow::bail;
use portolan_testkit::client::Client;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;

use crate::support::portolan;

/// A server that listens.
#[derive(Debug)]
pub(super) struct Server {
    /// The process.
    process: Process,
    /// Where it answers, on 127.0.0.1.
    addr: SocketAddr,
}

/// What the server writes once it serves.
const SERVING: &str = "Portolan-";

/// How often a port that was free a moment ago may be taken.
const ATTEMPTS: usize = 3;

// === impl Server ===

impl Server {
    /// Starts a server and waits until it serves. `PORT` in the Corefile
    /// stands for its port.
    pub(super) fn start(corefile: &str) -> anyhow::Result<Self> {
        Self::launch(portolan, corefile)
    }

    /// As [`Self::start`], with a hosts file named `hosts`.
    pub(super) fn with_hosts(corefile: &str, hosts: &str) -> anyhow::Result<Self> {
        Self::launch(|| portolan().file("hosts", hosts), corefile)
    }

    /// As [`Self::start`], started as `launch` says.
    pub(super) fn launch(launch: impl Fn() -> Launch, corefile: &str) -> anyhow::Result<Self> {
        for _ in 0..ATTEMPTS {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let corefile = corefile.replace("PORT", &addr.port().to_string());
            let mut process = launch().corefile(&corefile).start()?;
            let taken = |line: &String| line.contains("address already in use");
            let started = wait_for(|| {
                let lines = process.lines();
                let served = lines.iter().any(|line| line.contains(SERVING));
                (served || lines.iter().any(taken)).then_some(served)
            });
            match started {
                Some(true) => return Ok(Self { process, addr }),
                Some(false) => drop(process.wait()),
                None => bail!("does not start:\n{}", process.lines().join("\n")),
            }
        }
        bail!("no port stays free")
    }

    /// Where it answers.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its port at another address of this machine.
    pub(super) fn at(&self, ip: &str) -> anyhow::Result<SocketAddr> {
        let ip = ip
            .parse()
            .with_context(|| format!("not an address: {ip}"))?;
        Ok(SocketAddr::new(ip, self.addr.port()))
    }

    /// Asks over UDP.
    pub(super) fn udp(&self) -> Client {
        Client::udp(self.addr)
    }

    /// Asks over TCP.
    pub(super) fn tcp(&self) -> Client {
        Client::tcp(self.addr)
    }

    /// Asks over either.
    pub(super) fn both(&self) -> [Client; 2] {
        [self.udp(), self.tcp()]
    }

    /// The process.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Everything it wrote.
    pub(super) fn output(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Seconds of processor time that it used, its threads together.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid()))?;
        // After the name in parentheses: state is field 3, utime 14, stime 15.
        let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
        let ticks: f64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().unwrap_or_default())
            .sum();
        // USER_HZ is 100 wherever Linux runs.
        Ok(ticks / 100.0)
    }
}
