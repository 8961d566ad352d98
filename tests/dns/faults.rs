//! Real upstreams that break, at 50 queries a second, and what clients feel.
//!
//! Each test prints its figures: `cargo nextest run timing_fault --no-capture`.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Answer;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Report;
use portolan_testkit::netns::Namespace;
use portolan_testkit::process::Signal;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::tls::Validity;

use super::encrypted::NAME;
use super::encrypted::Trust;
use super::knot::Knot;
use super::server::Server;
use super::unbound::Unbound;
use super::unbound::corefile;
use super::upstream::Upstream;
use crate::support::needs;
use crate::support::needs_root;

/// Queries a second.
const RATE: u32 = 50;

/// Packets between the server and its upstreams that are lost, of UDP and of
/// TCP: 15 of 100 each way are 28 of 100 there and back.
const LOSS: &str = "0.15";

/// Local names that are asked for, and a witness that is asked as often: a server
/// in this process. What delays that one, too, is the machine, and is allowed for.
struct Local {
    /// The local names.
    names: Load,
    /// The witness's.
    beside: Load,
    /// The witness.
    _witness: Upstream,
}

#[test]
fn timing_fault_one_upstream_is_frozen() -> anyhow::Result<()> {
    let Some((server, knots)) = set_up()? else {
        return Ok(());
    };
    let local = local_names(&server, 10)?;
    let (report, at) = under_load(&server, 10, || knots[0].signal(Signal::SIGSTOP))?;
    knots[0].signal(Signal::SIGCONT)?;
    told("one of two frozen", &report);
    report.ensure_flawless(500)?;
    assert!(slower_than(&report, Duration::from_millis(200), at) <= 5);
    assert!(report.max <= Duration::from_millis(400), "{:?}", report.max);
    let settled = at + Duration::from_millis(500);
    let beside = unaffected(local)?;
    let normal = Duration::from_millis(50) + beside.max;
    assert_eq!(slower_than(&report, normal, settled), 0, "normal again");
    Ok(())
}

#[test]
fn timing_fault_one_upstream_is_killed() -> anyhow::Result<()> {
    let Some((server, knots)) = set_up()? else {
        return Ok(());
    };
    let local = local_names(&server, 6)?;
    let (report, _) = under_load(&server, 6, || knots[0].signal(Signal::SIGKILL))?;
    told("one of two killed", &report);
    report.ensure_flawless(300)?;
    let beside = unaffected(local)?;
    let bound = Duration::from_millis(50) + beside.max;
    assert!(report.max <= bound, "{:?}", report.max);
    Ok(())
}

#[test]
fn timing_fault_one_follows_another() -> anyhow::Result<()> {
    let Some((server, [first, second])) = set_up()? else {
        return Ok(());
    };
    let load = Load::start(server.addr(), &plan(12), |_, answer| good(answer))?;
    let wait = || pause(Duration::from_secs(2));
    wait();
    first.signal(Signal::SIGSTOP)?;
    wait();
    // The one that was good is gone with the return of the other.
    first.signal(Signal::SIGCONT)?;
    second.signal(Signal::SIGSTOP)?;
    wait();
    second.signal(Signal::SIGCONT)?;
    wait();
    first.signal(Signal::SIGKILL)?;
    let report = load.wait();
    told("frozen, the other frozen, killed", &report);
    report.ensure_flawless(600)?;
    assert!(report.max <= Duration::from_millis(400), "{:?}", report.max);
    Ok(())
}

#[test]
fn timing_fault_all_upstreams_are_frozen_and_thaw() -> anyhow::Result<()> {
    let Some((server, knots)) = set_up()? else {
        return Ok(());
    };
    let local = local_names(&server, 10)?;
    let plan = Plan {
        patience: Duration::from_secs(4),
        ..plan(10)
    };
    let foreign = Load::start(server.addr(), &plan, |_, _| Ok(()))?;
    pause(Duration::from_secs(2));
    for knot in &knots {
        knot.signal(Signal::SIGSTOP)?;
    }
    pause(Duration::from_secs(4));
    for knot in &knots {
        knot.signal(Signal::SIGCONT)?;
    }
    let thawed = clock();
    let foreign = foreign.wait();
    told("all frozen for 4 s", &foreign);
    assert_eq!(foreign.lost, 0, "an error is an answer too");
    assert!(foreign.max <= Duration::from_secs(3), "{:?}", foreign.max);
    let after = foreign
        .samples
        .iter()
        .filter(|sample| sample.sent_at > thawed + Duration::from_secs(1));
    for sample in after {
        let answer = sample.answer.as_ref().expect("none is lost");
        assert_eq!(answer.rcode, ResponseCode::NoError, "a second after");
    }
    unaffected(local)?;
    Ok(())
}

#[test]
fn timing_fault_more_than_a_quarter_is_lost() -> anyhow::Result<()> {
    if !needs_root() || !needs(&["knotd", "iptables-restore"]) {
        return Ok(());
    }
    let namespace = Namespace::new()?;
    namespace.run(&["ip", "link", "set", "lo", "up"], "")?;
    let report = namespace.enter(|| {
        let Some((server, knots)) = set_up()? else {
            anyhow::bail!("knotd was there a moment ago");
        };
        let mut rules = String::new();
        for knot in &knots {
            let port = knot.addr().port();
            for (protocol, side) in [
                ("udp", "dport"),
                ("udp", "sport"),
                ("tcp", "dport"),
                ("tcp", "sport"),
            ] {
                rules += &format!(
                    "-A INPUT -p {protocol} --{side} {port} -m statistic --mode random \
                     --probability {LOSS} -j DROP\n"
                );
            }
        }
        namespace.run(&["iptables-restore"], &format!("*filter\n{rules}COMMIT\n"))?;
        let local = local_names(&server, 13)?;
        let report = Load::start(server.addr(), &plan(13), |_, answer| good(answer))?.wait();
        told("28 % lost", &report);
        unaffected(local)?;
        Ok(report)
    })?;
    report.ensure_flawless(650)?;
    assert!(report.p99 <= Duration::from_millis(350), "{:?}", report.p99);
    Ok(())
}

#[test]
fn timing_fault_one_upstream_over_tls_is_frozen() -> anyhow::Result<()> {
    if !needs(&["knotd", "unbound"]) {
        return Ok(());
    }
    let (trust, knot) = (Trust::new()?, Knot::start()?);
    let identity = trust.identity(NAME, Validity::Current)?;
    let unbounds = [
        Unbound::start(&identity, knot.addr())?,
        Unbound::start(&identity, knot.addr())?,
    ];
    for upstreams in [
        unbounds
            .each_ref()
            .map(|unbound| unbound.ports().tls_upstream(NAME)),
        unbounds
            .each_ref()
            .map(|unbound| unbound.ports().https_upstream(NAME)),
    ] {
        let server = Server::start(&corefile(&upstreams.join(" "), &trust.path()))?;
        let (report, _) = under_load(&server, 8, || unbounds[0].signal(Signal::SIGSTOP))?;
        unbounds[0].signal(Signal::SIGCONT)?;
        told(&format!("one of two frozen, {}", upstreams[0]), &report);
        assert_eq!((report.lost, report.wrong.len()), (0, 0));
        assert!(
            report.max <= Duration::from_millis(1500),
            "{:?}",
            report.max
        );
    }
    Ok(())
}

/// A server with a local name over two Knots, if there is Knot.
fn set_up() -> anyhow::Result<Option<(Server, [Knot; 2])>> {
    if !needs(&["knotd"]) {
        return Ok(None);
    }
    let knots = [Knot::start()?, Knot::start()?];
    let corefile = format!(
        ".:PORT {{\n hosts {{\n  192.0.2.7 local.test\n  fallthrough\n }}\n forward . {} {}\n}}\n",
        knots[0].addr(),
        knots[1].addr()
    );
    Ok(Some((Server::start(&corefile)?, knots)))
}

/// Asks for a local name for some seconds, in the background.
fn local_names(server: &Server, seconds: u64) -> anyhow::Result<Local> {
    let plan = Plan::new("local.test", RATE, Duration::from_secs(seconds));
    let witness = Upstream::answering(60)?;
    Ok(Local {
        names: Load::start(server.addr(), &plan, |_, answer| good(answer))?,
        beside: Load::start(witness.addr(), &plan, |_, answer| good(answer))?,
        _witness: witness,
    })
}

/// Fails unless every local name was answered, 99 of 100 within 10 ms. Gives what
/// the witness saw.
fn unaffected(local: Local) -> anyhow::Result<Report> {
    let (report, beside) = (local.names.wait(), local.beside.wait());
    told("local names meanwhile", &report);
    told("the witness", &beside);
    report.ensure_flawless(report.sent)?;
    ensure!(
        report.p99 < Duration::from_millis(10) + beside.p99,
        "local names took {:?}",
        report.p99
    );
    Ok(beside)
}

/// Names that are all different, for some seconds.
pub(super) fn plan(seconds: u64) -> Plan {
    let count = u64::from(RATE) * seconds;
    Plan {
        names: (0..count).map(|n| format!("n{n}.wild.ilude.com")).collect(),
        qtype: RecordType::A,
        rate: RATE,
        duration: Duration::from_secs(seconds),
        patience: Duration::from_secs(4),
    }
}

/// Breaks something two seconds into a load of some seconds, and says when
/// that was.
pub(super) fn under_load(
    server: &Server,
    seconds: u64,
    fault: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Report, Instant)> {
    let load = Load::start(server.addr(), &plan(seconds), |_, answer| good(answer))?;
    pause(Duration::from_secs(2));
    let at = clock();
    fault()?;
    Ok((load.wait(), at))
}

/// Whether a client is content.
pub(super) fn good(answer: &Answer) -> Result<(), String> {
    if answer.rcode == ResponseCode::NoError && answer.addresses.len() == 1 {
        Ok(())
    } else {
        Err(format!("{answer:?}"))
    }
}

/// How many queries from a time on took longer.
fn slower_than(report: &Report, bound: Duration, from: Instant) -> usize {
    let is_slow = |answer: &Answer| answer.latency > bound;
    report
        .samples
        .iter()
        .filter(|sample| sample.sent_at >= from)
        .filter(|sample| sample.answer.as_ref().is_none_or(is_slow))
        .count()
}

/// Prints the figures.
#[expect(clippy::print_stderr, reason = "the figures are what the test is for")]
pub(super) fn told(what: &str, report: &Report) {
    let over = |milliseconds: u128| {
        let slow = |answer: &Answer| answer.latency.as_millis() > milliseconds;
        let answers = report.samples.iter().filter_map(|s| s.answer.as_ref());
        answers.filter(|answer| slow(answer)).count()
    };
    eprintln!(
        "{what}: sent {} lost {} wrong {} p50 {:?} p99 {:?} max {:?}, over 50/200/400 ms: {}/{}/{}",
        report.sent,
        report.lost,
        report.wrong.len(),
        report.p50,
        report.p99,
        report.max,
        over(50),
        over(200),
        over(400)
    );
}
