//! Changes of the configuration that cannot take effect.

use std::fs;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::ensure;
use portolan_testkit::process::Signal;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::site::Site;
use super::site::choose_port;

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

#[test]
fn a_broken_file_is_told_and_counted_once_and_changes_nothing() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;

    site.rewrite(&WATCHED.replace("hosts {", "hostss {"))?;
    site.await_count("plugin/reload: Corefile changed but reload failed: ", 1)?;
    ensure_as_before(&site)?;
    let told = site.line("reload failed").unwrap_or_default();
    ensure!(
        told.starts_with("[ERROR] ") && told.contains("Corefile:7:5"),
        "{told}"
    );
    pause(Duration::from_millis(4500));
    ensure!(site.count("reload failed") == 1, "{}", site.output());
    ensure!(
        site.metric("coredns_reload_failed_total")? == 1.0,
        "{}",
        site.metrics()?
    );

    // Another mistake is another failure.
    site.rewrite(&WATCHED.replace("reload 2s", "reload 1s"))?;
    site.await_count("reload failed", 2)?;
    ensure_as_before(&site)?;

    // The old text again is nothing to load.
    site.rewrite(WATCHED)?;
    pause(Duration::from_millis(2500));
    ensure!(site.count("Reloading complete") == 0, "{}", site.output());
    ensure!(
        site.metric("coredns_reload_failed_total")? == 2.0,
        "{}",
        site.metrics()?
    );

    site.rewrite(&WATCHED.replace("192.0.2.1", "192.0.2.2"))?;
    site.ports.await_address("a.example", [192, 0, 2, 2])
}

#[test]
fn what_a_signal_found_broken_is_not_told_again_by_the_timer() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;
    for (text, count) in [
        (WATCHED.replace("hosts {", "hostss {"), 1.0),
        (
            WATCHED.replace("bind 127.0.0.1", "bind 127.0.0.1 eth-none"),
            2.0,
        ),
    ] {
        site.rewrite(&text)?;
        site.process.signal(Signal::SIGHUP)?;
        wait_for(|| (site.metric("coredns_reload_failed_total").ok()? >= count).then_some(()));
        pause(Duration::from_millis(2500));
        let counted = site.metric("coredns_reload_failed_total")?;
        ensure!(counted == count, "{counted}:\n{}", site.output());
    }
    // Who asks again is told again.
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("SIGHUP: the old configuration stays", 3)?;
    ensure_as_before(&site)
}

#[test]
fn a_file_that_is_emptied_or_removed_is_refused() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;
    let path = site.process.directory().join("Corefile");
    fs::write(&path, "")?;
    site.await_count("there is no server block", 1)?;
    ensure_as_before(&site)?;
    fs::remove_file(&path)?;
    site.await_count("no such file or directory", 1)?;
    ensure_as_before(&site)?;
    ensure!(
        site.metric("coredns_reload_failed_total")? == 2.0,
        "{}",
        site.metrics()?
    );
    site.rewrite(&WATCHED.replace("192.0.2.1", "192.0.2.2"))?;
    site.ports.await_address("a.example", [192, 0, 2, 2])
}

#[test]
fn what_cannot_be_opened_leaves_everything_as_it_was() -> anyhow::Result<()> {
    let site = Site::start(WATCHED)?;
    let taken = choose_port();
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, taken))?;
    let taken_tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let free = choose_port();
    let health = format!("health 127.0.0.1:{}", taken_tcp.local_addr()?.port());
    let metrics = format!("prometheus 127.0.0.1:{free}");
    let broken = [
        // The first port is free, the second is not.
        format!("{WATCHED}.:{taken} {{\n bind 127.0.0.1\n whoami\n}}\n"),
        WATCHED
            .replace("health 127.0.0.1:@health", &health)
            .replace("prometheus 127.0.0.1:@metrics", &metrics),
        WATCHED.replace("bind 127.0.0.1", "bind 127.0.0.1 eth-none"),
        WATCHED.replace(
            "reload 2s 0s",
            "reload 2s 0s\n loadbalance weighted nowhere",
        ),
    ];
    for (index, text) in broken.iter().enumerate() {
        site.rewrite(&text.replace("192.0.2.1", "192.0.2.2"))?;
        site.process.signal(Signal::SIGUSR1)?;
        site.await_count("SIGUSR1: the old configuration stays", index + 1)?;
        ensure_as_before(&site)?;
        ensure!(
            crate::observe::http::get(free, "/metrics").is_err(),
            "{free} is open"
        );
    }
    // What was opened on the way is closed again.
    drop(other);
    site.rewrite(&broken[0])?;
    site.process.signal(Signal::SIGUSR1)?;
    site.await_count("Reloading complete", 1)?;
    ensure_as_before(&site)
}

/// Fails unless the server does what it did at first.
fn ensure_as_before(site: &Site) -> anyhow::Result<()> {
    let address = site.ports.address("a.example")?;
    ensure!(address == Some([192, 0, 2, 1].into()), "{address:?}");
    ensure!(
        site.health()? == (200, "OK".to_owned()),
        "{:?}",
        site.health()
    );
    ensure!(
        site.ready()? == (200, "OK".to_owned()),
        "{:?}",
        site.ready()
    );
    ensure!(
        site.metrics()?.contains("coredns_build_info"),
        "{:?}",
        site.metrics()
    );
    Ok(())
}
