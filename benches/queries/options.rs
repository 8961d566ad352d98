//! Arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

use crate::generator::Run;
use crate::scenario::Scenario;

/// What the program is to do.
pub(crate) enum Mode {
    /// Be the server that sends back what it gets, at this address.
    Echo(SocketAddr),
    /// Be a client.
    Load(Run),
    /// Measure.
    Measure(Options),
}

/// How to measure.
pub(crate) struct Options {
    /// Names in the servers.
    pub(crate) names: u32,
    /// Rounds of each scenario.
    pub(crate) rounds: u32,
    /// Seconds that one server is asked for in one round.
    pub(crate) seconds: u32,
    /// The one scenario to run; all if there is none.
    scenario: Option<Scenario>,
    /// Where to write the tables and the plot; nowhere if there is no place.
    pub(crate) write: Option<PathBuf>,
}

// === impl Options ===

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Mode> {
        let mut options = Self {
            names: 10_000,
            rounds: 5,
            seconds: 2,
            scenario: None,
            write: None,
        };
        // `cargo bench` adds this one to what it is given.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            if argument == "--load" {
                let words: Vec<String> = arguments.collect();
                return Run::parse(&words).map(Mode::Load);
            }
            let value = arguments.next().context(USAGE)?;
            let number = || value.parse::<u32>().context(USAGE);
            match argument.as_str() {
                "--echo" => return Ok(Mode::Echo(value.parse().context(USAGE)?)),
                "--names" => options.names = number()?,
                "--rounds" => options.rounds = number()?,
                "--seconds" => options.seconds = number()?,
                "--write" => options.write = Some(value.into()),
                "--scenario" => options.scenario = Some(scenario(&value)?),
                _ => bail!(USAGE),
            }
        }
        ensure!((1..=1_000_000).contains(&options.names), USAGE);
        ensure!((1..=50).contains(&options.rounds), USAGE);
        ensure!((1..=20).contains(&options.seconds), USAGE);
        Ok(Mode::Measure(options))
    }

    /// Whether a scenario is to run.
    pub(crate) fn wants(&self, scenario: Scenario) -> bool {
        self.scenario.is_none_or(|wanted| wanted == scenario)
    }
}

/// The scenario that a word names.
fn scenario(word: &str) -> anyhow::Result<Scenario> {
    let named = |scenario: &Scenario| scenario.word() == word;
    Scenario::ALL.into_iter().find(named).context(USAGE)
}

/// What the arguments are.
const USAGE: &str = "usage: queries [--names N] [--rounds 1..50] [--seconds 1..20] \
                     [--scenario many|few|edns|v6|tcp|hit|miss|latency|churn] [--write DIRECTORY]";
