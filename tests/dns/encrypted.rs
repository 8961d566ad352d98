//! Upstreams over TLS and HTTPS: a real one, and bad certificates.

use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::process::clock;
use portolan_testkit::tls::Authority;
use portolan_testkit::tls::Identity;
use portolan_testkit::tls::Validity;
use tempfile::TempDir;

use super::answer::NETWORK_ERROR;
use super::answer::ede;
use super::answer::rcode;
use super::knot::Knot;
use super::server::Server;
use super::unbound::Unbound;
use super::upstream::Upstream;
use crate::support::needs;

/// The name of the upstream.
pub(super) const NAME: &str = "dns.example";

/// Names and types of the zones behind it, and some that are not there.
const QUESTIONS: &[(&str, RecordType)] = &[
    ("ilude.com", RecordType::SOA),
    ("ilude.com", RecordType::MX),
    ("wWw.IlUdE.cOm", RecordType::A),
    ("www.ilude.com", RecordType::AAAA),
    ("www.ilude.com", RecordType::TXT),
    ("alias.ilude.com", RecordType::A),
    ("nowhere.ilude.com", RecordType::A),
    ("text.ilude.com", RecordType::TXT),
    ("large.ilude.com", RecordType::TXT),
    ("svc.ilude.com", RecordType::HTTPS),
    ("_sip._tcp.ilude.com", RecordType::SRV),
    ("odd.ilude.com", RecordType::Unknown(65280)),
    ("x.wild.ilude.com", RecordType::A),
    ("gone.ilude.com", RecordType::A),
    ("caa.ilude.com", RecordType::CAA),
    ("www.signed.test", RecordType::A),
    ("signed.test", RecordType::DNSKEY),
    ("gone.signed.test", RecordType::A),
];

#[test]
fn a_response_passes_unchanged_over_tls_and_https() -> anyhow::Result<()> {
    if !needs(&["knotd", "unbound"]) {
        return Ok(());
    }
    let trust = Trust::new()?;
    let knot = Knot::start()?;
    let unbound = Unbound::start(&trust.identity(NAME, Validity::Current)?, knot.addr())?;
    let direct = Client::tcp(unbound.addr());
    for corefile in [
        unbound.ports().over_tls(NAME, &trust.path()),
        unbound.ports().over_https(NAME, &trust.path()),
    ] {
        let server = Server::start(&corefile)?;
        for (name, qtype) in QUESTIONS {
            let plain = Query::new(name, *qtype);
            for query in [
                plain.clone(),
                plain.clone().edns(1232),
                plain.clone().dnssec_ok(true),
                plain.dnssec_ok(true).checking_disabled(true),
            ] {
                let (ours, theirs) = (server.tcp().ask(&query)?, direct.ask(&query)?);
                assert_eq!(said(&ours), said(&theirs), "{query:?}\n{corefile}");
                let ours = server.udp().ask(&query)?;
                if !ours.metadata.truncation {
                    assert_eq!(said(&ours), said(&theirs), "{query:?}\n{corefile}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn an_upstream_that_does_not_prove_its_name_is_told_nothing() -> anyhow::Result<()> {
    if !needs(&["unbound"]) {
        return Ok(());
    }
    let trust = Trust::new()?;
    for identity in [
        trust.identity("other.example", Validity::Current)?,
        trust.identity(NAME, Validity::Expired)?,
        Identity::self_signed(&[NAME])?,
    ] {
        let behind = Upstream::answering(60)?;
        let unbound = Unbound::start(&identity, behind.addr())?;
        for corefile in [
            unbound.ports().over_tls(NAME, &trust.path()),
            unbound.ports().over_https(NAME, &trust.path()),
        ] {
            let server = Server::start(&corefile)?;
            let start = clock();
            let query = Query::new("secret.example", RecordType::A).edns(1232);
            let response = server.udp().ask(&query)?;
            assert_eq!(rcode(&response), ResponseCode::ServFail);
            assert_eq!(ede(&response), Some(NETWORK_ERROR));
            assert!(start.elapsed() < Duration::from_millis(1500));
            server
                .process()
                .wait_for_line("tls: invalid peer certificate")?;
        }
        assert_eq!(behind.count(), 0);
    }
    Ok(())
}

#[test]
fn an_upstream_that_restarts_is_used_again() -> anyhow::Result<()> {
    if !needs(&["unbound"]) {
        return Ok(());
    }
    let trust = Trust::new()?;
    let identity = trust.identity(NAME, Validity::Current)?;
    let behind = Upstream::answering(0)?;
    let mut unbound = Unbound::start(&identity, behind.addr())?;
    let ports = unbound.ports();
    let servers = [
        Server::start(&ports.over_tls(NAME, &trust.path()))?,
        Server::start(&ports.over_https(NAME, &trust.path()))?,
    ];
    for round in 0..3 {
        for server in &servers {
            let start = clock();
            let response = server
                .udp()
                .query(&format!("n{round}.test"), RecordType::A)?;
            assert_eq!(
                rcode(&response),
                ResponseCode::NoError,
                "{}",
                server.output()
            );
            assert!(start.elapsed() < Duration::from_millis(1500));
        }
        drop(unbound);
        unbound = Unbound::start_at(ports, &identity, behind.addr())?;
    }
    Ok(())
}

/// The code and the records, without TTL and in some order: Unbound keeps
/// what it says, and counts down.
fn said(message: &Message) -> (ResponseCode, bool, [Vec<String>; 3]) {
    let texts = |records: &[Record]| {
        let mut texts: Vec<String> = records
            .iter()
            .map(|record| format!("{} {:?} {:?}", record.name, record.dns_class, record.data))
            .collect();
        texts.sort();
        texts
    };
    (
        rcode(message),
        message.metadata.truncation,
        [
            texts(&message.answers),
            texts(&message.authorities),
            texts(&message.additionals),
        ],
    )
}

/// An authority, and its certificate in a file.
pub(super) struct Trust {
    /// The authority.
    authority: Authority,
    /// Where its certificate is.
    directory: TempDir,
}

impl Trust {
    /// A new one.
    pub(super) fn new() -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let directory = TempDir::new()?;
        std::fs::write(directory.path().join("ca.pem"), authority.pem())?;
        Ok(Self {
            authority,
            directory,
        })
    }

    /// Where its certificate is.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Vouches for a server.
    pub(super) fn identity(&self, name: &str, validity: Validity) -> anyhow::Result<Identity> {
        self.authority.issue(&[name], validity)
    }
}
