//! Ports that cannot be had.

use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use portolan_testkit::process::clock;

use super::site::BINARY;
use super::site::Ended;
use super::site::Ports;
use super::site::Site;
use super::site::choose_port;
use super::site::finish;
use super::site::run;
use crate::support::needs;
use crate::support::needs_root;
use crate::support::skip;

#[test]
fn timing_a_privileged_port_is_refused_at_once_with_the_remedies() -> anyhow::Result<()> {
    if !needs(&["setpriv"]) || !needs_root() {
        return Ok(());
    }
    let limit = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    if limit.trim().parse::<u16>()? <= PRIVILEGED {
        skip(&format!("needs port {PRIVILEGED} to be privileged"));
        return Ok(());
    }
    // Another user, and root without the capability, as in a container.
    for who in [
        &["--reuid=65534", "--regid=65534", "--clear-groups"][..],
        &[
            "--bounding-set=-net_bind_service",
            "--inh-caps=-net_bind_service",
        ],
    ] {
        let start = clock();
        let ended = as_somebody(who)?;
        let taken = start.elapsed();
        ended.ensure_code(1)?;
        ensure!(taken < Duration::from_secs(1), "{taken:?}");
        for remedy in [
            "plugin/bind: /dev/stdin:2:2: Listen: listen udp 127.0.0.1:54: ",
            "permission denied",
            "start as root",
            "CAP_NET_BIND_SERVICE",
            "-dns.port",
        ] {
            ensure!(ended.stderr.contains(remedy), "{remedy}: {ended:?}");
        }
        ensure!(!ended.stdout.contains("Portolan-"), "{ended:?}");
    }
    Ok(())
}

#[test]
fn a_port_that_another_program_has_is_refused() -> anyhow::Result<()> {
    for transport in ["udp", "tcp"] {
        let ports = Ports::choose();
        let taken = (Ipv4Addr::LOCALHOST, ports.dns);
        let udp = (transport == "udp")
            .then(|| UdpSocket::bind(taken))
            .transpose()?;
        let tcp = (transport == "tcp")
            .then(|| TcpListener::bind(taken))
            .transpose()?;
        for (bind, place) in [
            ("bind 127.0.0.1", "plugin/bind: Corefile:2:2: "),
            ("bind 127.0.0.2\n bind lo", "plugin/bind: Corefile:3:2: "),
            ("", "Corefile:1:1: "),
        ] {
            let corefile = ports.fill(&format!(".:@dns {{\n {bind}\n whoami\n}}\n"));
            let ended = run(&[], &[("Corefile", &corefile)])?;
            ended.ensure_code(1)?;
            let expected = format!("{place}Listen: listen {transport} ");
            ensure!(ended.stderr.starts_with(&expected), "{bind}: {ended:?}");
            ensure!(
                ended.stderr.contains("bind: address already in use"),
                "{bind}: {ended:?}"
            );
            let remedy = format!("ss -lntup 'sport = :{}'", ports.dns);
            ensure!(ended.stderr.contains(&remedy), "{bind}: {ended:?}");
        }
        drop((udp, tcp));
    }
    Ok(())
}

#[test]
fn an_admin_port_that_another_program_has_is_refused() -> anyhow::Result<()> {
    for directive in ["health", "ready", "prometheus"] {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = taken.local_addr()?.port();
        let dns = choose_port();
        let corefile = format!(".:{dns} {{\n {directive} 127.0.0.1:{port}\n whoami\n}}\n");
        let ended = run(&[], &[("Corefile", &corefile)])?;
        ended.ensure_code(1)?;
        let expected =
            format!("plugin/{directive}: Corefile:2:2: cannot listen on 127.0.0.1:{port}: ");
        ensure!(
            ended.stderr.starts_with(&expected),
            "{directive}: {ended:?}"
        );
        ensure!(ended.stderr.contains("in use"), "{directive}: {ended:?}");
        let remedy = format!("ss -lntup 'sport = :{port}'");
        ensure!(ended.stderr.contains(&remedy), "{directive}: {ended:?}");
    }
    Ok(())
}

#[test]
fn a_second_server_on_one_port_is_refused_and_the_first_serves_on() -> anyhow::Result<()> {
    let corefile = ".:@dns {\n bind 127.0.0.1\n hosts {\n 192.0.2.1 a.example\n }\n}\n";
    let site = Site::start(corefile)?;
    let text = site.ports.fill(corefile);
    let all = text.replace("bind 127.0.0.1", "");
    for second in [&text, &all] {
        let ended = run(&[], &[("Corefile", second)])?;
        ended.ensure_code(1)?;
        ensure!(ended.stderr.contains("address already in use"), "{ended:?}");
    }
    site.ports.await_address("a.example", [192, 0, 2, 1])
}

/// Runs the program as somebody without the right to a privileged port.
fn as_somebody(who: &[&str]) -> anyhow::Result<Ended> {
    let mut command = Command::new("/usr/bin/setpriv");
    command
        .args(who)
        .arg("--")
        .arg(BINARY)
        .args(["-conf", "stdin"]);
    command.current_dir("/");
    let corefile = format!(".:{PRIVILEGED} {{\n bind 127.0.0.1\n whoami\n}}\n");
    finish(command, &corefile)
}

/// A port that is usually privileged.
const PRIVILEGED: u16 = 54;
