//! A real resolver that speaks every transport: Unbound, in front of Knot DNS.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::free_port;
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

/// The configuration; capitals stand for ports.
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
    interface: 127.0.0.1@PLAIN
    interface: 127.0.0.1@TLS
    interface: 127.0.0.1@HTTPS
    tls-port: TLS
    https-port: HTTPS
    tls-service-pem: \"server.pem\"
    tls-service-key: \"server.key\"
    module-config: \"iterator\"
    do-not-query-localhost: no
    rrset-roundrobin: no
    minimal-responses: no
    local-zone: \"test.\" nodefault
forward-zone:
    name: \".\"
    forward-addr: BEHIND
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
        let configuration = CONFIGURATION
            .replace("BEHIND", &format!("{}@{}", behind.ip(), behind.port()))
            .replace("PLAIN", &ports.plain.to_string())
            .replace("HTTPS", &ports.https.to_string())
            .replace("TLS", &ports.tls.to_string());
        let process = Launch::new("/usr/sbin/unbound")
            .args(["-d", "-c", "unbound.conf"])
            .file("unbound.conf", &configuration)
            .file("server.pem", &identity.certificate)
            .file("server.key", &identity.key)
            .start()?;
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

/// A Corefile with encrypted upstreams.
pub(super) fn corefile(upstreams: &str, authority: &Path) -> String {
    format!(
        ".:PORT {{\n forward . {upstreams} {{\n  tls {}\n }}\n errors\n}}\n",
        authority.display()
    )
}
