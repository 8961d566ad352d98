//! Arguments.

use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

use crate::phase::Phase;

/// What to measure.
pub(crate) struct Options {
    /// Names that are asked for once.
    pub(crate) names: u32,
    /// The server to measure.
    pub(crate) binary: PathBuf,
    /// The phases to run; all if there are none.
    only: Vec<Phase>,
}

// === impl Options ===

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            names: 1_000_000,
            binary: env!("CARGO_BIN_EXE_portolan").into(),
            only: Vec::new(),
        };
        // `cargo bench` adds this one to what it is given.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(usage)?;
            match argument.as_str() {
                "--names" => options.names = value.parse().with_context(usage)?,
                "--binary" => options.binary = value.into(),
                "--only" => options.only.push(phase(&value)?),
                _ => bail!(usage()),
            }
        }
        ensure!((1_000..=10_000_000).contains(&options.names), usage());
        Ok(options)
    }

    /// Whether a phase is to run.
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        self.only.is_empty() || self.only.contains(&phase)
    }
}

/// The phase that a word names.
fn phase(word: &str) -> anyhow::Result<Phase> {
    let named = |phase: &Phase| phase.word() == word;
    Phase::ALL.into_iter().find(named).with_context(usage)
}

/// What the arguments are.
fn usage() -> String {
    let words = Phase::ALL.map(Phase::word);
    format!(
        "usage: memory [--names 1000..10000000] [--binary PROGRAM] [--only PHASE]...\nphases: {}",
        words.join(", ")
    )
}
