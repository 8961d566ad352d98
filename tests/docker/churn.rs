//! Many changes a second under many queries a second.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::client::Answer;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Report;
use portolan_testkit::docker::EngineControl;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::fake::container;
use super::restart::points_to_host;
use super::server::Server;

/// Names stay for a moment; unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket SOCKET
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 300ms
        unknown_action nxdomain
    }
    prometheus :METRICS_PORT
}
";

/// How long names stay.
const LINGER: Duration = Duration::from_millis(300);

/// How long it goes on.
const DURATION: Duration = Duration::from_secs(10);

/// Time between two changes.
const INTERVAL: Duration = Duration::from_millis(10);

/// Changes to make.
const CHANGES: u32 = 1_000;

/// Queries a second.
const RATE: u32 = 2_000;

/// How old an answer may be on a machine that does other things as well.
const STALENESS: Duration = Duration::from_millis(500);

/// How much memory it may cost, in KiB: buffers, but nothing for each change.
const GROWTH_KIB: u64 = 4 * 1024;

/// When the container of each generation of `swing.example.org` started.
type Generations = Vec<Instant>;

#[test]
fn churn_loses_and_mixes_up_nothing_timing() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let control = engine.control();
    for (id, target) in [("pair-1", "192.0.2.1"), ("pair-2", "192.0.2.2")] {
        control.run(container(id, "pair.example.org").with("portolan.target", target));
    }
    control.run(container("steady", "steady.example.org"));
    let mut generations = vec![swing(&control, 0)];
    let server = Server::start(&COREFILE.replace("SOCKET", &engine.host()))?;
    server.await_addresses("pair.example.org", &["192.0.2.1", "192.0.2.2"])?;
    server.await_addresses("swing.example.org", &["10.0.0.0"])?;
    let changes = server.metric("portolan_table_changes_total", &[])?;

    let names = [
        "pair.example.org",
        "swing.example.org",
        "steady.example.org",
    ];
    let plan = Plan {
        names: names.map(str::to_owned).to_vec(),
        ..Plan::new("", RATE, DURATION + Duration::from_millis(500))
    };
    let resident = server.process().resident_kib()?;
    let load = Load::start(server.dns(), &plan, judge)?;
    churn(&control, &mut generations);
    let report = load.wait();
    let growth = server.process().resident_kib()?.saturating_sub(resident);

    report.ensure_flawless(1)?;
    let changes = server.metric("portolan_table_changes_total", &[])? - changes;
    ensure!(
        changes >= f64::from(CHANGES) * 0.9,
        "only {changes} changes"
    );
    let swaps = server.metric("portolan_table_swaps_total", &[])?;
    let staleness = check_order(&report, &generations)?;
    eprintln!(
        "{} queries, {changes} changes, {swaps} swaps: p50 {:?}, p99 {:?}, max {:?}",
        report.sent, report.p50, report.p99, report.max,
    );
    eprintln!("oldest answer {staleness:?}, {growth} KiB more resident");
    ensure!(staleness < STALENESS, "an answer was {staleness:?} old");
    ensure!(growth < GROWTH_KIB, "{growth} KiB more resident");
    Ok(())
}

/// Makes the changes, each by a container that comes or goes. Now and then one
/// of the pair restarts as well, and `swing.example.org` moves on.
fn churn(control: &EngineControl, generations: &mut Generations) {
    let start = clock();
    for change in 0..CHANGES {
        pause((INTERVAL * change).saturating_sub(start.elapsed()));
        let id = format!("noise-{}", change % 50 / 2);
        if change % 2 == 0 {
            control.run(container(&id, &format!("{id}.example.org")));
        } else {
            control.destroy(&id);
        }
        match change % 10 {
            0 => control.restart("pair-1"),
            5 => control.restart("pair-2"),
            7 => generations.push(swing(control, generations.len())),
            8 => control.destroy(&format!("swing-{}", generations.len() - 2)),
            _ => {}
        }
    }
}

/// Starts a generation of `swing.example.org`, which is its address.
fn swing(control: &EngineControl, generation: usize) -> Instant {
    let low = u32::try_from(generation).unwrap_or_default();
    let target = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + low);
    let id = format!("swing-{generation}");
    let started = clock();
    let swing = container(&id, "swing.example.org").with("portolan.target", &target.to_string());
    control.run(swing);
    started
}

/// Whether an answer is right on its own.
fn judge(name: &str, answer: &Answer) -> Result<(), String> {
    let mut addresses = answer.addresses.clone();
    addresses.sort_unstable();
    let pair = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
    let is_right = match name {
        "pair.example.org" => addresses == pair,
        "swing.example.org" => answer.rcode == ResponseCode::NoError && !addresses.is_empty(),
        _ => return points_to_host(name, answer),
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{answer:?}"))
    }
}

/// Checks that nobody who saw a generation of `swing.example.org` was shown an
/// older state later, that no generation was skipped, and that none came back;
/// gives how old the oldest answer was.
fn check_order(report: &Report, generations: &Generations) -> anyhow::Result<Duration> {
    let mut answers = Vec::new();
    for sample in report
        .samples
        .iter()
        .filter(|s| s.name == "swing.example.org")
    {
        let answer = sample.answer.as_ref().context("a lost query")?;
        let seen: Vec<usize> = answer.addresses.iter().filter_map(generation).collect();
        let (first, last) = (seen.iter().min(), seen.iter().max());
        let (first, last) = (*first.context("no address")?, *last.context("no address")?);
        ensure!(
            last - first < seen.len(),
            "a generation is missing: {seen:?}"
        );
        answers.push((sample.sent_at, sample.sent_at + answer.latency, first, last));
    }
    let mut arrived = answers.clone();
    arrived.sort_unstable_by_key(|(_, at, _, _)| *at);
    let mut arrived = arrived.into_iter().peekable();
    let (mut oldest, mut newest) = (0, 0);
    let mut staleness = Duration::ZERO;
    for (sent_at, _, first, last) in answers {
        while let Some((_, _, first, last)) = arrived.next_if(|(_, at, _, _)| *at < sent_at) {
            (oldest, newest) = (oldest.max(first), newest.max(last));
        }
        ensure!(
            first >= oldest,
            "generation {first} is back after {oldest} was the oldest"
        );
        ensure!(
            last >= newest,
            "generation {newest} was there and {last} is the newest"
        );
        let since = |at: &Instant| sent_at.saturating_duration_since(*at);
        // The next generation is missing, and the one after the first one
        // should have outlived it.
        let missing = generations.get(last + 1).map(since).unwrap_or_default();
        let outlived = generations.get(first + 1).map(since).unwrap_or_default();
        let outlived = outlived.saturating_sub(LINGER + INTERVAL);
        staleness = staleness.max(missing).max(outlived);
    }
    ensure!(
        newest + 3 > generations.len(),
        "stuck at generation {newest}"
    );
    Ok(staleness)
}

/// The generation that an address stands for.
fn generation(address: &IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let number = address
        .to_bits()
        .checked_sub(Ipv4Addr::new(10, 0, 0, 0).to_bits())?;
    usize::try_from(number).ok()
}
