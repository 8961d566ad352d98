//! A real authoritative server behind the one under test: Knot DNS.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;

/// Knot DNS. Unless a test says otherwise it has two zones: `ilude.com`, and
/// `signed.test`, which it signs.
#[derive(Debug)]
pub(super) struct Knot {
    /// The process.
    process: Process,
    /// Where it answers.
    addr: SocketAddr,
}

/// A zone to serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone<'a> {
    /// Its apex, without the last dot; empty for the root.
    pub(super) apex: &'a str,
    /// Its records, in master file form.
    pub(super) records: &'a str,
    /// Whether it is signed, and how.
    pub(super) signing: Signing,
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signing {
    /// It is not.
    None,
    /// Denials name names (RFC 4034).
    Nsec,
    /// Denials name hashes (RFC 5155).
    Nsec3,
}

/// The configuration before the zones; `PORT` stands for the port.
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
policy:
  - id: nsec3
    nsec3: on
    nsec3-iterations: 0
zone:
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
    /// Starts it with `ilude.com` and `signed.test`, and waits until it
    /// answers.
    pub(super) fn start() -> anyhow::Result<Self> {
        let plain = format!("{PLAIN}{}", large_text());
        Self::serving(&[
            Zone {
                apex: "ilude.com",
                records: &plain,
                signing: Signing::None,
            },
            Zone {
                apex: "signed.test",
                records: SIGNED,
                signing: Signing::Nsec,
            },
        ])
    }

    /// Starts it with zones and waits until it answers.
    pub(super) fn serving(zones: &[Zone<'_>]) -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut configuration = CONFIGURATION.replace("PORT", &addr.port().to_string());
        let mut launch = Launch::new("/usr/sbin/knotd")
            .args(["-c", "knot.conf"])
            .file("run/.keep", "")
            .file("db/.keep", "");
        for (index, zone) in zones.iter().enumerate() {
            let file = format!("{index}.zone");
            configuration.push_str(&zone.configuration(&file));
            launch = launch.file(&file, zone.records);
        }
        let process = launch.file("knot.conf", &configuration).start()?;
        process.wait_for_line("server started")?;
        for zone in zones {
            let line = format!("[{}.] loaded", zone.apex);
            process.wait_for_line(&line)?;
        }
        Ok(Self { process, addr })
    }

    /// The key that a zone's keys are signed with, as a DNSKEY record.
    pub(super) fn key(&self, apex: &str) -> anyhow::Result<String> {
        let key = || {
            let keymgr = Command::new("keymgr")
                .args(["-c", "knot.conf", apex, "dnskey"])
                .current_dir(self.directory())
                .output()
                .ok()?;
            let text = String::from_utf8_lossy(&keymgr.stdout);
            let key = text.lines().find(|line| line.contains(" DNSKEY 257 "))?;
            Some(key.to_owned())
        };
        wait_for(key).with_context(|| format!("keymgr shows no key of {apex}"))
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

// === impl Zone ===

impl Zone<'_> {
    /// Its part of the configuration.
    fn configuration(&self, file: &str) -> String {
        let signing = match self.signing {
            Signing::None => "",
            Signing::Nsec => "    dnssec-signing: on\n",
            Signing::Nsec3 => "    dnssec-signing: on\n    dnssec-policy: nsec3\n",
        };
        format!("  - domain: {}.\n    file: {file}\n{signing}", self.apex)
    }
}

/// A TXT record set of 4,000 octets: more than a datagram takes.
fn large_text() -> String {
    let strings: Vec<String> = ('a'..='t')
        .map(|c| format!("\"{}\"", c.to_string().repeat(200)))
        .collect();
    format!("large TXT {}\n", strings.join(" "))
}
