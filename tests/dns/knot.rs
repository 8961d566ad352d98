//! A real authoritative server behind the one under test: Knot DNS.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::free_port;

/// Knot DNS with two zones: `ilude.com`, and `signed.test`, which it signs.
#[derive(Debug)]
pub(super) struct Knot {
    /// The process.
    process: Process,
    /// Where it answers.
    addr: SocketAddr,
}

/// The configuration; `PORT` stands for the port.
const CONFIGURATION: &str = "\
server:
    rundir: run
    listen: 127.0.0.1@PORT
    version: portolan-test
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: db
template:
  - id: default
    storage: .
    semantic-checks: off
    zonefile-sync: -1
zone:
  - domain: ilude.com
    file: plain.zone
  - domain: signed.test
    file: signed.zone
    dnssec-signing: on
";

/// `ilude.com`: ordinary types, chains, and types of nobody.
const PLAIN: &str = "\
$TTL 300
@       SOA  ns hostmaster 1 3600 600 86400 60
@       NS   ns
@       MX   10 mail
ns      A    127.0.0.1
mail    A    203.0.113.25
www     A    203.0.113.80
www     A    203.0.113.81
www     AAAA 2001:db8::80
alias   CNAME alias2
alias2  CNAME alias3
alias3  CNAME www
away    CNAME www.signed.test.
nowhere CNAME gone
text    TXT  \"one\" \"two words\"
svc     HTTPS 1 . alpn=h2 port=8443 ipv4hint=203.0.113.80
_sip._tcp SRV 0 5 5060 www
odd     TYPE65280 \\# 4 deadbeef
empty   TYPE65281 \\# 0
*.wild  A    203.0.113.99
a.b.ent A    203.0.113.7
caa     CAA  0 issue \"ca.example\"
sub     NS   ns.sub
ns.sub  A    203.0.113.53
";

/// `signed.test`.
const SIGNED: &str = "\
$TTL 300
@    SOA  ns hostmaster 1 3600 600 86400 60
@    NS   ns
ns   A    127.0.0.1
www  A    203.0.113.82
web  CNAME www
";

// === impl Knot ===

impl Knot {
    /// Starts it and waits until it answers.
    pub(super) fn start() -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let configuration = CONFIGURATION.replace("PORT", &addr.port().to_string());
        let plain = format!("{PLAIN}{}", large_text());
        let process = Launch::new("/usr/sbin/knotd")
            .args(["-c", "knot.conf"])
            .file("knot.conf", &configuration)
            .file("plain.zone", &plain)
            .file("signed.zone", SIGNED)
            .file("run/.keep", "")
            .file("db/.keep", "")
            .start()?;
        process.wait_for_line("server started")?;
        process
            .wait_for_line("[signed.test.] loaded")
            .context("the signed zone")?;
        process
            .wait_for_line("[ilude.com.] loaded")
            .context("the plain zone")?;
        Ok(Self { process, addr })
    }

    /// Where it answers.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> &Path {
        self.process.directory()
    }
}

/// A TXT record set of 4,000 octets: more than a datagram takes.
fn large_text() -> String {
    let strings: Vec<String> = ('a'..='t')
        .map(|c| format!("\"{}\"", c.to_string().repeat(200)))
        .collect();
    format!("large TXT {}\n", strings.join(" "))
}
