//! What is measured: servers, queries, and the rounds over them.

use std::net::Ipv4Addr;

use crate::generator::Asked;
use crate::generator::Run;
use crate::generator::Shape;
use crate::load;
use crate::load::Sample;
use crate::machine::Core;
use crate::names;
use crate::names::Names;
use crate::options::Options;
use crate::servers;
use crate::servers::Place;
use crate::servers::Role;
use crate::servers::Server;
use crate::servers::Variant;

/// What is asked of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Names that the servers know themselves, asked by many clients.
    Many,
    /// The same, in bursts from few clients.
    Few,
    /// The same as the first, with EDNS.
    Edns,
    /// The same as the first, over IPv6.
    V6,
    /// The same names, over TCP.
    Tcp,
    /// Names of another server, which they have asked before.
    CacheHit,
    /// Names of another server that nobody has asked for, without a cache.
    CacheMiss,
    /// How long answers take at a rate that all can keep.
    Latency,
    /// The same of 100,000 names, while names come and go.
    Churn,
}

/// What came of a scenario.
pub(crate) struct Results {
    /// What was asked.
    pub(crate) title: &'static str,
    /// The peer that ratios refer to.
    pub(crate) peer: &'static str,
    /// Whether it is about how long answers take.
    pub(crate) is_timed: bool,
    /// The servers, this one first.
    pub(crate) rows: Vec<Row>,
}

/// What came of one server.
pub(crate) struct Row {
    /// The server.
    pub(crate) name: &'static str,
    /// Its rounds.
    pub(crate) samples: Vec<Sample>,
    /// Memory at the end, in KiB.
    pub(crate) resident_kib: u64,
}

/// The servers of a scenario.
struct Stage {
    /// Those that are measured.
    servers: Vec<Server>,
    /// The one that they ask, if they do.
    _upstream: Option<Server>,
    /// The core that the client runs on.
    client: Core,
}

// === impl Scenario ===

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Many,
        Self::Few,
        Self::Edns,
        Self::V6,
        Self::Tcp,
        Self::CacheHit,
        Self::CacheMiss,
        Self::Latency,
        Self::Churn,
    ];

    /// What arguments call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Many => "many",
            Self::Few => "few",
            Self::Edns => "edns",
            Self::V6 => "v6",
            Self::Tcp => "tcp",
            Self::CacheHit => "hit",
            Self::CacheMiss => "miss",
            Self::Latency => "latency",
            Self::Churn => "churn",
        }
    }

    /// What reports call it.
    fn title(self) -> &'static str {
        match self {
            Self::Many => "local names, 192 sockets with one query each",
            Self::Few => "local names, 8 sockets with bursts of 24",
            Self::Edns => "local names with EDNS, 192 sockets with one query each",
            Self::V6 => "local names over IPv6, 192 sockets with one query each",
            Self::Tcp => "local names over TCP, 32 connections with one query each",
            Self::CacheHit => "forwarded names, all in the cache",
            Self::CacheMiss => "forwarded names, each asked for once, no cache",
            Self::Latency => "local names, 20,000 queries a second in an open loop",
            Self::Churn => {
                "100,000 local names, the same rate, quiet and with 100 changes a second"
            }
        }
    }

    /// Measures. `None` if a server is missing that it cannot do without.
    pub(crate) fn run(self, names: &Names, options: &Options) -> anyhow::Result<Option<Results>> {
        let more = Names::new(CHURN_NAMES);
        let names = if self == Self::Churn { &more } else { names };
        let Some(stage) = self.stage(names)? else {
            return Ok(None);
        };
        let (name, address) = self.sample(names);
        for server in stage.servers.iter().filter(|server| !server.is_echo()) {
            server.answers(&name, address)?;
        }
        for server in &stage.servers {
            let all_once = matches!(
                self,
                Self::Many | Self::Few | Self::Edns | Self::V6 | Self::CacheHit
            );
            let run = self.load(server, names, 0, if all_once { 0 } else { 100 });
            load::ask(server, &run, stage.client)?;
        }
        let mut samples = vec![Vec::new(); stage.servers.len()];
        for round in 1..=options.rounds {
            for (server, samples) in stage.servers.iter().zip(&mut samples) {
                let milliseconds = u64::from(options.seconds) * 1000;
                let run = self.load(server, names, round, milliseconds);
                server.set_churn(true);
                let sample = load::ask(server, &run, stage.client);
                server.set_churn(false);
                samples.push(sample?);
            }
        }
        let rows = stage.servers.iter().zip(samples).map(|(server, samples)| {
            let resident_kib = server.resident_kib()?;
            Ok(Row {
                name: server.name(),
                samples,
                resident_kib,
            })
        });
        let rows = rows.collect::<anyhow::Result<_>>()?;
        Ok(Some(Results {
            title: self.title(),
            peer: self.peer(),
            is_timed: self.is_timed(),
            rows,
        }))
    }

    /// What to ask a server in a round; each name once if there is no time.
    fn load(self, server: &Server, names: &Names, round: u32, milliseconds: u64) -> Run {
        Run {
            server: server.address(),
            shape: match self {
                Self::Few => Shape::Few,
                Self::Tcp => Shape::Tcp,
                Self::Latency | Self::Churn => Shape::Paced(RATE),
                Self::Many | Self::Edns | Self::V6 | Self::CacheHit | Self::CacheMiss => {
                    Shape::Many
                }
            },
            asked: if self.is_miss() {
                Asked::Unknown(round)
            } else {
                Asked::Known(names.count())
            },
            edns: self == Self::Edns,
            milliseconds,
        }
    }

    /// The server that ratios refer to.
    fn peer(self) -> &'static str {
        match self {
            Self::Many | Self::Few | Self::Edns | Self::V6 | Self::Latency => servers::ECHO,
            Self::Tcp => "knot",
            Self::CacheHit | Self::CacheMiss => "dnsmasq",
            Self::Churn => servers::PORTOLAN,
        }
    }

    /// Whether it is about how long answers take.
    fn is_timed(self) -> bool {
        matches!(self, Self::Latency | Self::Churn)
    }

    /// Whether no name is asked for twice.
    fn is_miss(self) -> bool {
        self == Self::CacheMiss
    }

    /// Starts the servers.
    fn stage(self, names: &Names) -> anyhow::Result<Option<Stage>> {
        if !matches!(self, Self::CacheHit | Self::CacheMiss) {
            return self.local_stage(names).map(Some);
        }
        // Knot is the upstream and shares the core of the client.
        let Some(upstream) = servers::knot(names, Place::on(Core::First))? else {
            return Ok(None);
        };
        let (name, address) = self.sample(names);
        upstream.answers(&name, address)?;
        let kept = match self {
            Self::CacheHit => names.count().saturating_mul(4),
            // A cache that is full of names that nobody asks for again would
            // be measured instead: dnsmasq's grows slow.
            _ => 0,
        };
        let role = Role::Asks(upstream.address().port(), kept);
        let place = Place::on(Core::Second);
        let servers = [
            servers::portolan(role, place, Variant::Default)?,
            servers::dnsmasq(role, place)?,
            servers::unbound(role, place)?,
            servers::named(role, names, place)?,
            servers::dnsdist(role, place)?,
            servers::recursor(role, place)?,
            servers::coredns(role, place)?,
        ];
        let servers = servers.into_iter().flatten().collect();
        Ok(Some(Stage {
            servers,
            _upstream: Some(upstream),
            client: Core::First,
        }))
    }

    /// Starts the servers that know the names themselves.
    fn local_stage(self, names: &Names) -> anyhow::Result<Stage> {
        // Knot has the first core whatever it is told, so all have it.
        let (core, role) = (Core::First, Role::Knows(names));
        let v6 = self == Self::V6;
        let place = Place { core, v6 };
        let mut servers = vec![servers::portolan(role, place, Variant::Default)?];
        match self {
            Self::Many => servers.push(servers::portolan(role, place, Variant::NoMetrics)?),
            Self::Few => servers.push(servers::portolan(role, place, Variant::NoSegments)?),
            Self::Churn => servers.push(servers::portolan(role, place, Variant::Churn)?),
            _ => {}
        }
        if self != Self::Churn {
            servers.extend([
                servers::knot(names, place)?,
                servers::nsd(names, place)?,
                servers::unbound(role, place)?,
                servers::named(role, names, place)?,
            ]);
        }
        // dnsmasq starts a process for each connection.
        if !matches!(self, Self::Churn | Self::Tcp) {
            servers.extend([
                servers::dnsmasq(role, place)?,
                servers::coredns(role, place)?,
                servers::echo(place)?,
            ]);
        }
        Ok(Stage {
            servers: servers.into_iter().flatten().collect(),
            _upstream: None,
            client: Core::Second,
        })
    }

    /// A name that the servers answer, and its address.
    fn sample(self, names: &Names) -> (String, Ipv4Addr) {
        match self {
            Self::CacheMiss => (names::below_wildcard(99, 0), names::WILDCARD_ADDRESS),
            _ => names.sample(),
        }
    }
}

/// Queries a second in an open loop.
const RATE: u32 = 20_000;

/// Names of the scenario with changes.
const CHURN_NAMES: u32 = 100_000;
