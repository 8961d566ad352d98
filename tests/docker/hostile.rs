//! Labels of people who mean harm, or do not know better.

use std::fmt::Write as _;

use anyhow::Context as _;
use anyhow::ensure;

use super::engine::Engine;
use super::server::Server;

/// Unknown names are denied.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        unknown_action nxdomain
    }
    prometheus :METRICS_PORT
}
";

#[test]
fn hostile_labels_are_told_once_counted_and_else_ignored() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let server = Server::start(COREFILE)?;
    let long_label = "x".repeat(64);
    let name_of_256_octets = format!("{}.org", ["x".repeat(62).as_str(); 4].join("."));
    let mut many = String::new();
    for number in 0..10_000 {
        write!(many, "n{number}.x.org,")?;
    }
    let (mut told, mut last) = (0, None);
    for (label, counted) in [
        ("x".repeat(10_240), 1.0),
        (many, 2.0),
        (
            "a\u{1}b.example.org \u{1b}[31mred.example.org nul\u{7f}.example.org".to_owned(),
            3.0,
        ),
        (name_of_256_octets, 1.0),
        (
            format!("{long_label}.example.org a..b.example.org .example.org"),
            3.0,
        ),
        (
            "a.*.example.org *x.example.org * . ../../etc/passwd".to_owned(),
            5.0,
        ),
        (
            "\u{202e}gro.elpmaxe\u{200b} \u{1f4a9}\u{0}".replace('\0', ""),
            1.0,
        ),
        (
            "spa\u{a0}ce.example.org;rm -rf $(x) `y` \"z\" {\"a\":1}".to_owned(),
            5.0,
        ),
    ] {
        let before = ignored(&server)?;
        let good = format!("good{told}.example.org");
        let container = engine.run_named(&format!("{good},{label}"))?;
        server.await_host(&good)?;
        told += 1;
        let lines = server.count_lines("labels that cannot be used");
        ensure!(
            lines == told,
            "{lines} warnings after {told} containers:\n{}",
            server.output()
        );
        let more = ignored(&server)? - before;
        ensure!(
            more >= counted,
            "{more} ignored, not {counted}: {:?}",
            container.name()
        );
        last = Some(container);
    }
    last.context("there were containers")?.restart()?;
    // Whatever there is to say has been said once later events are served.
    let _later = engine.run_named("later.example.org")?;
    server.await_host("later.example.org")?;
    let lines = server.count_lines("labels that cannot be used");
    ensure!(
        lines == told,
        "told again after a restart:\n{}",
        server.output()
    );
    let longest = server.process().lines().iter().map(String::len).max();
    ensure!(longest < Some(2_000), "a line of {longest:?} octets");
    let is_clean = |line: &String| !line.contains(char::is_control);
    ensure!(
        server.process().lines().iter().all(is_clean),
        "{}",
        server.output()
    );
    Ok(())
}

#[test]
fn ten_thousand_names_leave_room_for_others() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let server = Server::start(COREFILE)?;
    let mut many = String::new();
    for number in 0..10_000 {
        write!(many, "n{number}.x.org ")?;
    }
    let _many = engine.run_named(&many)?;
    server.await_host("n0.x.org")?;
    server.await_host("n99.x.org")?;
    ensure!(server.addresses("n9999.x.org")?.is_empty(), "no bound");
    let names = server.metric("portolan_docker_names", &[])?;
    ensure!((names - 100.0).abs() < 0.5, "{names} names");
    let _other = engine.run_named("other.example.org")?;
    server.await_host("other.example.org")
}

/// What was ignored in labels so far.
fn ignored(server: &Server) -> anyhow::Result<f64> {
    server.metric("portolan_docker_invalid_names_total", &[])
}
