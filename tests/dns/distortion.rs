//! Datagrams between the server and its upstreams that are late, out of order
//! or damaged. In each run every name has an address of its own, so that an
//! answer of another question would show.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use portolan_proto::Rtype;
use portolan_testkit::client::Answer;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Report;
use portolan_testkit::netns::Fate;
use portolan_testkit::netns::Namespace;
use portolan_testkit::netns::Packet;
use portolan_testkit::netns::Weather;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;

use super::faults::told;
use super::server::Server;
use super::upstream::Upstream;
use crate::support::needs;
use crate::support::needs_root;
use crate::support::skip;

/// Queries of a run.
const QUERIES: usize = 400;

/// Queries a second.
const RATE: u32 = 50;

/// How long a run takes.
const SPAN: Duration = Duration::from_secs(8);

/// The address of a name: its number.
fn address(name: &str) -> Option<[u8; 4]> {
    let number: u16 = name.strip_prefix('n')?.split('.').next()?.parse().ok()?;
    let [high, low] = number.to_be_bytes();
    Some([10, 0, high, low])
}

/// Says what is the address of a name.
fn say(query: &Received) -> Action {
    match address(&query.qname.to_string()) {
        Some(address) if query.qtype == Rtype::A => Reply::to(query).a(address, 60).send(),
        _ => Reply::to(query).soa(60, 60).send(),
    }
}

/// Whether an answer is that of the name.
fn own(name: &str, answer: &Answer) -> Result<(), String> {
    let expected = address(name).map(IpAddr::from);
    if answer.rcode == ResponseCode::NoError && answer.addresses.first().copied() == expected {
        Ok(())
    } else {
        Err(format!("{answer:?}"))
    }
}

/// What clients feel in a run while `judge` decides about what is
/// between the server and its two upstreams; nothing where that cannot be had.
fn under(
    what: &str,
    settings: &str,
    judge: impl FnMut(&Packet) -> Fate + Send + 'static,
) -> anyhow::Result<Option<Report>> {
    if !needs_root() || !needs(&["ip", "iptables-restore"]) {
        return Ok(None);
    }
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "set", "lo", "up"], "")?;
    let report = namespace.enter(|| {
        let upstreams = [Upstream::start(say)?, Upstream::start(say)?];
        let [first, second] = upstreams.each_ref().map(|upstream| upstream.addr());
        let server = Server::start(&format!(
            ".:PORT {{\n forward . {first} {second} {{\n{settings} }}\n}}\n"
        ))?;
        let ports = [first.port(), second.port()];
        let weather = match Weather::start(&namespace, &ports, judge) {
            Ok(weather) => weather,
            Err(error) => {
                skip(&format!("needs NFQUEUE: {error:#}"));
                return Ok(None);
            }
        };
        let plan = Plan {
            names: (0..QUERIES).map(|n| format!("n{n}.outside")).collect(),
            patience: Duration::from_secs(4),
            ..Plan::new("", RATE, SPAN)
        };
        let report = Load::start(server.addr(), &plan, own)?.wait();
        assert!(weather.seen() > report.sent, "packets went past");
        assert!(!server.output().contains("panic"), "{}", server.output());
        Ok(Some(report))
    })?;
    if let Some(report) = &report {
        told(what, report);
    }
    Ok(report)
}

#[test]
fn timing_fault_everything_is_late() -> anyhow::Result<()> {
    let mut dice = Dice(1);
    let judge = move |_: &Packet| Fate::Late(Duration::from_millis(20 + dice.below(40)));
    let Some(report) = under("40 ms late, 20 more or less", "", judge)? else {
        return Ok(());
    };
    report.ensure_flawless(QUERIES)?;
    assert!(report.p99 <= Duration::from_millis(500), "{:?}", report.p99);
    Ok(())
}

#[test]
fn timing_fault_answers_overtake_each_other() -> anyhow::Result<()> {
    for (what, settings) in [("UDP", ""), ("TCP", "  force_tcp\n")] {
        let mut dice = Dice(2);
        // Every third waits until several have gone by.
        let judge = move |_: &Packet| match dice.below(3) {
            0 => Fate::Late(Duration::from_millis(60)),
            _ => Fate::Pass,
        };
        let Some(report) = under(&format!("out of order, {what}"), settings, judge)? else {
            return Ok(());
        };
        report.ensure_flawless(QUERIES)?;
        assert!(report.p99 <= Duration::from_secs(1), "{:?}", report.p99);
    }
    Ok(())
}

#[test]
fn timing_fault_one_packet_in_twenty_is_damaged() -> anyhow::Result<()> {
    for (what, settings) in [("UDP", ""), ("TCP", "  force_tcp\n")] {
        let mut dice = Dice(3);
        // Its checksum tells the kernel.
        let judge = move |packet: &Packet| match dice.below(20) {
            0 => Fate::Changed(damaged(packet, &mut dice, usize::MAX)),
            _ => Fate::Pass,
        };
        let Some(report) = under(&format!("5 % damaged, {what}"), settings, judge)? else {
            return Ok(());
        };
        report.ensure_flawless(QUERIES)?;
        assert!(report.p99 <= Duration::from_secs(1), "{:?}", report.p99);
    }
    Ok(())
}

#[test]
fn timing_fault_damage_that_the_checksum_hides_misleads_nobody() -> anyhow::Result<()> {
    let mut dice = Dice(4);
    // One in ten has another id or another question.
    let judge = move |packet: &Packet| match dice.below(10) {
        0 if !packet.is_tcp => Fate::Changed(unchecked(damaged(packet, &mut dice, 24))),
        _ => Fate::Pass,
    };
    let Some(report) = under("10 % damaged in id or question", "", judge)? else {
        return Ok(());
    };
    assert_eq!(report.lost, 0);
    // Chance may take every attempt of a question, which is then answered
    // SERVFAIL. Another answer is none.
    let failures = report
        .wrong
        .iter()
        .filter(|wrong| wrong.reason.contains("ServFail"));
    assert_eq!(failures.count(), report.wrong.len(), "{:?}", report.wrong);
    assert!(report.wrong.len() <= 2, "{:?}", report.wrong);
    Ok(())
}

#[test]
fn timing_fault_damage_anywhere_breaks_nothing() -> anyhow::Result<()> {
    let mut dice = Dice(5);
    let judge = move |packet: &Packet| match dice.below(5) {
        0 if !packet.is_tcp => Fate::Changed(unchecked(damaged(packet, &mut dice, usize::MAX))),
        _ => Fate::Pass,
    };
    let Some(report) = under("20 % damaged anywhere", "", judge)? else {
        return Ok(());
    };
    // An address, a code or a type may be another, which nobody can tell: what
    // clients hear may be wrong or not to be read. All the others come.
    let spoiled = report.lost.max(report.wrong.len());
    assert!(spoiled < report.sent / 5, "{spoiled}: {:?}", report.wrong);
    Ok(())
}

/// A packet with one bit of its data flipped: in the id or among the octets
/// behind the header of the message, up to an offset.
fn damaged(packet: &Packet, dice: &mut Dice, limit: usize) -> Vec<u8> {
    let mut octets = packet.octets.clone();
    let header = usize::from(octets[0] & 0x0f) * 4;
    let data = header
        + if packet.is_tcp {
            usize::from(octets[header + 12] >> 4) * 4
        } else {
            8
        };
    let (length, limited) = (
        octets.len().saturating_sub(data).min(limit),
        limit != usize::MAX,
    );
    if length == 0 {
        return octets;
    }
    let mut at = usize::try_from(dice.below(length as u64)).unwrap_or_default();
    if limited && (2..12).contains(&at) {
        // What flags and counts say, nobody can check.
        at = 12.min(length - 1);
    }
    octets[data + at] ^= 1 << dice.below(8);
    octets
}

/// A datagram without a checksum, which IPv4 allows.
fn unchecked(mut octets: Vec<u8>) -> Vec<u8> {
    let header = usize::from(octets[0] & 0x0f) * 4;
    octets[header + 6..header + 8].fill(0);
    octets
}

/// Chance that is the same in every run (a linear congruence).
struct Dice(u64);

// === impl Dice ===

impl Dice {
    /// A number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}
