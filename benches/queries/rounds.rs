//! The rounds: each server of a scenario is asked in turn, again and again, so
//! that a noisy moment meets all of them.

use std::time::Duration;

use crate::generator::Run;
use crate::generator::Shape;
use crate::load;
use crate::load::Sample;
use crate::machine::Core;
use crate::names::Names;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::servers;
use crate::servers::Server;

/// What came of a scenario.
pub(crate) struct Results {
    /// What it was.
    pub(crate) scenario: Scenario,
    /// The servers, this one first.
    pub(crate) rows: Vec<Row>,
}

/// What came of one server.
pub(crate) struct Row {
    /// The server.
    pub(crate) name: String,
    /// Its rounds.
    pub(crate) samples: Vec<Sample>,
    /// Memory at the end, in KiB.
    pub(crate) resident_kib: u64,
}

/// A server that is asked in each round.
struct Turn<'a> {
    /// The server.
    server: &'a Server,
    /// Whether names come and go meanwhile.
    is_churning: bool,
    /// Time between two queries, where none waits for a response.
    pause: Duration,
    /// What came of it.
    samples: Vec<Sample>,
}

// === impl Results ===

impl Results {
    /// What came of a server, if it took part.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// Measures a scenario. `None` if a server is missing that it cannot do
/// without.
pub(crate) fn run(scenario: Scenario, options: &Options) -> anyhow::Result<Option<Results>> {
    let names = scenario.names(options.names);
    let Some(stage) = scenario.stage(&names, options)? else {
        return Ok(None);
    };
    let (name, address) = scenario.sample(&names);
    for server in stage.servers.iter().filter(|server| !server.is_echo()) {
        server.answers(&name, address)?;
    }
    let mut turns = Vec::new();
    for server in &stage.servers {
        let cost = warm_up(scenario, server, &names, stage.client)?;
        let pause = pause(scenario, server, &names, stage.client, cost)?;
        // Quiet and otherwise, if it can be otherwise.
        let ways = if server.has_churn() { 2 } else { 1 };
        turns.extend(
            [false, true]
                .into_iter()
                .take(ways)
                .map(|is_churning| Turn {
                    server,
                    is_churning,
                    pause,
                    samples: Vec::new(),
                }),
        );
    }
    let milliseconds = u64::from(options.milliseconds);
    for round in 1..=scenario.rounds(options.rounds) {
        // Nobody is always the first.
        let start = usize::try_from(round)? % turns.len();
        let (last, first) = turns.split_at_mut(start);
        for turn in first.iter_mut().chain(last) {
            let run = Run {
                server: turn.server.address(),
                shape: scenario.shape(turn.pause),
                asked: scenario.asked(&names, round),
                edns: scenario == Scenario::Edns,
                milliseconds,
            };
            turn.server.set_churn(turn.is_churning);
            let sample = load::ask(turn.server, &run, stage.client);
            turn.server.set_churn(false);
            turn.samples.push(sample?);
        }
    }
    let rows = turns.into_iter().map(|turn| {
        Ok(Row {
            name: match turn.is_churning {
                true => servers::churning(turn.server.name()),
                false => turn.server.name().to_owned(),
            },
            samples: turn.samples,
            resident_kib: turn.server.resident_kib()?,
        })
    });
    Ok(Some(Results {
        scenario,
        rows: rows.collect::<anyhow::Result<_>>()?,
    }))
}

/// The pause between queries that do not wait for responses, to a server of
/// which a response cost so many microseconds when it was asked without one.
fn pause(
    scenario: Scenario,
    server: &Server,
    names: &Names,
    client: Core,
    cost: f64,
) -> anyhow::Result<Duration> {
    if scenario != Scenario::Latency {
        return Ok(PAUSE);
    }
    // The less there is to do, the less is done at a time.
    let mut pause = half(cost);
    for _ in 0..2 {
        let run = Run {
            server: server.address(),
            shape: scenario.shape(pause),
            asked: scenario.asked(names, 0),
            edns: false,
            milliseconds: 300,
        };
        pause = half(load::ask(server, &run, client)?.cost);
    }
    Ok(pause)
}

/// The pause that leaves half of a core free.
fn half(cost: f64) -> Duration {
    Duration::from_secs_f64(cost * 2.0 / 1e6)
}

/// Asks a server for everything once, so that nothing is new to it. Gives the
/// microseconds that a response costs it.
fn warm_up(
    scenario: Scenario,
    server: &Server,
    names: &Names,
    client: Core,
) -> anyhow::Result<f64> {
    let is_short = scenario.is_timed() || scenario == Scenario::Tcp || scenario.is_miss();
    let run = Run {
        server: server.address(),
        shape: match scenario {
            Scenario::Tcp => Shape::Tcp,
            _ => Shape::Many,
        },
        asked: scenario.asked(names, 0),
        edns: scenario == Scenario::Edns,
        milliseconds: if is_short { 300 } else { 0 },
    };
    Ok(load::ask(server, &run, client)?.cost)
}

/// The pause of an open loop that is the same for all.
const PAUSE: Duration = Duration::from_micros(50);
