//! A real resolver that is not Unbound: BIND, in front of Knot DNS.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use anyhow::Context as _;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::free_port;

/// BIND's named, over UDP and TCP.
#[derive(Debug)]
pub(super) struct Named {
    /// The process.
    _process: Process,
    /// Where it answers.
    addr: SocketAddr,
}

/// The configuration before the keys; capitals stand for ports. What is said
/// besides the answer would depend on what was asked before, and so would
/// denials made from those of other names.
const CONFIGURATION: &str = "\
options {
    directory \".\";
    managed-keys-directory \".\";
    pid-file none;
    session-keyfile \"session.key\";
    listen-on port PORT { 127.0.0.1; };
    listen-on-v6 { none; };
    forwarders { 127.0.0.1 port BEHIND; };
    forward only;
    recursion yes;
    minimal-responses yes;
    synth-from-dnssec no;
    dnssec-validation yes;
};
controls { };
";

// === impl Named ===

impl Named {
    /// Starts one that asks a server behind it and verifies what has to be
    /// signed by keys, given as DNSKEY records.
    pub(super) fn validating(behind: SocketAddr, keys: &[String]) -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut configuration = CONFIGURATION
            .replace("PORT", &addr.port().to_string())
            .replace("BEHIND", &behind.port().to_string());
        configuration.push_str("trust-anchors {\n");
        for key in keys {
            writeln!(configuration, "    {};", anchor(key)?)?;
        }
        configuration.push_str("};\n");
        // In the foreground, on one core.
        let process = Launch::new("/usr/sbin/named")
            .unconfined()
            .args(["-g", "-n", "1", "-c", "named.conf"])
            .file("named.conf", &configuration)
            .start()?;
        process.wait_for_line(" running")?;
        Ok(Self {
            _process: process,
            addr,
        })
    }

    /// Where it answers.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A DNSKEY record as a trust anchor.
fn anchor(key: &str) -> anyhow::Result<String> {
    let (owner, data) = key.split_once(" DNSKEY ").context("no DNSKEY record")?;
    let owner = owner.split_whitespace().next().unwrap_or_default();
    let fields: Vec<&str> = data.split_whitespace().collect();
    let (numbers, text) = fields.split_at_checked(3).context("a short DNSKEY")?;
    Ok(format!(
        "{owner} static-key {} \"{}\"",
        numbers.join(" "),
        text.concat()
    ))
}
