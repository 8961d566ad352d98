//! `forward`: upstreams that answer, and others.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_proto::Rcode;
use portolan_testkit::client::Query;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::clock;
use portolan_testkit::process::free_port;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Reply;

use super::answer::NO_REACHABLE_AUTHORITY;
use super::answer::addresses;
use super::answer::ede;
use super::answer::ips;
use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;

/// A server that knows local.test and forwards the rest.
fn server(upstreams: &[SocketAddr]) -> anyhow::Result<Server> {
    let upstreams: Vec<String> = upstreams.iter().map(SocketAddr::to_string).collect();
    let corefile = format!(
        ".:PORT {{\n errors\n hosts hosts {{\n fallthrough\n }}\n forward . {}\n}}\n",
        upstreams.join(" ")
    );
    Server::with_hosts(&corefile, "192.0.2.7 local.test\n")
}

/// A port that nobody listens at.
fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A query for another name each time.
fn nth(number: usize) -> Query {
    Query::new(&format!("n{number}.outside"), RecordType::A)
}

#[test]
fn a_query_is_passed_on_as_it_came() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&[upstream.addr()])?;
    server
        .udp()
        .ask(&Query::new("wWw.OuTsIdE", RecordType::AAAA))?;
    server
        .tcp()
        .ask(&Query::new("x.outside", RecordType::A).checking_disabled(true))?;
    server
        .udp()
        .ask(&Query::new("y.outside", RecordType::A).recursion_desired(false))?;
    let asked = upstream.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].question, b"\x03wWw\x07OuTsIdE\0\0\x1c\0\x01");
    assert_eq!([asked[0].tcp, asked[1].tcp], [false, true]);
    let (rd, cd) = (0x0100, 0x0010);
    let bits: Vec<u16> = asked
        .iter()
        .map(|query| query.flags.0 & (rd | cd))
        .collect();
    assert_eq!(bits, [rd, rd | cd, 0]);
    // Ids and ports are of our own choosing (RFC 5452 §4.5, §9).
    assert_ne!(asked[0].source.port(), asked[2].source.port());
    Ok(())
}

#[test]
fn source_ports_and_ids_are_not_to_be_guessed() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&[upstream.addr()])?;
    for number in 0..400 {
        server.udp().ask(&nth(number))?;
    }
    let asked = upstream.asked();
    assert!(asked.len() >= 400, "{}", asked.len());
    let ports: Vec<u16> = asked.iter().map(|query| query.source.port()).collect();
    let ids: Vec<u16> = asked.iter().map(|query| query.id).collect();
    for (what, values) in [("ports", &ports), ("ids", &ids)] {
        // RFC 5452 §9.2: drawn from all there are, so hardly ever twice.
        let distinct: BTreeSet<u16> = values.iter().copied().collect();
        assert!(distinct.len() >= 390, "{what}: {}", distinct.len());
        // The next one does not follow from the last one.
        let mut steps: BTreeMap<u16, usize> = BTreeMap::new();
        for pair in values.windows(2) {
            *steps.entry(pair[1].wrapping_sub(pair[0])).or_default() += 1;
        }
        let most = steps.values().max().copied().unwrap_or_default();
        assert!(most <= 5, "{what}: a step {most} times");
    }
    // Each bit of the ids is set half the time; seven deviations are 70.
    for bit in 0..16 {
        let set = ids.iter().filter(|id| **id >> bit & 1 == 1).count();
        let share = set * 400 / ids.len();
        assert!((130..=270).contains(&share), "bit {bit}: {share} of 400");
    }
    // An id does not tell its port.
    let both: BTreeSet<u16> = ports.iter().zip(&ids).map(|(port, id)| port ^ id).collect();
    assert!(both.len() >= 390, "{}", both.len());
    Ok(())
}

#[test]
fn what_the_upstream_says_is_what_the_client_hears() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| match query.qname.to_string().as_str() {
        "no.outside." => Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send(),
        "notimp.outside." => Reply::to(query).rcode(Rcode::NOTIMP).send(),
        "short.outside." => Reply::to(query).without_edns().a([192, 0, 2, 1], 60).send(),
        _ => Reply::to(query).a([192, 0, 2, 1], 60).send(),
    })?;
    let server = server(&[upstream.addr()])?;
    for client in server.both() {
        for (name, expected) in [
            ("no.outside", ResponseCode::NXDomain),
            ("notimp.outside", ResponseCode::NotImp),
            ("short.outside", ResponseCode::NoError),
            ("yes.outside", ResponseCode::NoError),
        ] {
            for query in [
                Query::new(name, RecordType::A),
                Query::new(name, RecordType::A).edns(1232),
            ] {
                let response = client.ask(&query)?;
                assert_eq!(rcode(&response), expected, "{name}");
                assert!(response.metadata.recursion_available);
                assert!(!response.metadata.authoritative);
            }
        }
    }
    Ok(())
}

#[test]
fn one_dead_upstream_of_two_is_not_noticed() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    let server = server(&[nobody(), upstream.addr()])?;
    for client in server.both() {
        for number in 0..20 {
            let response = client.ask(&nth(number))?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{number}");
        }
    }
    Ok(())
}

#[test]
fn one_silent_upstream_of_two_is_not_noticed() -> anyhow::Result<()> {
    let (silent, upstream) = (Upstream::silent()?, Upstream::answering(60)?);
    let server = server(&[silent.addr(), upstream.addr()])?;
    for number in 0..20 {
        let response = server.udp().ask(&nth(number))?;
        assert_eq!(rcode(&response), ResponseCode::NoError, "{number}");
    }
    assert!(upstream.count() >= 20);
    Ok(())
}

#[test]
fn one_failing_upstream_of_two_is_not_noticed() -> anyhow::Result<()> {
    for code in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let failing = Upstream::start(move |query| Reply::to(query).rcode(code).send())?;
        let upstream = Upstream::answering(60)?;
        let server = server(&[failing.addr(), upstream.addr()])?;
        for number in 0..60 {
            let response = server.udp().ask(&nth(number))?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{number}");
        }
        assert!(failing.count() > 0, "nobody asked it");
    }
    Ok(())
}

#[test]
fn without_upstreams_local_names_are_answered_and_others_fail() -> anyhow::Result<()> {
    let server = server(&[nobody(), nobody()])?;
    for client in server.both() {
        let response = client.ask(&nth(1).edns(1232))?;
        assert_eq!(rcode(&response), ResponseCode::ServFail);
        assert_eq!(ede(&response), Some(NO_REACHABLE_AUTHORITY));
        let response = client.query("local.test", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.7"]));
    }
    server.process().wait_for_line("connection refused")?;
    Ok(())
}

#[test]
fn timing_silent_upstreams_fail_before_the_client_gives_up() -> anyhow::Result<()> {
    let silent = [Upstream::silent()?, Upstream::silent()?];
    let server = server(&[silent[0].addr(), silent[1].addr()])?;
    for client in server.both() {
        let start = clock();
        let response = client.ask(&nth(1).edns(1232))?;
        let took = start.elapsed();
        assert_eq!(rcode(&response), ResponseCode::ServFail);
        assert_eq!(ede(&response), Some(NO_REACHABLE_AUTHORITY));
        assert!(took <= Duration::from_secs(3), "{took:?}");
    }
    // Who waits for them does not hold up who need not wait.
    std::thread::scope(|scope| {
        for number in 0..200 {
            let server = &server;
            scope.spawn(move || server.udp().ask(&nth(number)));
        }
        pause(Duration::from_millis(300));
        let mut took: Vec<Duration> = (0..50)
            .map(|_| {
                let start = clock();
                let response = server.udp().query("local.test", RecordType::A);
                assert!(response.is_ok_and(|r| rcode(&r) == ResponseCode::NoError));
                start.elapsed()
            })
            .collect();
        took.sort_unstable();
        assert!(took[25] < Duration::from_millis(10), "{took:?}");
    });
    Ok(())
}

#[test]
fn an_upstream_that_comes_back_is_used_again() -> anyhow::Result<()> {
    let addr = nobody();
    let server = server(&[addr])?;
    assert_eq!(rcode(&server.udp().ask(&nth(0))?), ResponseCode::ServFail);
    let upstream = Upstream::start_at(addr, |query| Reply::to(query).a([192, 0, 2, 1], 60).send())?;
    let start = clock();
    for number in 1.. {
        if rcode(&server.udp().ask(&nth(number))?) == ResponseCode::NoError {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "never used again");
        pause(Duration::from_millis(20));
    }
    assert!(upstream.count() >= 1);
    Ok(())
}

#[test]
fn each_zone_has_its_upstream() -> anyhow::Result<()> {
    let (inner, outer) = (Upstream::answering(60)?, Upstream::answering(60)?);
    let corefile = format!(
        ".:PORT {{\n forward a.test {} {{\n except no.a.test\n }}\n forward test {}\n}}\n",
        inner.addr(),
        outer.addr()
    );
    let server = Server::start(&corefile)?;
    for (name, expected, at) in [
        ("a.test", ResponseCode::NoError, [1, 0]),
        ("x.A.test", ResponseCode::NoError, [2, 0]),
        ("b.test", ResponseCode::NoError, [2, 1]),
        ("no.a.test", ResponseCode::NoError, [2, 2]),
        ("example", ResponseCode::ServFail, [2, 2]),
    ] {
        assert_eq!(
            rcode(&server.udp().query(name, RecordType::A)?),
            expected,
            "{name}"
        );
        assert_eq!([inner.count(), outer.count()], at, "{name}");
    }
    Ok(())
}

#[test]
fn a_truncated_answer_is_passed_on_or_asked_for_again() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| match query.tcp {
        true => Reply::to(query).a([192, 0, 2, 1], 60).send(),
        false => Reply::to(query).truncated().send(),
    })?;
    let addr = upstream.addr();
    for (options, truncated) in [
        ("", true),
        ("{\n prefer_udp\n }", false),
        ("{\n force_tcp\n }", false),
    ] {
        let server = Server::start(&format!(
            ".:PORT {{\n forward . {addr} {options}\n cache\n}}\n"
        ))?;
        for _ in 0..2 {
            let response = server.udp().query("a.test", RecordType::A)?;
            assert_eq!(response.metadata.truncation, truncated, "{options}");
            assert_eq!(response.answers.is_empty(), truncated, "{options}");
        }
        let response = server.tcp().query("a.test", RecordType::A)?;
        assert_eq!(
            (response.metadata.truncation, response.answers.len()),
            (false, 1)
        );
    }
    Ok(())
}

#[test]
fn timing_a_server_that_asks_itself_recovers() -> anyhow::Result<()> {
    let corefile = "\
.:PORT {
    errors
    hosts hosts {
        fallthrough
    }
    forward . 127.0.0.1:PORT
    cache
}
";
    let server = Server::with_hosts(corefile, "192.0.2.7 local.test\n")?;
    let start = clock();
    let response = server.udp().ask(&nth(1))?;
    assert_eq!(rcode(&response), ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_millis(4_500));
    let response = server.udp().query("local.test", RecordType::A)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.7"]));
    // One question is not a storm: it meets itself and waits with itself.
    let errors = server.process().lines();
    assert!(
        errors
            .iter()
            .filter(|line| line.contains("outside"))
            .count()
            < 20
    );
    // What was stirred up settles.
    pause(Duration::from_secs(2));
    let (start, used) = (clock(), server.cpu_seconds()?);
    pause(Duration::from_secs(2));
    let spent = (server.cpu_seconds()? - used) / start.elapsed().as_secs_f64();
    assert!(spent < 0.05, "{spent} of a processor");
    Ok(())
}
