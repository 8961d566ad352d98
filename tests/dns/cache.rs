//! `cache`: what upstreams said, for as long as it is true.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_proto::Flags;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::client::Query;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::Reply;

use super::answer::STALE_ANSWER;
use super::answer::addresses;
use super::answer::ede;
use super::answer::ips;
use super::answer::rcode;
use super::answer::soa;
use super::server::Server;
use super::upstream::Upstream;

/// A server with a cache in front of one upstream.
fn server(upstream: &Upstream, cache: &str) -> anyhow::Result<Server> {
    let addr = upstream.addr();
    Server::start(&format!(".:PORT {{\n forward . {addr}\n {cache}\n}}\n"))
}

#[test]
fn an_answer_ages_and_the_upstream_is_left_alone() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream, "cache")?;
    let first = server.udp().query("a.test", RecordType::A)?;
    assert_eq!((first.answers[0].ttl, upstream.count()), (60, 1));
    pause(Duration::from_millis(1_200));
    for client in server.both() {
        let later = client.query("a.test", RecordType::A)?;
        assert!((50..=59).contains(&later.answers[0].ttl), "{later:?}");
        assert_eq!(addresses(&later), addresses(&first));
    }
    assert_eq!(upstream.count(), 1);
    Ok(())
}

#[test]
fn ttls_are_held_within_bounds() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let text = query.qname.to_string();
        let ttl = text
            .split('.')
            .next()
            .and_then(|label| label.parse().ok())
            .unwrap_or(0);
        Reply::to(query).a([192, 0, 2, 1], ttl).send()
    })?;
    let server = server(&upstream, "cache 10")?;
    for (name, ttls, asked) in [
        ("3600.test", 9..=10, 1),
        ("1.test", 4..=5, 1),
        ("7.test", 6..=7, 1),
        // For this once alone (RFC 1035 §3.2.1). The other means the same
        // (RFC 2181 §8), and is not ours to change.
        ("0.test", 0..=0, 2),
        ("4294967295.test", u32::MAX..=u32::MAX, 2),
    ] {
        let before = upstream.count();
        for _ in 0..2 {
            let response = server.udp().query(name, RecordType::A)?;
            assert!(
                ttls.contains(&response.answers[0].ttl),
                "{name}: {response:?}"
            );
        }
        assert_eq!(upstream.count() - before, asked, "{name}");
    }
    Ok(())
}

#[test]
fn denials_are_kept_with_their_soa() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let reply = Reply::to(query).soa(60, 60);
        match query.qtype {
            Rtype::A => reply.rcode(Rcode::NXDOMAIN).send(),
            _ => reply.send(),
        }
    })?;
    let server = server(&upstream, "cache")?;
    for _ in 0..2 {
        for (qtype, expected) in [
            (RecordType::A, ResponseCode::NXDomain),
            (RecordType::AAAA, ResponseCode::NoError),
        ] {
            let response = server.udp().query("No.test", qtype)?;
            assert_eq!(rcode(&response), expected);
            let (owner, ttl, _) = soa(&response).expect("a SOA");
            assert!(owner.eq_ignore_ascii_case("no.test."), "{owner}");
            assert!((58..=60).contains(&ttl), "{ttl}");
        }
    }
    assert_eq!(upstream.count(), 2);
    Ok(())
}

#[test]
fn failures_are_kept_for_a_while_or_not_at_all() -> anyhow::Result<()> {
    for (cache, kept) in [("cache", true), ("cache {\n servfail 0\n }", false)] {
        let upstream = Upstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send())?;
        let server = server(&upstream, cache)?;
        assert_eq!(
            rcode(&server.udp().query("a.test", RecordType::A)?),
            ResponseCode::ServFail
        );
        let asked = upstream.count();
        assert_eq!(
            rcode(&server.udp().query("a.test", RecordType::A)?),
            ResponseCode::ServFail
        );
        assert_eq!(upstream.count() == asked, kept, "{cache}");
    }
    Ok(())
}

#[test]
fn what_is_refused_or_truncated_is_not_kept() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| match query.qname.to_string().as_str() {
        "refused.test." => Reply::to(query).rcode(Rcode::REFUSED).send(),
        _ => Reply::to(query).truncated().send(),
    })?;
    let server = server(&upstream, "cache")?;
    for name in ["refused.test", "truncated.test"] {
        server.udp().query(name, RecordType::A)?;
        let asked = upstream.count();
        server.udp().query(name, RecordType::A)?;
        assert!(upstream.count() > asked, "{name}");
    }
    Ok(())
}

#[test]
fn names_differ_by_what_is_asked_and_not_by_case() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream, "cache")?;
    let query = |name: &str| Query::new(name, RecordType::A);
    for (query, asked) in [
        (query("a.test"), 1),
        (query("A.Test"), 1),
        (query("a.test").edns(1232), 1),
        (query("a.test").recursion_desired(false), 1),
        (query("a.test").dnssec_ok(true), 2),
        (query("a.test").checking_disabled(true), 3),
        (query("a.test").dnssec_ok(true).checking_disabled(true), 4),
        (query("b.test"), 5),
        (query("a.test").dnssec_ok(true), 5),
    ] {
        let response = server.udp().ask(&query)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
        assert_eq!(upstream.count(), asked, "{query:?}");
    }
    Ok(())
}

#[test]
fn the_case_of_each_query_comes_back_from_the_cache() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&upstream, "cache")?;
    for name in ["www.example.org", "WWW.EXAMPLE.ORG", "wWw.eXaMpLe.oRg"] {
        for client in server.both() {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(response.answers[0].name.to_ascii(), format!("{name}."));
        }
    }
    assert_eq!(upstream.count(), 1);
    Ok(())
}

#[test]
fn aa_is_the_upstreams_and_ad_for_those_who_ask() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let authoritative = query.qname.to_string().starts_with("aa.");
        let flags = if authoritative {
            Flags::AUTHORITATIVE
        } else {
            0
        };
        let reply = Reply::to(query).flags(flags | Flags::AUTHENTIC_DATA);
        reply.a([192, 0, 2, 1], 60).send()
    })?;
    let server = server(&upstream, "cache")?;
    for name in ["a.test", "aa.test"] {
        for _ in 0..2 {
            let query = Query::new(name, RecordType::A);
            for (query, wants) in [
                (query.clone(), false),
                (query.clone().authentic_data(true), true),
                (query.clone().dnssec_ok(true), true),
            ] {
                let flags = server.udp().ask(&query)?.metadata;
                assert_eq!(flags.authoritative, name == "aa.test");
                assert_eq!(flags.authentic_data, wants, "{query:?}");
                assert!(flags.recursion_available);
            }
        }
    }
    Ok(())
}

#[test]
fn local_names_come_before_what_is_kept() -> anyhow::Result<()> {
    let upstream = Upstream::answering(300)?;
    let corefile = format!(
        ".:PORT {{\n hosts hosts {{\n fallthrough\n }}\n forward . {}\n cache\n}}\n",
        upstream.addr()
    );
    let server = Server::with_hosts(&corefile, "")?;
    let found = || anyhow::Ok(addresses(&server.udp().query("a.test", RecordType::A)?));
    assert_eq!(found()?, ips(&["192.0.2.1"]));
    let file = server.process().directory().join("hosts");
    for (text, expected) in [
        ("10.0.0.7 a.test\n", "10.0.0.7"),
        ("10.0.0.7 b.test\n", "192.0.2.1"),
    ] {
        std::fs::write(&file, text)?;
        let start = clock();
        while found()? != ips(&[expected]) {
            assert!(start.elapsed() < PATIENCE, "{:?}", found()?);
            pause(Duration::from_millis(20));
        }
    }
    assert_eq!(upstream.count(), 1);
    Ok(())
}

#[test]
fn an_expired_answer_helps_when_the_upstream_is_gone() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| match query.index {
        0 => Reply::to(query).a([192, 0, 2, 1], 1).send(),
        _ => Action::Drop,
    })?;
    let server = server(&upstream, "cache {\n success 100 1 1\n serve_stale\n }")?;
    let query = Query::new("a.test", RecordType::A).edns(1232);
    assert_eq!(ede(&server.udp().ask(&query)?), None);
    pause(Duration::from_millis(1_500));
    let response = server.udp().ask(&query)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
    assert_eq!(
        (response.answers[0].ttl, ede(&response)),
        (0, Some(STALE_ANSWER))
    );
    Ok(())
}

#[test]
fn many_who_ask_the_same_are_one_question() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        super::upstream::after(400, Reply::to(query).a([192, 0, 2, 1], 60).send())
    })?;
    // One attempt, however long it takes: what is counted is how many questions
    // there are, not how often one of them is repeated. A client that comes
    // late is answered by the cache.
    let server = Server::start(&format!(
        ".:PORT {{\n cache\n forward . {} {{\n  max_connect_attempts 1\n }}\n}}\n",
        upstream.addr()
    ))?;
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| server.udp().query("same.test", RecordType::A)))
            .collect();
        for asked in asking {
            let response = asked.join().expect("no panic").expect("a response");
            assert_eq!(rcode(&response), ResponseCode::NoError);
        }
    });
    assert_eq!(upstream.count(), 1);
    Ok(())
}
