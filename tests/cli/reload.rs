//! Changes of the configuration that take effect.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Signal;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::site::BINARY;
use super::site::Ports;
use super::site::Site;
use super::site::choose_port;
use crate::observe::http;

/// A server that looks at its Corefile every two seconds.
const WATCHED: &str = ".:@dns {
    bind 127.0.0.1
    health 127.0.0.1:@health
    ready 127.0.0.1:@ready
    prometheus 127.0.0.1:@metrics
    reload 2s 0s
    hosts {
        192.0.2.1 a.example
    }
}
";

/// A server that reloads when it is told to.
const PLAIN: &str = ".:@dns {
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    hosts {
        192.0.2.1 a.example
    }
}
";

#[test]
fn a_change_takes_effect_and_a_comment_is_none() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;
    let digest = site
        .process
        .wait_for_line("Running configuration SHA512 = ")?;
    site.rewrite(&format!("# a comment\n\n{}", WATCHED.replace("    ", "\t")))?;
    pause(Duration::from_millis(2500));
    ensure!(site.count("Reloading") == 0, "{}", site.output());

    site.rewrite(&WATCHED.replace("192.0.2.1", "192.0.2.2"))?;

    site.ports.await_address("a.example", [192, 0, 2, 2])?;
    site.await_count("[INFO] Reloading complete", 1)?;
    let digests = site.process.lines();
    let digests: Vec<&String> = digests
        .iter()
        .filter(|line| line.contains("SHA512 = "))
        .collect();
    ensure!(digests.len() == 2 && *digests[1] != digest, "{digests:?}");
    let hex = digests[1].rsplit(' ').next().context("no digest")?;
    let series = format!("coredns_reload_version_info{{hash=\"sha512\",value=\"{hex}\"}} 1");
    let metrics = site.metrics()?;
    ensure!(metrics.contains(&series), "{series} in {metrics}");
    ensure!(
        metrics.matches("coredns_reload_version_info{").count() == 1,
        "{metrics}"
    );
    ensure!(
        site.metric("coredns_reload_failed_total")? == 0.0,
        "a reload failed"
    );
    Ok(())
}

#[test]
fn imported_files_are_looked_at_too() -> anyhow::Result<()> {
    let site = Site::start_with(
        ".:@dns {\n bind 127.0.0.1\n reload 2s 0s\n import part\n}\n",
        |launch, _| launch.file("part", "hosts {\n 192.0.2.1 a.example\n}\n"),
    )?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    std::fs::write(
        site.process.directory().join("part"),
        "hosts {\n 192.0.2.3 a.example\n}\n",
    )?;
    site.ports.await_address("a.example", [192, 0, 2, 3])
}

#[test]
fn ports_and_addresses_come_and_go() -> anyhow::Result<()> {
    let site = Site::start(PLAIN)?;
    let added = Ports {
        dns: choose_port(),
        ..site.ports
    };
    let text = |ports: Ports, bind: &str| ports.fill(&PLAIN.replace("127.0.0.1\n", bind));

    // A port more.
    let more = added.fill(&PLAIN.replace("    prometheus 127.0.0.1:@metrics\n", ""));
    site.rewrite(&format!("{PLAIN}{more}"))?;
    site.process.signal(Signal::SIGUSR1)?;
    added.await_address("a.example", [192, 0, 2, 1])?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;

    // The first port goes.
    site.rewrite(&added.fill(PLAIN))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_silence(site.ports.server())?;
    added.await_address("a.example", [192, 0, 2, 1])?;

    // To other addresses of the same port: one more, another one, all.
    let second = SocketAddr::from(([127, 0, 0, 2], added.dns));
    site.rewrite(&text(added, "127.0.0.1 127.0.0.2\n"))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_answer(second)?;
    added.await_address("a.example", [192, 0, 2, 1])?;
    site.rewrite(&text(added, "127.0.0.2\n"))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_silence(added.server())?;
    await_answer(second)?;
    site.rewrite(&added.fill(&PLAIN.replace("    bind 127.0.0.1\n", "")))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_answer(added.server())?;
    await_answer(second)?;
    await_answer(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], added.dns)))?;
    // And back from all to one.
    site.rewrite(&added.fill(PLAIN))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_silence(second)?;
    await_answer(added.server())?;
    ensure!(
        site.metric("coredns_reload_failed_total")? == 0.0,
        "{}",
        site.output()
    );
    Ok(())
}

#[test]
fn a_port_that_was_given_up_is_free_again() -> anyhow::Result<()> {
    let site = Site::start(PLAIN)?;
    let moved = Ports {
        dns: choose_port(),
        ..site.ports
    };
    site.rewrite(&moved.fill(PLAIN))?;
    site.process.signal(Signal::SIGUSR1)?;
    await_silence(site.ports.server())?;
    wait_for(|| std::net::UdpSocket::bind(site.ports.server()).ok()).context("UDP is taken")?;
    wait_for(|| std::net::TcpListener::bind(site.ports.server()).ok()).context("TCP is taken")?;
    Ok(())
}

#[test]
fn admin_endpoints_move_and_share_ports() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;
    // Each endpoint takes the port of another.
    let turned = Ports {
        health: site.ports.ready,
        ready: site.ports.metrics,
        metrics: site.ports.health,
        ..site.ports
    };
    site.rewrite(&turned.fill(WATCHED))?;
    site.process.signal(Signal::SIGUSR1)?;
    let fetched = |port, path, expected| {
        wait_for(|| (http::get(port, path).ok()?.0 == expected).then_some(()))
            .with_context(|| format!("{port}{path} is not {expected}\n{}", site.output()))
    };
    fetched(turned.health, "/health", 200)?;
    fetched(turned.ready, "/ready", 200)?;
    fetched(turned.metrics, "/metrics", 200)?;
    fetched(turned.health, "/ready", 404)?;
    fetched(turned.metrics, "/health", 404)?;

    // All at one port, on all addresses instead of one.
    let port = turned.health;
    let one = Ports {
        ready: port,
        metrics: port,
        ..turned
    };
    site.rewrite(&one.fill(&WATCHED.replace("127.0.0.1:", ":")))?;
    site.process.signal(Signal::SIGUSR1)?;
    fetched(port, "/ready", 200)?;
    fetched(port, "/metrics", 200)?;
    fetched(port, "/health", 200)?;
    let closed = wait_for(|| http::get(turned.metrics, "/metrics").err());
    ensure!(closed.is_some(), "the old port is still open");
    let (_, metrics) = http::get(port, "/metrics")?;
    ensure!(
        metrics.contains("coredns_reload_failed_total 0\n"),
        "{}",
        site.output()
    );
    ensure!(
        metrics.contains("coredns_health_request_failures_total 0\n"),
        "{}",
        site.output()
    );
    Ok(())
}

#[test]
fn standard_input_is_applied_again() -> anyhow::Result<()> {
    let ports = Ports::choose();
    let process = Launch::new("/bin/sh")
        .args([
            "-c",
            &format!("exec {BINARY} -conf stdin -log-format text < input"),
        ])
        .file("input", &ports.fill(PLAIN))
        .start()?;
    process.wait_for_line("Portolan-")?;
    process.signal(Signal::SIGUSR1)?;
    process.wait_for_line("[INFO] Reloading complete")?;
    ports.await_address("a.example", [192, 0, 2, 1])
}

#[test]
fn debug_and_logs_follow_a_reload() -> anyhow::Result<()> {
    let site = Site::start(PLAIN)?;
    ensure!(site.ports.asked("a.example").is_some(), "no answer");
    site.rewrite(&PLAIN.replace("bind", "log\n    bind"))?;
    site.process.signal(Signal::SIGUSR1)?;
    site.await_count("Reloading complete", 1)?;
    ensure!(site.count("A IN a.example.") == 0, "{}", site.output());
    ensure!(site.ports.asked("a.example").is_some(), "no answer");
    site.await_count("A IN a.example.", 1)?;
    site.rewrite(PLAIN)?;
    site.process.signal(Signal::SIGUSR1)?;
    site.await_count("Reloading complete", 2)?;
    ensure!(site.ports.asked("a.example").is_some(), "no answer");
    pause(Duration::from_millis(100));
    ensure!(site.count("A IN a.example.") == 1, "{}", site.output());
    Ok(())
}

#[test]
fn timing_nine_reloads_under_load_lose_nothing() -> anyhow::Result<()> {
    let site = Site::start(PLAIN)?;
    let plan = Plan {
        names: vec!["a.example".to_owned()],
        qtype: RecordType::A,
        rate: 500,
        duration: Duration::from_secs(10),
        patience: Duration::from_secs(1),
    };
    let judge =
        |_: &str, answer: &portolan_testkit::client::Answer| match answer.addresses.as_slice() {
            [one] if one.to_string().starts_with("192.0.2.") => Ok(()),
            other => Err(format!("{other:?}")),
        };
    let load = Load::start(site.ports.server(), &plan, judge)?;
    for (number, last) in (1..=9).zip(11..) {
        site.rewrite(&PLAIN.replace("192.0.2.1", &format!("192.0.2.{last}")))?;
        site.process.signal(Signal::SIGUSR1)?;
        site.await_count("Reloading complete", number)?;
        site.ports.await_address("a.example", [192, 0, 2, last])?;
        pause(Duration::from_millis(900));
    }
    let report = load.stop();
    println!(
        "{} sent, p50 {:?}, p99 {:?}, max {:?}",
        report.sent, report.p50, report.p99, report.max
    );
    ensure!(report.sent > 4000, "{}", report.sent);
    ensure!(
        report.lost == 0 && report.wrong.is_empty(),
        "{} {:?}",
        report.lost,
        report.wrong
    );
    Ok(())
}

/// Waits until a server answers.
fn await_answer(server: SocketAddr) -> anyhow::Result<()> {
    let client = Client::udp(server).timeout(Duration::from_millis(300));
    wait_for(|| client.query("a.example", RecordType::A).ok())
        .with_context(|| format!("{server} does not answer"))?;
    let tcp = Client::tcp(server).query("a.example", RecordType::A)?;
    ensure!(tcp.answers.len() == 1, "{tcp:?}");
    Ok(())
}

/// Waits until a server does not answer any more.
fn await_silence(server: SocketAddr) -> anyhow::Result<()> {
    let client = Client::udp(server).timeout(Duration::from_millis(300));
    wait_for(|| client.query("a.example", RecordType::A).err())
        .with_context(|| format!("{server} still answers"))?;
    wait_for(|| Client::tcp(server).connect().err())
        .with_context(|| format!("{server} still accepts"))?;
    Ok(())
}
