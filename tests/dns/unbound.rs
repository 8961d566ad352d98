//! A real resolver that speaks every transport: Unbound, in front of Knot DNS.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;
use portolan_testkit::tls::Identity;

/// Unbound, over UDP, TCP, TLS and HTTPS.
#[derive(Debug)]
pub(super) struct Unbound {
    /// The process.
    process: Process,
    /// Its ports.
    ports: Ports,
}

/// Ports of one Unbound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// For UDP and TCP.
    plain: u16,
    /// For TLS.
    tls: u16,
    /// For HTTPS.
    https: u16,
}

/// The configuration of every one; capitals stand for what differs.
const CONFIGURATION: &str = "\
server:
    directory: \".\"
    chroot: \"\"
    username: \"\"
    pidfile: \"\"
    use-syslog: no
    verbosity: 1
    do-daemonize: no
    num-threads: 1
    interface: 127.0.0.1@PORT
    module-config: \"MODULES\"
    do-not-query-localhost: no
    rrset-roundrobin: no
    minimal-responses: no
    local-zone: \"test.\" nodefault
    do-ip6: no
FURTHER
remote-control:
    control-enable: no
forward-zone:
    name: \".\"
    forward-addr: BEHIND
";

/// What one that speaks every transport has besides; capitals stand for ports.
const ENCRYPTED: &str = "\
    interface: 127.0.0.1@TLS
    interface: 127.0.0.1@HTTPS
    tls-port: TLS
    https-port: HTTPS
    tls-service-pem: \"server.pem\"
    tls-service-key: \"server.key\"
";

// === impl Unbound ===

impl Unbound {
    /// Starts one that shows who it is and asks a server behind it.
    pub(super) fn start(identity: &Identity, behind: SocketAddr) -> anyhow::Result<Self> {
        Self::start_at(Ports::new(), identity, behind)
    }

    /// Starts one on the ports of another.
    pub(super) fn start_at(
        ports: Ports,
        identity: &Identity,
        behind: SocketAddr,
    ) -> anyhow::Result<Self> {
        let encrypted = ENCRYPTED
            .replace("HTTPS", &ports.https.to_string())
            .replace("TLS", &ports.tls.to_string());
        let configuration = configuration(ports.plain, behind, "iterator", &encrypted);
        let launch = launch(&configuration)
            .file("server.pem", &identity.certificate)
            .file("server.key", &identity.key);
        Self::run(launch, ports)
    }

    /// Starts one that asks a server behind it and verifies what has to be
    /// signed by keys, given as DNSKEY records. It speaks UDP and TCP only.
    pub(super) fn validating(behind: SocketAddr, keys: &[String]) -> anyhow::Result<Self> {
        let ports = Ports::new();
        let anchors: String = keys
            .iter()
            .map(|key| format!("    trust-anchor: \"{key}\"\n"))
            .collect();
        let further = format!("    ede: yes\n{anchors}");
        let configuration = configuration(ports.plain, behind, "validator iterator", &further);
        Self::run(launch(&configuration), ports)
    }

    /// Waits until it has verified an address.
    pub(super) fn await_secure(&self, name: &str) -> anyhow::Result<()> {
        let query = Query::new(name, RecordType::A).dnssec_ok(true);
        let client = Client::udp(self.addr());
        let secure = || {
            let response = client.ask(&query).ok()?;
            response.metadata.authentic_data.then_some(())
        };
        wait_for(secure).with_context(|| self.process.lines().join("\n"))
    }

    /// Runs it.
    fn run(launch: Launch, ports: Ports) -> anyhow::Result<Self> {
        let process = launch.start()?;
        process.wait_for_line("start of service")?;
        Ok(Self { process, ports })
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Its ports.
    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    /// Where it answers over UDP and TCP.
    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.plain))
    }
}

// === impl Ports ===

impl Ports {
    /// Ports that are free.
    fn new() -> Self {
        Self {
            plain: free_port(),
            tls: free_port(),
            https: free_port(),
        }
    }

    /// The upstream over TLS; it has to be `name`.
    pub(super) fn tls_upstream(self, name: &str) -> String {
        format!("tls://127.0.0.1%{name}:{}", self.tls)
    }

    /// The upstream over HTTPS; it has to be `name`.
    pub(super) fn https_upstream(self, name: &str) -> String {
        format!("https://127.0.0.1%{name}:{}", self.https)
    }

    /// A Corefile that forwards to it over TLS.
    pub(super) fn over_tls(self, name: &str, authority: &Path) -> String {
        corefile(&self.tls_upstream(name), authority)
    }

    /// A Corefile that forwards to it over HTTPS.
    pub(super) fn over_https(self, name: &str, authority: &Path) -> String {
        corefile(&self.https_upstream(name), authority)
    }
}

/// How it is started.
fn launch(configuration: &str) -> Launch {
    Launch::new("/usr/sbin/unbound")
        .unconfined()
        .args(["-d", "-c", "unbound.conf"])
        .file("unbound.conf", configuration)
}

/// The configuration of one that listens at `port`.
fn configuration(port: u16, behind: SocketAddr, modules: &str, further: &str) -> String {
    CONFIGURATION
        .replace("PORT", &port.to_string())
        .replace("BEHIND", &format!("{}@{}", behind.ip(), behind.port()))
        .replace("MODULES", modules)
        .replace("FURTHER", further)
}

/// A Corefile with encrypted upstreams.
pub(super) fn corefile(upstreams: &str, authority: &Path) -> String {
    format!(
        ".:PORT {{\n forward . {upstreams} {{\n  tls {}\n }}\n errors\n}}\n",
        authority.display()
    )
}
