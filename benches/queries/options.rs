//! Arguments.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;

use crate::answers;
use crate::generator::Run;
use crate::scenario::Scenario;
use crate::servers;

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
    /// Milliseconds that one server is asked for in one round.
    pub(crate) milliseconds: u32,
    /// This server, and other builds of it.
    pub(crate) builds: Vec<Build>,
    /// The peers that take part; all if it is nothing.
    peers: Vec<String>,
    /// Where to write the tables and the plot; nowhere if there is no place.
    pub(crate) write: Option<PathBuf>,
    /// What is to be measured; all if it is nothing.
    wanted: Vec<String>,
}

/// A binary of this server.
pub(crate) struct Build {
    /// What reports call it.
    pub(crate) label: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where it comes from, for reports.
    pub(crate) origin: String,
}

// === impl Build ===

impl Build {
    /// The binaries that an argument names. The first is the one that is
    /// measured, the others are called as their files are.
    fn parse(paths: &str) -> anyhow::Result<Vec<Self>> {
        let own = Path::new(BINARY).canonicalize().ok();
        let builds = paths.split(',').enumerate().map(|(number, given)| {
            // It is started in a directory of its own.
            let path = Path::new(given).canonicalize();
            let path = path.with_context(|| given.to_owned())?;
            let label = match (number, path.file_name()) {
                (1.., Some(name)) => name.to_string_lossy().into_owned(),
                _ => servers::PORTOLAN.to_owned(),
            };
            let origin = match own.as_ref() == Some(&path) {
                true => "as `cargo bench` builds it".to_owned(),
                false => given.to_owned(),
            };
            Ok(Self {
                label,
                path,
                origin,
            })
        });
        builds.collect()
    }
}

// === impl Options ===

impl Options {
    /// Reads the arguments.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Mode> {
        let mut options = Self {
            names: 10_000,
            rounds: 40,
            milliseconds: 200,
            builds: Vec::new(),
            peers: Vec::new(),
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
                "--milliseconds" => options.milliseconds = number()?,
                "--binary" => options.builds = Build::parse(&value)?,
                "--peers" => options.peers = value.split(',').map(str::to_owned).collect(),
                "--write" => options.write = Some(value.into()),
                "--scenario" => options.wanted = value.split(',').map(str::to_owned).collect(),
                _ => bail!(usage()),
            }
        }
        ensure!((1..=1_000_000).contains(&options.names), usage());
        ensure!((1..=1000).contains(&options.rounds), usage());
        ensure!((50..=20_000).contains(&options.milliseconds), usage());
        let is_known = |word: &String| words().any(|known| known == word);
        ensure!(options.wanted.iter().all(is_known), usage());
        let is_peer = |name: &String| servers::PEERS.contains(&name.as_str());
        ensure!(options.peers.iter().all(is_peer), usage());
        if options.builds.is_empty() {
            options.builds = Build::parse(BINARY)?;
        }
        let mut labels = HashSet::from(servers::PEERS);
        for Build { label, .. } in &options.builds {
            ensure!(
                labels.insert(label.as_str()),
                "two servers are called '{label}'"
            );
        }
        Ok(Mode::Measure(options))
    }

    /// Whether what a word names is to be measured.
    pub(crate) fn wants(&self, word: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == word)
    }

    /// Whether a peer takes part, if it is installed.
    pub(crate) fn has_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
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
        "usage: queries [--names N] [--rounds 1..1000] [--milliseconds 50..20000] \
         [--binary PATH,...] [--peers NAME,...] [--scenario WORD,...] [--write DIRECTORY]\n\
         words: {}\nnames of peers: {}",
        words.join(" "),
        servers::PEERS.join(" "),
    )
}

/// The binary that was built with this program.
const BINARY: &str = env!("CARGO_BIN_EXE_portolan");
