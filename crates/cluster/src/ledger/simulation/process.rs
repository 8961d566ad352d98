//! A process of a simulated cluster.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use portolan_table::Row;

use super::super::Ledger;
use super::world::Event;
use crate::member::MemberId;

/// A process, alive or not.
pub(super) struct Process {
    /// Its id.
    pub(super) id: MemberId,
    /// The host that it runs on.
    pub(super) host: usize,
    /// Whether it runs.
    pub(super) state: State,
    /// What its clock showed when the world began.
    pub(super) epoch: Instant,
    /// The ledger under test.
    pub(super) ledger: Ledger,
    /// What the table was told.
    pub(super) table: BTreeMap<(MemberId, u64), Vec<Row>>,
    /// What the ledger was told of the containers of its host.
    pub(super) told: BTreeMap<u64, Vec<Row>>,
    /// When that changed, by container.
    pub(super) changed: BTreeMap<u64, u64>,
    /// Members that are there by its sight, and since when.
    pub(super) online: BTreeMap<usize, u64>,
    /// Members that are not, and since when.
    pub(super) offline: BTreeMap<usize, u64>,
    /// Messages to gossip, each with how often it was sent.
    pub(super) rumors: Vec<(u32, Bytes)>,
    /// When its ledger wants to be called.
    pub(super) tick_at: Option<u64>,
    /// Whether a round of gossip is to come.
    pub(super) gossips: bool,
    /// What came while it stood still.
    pub(super) inbox: Vec<Event>,
    /// Members that it knows to have left.
    pub(super) left: BTreeSet<MemberId>,
    /// Versions of the sets that it had last.
    pub(super) stamps: BTreeMap<MemberId, (u64, u64)>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It does.
    Running,
    /// It said good-bye and is about to end.
    Leaving,
    /// It stands still.
    Paused,
    /// It has ended.
    Dead,
}

// === impl Process ===

impl Process {
    /// What its clock shows.
    pub(super) fn clock(&self, now: u64) -> Instant {
        self.epoch + Duration::from_millis(now)
    }

    /// The instant of the world at which its clock shows `at`.
    pub(super) fn world_time(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_micros().div_ceil(1_000)).unwrap()
    }

    /// Where it is reached.
    pub(super) fn address(&self) -> SocketAddr {
        address(self.host)
    }

    /// Whether it takes part.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

/// Address of a host.
pub(super) fn address(host: usize) -> SocketAddr {
    let last = u8::try_from(host + 1).unwrap();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 7_946)
}
