//! An upstream that lies, floods and breaks off before it says the right thing.
//! The right thing has to reach the client.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Query;
use portolan_testkit::process::clock;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::faults::good;
use super::faults::told;
use super::server::Server;
use super::upstream::Upstream;
use super::upstream::after;

/// How often each lie is told before the truth.
const LIES: usize = 20;

/// What is true.
const TRUTH: [u8; 4] = [192, 0, 2, 1];

/// What is a lie.
const LIE: [u8; 4] = [203, 0, 113, 66];

/// Datagrams of garbage before each answer of an upstream that floods.
const FLOOD: usize = 1_000;

/// A local name and an upstream.
fn server(upstreams: &str) -> anyhow::Result<Server> {
    let corefile = format!(
        ".:PORT {{\n hosts hosts {{\n fallthrough\n }}\n cache\n forward . {upstreams}\n errors\n}}\n"
    );
    Server::with_hosts(&corefile, "192.0.2.7 local.test\n")
}

/// A lie, by the first label of the name.
fn lie(query: &Received) -> Action {
    let lie = Reply::to(query).a(LIE, 60);
    let kind = query.qname.to_string();
    let here = |last, port| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    match kind.split('.').next().unwrap_or_default() {
        "id" => lie.id(query.id ^ 1).send(),
        "name" => lie.about(&name("other.test")).send(),
        "spelled" => lie.about(&name("spelledd.test")).send(),
        "type" => Action::Send(with(lie.build(), |m| flip_type(m))),
        "class" => Action::Send(with(lie.build(), |m| flip_class(m))),
        "nobody" => lie.without_question().send(),
        "query" => Action::Send(with(lie.build(), |m| m[2] &= 0x7f)),
        "opcode" => Action::Send(with(lie.build(), |m| m[2] |= 0x28)),
        "port" => Action::SendFrom(here(1, 0), lie.build()),
        "address" => Action::SendFrom(here(2, query.source.port()), lie.build()),
        "short" => Action::Send(lie.build()[..17].to_vec()),
        "cut" => Action::Send(with(lie.without_edns().build(), |m| {
            m.pop();
        })),
        "counts" => Action::Send(with(lie.build(), |m| m[6] = 0x40)),
        "loop" => Action::Send(looped(query, 0)),
        "pair" => Action::Send(looped(query, 16)),
        "ahead" => Action::Send(looped(query, 2)),
        "alias" => Action::Send(looped_alias(query)),
        "huge" => Action::Send(vec![0xc0; 60_000]),
        "void" => Action::Send(Vec::new()),
        _ => Action::Send(vec![0xff; 3]),
    }
}

#[test]
fn twenty_lies_of_any_kind_do_not_hide_the_truth() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let mut all = vec![lie(query); LIES];
        all.push(after(20, Reply::to(query).a(TRUTH, 60).send()));
        Action::Each(all)
    })?;
    let server = server(&upstream.addr().to_string())?;
    let mut slowest = Duration::ZERO;
    for kind in [
        "id", "name", "spelled", "type", "class", "nobody", "query", "opcode", "port", "address",
        "short", "cut", "counts", "loop", "pair", "ahead", "alias", "huge", "void", "else",
    ] {
        // Once from the upstream, and once from what was kept of it.
        for _ in 0..2 {
            let start = clock();
            let query = Query::new(&format!("{kind}.hostile.test"), RecordType::A).edns(1232);
            let response = server.udp().ask(&query)?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{kind}");
            assert_eq!(addresses(&response), ips(&["192.0.2.1"]), "{kind}");
            slowest = slowest.max(start.elapsed());
        }
    }
    report(&format!(
        "twenty lies before the truth: slowest {slowest:?}"
    ));
    assert!(slowest <= Duration::from_millis(350), "{slowest:?}");
    Ok(())
}

#[test]
fn what_is_no_answer_to_the_question_is_not_believed_later() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| {
        let truth = Reply::to(query).a(TRUTH, 60);
        if query.qname.to_string() != "bait.test." {
            return truth.send();
        }
        let [bank, local] = ["www.bank.test", "local.test"].map(name);
        truth
            .answer_of(&bank, Rtype::A, 3600, &LIE)
            .additional(&bank, Rtype::A, 3600, &LIE)
            .additional(&local, Rtype::A, 3600, &LIE)
            .send()
    })?;
    let server = server(&upstream.addr().to_string())?;
    for client in server.both() {
        server.udp().query("bait.test", RecordType::A)?;
        let bank = client.query("www.bank.test", RecordType::A)?;
        assert_eq!(addresses(&bank), ips(&["192.0.2.1"]));
        let local = client.query("local.test", RecordType::A)?;
        assert_eq!(addresses(&local), ips(&["192.0.2.7"]));
    }
    Ok(())
}

#[test]
fn timing_a_flood_of_garbage_from_one_of_two_loses_nothing() -> anyhow::Result<()> {
    let hostile = Upstream::start(|query| {
        if query.is_probe() {
            return Reply::to(query).send();
        }
        // Much of what is no answer, then one that would be wrong.
        let mut all: Vec<Action> = (0..FLOOD)
            .map(|n| match n % 3 {
                0 => Action::Send(vec![0x80; 512]),
                1 => Reply::to(query).id(query.id ^ 7).a(LIE, 60).send(),
                _ => Action::SendFrom(([127, 0, 0, 1], 0).into(), vec![0; 1200]),
            })
            .collect();
        all.push(Reply::to(query).rcode(Rcode::SERVFAIL).send());
        Action::Each(all)
    })?;
    let honest = Upstream::answering(60)?;
    let server = server(&format!("{} {}", hostile.addr(), honest.addr()))?;
    let local = Plan::new("local.test", 20, Duration::from_secs(6));
    let local = Load::start(server.addr(), &local, |_, answer| good(answer))?;
    let plan = Plan {
        names: (0..100).map(|n| format!("n{n}.flood.test")).collect(),
        patience: Duration::from_secs(4),
        ..Plan::new("", 20, Duration::from_secs(5))
    };
    let foreign = Load::start(server.addr(), &plan, |_, answer| good(answer))?.wait();
    let local = local.wait();
    told("one of two floods", &foreign);
    told("local names meanwhile", &local);
    assert_eq!(
        (foreign.lost, foreign.wrong.len()),
        (0, 0),
        "{:?}",
        foreign.wrong
    );
    assert_eq!((local.lost, local.wrong.len()), (0, 0), "{:?}", local.wrong);
    assert!(local.p50 < Duration::from_millis(10), "{:?}", local.p50);
    assert!(hostile.count() > 0, "nobody asked it");
    assert!(server.process().resident_kib()? < 100_000);
    Ok(())
}

#[test]
fn sixty_thousand_octets_pass_over_tcp_and_are_cut_for_udp_timing() -> anyhow::Result<()> {
    // Each record of its own name: work for whoever compresses names.
    let upstream = Upstream::start(|query| {
        if !query.tcp {
            return Reply::to(query).truncated().send();
        }
        let whole = (0..1_750).fold(Reply::to(query).a(TRUTH, 60), |reply, n| {
            reply.answer_of(&name(&format!("n{n}.x.large.test")), Rtype::A, 60, &TRUTH)
        });
        whole.send()
    })?;
    let server = server(&upstream.addr().to_string())?;
    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        let start = clock();
        let host = format!("n{number}.large.test");
        let large = server.tcp().query(&host, RecordType::A)?;
        slowest = slowest.max(start.elapsed());
        assert_eq!(rcode(&large), ResponseCode::NoError);
        assert_eq!(large.answers.len(), 1_751);
        let cut = server.udp().query(&host, RecordType::A)?;
        assert!(cut.metadata.truncation, "{number}");
        let local = server.udp().query("local.test", RecordType::A)?;
        assert_eq!(addresses(&local), ips(&["192.0.2.7"]));
    }
    report(&format!("60,000 octets over TCP: slowest {slowest:?}"));
    assert!(slowest <= Duration::from_millis(350), "{slowest:?}");
    Ok(())
}

/// A name.
fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A message that something was done to.
fn with(mut message: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut message);
    message
}

/// Where the question ends that a message begins with.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += usize::from(message[at]) + 1;
    }
    at + 5
}

/// Asks for another type.
fn flip_type(message: &mut [u8]) {
    let end = question_end(message);
    message[end - 3] ^= 0x10;
}

/// Asks for another class.
fn flip_class(message: &mut [u8]) {
    let end = question_end(message);
    message[end - 1] ^= 0x02;
}

/// A record whose owner is a pointer to itself, or to a place that many octets
/// behind it, where another points back.
fn looped(query: &Received, distance: usize) -> Vec<u8> {
    let mut message = Reply::to(query).without_edns().a(LIE, 60).build();
    let at = question_end(&message);
    let pointer = |to: usize| u16::try_from(0xc000 + to).expect("a pointer").to_be_bytes();
    message[at..at + 2].copy_from_slice(&pointer(at + distance));
    message.extend(pointer(at));
    message
}

/// An alias whose target is a pointer to itself.
fn looped_alias(query: &Received) -> Vec<u8> {
    let bare = Reply::to(query).without_edns();
    let at = bare.build().len() + 12;
    let pointer = u16::try_from(0xc000 + at).expect("a pointer").to_be_bytes();
    bare.answer(Rtype::CNAME, 60, &pointer).build()
}

/// Prints a figure.
#[expect(clippy::print_stderr, reason = "figures for whoever runs the test")]
fn report(figure: &str) {
    eprintln!("{figure}");
}
