//! Asking one server by dnsperf.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;

use crate::account;
use crate::machine;
use crate::machine::Core;
use crate::servers::Server;

/// Queries that are outstanding at a time. More would overflow the receive
/// buffer that servers have by default, and each loss would idle a place.
pub(crate) const OUTSTANDING: u32 = 192;

/// Sockets that they are sent from.
pub(crate) const SOCKETS: u32 = 64;

/// How one server did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Responses a second.
    pub(crate) qps: f64,
    /// Processor time of the server for each response, in microseconds.
    pub(crate) cost: f64,
    /// Processor time of dnsperf for each response, in microseconds.
    pub(crate) client_cost: f64,
    /// Share of the queries that got no response, in percent.
    pub(crate) lost: f64,
}

/// For how long to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// Each query of the file once.
    Once,
    /// The queries again and again, for so many seconds.
    Seconds(u32),
}

/// Asks a server the queries of a file, from a core.
pub(crate) fn ask(
    server: &Server,
    queries: &Path,
    extent: Extent,
    core: Core,
) -> anyhow::Result<Sample> {
    let before = account::processor_time(server.pid())?;
    let client_before = account::time_of_ended_children()?;
    let output = run(server, queries, extent, core)?;
    let used = account::processor_time(server.pid())?.saturating_sub(before);
    let client_used = account::time_of_ended_children()?.saturating_sub(client_before);
    let said = |label| figure(&output, label).with_context(|| format!("{label:?} in {output}"));
    let (completed, sent) = (said("Queries completed:")?, said("Queries sent:")?);
    ensure!(completed > 0.0, "{} did not respond at all", server.name());
    check_codes(server, &output, completed)?;
    Ok(Sample {
        qps: said("Queries per second:")?,
        cost: used.as_secs_f64() * 1e6 / completed,
        client_cost: client_used.as_secs_f64() * 1e6 / completed,
        lost: (sent - completed) / sent * 100.0,
    })
}

/// Runs dnsperf and gives what it says.
fn run(server: &Server, queries: &Path, extent: Extent, core: Core) -> anyhow::Result<String> {
    let mut arguments = format!(
        "-s 127.0.0.1 -p {} -t 1 -T 1 -c {SOCKETS} -q {OUTSTANDING}",
        server.port()
    );
    match extent {
        Extent::Once => arguments += " -n 1",
        Extent::Seconds(seconds) => write!(arguments, " -l {seconds}")?,
    }
    let program = machine::on(core, "dnsperf");
    let (first, rest) = program.split_first().context("no program")?;
    let output = Command::new(first)
        .args(rest)
        .args(arguments.split(' '))
        .arg("-d")
        .arg(queries)
        .output()
        .context("cannot run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "dnsperf failed: {text}");
    Ok(text)
}

/// A server that refuses is fast, and no use.
fn check_codes(server: &Server, output: &str, completed: f64) -> anyhow::Result<()> {
    let codes = "Response codes:";
    let line = output.lines().find(|line| line.contains(codes));
    let good = line
        .and_then(|line| line.split("NOERROR ").nth(1))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|count| count.parse::<f64>().ok())
        .unwrap_or(0.0);
    ensure!(
        good >= completed * LEAST_GOOD,
        "{} does not answer what it is asked: {}",
        server.name(),
        line.unwrap_or_default().trim(),
    );
    Ok(())
}

/// The number behind a label.
fn figure(output: &str, label: &str) -> Option<f64> {
    let line = output
        .lines()
        .find_map(|line| line.trim().strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Share of the responses that have to be NOERROR.
const LEAST_GOOD: f64 = 0.999;
