//! What is measured: servers and queries.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::generator::Asked;
use crate::generator::Shape;
use crate::machine::Core;
use crate::names;
use crate::names::Names;
use crate::options::Build;
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
    /// Like the first, with 100,000 names.
    Large,
    /// Like the first, of two workers on the cores that the client uses, too.
    Two,
    /// Names of another server, which they have asked before.
    CacheHit,
    /// Names of another server that nobody has asked for, without a cache.
    CacheMiss,
    /// How long answers take at half of what a server can do.
    Latency,
    /// How long they take of 100,000 names, while names come and go.
    Churn,
}

/// The servers of a scenario.
pub(crate) struct Stage {
    /// Those that are measured.
    pub(crate) servers: Vec<Server>,
    /// The one that they ask, if they do.
    _upstream: Option<Server>,
    /// The core that the client runs on.
    pub(crate) client: Core,
}

/// The servers that take part.
struct Cast<'a> {
    /// Who may.
    options: &'a Options,
    /// Those that were started.
    started: Vec<Server>,
}

// === impl Cast ===

impl<'a> Cast<'a> {
    /// Nobody yet.
    fn of(options: &'a Options) -> Self {
        Self {
            options,
            started: Vec::new(),
        }
    }

    /// Starts the builds of this server.
    fn add_builds(
        &mut self,
        start: impl Fn(&Build) -> anyhow::Result<Server>,
    ) -> anyhow::Result<()> {
        for build in &self.options.builds {
            self.started.push(start(build)?);
        }
        Ok(())
    }

    /// Starts a peer that may take part, if it is installed.
    fn add(
        &mut self,
        name: &str,
        start: impl FnOnce() -> anyhow::Result<Option<Server>>,
    ) -> anyhow::Result<()> {
        if self.options.has_peer(name) {
            self.started.extend(start()?);
        }
        Ok(())
    }
}

// === impl Scenario ===

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Many,
        Self::Few,
        Self::Edns,
        Self::V6,
        Self::Tcp,
        Self::Large,
        Self::Two,
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
            Self::Large => "large",
            Self::Two => "two",
            Self::CacheHit => "hit",
            Self::CacheMiss => "miss",
            Self::Latency => "latency",
            Self::Churn => "churn",
        }
    }

    /// What reports call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Many => "local names, 192 sockets with one query each",
            Self::Few => "local names, 8 sockets with bursts of 24",
            Self::Edns => "local names with EDNS, 192 sockets with one query each",
            Self::V6 => "local names over IPv6, 192 sockets with one query each",
            Self::Tcp => "local names over TCP, 32 connections with one query each",
            Self::Large => "100,000 local names, 192 sockets with one query each",
            Self::Two => "local names, two workers, on the cores of the client",
            Self::CacheHit => "forwarded names, all in the cache",
            Self::CacheMiss => "forwarded names, each asked for once, no cache",
            Self::Latency => "local names, an open loop that takes half of the server's core",
            Self::Churn => {
                "100,000 local names, 20,000 queries a second, quiet and with 100 changes a second"
            }
        }
    }

    /// The server that ratios refer to.
    pub(crate) fn peer(self) -> &'static str {
        match self {
            Self::Tcp => servers::KNOT,
            Self::CacheHit | Self::CacheMiss => servers::DNSDIST,
            Self::Churn => servers::PORTOLAN,
            _ => servers::ECHO,
        }
    }

    /// Whether it is about how long answers take.
    pub(crate) fn is_timed(self) -> bool {
        matches!(self, Self::Latency | Self::Churn)
    }

    /// How many names there are, where one may choose.
    pub(crate) fn names(self, asked_for: u32) -> Names {
        Names::new(match self {
            Self::Large | Self::Churn => MANY_NAMES,
            _ => asked_for,
        })
    }

    /// How many rounds there are, where one may choose.
    pub(crate) fn rounds(self, asked_for: u32) -> u32 {
        match self {
            // What is slow is rare, and there is one server.
            Self::Churn => asked_for * 3,
            _ => asked_for,
        }
    }

    /// How queries come; with a pause after each, where none waits for a
    /// response.
    pub(crate) fn shape(self, pause: Duration) -> Shape {
        match self {
            Self::Few => Shape::Few,
            Self::Tcp => Shape::Tcp,
            Self::Latency | Self::Churn => Shape::Paced(pause),
            _ => Shape::Many,
        }
    }

    /// What is asked in a round.
    pub(crate) fn asked(self, names: &Names, round: u32) -> Asked {
        match self {
            Self::CacheMiss => Asked::Unknown(round),
            _ => Asked::Known(names.count()),
        }
    }

    /// Whether no name is asked for twice.
    pub(crate) fn is_miss(self) -> bool {
        self == Self::CacheMiss
    }

    /// A name that the servers answer, and its address.
    pub(crate) fn sample(self, names: &Names) -> (String, Ipv4Addr) {
        match self {
            Self::CacheMiss => (names::below_wildcard(9_999, 0), names::WILDCARD_ADDRESS),
            _ => names.sample(),
        }
    }

    /// Starts the servers. `None` if one is missing that the others need.
    pub(crate) fn stage(self, names: &Names, options: &Options) -> anyhow::Result<Option<Stage>> {
        if !matches!(self, Self::CacheHit | Self::CacheMiss) {
            return self.local_stage(names, options).map(Some);
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
        let mut servers = Cast::of(options);
        servers.add_builds(|build| servers::portolan(build, role, place, Variant::Default))?;
        servers.add(servers::DNSMASQ, || servers::dnsmasq(role, place))?;
        servers.add(servers::UNBOUND, || servers::unbound(role, place))?;
        servers.add(servers::NAMED, || servers::named(role, names, place))?;
        servers.add(servers::DNSDIST, || servers::dnsdist(role, place))?;
        servers.add(servers::RECURSOR, || servers::recursor(role, place))?;
        servers.add(servers::COREDNS, || servers::coredns(role, place, false))?;
        Ok(Some(Stage {
            servers: servers.started,
            _upstream: Some(upstream),
            client: Core::First,
        }))
    }

    /// Starts the servers that know the names themselves.
    fn local_stage(self, names: &Names, options: &Options) -> anyhow::Result<Stage> {
        let role = Role::Knows(names);
        let place = Place {
            // Knot has the first core whatever it is told, so all have it.
            core: if self == Self::Two {
                Core::Any
            } else {
                Core::First
            },
            v6: self == Self::V6,
            workers: if self == Self::Two { 2 } else { 1 },
        };
        let mut servers = Cast::of(options);
        let variants: &[_] = match self {
            Self::Many => &[Variant::Default, Variant::NoMetrics],
            Self::Few => &[Variant::Default, Variant::NoSegments],
            Self::Churn => &[Variant::Churn],
            _ => &[Variant::Default],
        };
        for variant in variants {
            servers.add_builds(|build| servers::portolan(build, role, place, *variant))?;
        }
        if self == Self::Many {
            servers.add(servers::COREDNS, || servers::coredns(role, place, true))?;
        }
        if self != Self::Churn {
            servers.add(servers::KNOT, || servers::knot(names, place))?;
            servers.add(servers::NSD, || servers::nsd(names, place))?;
            servers.add(servers::UNBOUND, || servers::unbound(role, place))?;
            servers.add(servers::COREDNS, || servers::coredns(role, place, false))?;
        }
        // The slower ones do not take part in everything: that takes time.
        if !matches!(self, Self::Churn | Self::Edns | Self::V6) {
            servers.add(servers::NAMED, || servers::named(role, names, place))?;
        }
        // It has one thread, and starts a process for each connection.
        if matches!(self, Self::Many | Self::Few | Self::Large | Self::Latency) {
            servers.add(servers::DNSMASQ, || servers::dnsmasq(role, place))?;
        }
        if !matches!(self, Self::Churn | Self::Tcp) {
            servers.add(servers::ECHO, || servers::echo(place))?;
        }
        Ok(Stage {
            servers: servers.started,
            _upstream: None,
            client: if self == Self::Two {
                Core::Any
            } else {
                Core::Second
            },
        })
    }
}

/// Names of the scenarios with many names.
const MANY_NAMES: u32 = 100_000;
