//! The server under test, with ports of its own, and what it is asked.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::exposition;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;

use super::engine::names_label;
use crate::observe::http::get;
use crate::support::portolan;

/// Where names point unless a container says otherwise.
pub(super) const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 16, 61);

/// A server under test.
#[derive(Debug)]
pub(super) struct Server {
    /// The process.
    process: Process,
    /// Where it answers.
    dns: SocketAddr,
    /// Where its admin endpoints are.
    admin: Admin,
}

/// The ports of admin endpoints.
#[derive(Clone, Copy, Debug)]
struct Admin {
    /// Of `health`.
    health: u16,
    /// Of `ready`.
    ready: u16,
    /// Of `prometheus`.
    metrics: u16,
}

// === impl Server ===

impl Server {
    /// Starts a server and waits until it listens. In the Corefile, the words
    /// `DNS_PORT`, `HEALTH_PORT`, `READY_PORT` and `METRICS_PORT` stand for
    /// ports, `NAMES_LABEL` for the label with the names of this test's
    /// containers.
    pub(super) fn start(corefile: &str) -> anyhow::Result<Self> {
        Self::launch(portolan(), corefile)
    }

    /// As [`Self::start`], with an environment or files.
    pub(super) fn launch(launch: Launch, corefile: &str) -> anyhow::Result<Self> {
        let server = Self::spawn(launch, corefile)?;
        wait_for(|| TcpStream::connect(server.dns).ok())
            .with_context(|| format!("does not listen:\n{}", server.output()))?;
        Ok(server)
    }

    /// As [`Self::launch`], without waiting.
    pub(super) fn spawn(launch: Launch, corefile: &str) -> anyhow::Result<Self> {
        let admin = Admin {
            health: free_port(),
            ready: free_port(),
            metrics: free_port(),
        };
        let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let corefile = corefile
            .replace("DNS_PORT", &dns.port().to_string())
            .replace("HEALTH_PORT", &admin.health.to_string())
            .replace("READY_PORT", &admin.ready.to_string())
            .replace("METRICS_PORT", &admin.metrics.to_string())
            .replace("NAMES_LABEL", &names_label());
        let process = launch.corefile(&corefile).start()?;
        Ok(Self {
            process,
            dns,
            admin,
        })
    }

    /// The process.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Where it answers.
    pub(super) fn dns(&self) -> SocketAddr {
        self.dns
    }

    /// Asks over UDP.
    pub(super) fn udp(&self) -> Client {
        Client::udp(self.dns)
    }

    /// Asks over TCP.
    pub(super) fn tcp(&self) -> Client {
        Client::tcp(self.dns)
    }

    /// Everything it wrote.
    pub(super) fn output(&self) -> String {
        self.process.lines().join("\n")
    }

    /// How many of its lines contain `text`.
    pub(super) fn count_lines(&self, text: &str) -> usize {
        let lines = self.process.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// The addresses of a name, sorted; none unless it answers NOERROR.
    pub(super) fn addresses(&self, name: &str) -> anyhow::Result<Vec<IpAddr>> {
        let response = self.udp().query(name, RecordType::A)?;
        if response.metadata.response_code != ResponseCode::NoError {
            return Ok(Vec::new());
        }
        let mut addresses = addresses(&response);
        addresses.sort_unstable();
        Ok(addresses)
    }

    /// Waits until a name has these addresses.
    pub(super) fn await_addresses(&self, name: &str, expected: &[&str]) -> anyhow::Result<()> {
        let expected = ips(expected)?;
        let mut last = None;
        let found = wait_for(|| {
            let answer = self.addresses(name);
            let is_there = answer.as_ref().is_ok_and(|found| *found == expected);
            last = Some(answer);
            is_there.then_some(())
        });
        found.with_context(|| {
            let output = self.output();
            format!("{name}: expected {expected:?}, last answer {last:?}\n{output}")
        })
    }

    /// Waits until a name points to the host.
    pub(super) fn await_host(&self, name: &str) -> anyhow::Result<()> {
        self.await_addresses(name, &[&HOST_IP.to_string()])
    }

    /// Waits until a name is answered with a response code and nothing else.
    pub(super) fn await_rcode(&self, name: &str, expected: ResponseCode) -> anyhow::Result<()> {
        let found = wait_for(|| {
            let response = self.udp().query(name, RecordType::A).ok()?;
            let code = response.metadata.response_code;
            (code == expected && response.answers.is_empty()).then_some(())
        });
        found.with_context(|| format!("{name} is not answered {expected}\n{}", self.output()))
    }

    /// Status and body of `/health`.
    pub(super) fn health(&self) -> anyhow::Result<(u16, String)> {
        get(self.admin.health, "/health")
    }

    /// Status and body of `/ready`.
    pub(super) fn ready(&self) -> anyhow::Result<(u16, String)> {
        get(self.admin.ready, "/ready")
    }

    /// The sum of the series of a metric that have all of these labels.
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let (status, body) = get(self.admin.metrics, "/metrics")?;
        ensure!(status == 200, "/metrics: {status}");
        exposition::sum(&body, name, labels)
    }
}

/// The addresses of an answer, in order.
pub(super) fn addresses(response: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    response
        .answers
        .iter()
        .filter_map(|record| address(&record.data))
        .collect()
}

/// Addresses as written, sorted.
pub(super) fn ips(texts: &[&str]) -> anyhow::Result<Vec<IpAddr>> {
    let mut ips = texts
        .iter()
        .map(|text| {
            text.parse()
                .with_context(|| format!("not an address: {text}"))
        })
        .collect::<anyhow::Result<Vec<IpAddr>>>()?;
    ips.sort_unstable();
    Ok(ips)
}

/// Checks that a response says NODATA: the name is ours and has nothing of
/// the kind (RFC 2308 §2.2).
pub(super) fn ensure_no_data(response: &Message) -> anyhow::Result<()> {
    let [authority] = response.authorities.as_slice() else {
        anyhow::bail!("not one authority record: {response:?}");
    };
    ensure!(
        response.metadata.response_code == ResponseCode::NoError
            && response.metadata.authoritative
            && response.answers.is_empty()
            && matches!(authority.data, RData::SOA(_)),
        "not NODATA: {response:?}"
    );
    Ok(())
}
