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
use crate::servers::Role;
use crate::servers::Server;

/// What is asked of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Names that the servers know themselves, asked by many clients.
    Many,
    /// The same, in bursts from few clients.
    Few,
    /// The same as the first, with EDNS.
    Edns,
    /// Names of another server, which they have asked before.
    CacheHit,
    /// Names of another server that nobody has asked for, without a cache.
    CacheMiss,
}

/// What came of a scenario.
pub(crate) struct Results {
    /// What was asked.
    pub(crate) title: &'static str,
    /// The peer that ratios refer to.
    pub(crate) peer: &'static str,
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
    pub(crate) const ALL: [Self; 5] = [
        Self::Many,
        Self::Few,
        Self::Edns,
        Self::CacheHit,
        Self::CacheMiss,
    ];

    /// What arguments call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Many => "many",
            Self::Few => "few",
            Self::Edns => "edns",
            Self::CacheHit => "hit",
            Self::CacheMiss => "miss",
        }
    }

    /// What reports call it.
    fn title(self) -> &'static str {
        match self {
            Self::Many => "local names, 192 sockets with one query each",
            Self::Few => "local names, 8 sockets with bursts of 24",
            Self::Edns => "local names with EDNS, 192 sockets with one query each",
            Self::CacheHit => "forwarded names, all in the cache",
            Self::CacheMiss => "forwarded names, each asked for once, no cache",
        }
    }

    /// Measures. `None` if a server is missing that it cannot do without.
    pub(crate) fn run(self, names: &Names, options: &Options) -> anyhow::Result<Option<Results>> {
        let Some(stage) = self.stage(names)? else {
            return Ok(None);
        };
        let (name, address) = self.sample(names);
        for server in stage.servers.iter().filter(|server| !server.is_echo()) {
            server.answers(&name, address)?;
        }
        for server in &stage.servers {
            let run = self.load(server, names, 0, if self.is_miss() { 100 } else { 0 });
            load::ask(server, &run, stage.client)?;
        }
        let mut samples = vec![Vec::new(); stage.servers.len()];
        for round in 1..=options.rounds {
            for (server, samples) in stage.servers.iter().zip(&mut samples) {
                let milliseconds = u64::from(options.seconds) * 1000;
                let run = self.load(server, names, round, milliseconds);
                samples.push(load::ask(server, &run, stage.client)?);
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
            rows,
        }))
    }

    /// What to ask a server in a round; each name once if there is no time.
    fn load(self, server: &Server, names: &Names, round: u32, milliseconds: u64) -> Run {
        Run {
            port: server.port(),
            shape: match self {
                Self::Few => Shape::Few,
                Self::Many | Self::Edns | Self::CacheHit | Self::CacheMiss => Shape::Many,
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
            Self::Many | Self::Few | Self::Edns => servers::ECHO,
            Self::CacheHit | Self::CacheMiss => "dnsmasq",
        }
    }

    /// Whether no name is asked for twice.
    fn is_miss(self) -> bool {
        self == Self::CacheMiss
    }

    /// Starts the servers.
    fn stage(self, names: &Names) -> anyhow::Result<Option<Stage>> {
        if matches!(self, Self::Many | Self::Few | Self::Edns) {
            // Knot has the first core whatever it is told, so all have it.
            let (core, role) = (Core::First, Role::Knows(names));
            let servers = [
                servers::portolan(role, core)?,
                servers::dnsmasq(role, core)?,
                servers::knot(names, core)?,
                servers::nsd(names, core)?,
                servers::unbound(role, core)?,
                servers::named(role, names, core)?,
                servers::coredns(role, core)?,
                servers::echo(core)?,
            ];
            let servers = servers.into_iter().flatten().collect();
            return Ok(Some(Stage {
                servers,
                _upstream: None,
                client: Core::Second,
            }));
        }
        // Knot is the upstream and shares the core of the client.
        let Some(upstream) = servers::knot(names, Core::First)? else {
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
        let role = Role::Asks(upstream.port(), kept);
        let servers = [
            servers::portolan(role, Core::Second)?,
            servers::dnsmasq(role, Core::Second)?,
            servers::unbound(role, Core::Second)?,
            servers::named(role, names, Core::Second)?,
            servers::dnsdist(role, Core::Second)?,
            servers::recursor(role, Core::Second)?,
            servers::coredns(role, Core::Second)?,
        ];
        let servers = servers.into_iter().flatten().collect();
        Ok(Some(Stage {
            servers,
            _upstream: Some(upstream),
            client: Core::First,
        }))
    }

    /// A name that the servers answer, and its address.
    fn sample(self, names: &Names) -> (String, Ipv4Addr) {
        match self {
            Self::Many | Self::Few | Self::Edns | Self::CacheHit => names.sample(),
            Self::CacheMiss => (names::below_wildcard(99, 0), names::WILDCARD_ADDRESS),
        }
    }
}
