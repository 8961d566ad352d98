//! What the project wants to reach, and whether it does.

use crate::answers::Answers;
use crate::load::Sample;
use crate::report;
use crate::rounds::Results;
use crate::scenario::Scenario;
use crate::servers;

/// Something to reach in a scenario.
struct Target {
    /// Where.
    scenario: Scenario,
    /// What.
    what: &'static str,
    /// By which of our variants.
    own: &'static str,
    /// How.
    bar: Bar,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Bar {
    /// At least so many times the responses that a peer has for the same
    /// processor time.
    Responses(f64, &'static str),
    /// At most so many times the processor time that a peer takes.
    Cost(f64, &'static str),
    /// At most so many times the time in which half of the responses of a peer
    /// come.
    Half(f64, &'static str),
    /// The same of 99 in 100.
    Slowest(f64, &'static str),
    /// At most so many MiB.
    Memory(f64),
}

/// What was reached.
struct Reached {
    /// In short.
    text: String,
    /// Whether it is enough.
    is_met: bool,
}

/// All of them, in Markdown.
pub(crate) fn table(all: &[Results], answers: Option<&Answers>) -> String {
    let head = "\n## Targets\n\n| | bar | measured | |\n|---|---|---|---|\n".to_owned();
    let rows = TARGETS.iter().map(|target| {
        let bar = target.bar.text();
        line(target.what, &bar, target.reached(all))
    });
    let answers = USER_SPACE.iter().map(|&(names, bar)| {
        let what = format!("an answer in user space, {names} names");
        let figure = answers.and_then(|answers| answers.nanoseconds.get(&names));
        let reached = figure.map(|&figure| Reached {
            text: format!("{figure:.0} ns"),
            is_met: figure <= bar,
        });
        line(
            &what,
            &format!("at most {bar:.0} ns"),
            reached.ok_or_else(left_out),
        )
    });
    [head].into_iter().chain(rows).chain(answers).collect()
}

/// A line of the table.
fn line(what: &str, bar: &str, reached: Result<Reached, String>) -> String {
    let (text, verdict) = match reached {
        Ok(Reached { text, is_met: true }) => (text, "met".to_owned()),
        Ok(Reached { text, .. }) => (text, "**missed**".to_owned()),
        Err(why) => (String::new(), format!("not measured: {why}")),
    };
    format!("| {what} | {bar} | {text} | {verdict} |\n")
}

// === impl Target ===

impl Target {
    /// What was reached, or why nothing was.
    fn reached(&self, all: &[Results]) -> Result<Reached, String> {
        let mut all = all.iter();
        let results = all.find(|results| results.scenario == self.scenario);
        let results = results.ok_or_else(left_out)?;
        let row = |name| {
            let row = results.row(name);
            row.ok_or_else(|| format!("{name} is not there"))
        };
        let own = row(self.own)?;
        let (times, name, is_least) = match self.bar {
            Bar::Responses(times, peer) => (times, peer, true),
            Bar::Cost(times, peer) | Bar::Half(times, peer) | Bar::Slowest(times, peer) => {
                (times, peer, false)
            }
            Bar::Memory(most) => {
                let memory = report::mebibytes(own.resident_kib);
                return Ok(Reached {
                    text: format!("{memory:.1} MiB"),
                    is_met: memory <= most,
                });
            }
        };
        let peer = row(name)?;
        let figure = |sample: &Sample| match self.bar {
            Bar::Half(..) => sample.p50,
            Bar::Slowest(..) => sample.p99,
            _ => sample.cost,
        };
        let ratios: Vec<f64> = if is_least {
            report::ratios(own, peer, figure).collect()
        } else {
            report::ratios(peer, own, figure).collect()
        };
        let median = report::median(ratios.iter().copied());
        let (lower, upper) = report::quartiles(ratios);
        Ok(Reached {
            text: format!("{median:.3} ({lower:.2} to {upper:.2})"),
            is_met: if is_least {
                median >= times
            } else {
                median <= times
            },
        })
    }
}

// === impl Bar ===

impl Bar {
    /// In words.
    fn text(self) -> String {
        match self {
            Self::Responses(times, peer) => format!("at least {times} of {peer}"),
            Self::Cost(times, peer) => format!("at most {times} of {peer}"),
            Self::Half(times, peer) => format!("p50 at most {times} of {peer}"),
            Self::Slowest(times, peer) => format!("p99 at most {times} of {peer}"),
            Self::Memory(most) => format!("at most {most} MiB"),
        }
    }
}

/// Why there is nothing where not everything was to be measured.
fn left_out() -> String {
    "left out".to_owned()
}

/// A target of this server by default.
const fn target(scenario: Scenario, what: &'static str, bar: Bar) -> Target {
    Target {
        scenario,
        what,
        own: servers::PORTOLAN,
        bar,
    }
}

/// Where and what, in the order of the table.
const TARGETS: [Target; 26] = [
    target(Scenario::Many, MANY, Bar::Responses(0.92, servers::ECHO)),
    target(Scenario::Many, MANY, Bar::Responses(1.0, servers::NSD)),
    target(Scenario::Many, MANY, Bar::Responses(1.0, servers::KNOT)),
    target(Scenario::Many, MANY, Bar::Responses(1.0, servers::UNBOUND)),
    target(Scenario::Many, MANY, Bar::Responses(1.9, servers::COREDNS)),
    target(
        Scenario::Many,
        MANY,
        Bar::Responses(4.0, servers::USUAL_COREDNS),
    ),
    target(
        Scenario::Many,
        "metrics",
        Bar::Cost(1.05, servers::NO_METRICS),
    ),
    Target {
        own: servers::NO_SEGMENTS,
        ..target(Scenario::Few, PLAIN, Bar::Responses(0.88, servers::ECHO))
    },
    Target {
        own: servers::NO_SEGMENTS,
        ..target(Scenario::Few, PLAIN, Bar::Responses(1.0, servers::NSD))
    },
    Target {
        own: servers::NO_SEGMENTS,
        ..target(Scenario::Few, PLAIN, Bar::Responses(2.3, servers::COREDNS))
    },
    target(Scenario::Few, FEW, Bar::Responses(2.0, servers::ECHO)),
    target(Scenario::Few, FEW, Bar::Responses(2.0, servers::NSD)),
    target(Scenario::Few, FEW, Bar::Responses(2.0, servers::KNOT)),
    target(Scenario::Few, FEW, Bar::Responses(6.0, servers::COREDNS)),
    target(
        Scenario::CacheHit,
        HIT,
        Bar::Responses(1.2, servers::DNSDIST),
    ),
    target(
        Scenario::CacheHit,
        HIT,
        Bar::Responses(1.2, servers::UNBOUND),
    ),
    target(
        Scenario::CacheHit,
        HIT,
        Bar::Responses(3.5, servers::COREDNS),
    ),
    target(
        Scenario::CacheMiss,
        MISS,
        Bar::Responses(1.0, servers::DNSDIST),
    ),
    target(
        Scenario::CacheMiss,
        MISS,
        Bar::Responses(2.7, servers::COREDNS),
    ),
    target(Scenario::Latency, HALF, Bar::Half(1.2, servers::NSD)),
    target(Scenario::Latency, HALF, Bar::Half(0.5, servers::COREDNS)),
    Target {
        own: servers::CHURNING,
        ..target(Scenario::Churn, CHURN, Bar::Slowest(1.2, servers::PORTOLAN))
    },
    target(Scenario::Many, "memory, 10,000 names", Bar::Memory(10.0)),
    target(Scenario::Large, "memory, 100,000 names", Bar::Memory(30.0)),
    Target {
        own: servers::IMAGE,
        ..target(
            Scenario::Many,
            "memory of the image's binary, 10,000 names",
            Bar::Memory(10.0),
        )
    },
    Target {
        own: servers::IMAGE,
        ..target(
            Scenario::Large,
            "memory of the image's binary, 100,000 names",
            Bar::Memory(30.0),
        )
    },
];

/// Nanoseconds that an answer of a table of so many names may take.
const USER_SPACE: [(u32, f64); 2] = [(10_000, 100.0), (100_000, 150.0)];

/// Names of targets.
const MANY: &str = "local, many sources";
const PLAIN: &str = "local, bursts, without GSO";
const FEW: &str = "local, bursts";
const HIT: &str = "cache hit";
const MISS: &str = "cache miss";
const HALF: &str = "local, at half load";
const CHURN: &str = "local, 100 changes a second";
