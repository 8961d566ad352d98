//! Configurations that are refused.

use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::net::UdpSocket;

use anyhow::ensure;
use portolan_testkit::process::pause;

use super::site::Ports;
use super::site::run;
use crate::support::portolan;

#[test]
fn all_mistakes_are_told_at_once_with_line_and_column() -> anyhow::Result<()> {
    let corefile = ".:5311 {
    whoamii
    kubernetes
    cache 5m
    forward . 127.0.0.1 {
        max_fails many
        foo
    }
    health 8080
}
example..org {
    whoami
}
";
    let ended = run(&["-conf", "broken"], &[("broken", corefile)])?;
    ended.ensure_code(1)?;
    ensure!(ended.stdout.is_empty(), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    for (place, text) in [
        (
            "broken:2:5 - Error during parsing: ",
            "Unknown directive 'whoamii' (did you mean 'whoami'?)",
        ),
        (
            "broken:3:5 - Error during parsing: ",
            "directive 'kubernetes' is a CoreDNS plugin this server does not support",
        ),
        ("plugin/cache: broken:4:11 - ", "the TTL is in seconds"),
        ("plugin/forward: broken:6:", "many"),
        ("plugin/forward: broken:7:9 - ", "unknown property 'foo'"),
        (
            "plugin/health: broken:9:12 - ",
            "address 8080: missing port in address",
        ),
        (
            "broken:11:1 - ",
            "zone is not a valid domain name: example..org",
        ),
    ] {
        let found = lines.iter().find(|line| line.starts_with(place));
        ensure!(
            found.is_some_and(|line| line.contains(text)),
            "{place}{text} in\n{}",
            ended.stderr
        );
    }
    ensure!(lines.len() == 7, "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_variable_that_is_not_set_is_told_beside_the_mistake_it_makes() -> anyhow::Result<()> {
    let corefile = ".:{$PORTOLAN_NOT_SET} {
    whoami
}
";
    for arguments in [&["-conf", "broken"][..], &["check", "broken"]] {
        let ended = run(arguments, &[("broken", corefile)])?;
        ended.ensure_code(1)?;
        let lines: Vec<&str> = ended.stderr.lines().collect();
        ensure!(
            lines.len() == 2
                && lines[0].starts_with("broken:1:1 - Error during parsing: ")
                && lines[1].starts_with("broken:1:1 - Warning: ")
                && lines[1].contains("'PORTOLAN_NOT_SET' is not set"),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    Ok(())
}

#[test]
fn nothing_listens_while_one_block_of_two_is_wrong() -> anyhow::Result<()> {
    let ports = Ports::choose();
    let corefile = ports.fill(
        "good.example:@dns {\n health :@health\n whoami\n}\nbad.example:@dns {\n whoamii\n}\n",
    );
    let mut process = portolan().corefile(&corefile).start()?;
    let mut probes = 0;
    while process.lines().is_empty() && probes < 10_000 {
        for port in [ports.dns, ports.health] {
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            ensure!(connected.is_err(), "port {port} is open");
        }
        // A port that somebody has cannot be bound.
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ports.dns))?;
        probes += 1;
        pause(std::time::Duration::from_millis(1));
    }
    let status = process.wait()?;
    ensure!(status.code() == Some(1), "{status}");
    let lines = process.lines();
    ensure!(
        lines.len() == 1 && lines[0].starts_with("Corefile:6:2 - "),
        "{lines:?}"
    );
    Ok(())
}

#[test]
fn an_empty_file_is_refused() -> anyhow::Result<()> {
    for text in ["", "\n\n", "# only a comment\n"] {
        for (arguments, name) in [(&["-conf", "empty"][..], "empty"), (&[][..], "Corefile")] {
            let ended = run(arguments, &[(name, text)])?;
            ended.ensure_code(1)?;
            let expected = format!("{name}:1:1 - Error during parsing: there is no server block");
            ensure!(ended.stderr.starts_with(&expected), "{text:?}: {ended:?}");
        }
    }
    Ok(())
}

#[test]
fn what_only_the_system_knows_is_an_error_of_the_start_too() -> anyhow::Result<()> {
    let ports = Ports::choose();
    for (directive, message) in [
        (
            "bind eth-none",
            "plugin/bind: Corefile:2:2: not a valid IP address or interface name: \"eth-none\"",
        ),
        (
            "bind 192.0.2.77",
            "bind: cannot assign requested address\nThis host has no such address",
        ),
        (
            "loadbalance weighted nowhere",
            "plugin/loadbalance: Corefile:2:2: nowhere",
        ),
        (
            "health 192.0.2.77:@health",
            "plugin/health: Corefile:2:2: cannot listen on 192.0.2.77",
        ),
        (
            "ready nowhere.invalid:1",
            "plugin/ready: Corefile:2:2: address nowhere.invalid:1: ",
        ),
    ] {
        let corefile = ports.fill(&format!(".:@dns {{\n {directive}\n whoami\n}}\n"));
        let ended = run(&[], &[("Corefile", &corefile)])?;
        ended.ensure_code(1)?;
        ensure!(ended.stderr.contains(message), "{directive}: {ended:?}");
        ensure!(
            !ended.stdout.contains("Portolan-"),
            "{directive}: {ended:?}"
        );
    }
    Ok(())
}

#[test]
fn mistakes_in_toml_have_their_place() -> anyhow::Result<()> {
    let toml = "[[server]]\nzones = [\".\"]\nport = 5311\n\n[server.cache]\nttl = \"5m\"\n";
    for flag in ["-config", "--config", "-conf"] {
        let ended = run(&[flag, "broken.toml"], &[("broken.toml", toml)])?;
        ended.ensure_code(1)?;
        ensure!(ended.stderr.contains("broken.toml:6:7 - "), "{ended:?}");
    }
    Ok(())
}
