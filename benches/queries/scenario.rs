//! What is measured: servers, queries, and the rounds over them.

use std::fs;
use std::net::Ipv4Addr;

use tempfile::TempDir;

use crate::load;
use crate::load::Extent;
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
    /// Names that the servers know themselves.
    Local,
    /// Names of another server, which they have asked before.
    CacheHit,
    /// Names of another server that nobody has asked for, without a cache.
    CacheMiss,
}

/// What came of a scenario.
pub(crate) struct Results {
    /// What was asked.
    pub(crate) title: &'static str,
    /// The servers: this one, the peer that ratios refer to, the others.
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
    /// The core that dnsperf runs on.
    client: Core,
}

// === impl Scenario ===

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::CacheHit, Self::CacheMiss];

    /// What arguments call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::CacheHit => "hit",
            Self::CacheMiss => "miss",
        }
    }

    /// What reports call it.
    fn title(self) -> &'static str {
        match self {
            Self::Local => "local names",
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
        let directory = TempDir::new()?;
        let file = directory.path().join("queries.txt");
        fs::write(&file, names.queries())?;
        if self != Self::CacheMiss {
            for server in &stage.servers {
                load::ask(server, &file, Extent::Once, stage.client)?;
            }
        }
        let mut samples = vec![Vec::new(); stage.servers.len()];
        for round in 0..options.rounds {
            if self == Self::CacheMiss {
                let count = options.seconds.saturating_mul(MOST_MISSES);
                fs::write(&file, names::wildcard_queries(round, count))?;
            }
            for (server, samples) in stage.servers.iter().zip(&mut samples) {
                let extent = Extent::Seconds(options.seconds);
                samples.push(load::ask(server, &file, extent, stage.client)?);
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
            rows,
        }))
    }

    /// Starts the servers.
    fn stage(self, names: &Names) -> anyhow::Result<Option<Stage>> {
        if self == Self::Local {
            // Knot has the first core whatever it is told, so all have it.
            let (core, role) = (Core::First, Role::Knows(names));
            let servers = [
                servers::portolan(role, core)?,
                servers::dnsmasq(role, core)?,
                servers::knot(names, core)?,
                servers::nsd(names, core)?,
                servers::unbound(role, core)?,
                servers::echo(core)?,
            ];
            let servers = servers.into_iter().flatten().collect();
            return Ok(Some(Stage {
                servers,
                _upstream: None,
                client: Core::Second,
            }));
        }
        // Knot is the upstream and shares the core of dnsperf.
        let Some(upstream) = servers::knot(names, Core::First)? else {
            return Ok(None);
        };
        let (name, address) = self.sample(names);
        upstream.answers(&name, address)?;
        let kept = match self {
            Self::CacheHit => names.count().saturating_mul(4),
            // A cache that is full of names that nobody asks for again would
            // be measured instead: dnsmasq's grows slow.
            Self::Local | Self::CacheMiss => 0,
        };
        let role = Role::Asks(upstream.port(), kept);
        let servers = [
            servers::portolan(role, Core::Second)?,
            servers::dnsmasq(role, Core::Second)?,
            servers::unbound(role, Core::Second)?,
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
            Self::Local | Self::CacheHit => names.sample(),
            Self::CacheMiss => (names::below_wildcard(99, 0), names::WILDCARD_ADDRESS),
        }
    }
}

/// More names than any server is asked for in one second.
const MOST_MISSES: u32 = 150_000;
