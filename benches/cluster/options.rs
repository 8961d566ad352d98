//! Arguments.

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

use crate::experiment::Experiment;

/// What to measure.
pub(crate) struct Options {
    /// How often each experiment is tried.
    pub(crate) rounds: usize,
    /// The experiments to run; all if there are none.
    only: Vec<Experiment>,
}

// === impl Options ===

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            rounds: 20,
            only: Vec::new(),
        };
        // `cargo bench` adds this one to what it is given.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(usage)?;
            match argument.as_str() {
                "--rounds" => options.rounds = value.parse().with_context(usage)?,
                "--only" => options.only.push(experiment(&value)?),
                _ => bail!(usage()),
            }
        }
        ensure!((1..=200).contains(&options.rounds), usage());
        Ok(options)
    }

    /// Whether an experiment is to run.
    pub(crate) fn wants(&self, experiment: Experiment) -> bool {
        self.only.is_empty() || self.only.contains(&experiment)
    }
}

/// The experiment that a word names.
fn experiment(word: &str) -> anyhow::Result<Experiment> {
    let named = |experiment: &Experiment| experiment.word() == word;
    Experiment::ALL.into_iter().find(named).with_context(usage)
}

/// What the arguments are.
fn usage() -> String {
    let words = Experiment::ALL.map(Experiment::word);
    format!(
        "usage: cluster [--rounds 1..200] [--only EXPERIMENT]...\nexperiments: {}",
        words.join(", ")
    )
}
