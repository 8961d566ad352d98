//! What the server is put to.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::process::pause;

use crate::client::Watch;
use crate::client::Watched;
use crate::connections;
use crate::connections::Base;
use crate::datagrams;
use crate::site::Site;
use crate::tally::Tally;

/// Queries whose upstreams say nothing: more than may wait.
const SILENT: u32 = 8_000;

/// The same beside everything else: as many as leave others their places.
const BESIDES: u32 = 500;

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Names that are asked for once.
    Names,
    /// Connections that ask for different large answers at once.
    Large,
    /// Connections that ask for one large answer at once.
    Same,
    /// Connections half of which do not read their large answers.
    Deaf,
    /// Queries that wait for upstreams which say nothing.
    Waiting,
    /// Connections that send half of a message.
    Half,
    /// Connections that say nothing.
    Idle,
    /// All of this together.
    All,
}

/// What came of a phase.
pub(crate) struct Outcome {
    /// What became of the questions.
    pub(crate) tally: Tally,
    /// What became of those for a local name meanwhile.
    pub(crate) watched: Watched,
    /// The most memory that was resident, in KiB.
    pub(crate) peak: u64,
    /// What was resident a while later.
    pub(crate) resident: u64,
}

// === impl Phase ===

impl Phase {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Names,
        Self::Large,
        Self::Same,
        Self::Deaf,
        Self::Waiting,
        Self::Half,
        Self::Idle,
        Self::All,
    ];

    /// Its word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Large => "large",
            Self::Same => "same",
            Self::Deaf => "deaf",
            Self::Waiting => "waiting",
            Self::Half => "half",
            Self::Idle => "idle",
            Self::All => "all",
        }
    }

    /// What it is.
    pub(crate) fn what(self, names: u32) -> String {
        match self {
            Self::Names => format!("{names} names, each asked for once"),
            Self::Large => "1,000 connections, as many answers of 60 kB".to_owned(),
            Self::Same => "1,000 connections, one answer of 60 kB, cached".to_owned(),
            Self::Deaf => "500 of these, and 500 that read nothing".to_owned(),
            Self::Waiting => "8,000 queries at once, upstreams frozen".to_owned(),
            Self::Half => "1,000 connections, 32 KiB of a message each".to_owned(),
            Self::Idle => "600 connections, idle".to_owned(),
            Self::All => "all but the 8,000 at once, 500 of these".to_owned(),
        }
    }

    /// How many questions are to be answered SERVFAIL: all whose upstreams say
    /// nothing, and no other.
    pub(crate) fn refused(self) -> usize {
        match self {
            Self::Waiting => SILENT as usize,
            Self::All => BESIDES as usize,
            _ => 0,
        }
    }

    /// Runs it.
    pub(crate) fn run(self, site: &Site, names: u32) -> anyhow::Result<Outcome> {
        site.forget_peak()?;
        let watch = Watch::start(site.addr)?;
        let tally = self.load(site, names)?;
        let peak = site.process.peak_kib()?;
        // Connections end, and what waits is given up.
        pause(Duration::from_secs(4));
        Ok(Outcome {
            tally,
            watched: watch.stop()?,
            peak: peak.max(site.process.peak_kib()?),
            resident: site.process.resident_kib()?,
        })
    }

    /// Puts the server to it.
    fn load(self, site: &Site, names: u32) -> anyhow::Result<Tally> {
        let server = site.addr;
        let open = |base, count| connections::open(server, base, count);
        match self {
            Self::Names => datagrams::once(server, 0..names),
            Self::Large => connections::ask_large(&mut open(Base::Reading, 1_000)?, 0, 1),
            Self::Same => {
                let mut streams = open(Base::Reading, 1_000)?;
                connections::ask_large(&mut streams[..1], 0, 0)?;
                connections::ask_large(&mut streams, 0, 0)
            }
            Self::Deaf => deaf(site, 500, 500, 2_000),
            Self::Waiting => datagrams::silent(server, 0..SILENT),
            Self::Half => connections::send_half(open(Base::Half, 1_000)?),
            Self::Idle => {
                let streams = open(Base::Idle, 600)?;
                pause(Duration::from_secs(3));
                drop(streams);
                Ok(Tally::default())
            }
            Self::All => all(site, names),
        }
    }
}

/// Connections that ask for large answers again and again, beside those that
/// do not read theirs.
fn deaf(site: &Site, reading: usize, deaf: usize, first: u32) -> anyhow::Result<Tally> {
    let server = site.addr;
    let mut reading = connections::open(server, Base::Reading, reading)?;
    let deaf = connections::open(server, Base::Deaf, deaf)?;
    // From here on the cache has what is not read: it takes no places from
    // those who wait for upstreams.
    for number in first..first + connections::UNREAD {
        connections::ask_large(&mut reading[..1], number, 0)?;
    }
    thread::scope(|scope| {
        let ignoring = scope.spawn(|| connections::ask_and_ignore(deaf, first));
        let mut tally = connections::ask_large(&mut reading, first + 100, 1)?;
        tally += connections::ask_large(&mut reading, first + 100, 0)?;
        tally += ignoring.join().ok().context("who do not read")??;
        Ok(tally)
    })
}

/// Everything at once: as many connections as there may be.
fn all(site: &Site, names: u32) -> anyhow::Result<Tally> {
    let server = site.addr;
    let idle = connections::open(server, Base::Idle, 200)?;
    let half = connections::open(server, Base::Half, 300)?;
    let tally = thread::scope(|scope| {
        let parts = [
            scope.spawn(|| datagrams::silent(server, 10_000..10_000 + BESIDES)),
            scope.spawn(|| datagrams::once(server, names..names + names / 20)),
            scope.spawn(|| connections::send_half(half)),
            scope.spawn(|| deaf(site, 250, 250, 4_000)),
        ];
        let mut tally = Tally::default();
        for part in parts {
            tally += part.join().ok().context("a part")??;
        }
        anyhow::Ok(tally)
    });
    drop(idle);
    tally
}
