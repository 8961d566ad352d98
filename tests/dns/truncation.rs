//! Answers that are too long for a datagram.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use portolan_proto::Rtype;
use portolan_testkit::client::Query;
use portolan_testkit::upstream::Reply;

use super::answer::addresses;
use super::server::Server;
use super::upstream::Upstream;

/// A hundred addresses of one name.
fn hosts() -> String {
    (1..=100).fold(String::new(), |mut text, last| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "192.0.2.{last} many.test\n2001:db8::{last} many.test");
        text
    })
}

/// The response in octets, read.
fn exchange(server: &Server, query: &Query) -> anyhow::Result<(usize, Message)> {
    let octets = server.udp().exchange(&query.encode()?)?.unwrap_or_default();
    Ok((octets.len(), Message::from_vec(&octets)?))
}

#[test]
fn a_datagram_holds_whole_records_up_to_its_limit() -> anyhow::Result<()> {
    let server = Server::with_hosts(".:PORT {\n hosts hosts\n}\n", &hosts())?;
    for (qtype, record) in [(RecordType::A, 16), (RecordType::AAAA, 28)] {
        let plain = Query::new("many.test", qtype);
        for (query, limit, opt) in [
            (plain.clone(), 512, 0),
            (plain.clone().edns(512), 512, 11),
            (plain.clone().edns(1000), 1000, 11),
            (plain.clone().edns(1232), 1232, 11),
            (plain.clone().edns(4096), 1232, 11),
            (plain.clone().edns(65_535), 1232, 11),
        ] {
            let (length, response) = exchange(&server, &query)?;
            assert!(response.metadata.truncation, "{qtype} {limit}");
            // Header and question are 27 octets. As many as fit, no more.
            let fitting = (limit - 27 - opt) / record;
            assert_eq!(response.answers.len(), fitting, "{qtype} {limit}");
            assert_eq!(length, 27 + opt + fitting * record, "{qtype} {limit}");
            assert_eq!(response.edns.is_some(), opt > 0);
        }
        let response = server.tcp().query("many.test", qtype)?;
        assert!(!response.metadata.truncation);
        assert_eq!(response.answers.len(), 100);
    }
    Ok(())
}

#[test]
fn what_is_cut_off_rotates_as_well() -> anyhow::Result<()> {
    let server = Server::with_hosts(".:PORT {\n hosts hosts\n}\n", &hosts())?;
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        seen.extend(addresses(&server.udp().query("many.test", RecordType::A)?));
    }
    assert_eq!(seen.len(), 100);
    Ok(())
}

#[test]
fn what_an_upstream_says_is_cut_for_each_client() -> anyhow::Result<()> {
    // 60 addresses of 16 octets: more than 512, less than 1232.
    let upstream = Upstream::start(|query| {
        let reply = (1..=60).fold(Reply::to(query), |reply, last| {
            reply.answer(Rtype::A, 300, &[192, 0, 2, last])
        });
        reply.send()
    })?;
    for cache in ["", "cache"] {
        let corefile = format!(".:PORT {{\n forward . {}\n {cache}\n}}\n", upstream.addr());
        let server = Server::start(&corefile)?;
        // Twice: from the upstream, from the cache.
        for _ in 0..2 {
            for (query, limit) in [
                (Query::new("x.test", RecordType::A), 512),
                (Query::new("x.test", RecordType::A).edns(700), 700),
            ] {
                let (length, response) = exchange(&server, &query)?;
                assert!(response.metadata.truncation, "{cache} {limit}");
                assert!(length <= limit, "{cache}: {length}");
                // No part of a set without the rest (RFC 2181 §9).
                assert_eq!(response.answers.len(), 0, "{cache} {limit}");
            }
            let whole = Query::new("x.test", RecordType::A).edns(1232);
            let (_, response) = exchange(&server, &whole)?;
            assert!(!response.metadata.truncation);
            assert_eq!(response.answers.len(), 60);
            let response = server.tcp().query("x.test", RecordType::A)?;
            assert_eq!(response.answers.len(), 60);
        }
    }
    Ok(())
}

#[test]
fn additional_records_go_first_and_without_tc() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let reply = (1..=20).fold(Reply::to(query), |reply, last| {
            reply.answer(Rtype::A, 300, &[192, 0, 2, last])
        });
        let glue = "ns.example.net".parse().expect("a name");
        let reply = (1..=20).fold(reply, |reply, last| {
            reply.additional(&glue, Rtype::A, 300, &[192, 0, 2, last])
        });
        reply.send()
    })?;
    let server = Server::start(&format!(".:PORT {{\n forward . {}\n}}\n", upstream.addr()))?;
    let (length, response) = exchange(&server, &Query::new("x.test", RecordType::A))?;
    assert!(
        length <= 512 && !response.metadata.truncation,
        "{response:?}"
    );
    assert_eq!(
        (response.answers.len(), response.additionals.len()),
        (20, 0)
    );
    Ok(())
}
