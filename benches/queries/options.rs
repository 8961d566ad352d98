//! Arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

use crate::answers;
use crate::generator::Run;
use crate::scenario::Scenario;

/// What the program is to do.
pub(crate) enum Mode {
    /// Be the server that sends back what it gets, at this address, in so many
    /// threads.
    Echo(SocketAddr, u32),
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
    /// The binary of this server.
    pub(crate) binary: PathBuf,
    /// Where to write the tables and the plot; nowhere if there is no place.
    pub(crate) write: Option<PathBuf>,
    /// What is to be measured; all if it is nothing.
    wanted: Vec<String>,
}

// === impl Options ===

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Mode> {
        let mut options = Self {
            names: 10_000,
            rounds: 5,
            seconds: 1,
            binary: BINARY.into(),
            write: None,
            wanted: Vec::new(),
        };
        // `cargo bench` adds this one to what it is given.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            if argument == "--load" {
                let words: Vec<String> = arguments.collect();
                return Run::parse(&words).map(Mode::Load);
            }
            let value = arguments.next().with_context(usage)?;
            let number = || value.parse::<u32>().with_context(usage);
            match argument.as_str() {
                "--echo" => {
                    let workers = arguments.next().with_context(usage)?;
                    return Ok(Mode::Echo(value.parse()?, workers.parse()?));
                }
                "--names" => options.names = number()?,
                "--rounds" => options.rounds = number()?,
                "--seconds" => options.seconds = number()?,
                "--binary" => options.binary = value.into(),
                "--write" => options.write = Some(value.into()),
                "--scenario" => options.wanted = value.split(',').map(str::to_owned).collect(),
                _ => bail!(usage()),
            }
        }
        ensure!((1..=1_000_000).contains(&options.names), usage());
        ensure!((1..=50).contains(&options.rounds), usage());
        ensure!((1..=20).contains(&options.seconds), usage());
        let is_known = |word: &String| words().any(|known| known == word);
        ensure!(options.wanted.iter().all(is_known), usage());
        // It is started in a directory of its own.
        let binary = options.binary.canonicalize();
        options.binary = binary.with_context(|| options.binary.display().to_string())?;
        Ok(Mode::Measure(options))
    }

    /// Whether what a word names is to be measured.
    pub(crate) fn wants(&self, word: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == word)
    }

    /// Whether the binary is the one that was built with this program.
    pub(crate) fn is_own_binary(&self) -> bool {
        PathBuf::from(BINARY)
            .canonicalize()
            .is_ok_and(|own| own == self.binary)
    }
}

/// The words that name what can be measured.
fn words() -> impl Iterator<Item = &'static str> {
    let scenarios = Scenario::ALL.into_iter().map(Scenario::word);
    scenarios.chain([answers::WORD])
}

/// What the arguments are.
fn usage() -> String {
    let words: Vec<_> = words().collect();
    format!(
        "usage: queries [--names N] [--rounds 1..50] [--seconds 1..20] [--binary PATH] \
         [--scenario WORD,...] [--write DIRECTORY]\nwords: {}",
        words.join(" ")
    )
}

/// The binary that was built with this program.
const BINARY: &str = env!("CARGO_BIN_EXE_portolan");
