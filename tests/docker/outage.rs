//! An engine that goes away and comes back.

use std::time::Duration;

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::dockerd::Dockerd;
use super::dockerd::signal;
use super::engine::Container;
use super::engine::names_label;
use super::engine::wall_clock;
use super::latency::Poll;
use super::restart::points_to_host;
use super::server::Server;

/// Names of stopped containers stay for a second, unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket SOCKET
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 1s
        unknown_action nxdomain
    }
    prometheus :METRICS_PORT
}
";

/// How long after the engine's return its containers may be unknown.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How an engine goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it is told to.
    Stopped,
    /// By force, with its socket left behind.
    Killed,
}

#[test]
fn an_engine_that_restarts_loses_no_query_timing() -> anyhow::Result<()> {
    let took = away(End::Stopped, Duration::from_secs(2))?;
    eprintln!("known after the engine's return or their start: {took:?}");
    Ok(())
}

#[test]
fn an_engine_that_is_killed_loses_no_query_timing() -> anyhow::Result<()> {
    let took = away(End::Killed, Duration::from_secs(2))?;
    eprintln!("known after the engine's return or their start: {took:?}");
    Ok(())
}

#[test]
fn an_engine_that_is_away_for_a_minute_loses_no_query_timing() -> anyhow::Result<()> {
    let took = away(End::Stopped, Duration::from_mins(1))?;
    eprintln!("known after the engine's return or their start: {took:?}");
    Ok(())
}

#[test]
fn an_engine_that_takes_its_containers_along_loses_no_query_timing() -> anyhow::Result<()> {
    let Some(mut dockerd) = Dockerd::start(false)? else {
        return Ok(());
    };
    let engine = dockerd.engine();
    let label = format!("--label={}=app.example.org", names_label());
    let _app = engine.run(&["--restart=always", "--stop-signal=KILL", &label])?;
    let corefile = COREFILE.replace("SOCKET", engine.host());
    let server = Server::start(&corefile.replace("linger 1s", "linger 5s"))?;
    server.await_host("app.example.org")?;

    let plan = Plan::new("app.example.org", 50, Duration::from_mins(1));
    let load = Load::start(server.dns(), &plan, points_to_host)?;
    let start = clock();
    dockerd.stop()?;
    dockerd.resume()?;
    dockerd.await_api()?;
    eprintln!("the engine was away for {:?}", start.elapsed());
    // Longer than names linger.
    pause(Duration::from_secs(6));
    load.stop().ensure_flawless(1)
}

#[test]
fn an_engine_that_hangs_holds_up_nothing_timing() -> anyhow::Result<()> {
    let Some(dockerd) = Dockerd::start(true)? else {
        return Ok(());
    };
    let engine = dockerd.engine();
    let _app = engine.run_named("app.example.org")?;
    let server = Server::start(&COREFILE.replace("SOCKET", engine.host()))?;
    server.await_host("app.example.org")?;

    let plan = Plan::new("app.example.org", 50, Duration::from_secs(3));
    dockerd.signal("STOP")?;
    let report = Load::start(server.dns(), &plan, points_to_host)?.wait();
    dockerd.signal("CONT")?;

    report.ensure_flawless(1)?;
    let _new = engine.run_named("new.example.org")?;
    server.await_host("new.example.org")
}

/// Ends an engine and starts it again after a while: names stay meanwhile, and
/// are brought up to date as soon as it is back. Gives how long each container
/// that was new was up, and the engine back, until its name was there.
fn away(end: End, time: Duration) -> anyhow::Result<Vec<Duration>> {
    let Some(mut dockerd) = Dockerd::start(true)? else {
        return Ok(Vec::new());
    };
    let engine = dockerd.engine();
    let _app = engine.run_named("app.example.org")?;
    let dies = engine.run_named("dies.example.org")?;
    let label = |name: &str| format!("--label={}={name}", names_label());
    let late = engine.create(&[&label("late.example.org")])?;
    // The engine starts it when it starts itself, and not before.
    let returns = engine.run(&["--restart=always", &label("returns.example.org")])?;
    returns.stop()?;
    let server = Server::start(&COREFILE.replace("SOCKET", engine.host()))?;
    server.await_host("app.example.org")?;
    server.await_host("dies.example.org")?;
    server.await_rcode("returns.example.org", ResponseCode::NXDomain)?;

    let plan = Plan::new("app.example.org", 50, time + Duration::from_mins(1));
    let load = Load::start(server.dns(), &plan, points_to_host)?;
    let dies_pid = dies.pid()?;
    match end {
        End::Stopped => dockerd.stop()?,
        End::Killed => dockerd.kill()?,
    }
    let gone = clock();
    signal(dies_pid, "KILL")?;
    pause(time.saturating_sub(gone.elapsed()));
    server.await_host("dies.example.org")?;

    let since = wall_clock();
    let poll = |name| Poll::every(Duration::from_millis(2)).answered(server.dns(), name);
    let polls = [poll("late.example.org")?, poll("returns.example.org")?];
    dockerd.resume()?;
    dockerd.await_api()?;
    let back = wall_clock();
    late.start()?;
    let mut times = Vec::new();
    for (container, poll) in [&late, &returns].into_iter().zip(polls) {
        let took = catch_up(container, since, back, poll.wait()?.at)?;
        ensure!(took < CATCH_UP, "{took:?}\n{}", server.output());
        times.push(took);
    }
    server.await_rcode("dies.example.org", ResponseCode::NXDomain)?;
    load.stop().ensure_flawless(1)?;
    let lost = server.count_lines("lost connection to Docker daemon");
    ensure!(lost == 1, "told {lost} times:\n{}", server.output());
    let reconnects = server.metric("portolan_docker_reconnects_total", &[])?;
    ensure!((reconnects - 1.0).abs() < 0.5, "{reconnects} reconnects");
    Ok(times)
}

/// How long a container was up, and the engine back, until its name was seen.
fn catch_up(
    container: &Container,
    since: Duration,
    back: Duration,
    seen: Duration,
) -> anyhow::Result<Duration> {
    let started = container.event("start", since)?;
    Ok(seen.saturating_sub(started.max(back)))
}
