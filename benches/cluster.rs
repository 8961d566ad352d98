//! How several servers share names: how fast, and how they take what a home
//! network does to them.
//!
//! Each experiment is tried again and again; reported are the median and the
//! worst of the tries beside the bar that it has to keep, and how many answers
//! were wrong. Answers are asked for over DNS. Servers are real processes, on
//! loopback addresses or on hosts in a network of their own, which needs root.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]

#[path = "cluster/churn.rs"]
mod churn;
#[path = "cluster/experiment.rs"]
mod experiment;
#[path = "cluster/hostile.rs"]
mod hostile;
#[path = "cluster/options.rs"]
mod options;
#[path = "cluster/partition.rs"]
mod partition;
#[path = "cluster/report.rs"]
mod report;
#[path = "cluster/rolling.rs"]
mod rolling;
#[path = "cluster/spread.rs"]
mod spread;
#[path = "cluster/strangers.rs"]
mod strangers;
#[path = "cluster/withdrawal.rs"]
mod withdrawal;

use std::process::ExitCode;

use crate::experiment::Experiment;
use crate::options::Options;
use crate::report::Report;

/// Runs what the arguments ask for.
fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) if run(&options) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the experiments; tells whether every bar was kept.
fn run(options: &Options) -> bool {
    report::describe();
    println!("{} rounds of each experiment", options.rounds);
    report::print_head();
    let mut is_kept = true;
    for experiment in Experiment::ALL {
        if !options.wants(experiment) {
            continue;
        }
        let mut report = Report::new(experiment);
        // What fails is told, and the next one is tried.
        if let Err(error) = experiment.run(options.rounds, &mut report) {
            report.fail(&error);
        }
        is_kept &= report.print();
    }
    is_kept
}
