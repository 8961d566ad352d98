//! Signals, and how the server ends.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::Signal;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;

use super::site::Site;
use super::site::choose_port;
use super::site::ensure_rcode;
use crate::support::portolan;

/// A server with everything that ends, and a lame-duck time.
const LAME: &str = ".:@dns {
    bind 127.0.0.1
    health 127.0.0.1:@health {
        lameduck LAMEDUCK
    }
    ready 127.0.0.1:@ready
    prometheus 127.0.0.1:@metrics
    hosts {
        192.0.2.1 a.example
    }
}
";

/// A server without a lame-duck time.
const PLAIN: &str = ".:@dns {
    bind 127.0.0.1
    hosts {
        192.0.2.1 a.example
    }
}
";

#[test]
fn sigterm_is_not_ready_at_once_and_answers_through_the_lame_duck_time() -> anyhow::Result<()> {
    let mut site = Site::start(&LAME.replace("LAMEDUCK", "1500ms"))?;
    ensure!(
        site.ready()? == (200, "OK".to_owned()),
        "{:?}",
        site.ready()
    );
    let start = clock();

    site.process.signal(Signal::SIGTERM)?;

    site.process
        .wait_for_line("[INFO] SIGTERM: Shutting down servers then terminating")?;
    site.process
        .wait_for_line("[INFO] plugin/health: Going into lameduck mode for 1.5s")?;
    ensure!(
        site.ready()? == (503, "Shutting down".to_owned()),
        "{:?}",
        site.ready()
    );
    ensure!(
        site.health()? == (200, "OK".to_owned()),
        "{:?}",
        site.health()
    );
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    let tcp = Client::tcp(site.ports.server()).query("a.example", RecordType::A)?;
    ensure!(tcp.answers.len() == 1, "{tcp:?}");
    ensure!(site.metric("coredns_panics_total")? == 0.0, "it panicked");
    let status = site.process.wait()?;
    ensure!(status.code() == Some(0), "{status}\n{}", site.output());
    ensure!(
        start.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

#[test]
fn sigint_ends_the_server() -> anyhow::Result<()> {
    let mut site = Site::start(PLAIN)?;
    site.process.signal(Signal::SIGINT)?;
    let status = site.process.wait()?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(
        site.line("[INFO] SIGINT: Shutting down").is_some(),
        "{}",
        site.output()
    );
    Ok(())
}

#[test]
fn a_second_sigint_does_not_wait_for_the_lame_duck_time() -> anyhow::Result<()> {
    for first in [Signal::SIGINT, Signal::SIGTERM] {
        let mut site = Site::start(&LAME.replace("LAMEDUCK", "1m"))?;
        site.process.signal(first)?;
        site.process
            .wait_for_line("Going into lameduck mode for 1m0s")?;
        site.process.signal(Signal::SIGINT)?;
        let status = site.process.wait()?;
        ensure!(status.code() == Some(2), "{first}: {status}");
    }
    Ok(())
}

#[test]
fn sigquit_ends_the_server_at_once() -> anyhow::Result<()> {
    for lame in [false, true] {
        let mut site = Site::start(&LAME.replace("LAMEDUCK", "1m"))?;
        if lame {
            site.process.signal(Signal::SIGTERM)?;
            site.process.wait_for_line("Going into lameduck mode")?;
        }
        site.process.signal(Signal::SIGQUIT)?;
        let status = site.process.wait()?;
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}

#[test]
fn timing_idle_connections_do_not_hold_up_the_end() -> anyhow::Result<()> {
    for signal in [Signal::SIGQUIT, Signal::SIGTERM] {
        let mut site = Site::start(&LAME.replace("LAMEDUCK", "0s"))?;
        let mut scraper = TcpStream::connect((Ipv4Addr::LOCALHOST, site.ports.metrics))?;
        scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        ensure!(scraper.read(&mut [0; 16])? > 0, "no answer");
        let stub = Client::tcp(site.ports.server()).connect()?;
        let start = clock();
        site.process.signal(signal)?;
        let status = site.process.wait()?;
        let taken = start.elapsed();
        ensure!(status.code() == Some(0), "{status}");
        ensure!(
            taken < Duration::from_millis(1500),
            "{signal}: {taken:?}\n{}",
            site.output()
        );
        drop((scraper, stub));
    }
    Ok(())
}

#[test]
fn signals_that_reload_keep_the_process() -> anyhow::Result<()> {
    let site = Site::start(PLAIN)?;
    let signals = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    for (signal, last) in signals.into_iter().zip(11..) {
        site.rewrite(&PLAIN.replace("192.0.2.1", &format!("192.0.2.{last}")))?;
        site.process.signal(signal)?;
        site.process
            .wait_for_line(&format!("[INFO] {signal}: Reloading"))?;
        site.ports.await_address("a.example", [192, 0, 2, last])?;
    }
    site.await_count("[INFO] Reloading complete", 3)?;
    site.process.signal(Signal::SIGUSR1)?;
    site.await_count("[INFO] Reloading complete", 4)
}

#[test]
fn a_signal_that_comes_with_the_banner_is_obeyed() -> anyhow::Result<()> {
    // Scripts wait for the banner; a signal must not kill the server then.
    for _ in 0..5 {
        let mut site = Site::start(PLAIN)?;
        site.process.signal(Signal::SIGUSR1)?;
        site.process.signal(Signal::SIGHUP)?;
        site.process.wait_for_line("Reloading complete")?;
        site.process.signal(Signal::SIGTERM)?;
        let status = site.process.wait()?;
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_in_flight_is_answered_after_sigterm() -> anyhow::Result<()> {
    let upstream = FakeUpstream::start(|query| {
        let answer = Reply::to(query).a([192, 0, 2, 9], 60).send();
        Action::After(Duration::from_secs(1), Box::new(answer))
    })
    .await?;
    for transport in [Client::udp, Client::tcp] {
        let before = upstream.count_without_probes();
        let mut site = Site::start(&format!(
            ".:@dns {{\n bind 127.0.0.1\n forward . {} {{\n max_fails 0\n }}\n}}\n",
            upstream.addr()
        ))?;
        let client = transport(site.ports.server());
        let asking = thread::spawn(move || client.query("slow.example", RecordType::A));
        wait_for(|| (upstream.count_without_probes() > before).then_some(()))
            .context("the upstream is not asked")?;

        site.process.signal(Signal::SIGTERM)?;
        let status = site.process.wait()?;

        let response = asking.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure_rcode(&response, ResponseCode::NoError)?;
        ensure!(response.answers.len() == 1, "{response:?}");
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn timing_a_reload_that_waits_does_not_hold_up_the_end() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    docker.control().delay_lists(Duration::from_secs(60));
    let mut site = Site::start(PLAIN)?;
    site.rewrite(&format!(
        ".:@dns {{\n bind 127.0.0.1\n docker-cluster {{\n docker_socket unix://{}\n host_ip \
         192.0.2.1\n fallthrough\n }}\n hosts {{\n 192.0.2.1 a.example\n }}\n}}\n",
        docker.path().display()
    ))?;
    site.process.signal(Signal::SIGUSR1)?;
    wait_for(|| (!docker.requests().is_empty()).then_some(())).context("Docker is not asked")?;
    pause(Duration::from_millis(100));
    // What was served goes on meanwhile.
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    ensure!(site.line("Reloading complete").is_none(), "it did not wait");

    let start = clock();
    site.process.signal(Signal::SIGTERM)?;
    let status = site.process.wait()?;

    ensure!(status.code() == Some(0), "{status}\n{}", site.output());
    ensure!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn timing_a_start_that_waits_can_be_ended() -> anyhow::Result<()> {
    // The upstream's name is asked of a server that never answers.
    let resolver = FakeUpstream::black_hole().await?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let before = resolver.count();
        let mut process = portolan()
            .corefile(&format!(
                ".:{} {{\n bind 127.0.0.1\n forward . up.example {{\n resolver {}\n }}\n}}\n",
                choose_port(),
                resolver.addr()
            ))
            .start()?;
        wait_for(|| (resolver.count() > before).then_some(())).context("nobody is asked")?;
        let start = clock();
        process.signal(signal)?;
        let status = process.wait()?;
        ensure!(
            status.code() == Some(0),
            "{signal}: {status} {:?}",
            process.lines()
        );
        ensure!(
            start.elapsed() < Duration::from_millis(1500),
            "{:?}",
            start.elapsed()
        );
    }
    Ok(())
}
