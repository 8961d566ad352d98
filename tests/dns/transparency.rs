//! What a real upstream says arrives as it was said (RFC 5625, RFC 3597).

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;

use super::answer::rcode;
use super::answer::types;
use super::knot::Knot;
use super::server::Server;
use super::unbound::Unbound;
use crate::support::needs;

/// Names and types of the zones, and some that are not there.
const QUESTIONS: &[(&str, RecordType)] = &[
    ("ilude.com", RecordType::SOA),
    ("ilude.com", RecordType::NS),
    ("ilude.com", RecordType::MX),
    ("www.ilude.com", RecordType::A),
    ("wWw.IlUdE.cOm", RecordType::A),
    ("www.ilude.com", RecordType::AAAA),
    ("www.ilude.com", RecordType::TXT),
    ("www.ilude.com", RecordType::Unknown(65280)),
    ("alias.ilude.com", RecordType::A),
    ("alias.ilude.com", RecordType::AAAA),
    ("alias.ilude.com", RecordType::CNAME),
    ("alias.ilude.com", RecordType::TXT),
    ("away.ilude.com", RecordType::A),
    ("nowhere.ilude.com", RecordType::A),
    ("text.ilude.com", RecordType::TXT),
    ("svc.ilude.com", RecordType::HTTPS),
    ("_sip._tcp.ilude.com", RecordType::SRV),
    ("odd.ilude.com", RecordType::Unknown(65280)),
    ("x.wild.ilude.com", RecordType::A),
    ("ent.ilude.com", RecordType::A),
    ("gone.ilude.com", RecordType::A),
    ("caa.ilude.com", RecordType::CAA),
    ("x.sub.ilude.com", RecordType::A),
    ("signed.test", RecordType::DNSKEY),
    ("www.signed.test", RecordType::A),
    ("www.signed.test", RecordType::AAAA),
    ("web.signed.test", RecordType::A),
    ("gone.signed.test", RecordType::A),
    ("gone.signed.test", RecordType::DS),
];

/// The sections and flags that have to be the same.
fn said(message: &Message) -> (ResponseCode, [bool; 2], [Vec<Record>; 3]) {
    let flags = &message.metadata;
    (
        flags.response_code,
        [flags.authoritative, flags.truncation],
        [
            message.answers.clone(),
            message.authorities.clone(),
            message.additionals.clone(),
        ],
    )
}

/// The ways to ask a question.
fn variants(name: &str, qtype: RecordType) -> [Query; 5] {
    let plain = Query::new(name, qtype);
    [
        plain.clone(),
        plain.clone().edns(1232),
        plain.clone().dnssec_ok(true),
        plain.clone().dnssec_ok(true).checking_disabled(true),
        plain.recursion_desired(false),
    ]
}

#[test]
fn a_response_passes_unchanged() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let server = Server::start(&format!(".:PORT {{\n forward . {}\n}}\n", knot.addr()))?;
    let direct = [Client::udp(knot.addr()), Client::tcp(knot.addr())];
    for (client, direct) in server.both().into_iter().zip(direct) {
        for (name, qtype) in QUESTIONS {
            for query in variants(name, *qtype) {
                let (ours, theirs) = (client.ask(&query)?, direct.ask(&query)?);
                assert_eq!(said(&ours), said(&theirs), "{query:?}");
                // Knot does not echo CD, as it should (RFC 4035 §3.2.2).
                let sent = query.encode()?[3] & 0x10 != 0;
                assert_eq!(ours.metadata.checking_disabled, sent);
                // Knot does not resolve; what it says with authority is as good.
                let authoritative = theirs.metadata.authoritative;
                assert_eq!(ours.metadata.recursion_available, authoritative);
                assert_eq!(ours.edns.is_some(), theirs.edns.is_some(), "{query:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_record_without_data_passes() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {}\n cache\n}}\n",
        knot.addr()
    ))?;
    let query = Query::new("empty.ilude.com", RecordType::Unknown(65281)).encode()?;
    let direct = Client::udp(knot.addr())
        .exchange(&query)?
        .unwrap_or_default();
    assert_eq!(direct.get(6..8), Some(&[0, 1][..]));
    for client in [server.both(), server.both()].into_iter().flatten() {
        let ours = client.exchange(&query)?.unwrap_or_default();
        // From the counts on.
        assert_eq!(ours.get(4..), direct.get(4..));
    }
    Ok(())
}

#[test]
fn a_response_passes_unchanged_through_the_cache() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let corefile = format!(
        ".:PORT {{\n forward . {}\n cache {{\n keepttl\n }}\n}}\n",
        knot.addr()
    );
    let server = Server::start(&corefile)?;
    let direct = Client::tcp(knot.addr());
    // The cache holds one TTL for all records of a message, so that messages
    // of several differ in that.
    let said = |mut message: Message| {
        let sections = [
            &mut message.answers,
            &mut message.authorities,
            &mut message.additionals,
        ];
        sections
            .into_iter()
            .flatten()
            .for_each(|record| record.ttl = 0);
        said(&message)
    };
    for round in 0..2 {
        for (name, qtype) in QUESTIONS {
            for query in variants(name, *qtype) {
                let (ours, theirs) = (server.tcp().ask(&query)?, direct.ask(&query)?);
                assert_eq!(said(ours), said(theirs), "{round} {query:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_long_answer_comes_over_tcp_after_tc() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    for cache in ["", "cache"] {
        let server = Server::start(&format!(
            ".:PORT {{\n forward . {}\n {cache}\n}}\n",
            knot.addr()
        ))?;
        for _ in 0..2 {
            for query in [
                Query::new("large.ilude.com", RecordType::TXT),
                Query::new("large.ilude.com", RecordType::TXT).edns(4096),
            ] {
                let response = server.udp().ask(&query)?;
                assert!(response.metadata.truncation, "{cache} {query:?}");
                let response = server.tcp().ask(&query)?;
                assert!(!response.metadata.truncation);
                assert_eq!(types(&response.answers), [RecordType::TXT]);
                assert!(response.answers[0].data.to_string().len() >= 4000);
            }
        }
    }
    Ok(())
}

#[test]
fn signatures_pass_to_those_who_ask_for_them() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {}\n cache\n}}\n",
        knot.addr()
    ))?;
    let query = Query::new("www.signed.test", RecordType::A);
    for client in [server.both(), server.both()].into_iter().flatten() {
        let response = client.ask(&query)?;
        assert_eq!(types(&response.answers), [RecordType::A]);
        let response = client.ask(&query.clone().dnssec_ok(true))?;
        assert_eq!(types(&response.answers), [RecordType::A, RecordType::RRSIG]);
        let gone = Query::new("gone.signed.test", RecordType::A).dnssec_ok(true);
        let response = client.ask(&gone)?;
        assert_eq!(rcode(&response), ResponseCode::NXDomain);
        assert!(
            types(&response.authorities).contains(&RecordType::NSEC),
            "{response:?}"
        );
    }
    Ok(())
}

#[test]
fn the_chaos_class_reaches_the_upstream() -> anyhow::Result<()> {
    if !needs(&["knotd"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let server = Server::start(&format!(".:PORT {{\n forward . {}\n}}\n", knot.addr()))?;
    for client in server.both() {
        let query = Query::new("version.bind", RecordType::TXT).class(DNSClass::CH);
        let response = client.ask(&query)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
        assert_eq!(response.answers.len(), 1);
        assert_eq!(response.answers[0].dns_class, DNSClass::CH);
        assert!(
            response.answers[0]
                .data
                .to_string()
                .contains("portolan-test")
        );
    }
    Ok(())
}

#[test]
fn a_validating_upstream_vouches_for_what_it_says() -> anyhow::Result<()> {
    if !needs(&["knotd", "unbound", "keymgr"]) {
        return Ok(());
    }
    let knot = Knot::start()?;
    let unbound = Unbound::validating(knot.addr(), &[knot.key("signed.test")?])?;
    unbound.await_secure("www.signed.test")?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {}\n cache\n}}\n",
        unbound.addr()
    ))?;
    // Twice, so that the cache answers as well.
    for client in [server.both(), server.both()].into_iter().flatten() {
        let query = Query::new("www.signed.test", RecordType::A);
        for (query, vouched) in [
            (query.clone(), false),
            (query.clone().authentic_data(true), true),
            (query.clone().dnssec_ok(true), true),
            (
                Query::new("www.ilude.com", RecordType::A).dnssec_ok(true),
                false,
            ),
        ] {
            let response = client.ask(&query)?;
            assert_eq!(rcode(&response), ResponseCode::NoError);
            assert_eq!(response.metadata.authentic_data, vouched, "{query:?}");
            assert!(!response.metadata.authoritative);
        }
    }
    Ok(())
}
