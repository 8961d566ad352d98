//! Started as root: what is left of that once the ports are open.

use std::fs;
use std::fs::Permissions;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::server::addresses;
use crate::support::needs_root;
use crate::support::portolan;

/// Where the servers of this file listen: addresses that nobody else has, on
/// ports that take a privilege.
const FIRST: &str = "127.86.1.1:54";

/// The address that a reload adds.
const SECOND: &str = "127.86.1.1:55";

/// A server block for the address of the fake engine's containers.
const BLOCK: &str = "\
.:PORT {
    bind 127.86.1.1
    docker-cluster {
        host_ip 192.0.2.1
        label names
    }
}
";

#[test]
fn no_thread_keeps_more_of_root_than_the_right_to_low_ports() -> anyhow::Result<()> {
    if !needs_root() {
        return Ok(());
    }
    let directory = open_directory()?;
    let engine = FakeEngine::start(&directory)?;
    let socket = directory.path().join("docker.sock");
    chown(&socket, None, Some(4242))?;
    fs::set_permissions(&socket, Permissions::from_mode(0o660))?;
    engine
        .control()
        .run(FakeContainer::new("c1", "names", "early.example"));
    let pidfile = directory.path().join("pid");
    let mut process = portolan()
        .args(["--user", "54321:54322"])
        .args(["-pidfile", pidfile.to_str().context("a path")?])
        .env("DOCKER_HOST", &engine.host())
        .corefile(&BLOCK.replace("PORT", "54"))
        .start()?;
    process.wait_for_line("no longer root")?;
    process.wait_for_line("Portolan-")?;
    ensure!(
        fs::metadata(&pidfile)?.uid() == 0,
        "the pid file is not root's"
    );

    ensure_ordinary(&process)?;
    await_host(FIRST, "early.example")?;

    // The engine is found again without root: by the group of its socket.
    engine.control().cut_events("");
    engine
        .control()
        .run(FakeContainer::new("c2", "names", "late.example"));
    await_host(FIRST, "late.example")?;

    // A further privileged port, of a file that the new user may read.
    let both = BLOCK.replace("PORT", "54") + &BLOCK.replace("PORT", "55");
    fs::write(process.directory().join("Corefile"), both)?;
    process.signal(Signal::SIGUSR1)?;
    process.wait_for_line("Reloading complete")?;
    await_host(SECOND, "late.example")?;
    await_host(FIRST, "late.example")?;
    ensure_ordinary(&process)?;

    process.signal(Signal::SIGTERM)?;
    ensure!(process.wait()?.success(), "{:?}", process.lines());
    Ok(())
}

#[test]
fn what_the_new_user_cannot_open_is_said_at_once() -> anyhow::Result<()> {
    if !needs_root() {
        return Ok(());
    }
    let directory = open_directory()?;
    let engine = FakeEngine::start(&directory)?;
    let socket = directory.path().join("docker.sock");
    let corefile = directory.path().join("Corefile");
    fs::write(&corefile, BLOCK.replace("PORT", "5486"))?;
    for path in [&socket, &corefile] {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    let corefile = corefile.to_str().context("a path")?;
    let start = |host: &str| {
        portolan()
            .env("PORTOLAN_USER", "54321")
            .env("DOCKER_HOST", host)
            .args(["-conf", corefile])
            .start()
    };
    {
        let closed = start(&engine.host())?;
        closed.wait_for_line("not open to user 54321")?;
        // Its group is root's, and of no use.
        closed.wait_for_line("\"groups\":\"[]\"")?;
        closed.wait_for_line("a reload will fail")?;
    }
    let absent = start("unix:///nonexistent/docker.sock")?;
    absent.wait_for_line("there is no Docker socket yet")?;
    Ok(())
}

#[test]
fn root_stays_root_unless_somebody_says_otherwise() -> anyhow::Result<()> {
    if !needs_root() {
        return Ok(());
    }
    for arguments in [&[][..], &["--user", "root"], &["-user=0:0"]] {
        let process = portolan()
            .args(arguments.iter().copied())
            .corefile(".:5487 {\n bind 127.86.1.1\n whoami\n}\n")
            .start()?;
        process.wait_for_line("Portolan-")?;
        for status in statuses(&process)? {
            ensure!(field(&status, "Uid")? == "0\t0\t0\t0", "{status}");
        }
    }
    Ok(())
}

#[test]
fn a_user_that_does_not_exist_is_an_error_at_the_start() -> anyhow::Result<()> {
    if !needs_root() {
        return Ok(());
    }
    let mut process = portolan()
        .args(["--user", "nobody-of-that-name"])
        .corefile(".:5488 {\n bind 127.86.1.1\n whoami\n}\n")
        .start()?;
    ensure!(process.wait()?.code() == Some(1), "{:?}", process.lines());
    process.wait_for_line("there is no such user")?;
    Ok(())
}

/// Checks that every thread is user 54321, with no privilege but the one.
fn ensure_ordinary(process: &Process) -> anyhow::Result<()> {
    const NET_BIND_SERVICE: u64 = 1 << 10;
    let statuses = statuses(process)?;
    ensure!(statuses.len() > 3, "{} threads", statuses.len());
    for status in statuses {
        for (name, expected) in [
            ("Uid", "54321\t54321\t54321\t54321"),
            ("Gid", "54322\t54322\t54322\t54322"),
            ("Groups", "4242"),
            ("NoNewPrivs", "1"),
        ] {
            ensure!(field(&status, name)? == expected, "{name}: {status}");
        }
        for name in ["CapEff", "CapPrm", "CapAmb"] {
            let capabilities = u64::from_str_radix(field(&status, name)?, 16)?;
            ensure!(capabilities & !NET_BIND_SERVICE == 0, "{name}: {status}");
        }
    }
    Ok(())
}

/// What the kernel says about every thread.
fn statuses(process: &Process) -> anyhow::Result<Vec<String>> {
    let tasks = format!("/proc/{}/task", process.pid());
    let mut statuses = Vec::new();
    for task in fs::read_dir(tasks)? {
        // A thread may end meanwhile.
        if let Ok(status) = fs::read_to_string(task?.path().join("status")) {
            statuses.push(status);
        }
    }
    Ok(statuses)
}

/// A line of what the kernel says.
fn field<'a>(status: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("no {name}"))?.trim())
}

/// Waits until a name points to the host of [`BLOCK`].
fn await_host(server: &str, name: &str) -> anyhow::Result<()> {
    let server: SocketAddr = server.parse()?;
    let found = wait_for(|| {
        let response = Client::udp(server).query(name, RecordType::A).ok()?;
        let expected: IpAddr = "192.0.2.1".parse().ok()?;
        (addresses(&response) == [expected]).then_some(())
    });
    found.with_context(|| format!("{server} does not answer {name}"))
}

/// A directory that everybody may look into.
fn open_directory() -> anyhow::Result<TempDir> {
    let directory = TempDir::new()?;
    let path: &Path = directory.path();
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(directory)
}
