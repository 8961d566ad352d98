//! The command line, as CoreDNS has it.

use std::fs;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::process::Launch;
use portolan_testkit::process::wait_for;

use super::site::BINARY;
use super::site::Ports;
use super::site::Site;
use super::site::run;
use super::site::run_with_input;

/// A server that answers one name and nothing else.
const SMALL: &str = ".:@dns {
    bind 127.0.0.1
    hosts {
        192.0.2.1 a.example
    }
}
";

#[test]
fn the_version_is_two_lines() -> anyhow::Result<()> {
    for flag in ["-version", "--version", "version"] {
        let ended = run(&[flag], &[])?;
        ended.ensure_code(0)?;
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let [version, platform] = lines.as_slice() else {
            anyhow::bail!("{flag}: {ended:?}");
        };
        ensure!(
            *version == concat!("Portolan-", env!("CARGO_PKG_VERSION")),
            "{version}"
        );
        ensure!(platform.starts_with("linux/"), "{platform}");
        ensure!(
            platform.trim_end_matches([' ', ',']) == *platform,
            "{platform:?}"
        );
        ensure!(ended.stderr.is_empty(), "{ended:?}");
    }
    Ok(())
}

#[test]
fn plugins_are_sorted_one_a_line_with_a_blank_last_line() -> anyhow::Result<()> {
    for flag in ["-plugins", "--plugins"] {
        let ended = run(&[flag], &[])?;
        ended.ensure_code(0)?;
        let names = ended
            .stdout
            .strip_suffix("\n\n")
            .context("no blank last line")?;
        let names: Vec<&str> = names.split('\n').collect();
        ensure!(names.is_sorted(), "{names:?}");
        for name in [
            "cache",
            "docker-cluster",
            "forward",
            "hosts",
            "traefik-externals",
        ] {
            ensure!(names.contains(&name), "{name} in {names:?}");
        }
        ensure!(
            names.iter().all(|name| !name.trim().is_empty()),
            "{names:?}"
        );
    }
    Ok(())
}

#[test]
fn help_is_no_error() -> anyhow::Result<()> {
    for flag in ["-h", "-help", "--help"] {
        let ended = run(&[flag], &[])?;
        ended.ensure_code(0)?;
        let text = format!("{}{}", ended.stdout, ended.stderr);
        for word in [
            "conf",
            "dns.port",
            "pidfile",
            "plugins",
            "quiet",
            "version",
            "log-format",
        ] {
            ensure!(text.contains(word), "{flag}: {word} in {text}");
        }
    }
    Ok(())
}

#[test]
fn an_unknown_flag_exits_with_2() -> anyhow::Result<()> {
    for arguments in [
        &["-nope"][..],
        &["--nope"],
        &["-p", "x"],
        &["-p", "65536"],
        &["-conf"],
        &["-log-format", "xml"],
        &["-quiet=perhaps"],
    ] {
        let ended = run(arguments, &[])?;
        ended.ensure_code(2)?;
        ensure!(!ended.stderr.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn stray_arguments_are_named_and_exit_with_1() -> anyhow::Result<()> {
    let ended = run(&["stray", "more"], &[])?;
    ended.ensure_code(1)?;
    ensure!(
        ended.stderr == "extra command line arguments: [stray more]\n",
        "{ended:?}"
    );
    let ended = run(&["-quiet", "stray"], &[])?;
    ended.ensure_code(1)?;
    ensure!(
        ended.stderr == "extra command line arguments: [stray]\n",
        "{ended:?}"
    );
    Ok(())
}

#[test]
fn a_boolean_flag_takes_a_value_as_in_go() -> anyhow::Result<()> {
    run(&["-version=true"], &[])?.ensure_code(0)?;
    let ended = run(&["-plugins=true"], &[])?;
    ended.ensure_code(0)?;
    ensure!(ended.stdout.contains("forward\n"), "{ended:?}");
    let ended = run(&["-version=false", "-plugins", "-quiet=true"], &[])?;
    ended.ensure_code(0)?;
    ensure!(ended.stdout.contains("forward\n"), "{ended:?}");
    Ok(())
}

#[test]
fn a_configuration_file_that_is_missing_exits_with_1() -> anyhow::Result<()> {
    for flag in ["-conf", "--conf"] {
        let ended = run(&[flag, "/nonexistent/x"], &[])?;
        ended.ensure_code(1)?;
        let expected =
            "loading Caddyfile via flag: open /nonexistent/x: no such file or directory\n";
        ensure!(ended.stderr == expected, "{ended:?}");
        ensure!(ended.stdout.is_empty(), "{ended:?}");
    }
    // One that is named is never replaced by ./Corefile.
    let ended = run(&["-conf", "other"], &[("Corefile", ".:0 {\n whoami\n}\n")])?;
    ended.ensure_code(1)
}

#[test]
fn a_corefile_in_the_working_directory_is_found() -> anyhow::Result<()> {
    let site = Site::start(SMALL)?;
    site.ports.await_address("a.example", [192, 0, 2, 1])
}

#[test]
fn the_corefile_may_come_from_a_file_on_standard_input() -> anyhow::Result<()> {
    for dash in ["-conf", "--conf"] {
        let ports = Ports::choose();
        let command = format!("exec {BINARY} {dash} stdin < input");
        let process = Launch::new("/bin/sh")
            .args(["-c", &command])
            .file("input", &ports.fill(SMALL))
            .start()?;
        process.wait_for_line("Portolan-")?;
        ports.await_address("a.example", [192, 0, 2, 1])?;
    }
    Ok(())
}

#[test]
fn the_corefile_may_come_from_a_pipe_or_a_socket() -> anyhow::Result<()> {
    let ended = run_with_input(
        &["check", "-conf", "stdin"],
        &[],
        "example.org:53 {\n whoami\n}",
    )?;
    ended.ensure_code(0)?;
    ensure!(ended.stdout.starts_with("/dev/stdin: valid\n"), "{ended:?}");
    let ended = run_with_input(&["-conf", "stdin"], &[], ". {\n whoamii\n}")?;
    ended.ensure_code(1)?;
    ensure!(ended.stderr.starts_with("/dev/stdin:2:2 - "), "{ended:?}");
    // What an init system hands down may be a socket, which has no path to
    // be opened by.
    let ports = Ports::choose();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    std::io::Write::write_all(&mut &ours, ports.fill(SMALL).as_bytes())?;
    ours.shutdown(std::net::Shutdown::Write)?;
    let mut child = std::process::Command::new(BINARY)
        .args(["-conf", "stdin"])
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let answered = ports.await_address("a.example", [192, 0, 2, 1]);
    child.kill()?;
    child.wait()?;
    answered
}

#[test]
fn the_port_flag_is_for_keys_without_one() -> anyhow::Result<()> {
    let corefile = "a.example {
        bind 127.0.0.1
        hosts {
            192.0.2.1 a.example
        }
    }
    b.example:@health {
        bind 127.0.0.1
        hosts {
            192.0.2.2 b.example
        }
    }";
    for flag in ["-dns.port", "--dns.port", "-p"] {
        let site = Site::start_with(corefile, |launch, ports| {
            launch.args([flag, &ports.dns.to_string()])
        })?;
        site.ports.await_address("a.example", [192, 0, 2, 1])?;
        let other = Ports {
            dns: site.ports.health,
            ..site.ports
        };
        other.await_address("b.example", [192, 0, 2, 2])?;
    }
    Ok(())
}

#[test]
fn the_pid_file_is_written_once_ports_are_open_and_removed_at_the_end() -> anyhow::Result<()> {
    for flag in ["-pidfile", "--pidfile"] {
        let mut site = Site::start_with(SMALL, |launch, _| {
            launch.args([flag, "pid", "-quiet=false"])
        })?;
        let path = site.process.directory().join("pid");
        let text = wait_for(|| {
            fs::read_to_string(&path)
                .ok()
                .filter(|text| !text.is_empty())
        })
        .context("no pid file")?;
        // Whoever sees the file may ask.
        ensure!(site.ports.asked("a.example").is_some(), "not listening yet");
        ensure!(text.trim() == site.process.pid().to_string(), "{text:?}");
        site.end()?;
        ensure!(!path.exists(), "the pid file is still there");
    }
    Ok(())
}

#[test]
fn a_pid_file_that_cannot_be_written_is_only_logged() -> anyhow::Result<()> {
    let mut site = Site::start_with(SMALL, |launch, _| {
        launch.args(["-pidfile", "/nonexistent/pid"])
    })?;
    site.process.wait_for_line("cannot write the pid file")?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    site.end()
}

#[test]
fn quiet_leaves_the_banner_out() -> anyhow::Result<()> {
    let ports = Ports::choose();
    let mut process = crate::support::portolan()
        .corefile(&ports.fill(SMALL))
        .args(["-quiet", "-log-format", "text"])
        .start()?;
    ports.await_address("a.example", [192, 0, 2, 1])?;
    process.signal(portolan_testkit::process::Signal::SIGTERM)?;
    process.wait()?;
    let lines = process.lines();
    ensure!(
        !lines.iter().any(|line| line.contains("Portolan-")),
        "{lines:?}"
    );
    ensure!(
        !lines.iter().any(|line| line.starts_with(".:")),
        "{lines:?}"
    );
    ensure!(
        lines.iter().any(|line| line.contains("SIGTERM")),
        "{lines:?}"
    );
    Ok(())
}

#[test]
fn the_banner_names_zones_and_ends_with_the_version() -> anyhow::Result<()> {
    let site = Site::start(".:@dns example.org:@dns {\n bind 127.0.0.1 127.0.0.2\n whoami\n}")?;
    site.process.wait_for_line("linux/")?;
    let port = site.ports.dns;
    for line in [
        format!(".:{port} on 127.0.0.1"),
        format!(".:{port} on 127.0.0.2"),
        format!("example.org.:{port} on 127.0.0.1"),
        format!("example.org.:{port} on 127.0.0.2"),
    ] {
        ensure!(
            site.process.lines().contains(&line),
            "{line} in\n{}",
            site.output()
        );
    }
    let site = Site::start("example.org:@dns {\n whoami\n}")?;
    let line = format!("example.org.:{}", site.ports.dns);
    ensure!(
        site.process.lines().contains(&line),
        "{line} in\n{}",
        site.output()
    );
    Ok(())
}

#[test]
fn logs_are_json_unless_text_is_asked_for() -> anyhow::Result<()> {
    for (arguments, json) in [
        (&[][..], true),
        (&["-log-format", "json"], true),
        (&["--log-format=json"], true),
        (&["-log-format", "text"], false),
        (&["-log-format=text"], false),
    ] {
        let mut site = Site::start_with(SMALL, |launch, _| launch.args(arguments.iter().copied()))?;
        site.end()?;
        for line in site.process.lines() {
            let read: Result<serde_json::Value, _> = serde_json::from_str(&line);
            ensure!(
                read.is_ok_and(|value| value.is_object()) == json,
                "{arguments:?}: {line}"
            );
        }
    }
    Ok(())
}
