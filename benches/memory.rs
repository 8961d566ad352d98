//! What the server takes of the memory when everything comes at once: a
//! million names that are asked for once, a thousand connections, answers of
//! 60,000 octets, upstreams that say nothing.
//!
//! One server takes all phases in turn, and then together, with the default
//! bounds and the default cache, and without a limit that the system sets.
//! Reported are the most memory that was resident in each phase and what is
//! left of it afterwards, beside the bar, and what became of every question.
//! Everything stays on loopback.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]

#[path = "memory/client.rs"]
mod client;
#[path = "memory/connections.rs"]
mod connections;
#[path = "memory/datagrams.rs"]
mod datagrams;
#[path = "memory/options.rs"]
mod options;
#[path = "memory/phase.rs"]
mod phase;
#[path = "memory/question.rs"]
mod question;
#[path = "memory/report.rs"]
mod report;
#[path = "memory/site.rs"]
mod site;
#[path = "memory/tally.rs"]
mod tally;
#[path = "memory/upstream.rs"]
mod upstream;

use std::process::ExitCode;

use portolan_testkit::process::allow_open_files;

use crate::options::Options;
use crate::phase::Phase;
use crate::site::Site;

/// Files that this process has open: a thousand connections, at both of its
/// ends, and what else there is.
const OPEN_FILES: u64 = 4_096;

/// Runs what the arguments ask for.
fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| run(&options));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the phases; tells whether the bar was kept in each.
fn run(options: &Options) -> anyhow::Result<bool> {
    allow_open_files(OPEN_FILES)?;
    report::describe(&options.binary);
    let site = Site::start(&options.binary)?;
    report::print_head(site.process.resident_kib()?);
    let mut is_kept = true;
    for phase in Phase::ALL {
        if options.wants(phase) {
            let outcome = phase.run(&site, options.names)?;
            site.ensure_well()?;
            is_kept &= report::print(phase, &outcome, options.names);
        }
    }
    Ok(is_kept)
}
