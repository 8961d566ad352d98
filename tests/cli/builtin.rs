//! What runs when nobody says what to run.

use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::wait_for;

use super::site::BINARY;
use super::site::Ended;
use super::site::finish;
use crate::support::needs;
use crate::support::needs_root;

/// A server in a network of its own: its admin ports are fixed, and what it
/// would forward goes nowhere.
struct Alone(Process);

// === impl Alone ===

impl Alone {
    /// Starts the server without a Corefile.
    fn start(arguments: &str) -> anyhow::Result<Self> {
        let command = format!("ip link set lo up && exec {BINARY} {arguments} -log-format text");
        let process = Launch::new("/usr/bin/unshare")
            .args(["--net", "--", "/bin/sh", "-c", &command])
            .start()?;
        process.wait_for_line("Portolan-")?;
        Ok(Self(process))
    }

    /// Runs a program in the server's network.
    fn run(&self, program: &[&str]) -> anyhow::Result<Ended> {
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--target", &self.0.pid().to_string(), "--net", "--"]);
        command.args(program);
        finish(command, "")
    }

    /// Fetches a page: head and body.
    fn fetch(&self, port: u16, page: &str) -> anyhow::Result<String> {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /{page} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
        );
        Ok(self.run(&["bash", "-c", &script])?.stdout)
    }

    /// Fails unless a DNS server listens on a port.
    fn ensure_dns(&self, port: &str) -> anyhow::Result<()> {
        // A query for other names would be forwarded, and wait.
        for transport in ["+notcp", "+tcp"] {
            let options = ["+opcode=status", "+tries=1", "+time=5", transport];
            let command = [&["dig", "@127.0.0.1", "-p", port], &options[..]].concat();
            let ended = self.run(&command)?;
            ensure!(ended.stdout.contains("status: NOTIMP"), "{ended:?}");
        }
        Ok(())
    }
}

#[test]
fn the_built_in_configuration_listens_on_54_and_has_all_endpoints() -> anyhow::Result<()> {
    if !needs(&["unshare", "nsenter", "ip", "dig", "bash"]) || !needs_root() {
        return Ok(());
    }
    let alone = Alone::start("")?;
    ensure!(
        alone.0.lines().iter().any(|line| line == ".:54"),
        "{:?}",
        alone.0.lines()
    );
    alone.ensure_dns("54")?;
    for (port, page, expected) in [
        (8080, "health", "OK"),
        (8181, "ready", "OK"),
        (9153, "metrics", "coredns_build_info"),
    ] {
        let fetched = wait_for(|| {
            let answer = alone.fetch(port, page).ok()?;
            answer.starts_with("HTTP/1.0 200 OK").then_some(answer)
        });
        let answer = fetched.with_context(|| format!("{page}: {:?}", alone.0.lines()))?;
        ensure!(answer.contains(expected), "{page}: {answer}");
    }
    let healthy = alone.run(&[BINARY, "health"])?;
    healthy.ensure_code(0)?;
    alone
        .run(&[BINARY, "health", "127.0.0.1:1"])?
        .ensure_code(1)
}

#[test]
fn the_port_flag_moves_the_built_in_configuration() -> anyhow::Result<()> {
    if !needs(&["unshare", "nsenter", "ip", "dig"]) || !needs_root() {
        return Ok(());
    }
    let alone = Alone::start("-dns.port 5399")?;
    ensure!(
        alone.0.lines().iter().any(|line| line == ".:5399"),
        "{:?}",
        alone.0.lines()
    );
    alone.ensure_dns("5399")?;
    let silent = alone.run(&["dig", "@127.0.0.1", "-p", "54", "+tries=1", "+time=1", "."])?;
    ensure!(silent.code != Some(0), "54 answers as well: {silent:?}");
    Ok(())
}
