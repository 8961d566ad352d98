//! Queries a second, and what one costs, beside other servers of the machine.
//!
//! Each scenario starts the servers with the same names, then asks them one
//! after another, round after round, so that a noisy moment meets all of them. Reported are medians over the rounds. What a query costs is
//! the processor time of the server's processes, divided by the responses; it
//! does not count what others do meanwhile, and is the figure to compare.
//!
//! Everything stays on loopback. Servers that are not installed are left out.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]

#[path = "queries/account.rs"]
mod account;
#[path = "queries/answers.rs"]
mod answers;
#[path = "queries/churn.rs"]
mod churn;
#[path = "queries/echo.rs"]
mod echo;
#[path = "queries/generator.rs"]
mod generator;
#[path = "queries/load.rs"]
mod load;
#[path = "queries/machine.rs"]
mod machine;
#[path = "queries/names.rs"]
mod names;
#[path = "queries/options.rs"]
mod options;
#[path = "queries/paced.rs"]
mod paced;
#[path = "queries/plot.rs"]
mod plot;
#[path = "queries/report.rs"]
mod report;
#[path = "queries/rounds.rs"]
mod rounds;
#[path = "queries/scenario.rs"]
mod scenario;
#[path = "queries/servers.rs"]
mod servers;
#[path = "queries/stream.rs"]
mod stream;
#[path = "queries/targets.rs"]
mod targets;

use std::fs;
use std::process::ExitCode;

use crate::options::Mode;
use crate::options::Options;
use crate::scenario::Scenario;

/// Runs what the arguments ask for.
fn main() -> ExitCode {
    let result = match Options::parse(std::env::args().skip(1)) {
        Ok(Mode::Echo(address, workers)) => echo::run(address, workers),
        Ok(Mode::Load(run)) => generator::run(&run),
        Ok(Mode::Measure(options)) => measure(&options),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the scenarios.
fn measure(options: &Options) -> anyhow::Result<()> {
    let mut machine = machine::describe();
    let builds = options.builds.iter();
    machine.extend(builds.map(|build| format!("{}: {}", build.label, build.origin)));
    machine.push(format!(
        "{} names, {} rounds of {} ms, interleaved",
        options.names, options.rounds, options.milliseconds,
    ));
    println!("{}", machine.join("\n"));
    let mut all = Vec::new();
    for scenario in Scenario::ALL {
        if !options.wants(scenario.word()) {
            continue;
        }
        match rounds::run(scenario, options)? {
            Some(results) => {
                println!("{}", report::table(&results));
                all.push(results);
            }
            None => println!("\n{}: left out, knotd is not installed", scenario.word()),
        }
    }
    let answers = options.wants(answers::WORD).then(answers::measure);
    let answers = answers.transpose()?;
    if let Some(answers) = &answers {
        println!("{}", answers::table(answers));
    }
    let targets = targets::table(&all, answers.as_ref());
    machine.push(machine::load("after"));
    println!("{}\n{targets}\n{}", report::NOTES, machine::load("after"));
    if let Some(directory) = &options.write {
        let page = report::page(&machine, &targets, &all, answers.as_ref());
        fs::write(directory.join("peers.md"), page)?;
        fs::write(directory.join("peers.svg"), plot::svg(&all))?;
    }
    Ok(())
}
