//! Asking one server and reading what it cost.

use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;

use crate::account;
use crate::generator::Counts;
use crate::generator::Run;
use crate::machine;
use crate::machine::Core;
use crate::servers::Server;

/// How one server did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Responses a second.
    pub(crate) qps: f64,
    /// Processor time of the server for each response, in microseconds.
    pub(crate) cost: f64,
    /// Processor time of the client for each response, in microseconds.
    pub(crate) client_cost: f64,
    /// Share of the queries that got no response, in percent.
    pub(crate) lost: f64,
    /// Half of the responses took no longer, in microseconds; 0 if that was
    /// not measured.
    pub(crate) p50: f64,
    /// The same of 99 in 100.
    pub(crate) p99: f64,
}

/// Asks a server from a core, in a process of its own.
pub(crate) fn ask(server: &Server, run: &Run, core: Core) -> anyhow::Result<Sample> {
    let before = account::processor_time(server.pid())?;
    let client_before = account::time_of_ended_children()?;
    let counts = generate(run, core)?;
    let used = account::processor_time(server.pid())?.saturating_sub(before);
    let client_used = account::time_of_ended_children()?.saturating_sub(client_before);
    // A server that refuses is fast, and no use.
    let received = number(counts.good + counts.bad);
    ensure!(
        number(counts.good) >= received * LEAST_GOOD && counts.good > 0,
        "{} does not answer what it is asked: {counts}",
        server.name(),
    );
    Ok(Sample {
        qps: received / number(counts.microseconds) * 1e6,
        cost: used.as_secs_f64() * 1e6 / received,
        client_cost: client_used.as_secs_f64() * 1e6 / received,
        lost: number(counts.lost) / (received + number(counts.lost)) * 100.0,
        p50: number(counts.p50) / 1e3,
        p99: number(counts.p99) / 1e3,
    })
}

/// Runs this program as a client.
fn generate(run: &Run, core: Core) -> anyhow::Result<Counts> {
    let program = std::env::current_exe().context("where this program is")?;
    let program = program.to_str().context("a path in UTF-8")?;
    let words = machine::on(core, program);
    let (first, rest) = words.split_first().context("no program")?;
    let output = Command::new(first)
        .args(rest)
        .arg("--load")
        .args(run.arguments())
        .output()
        .context("cannot run the generator")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "the generator failed: {text}");
    text.parse()
}

/// A count as a figure.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Share of the responses that have to be NOERROR.
const LEAST_GOOD: f64 = 0.999;
