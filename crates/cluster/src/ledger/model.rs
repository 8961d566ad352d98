//! What a ledger takes and gives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portolan_table::Row;

use crate::member::MemberId;

/// A source of this member, and its records from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalChange {
    /// Number of the source, given by the shell: never reused within a process.
    pub(crate) key: u64,
    /// What the source is, for people.
    pub(crate) origin: Arc<str>,
    /// All its records; none withdraws it.
    pub(crate) rows: Vec<Row>,
}

/// What a source of another member asserts from now on, for the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteChange {
    /// The member.
    pub(crate) member: MemberId,
    /// Number of the source at the member.
    pub(crate) key: u64,
    /// What the source is, for people.
    pub(crate) origin: Arc<str>,
    /// All its records; none withdraws it.
    pub(crate) rows: Vec<Row>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Tell the table.
    pub(crate) changes: Vec<RemoteChange>,
    /// Send to one member.
    pub(crate) sends: Vec<Send>,
    /// Gossip to all members: each message of
    /// [`MAX_GOSSIP`](super::MAX_GOSSIP) octets at most.
    pub(crate) gossip: Vec<Bytes>,
    /// Log and count.
    pub(crate) notices: Vec<Notice>,
}

/// A message to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    /// The member.
    pub(crate) to: MemberId,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Whether it goes over TCP; else it is one datagram that may be lost.
    pub(crate) reliable: bool,
    /// The message.
    pub(crate) octets: Bytes,
}

/// What people, or metrics, want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Notice {
    /// A member is there.
    Joined(MemberId, SocketAddr),
    /// A member said good-bye.
    Left(MemberId),
    /// A member was found dead.
    Failed(MemberId),
    /// The records of a member are no longer served.
    Withdrawn {
        /// The member.
        member: MemberId,
        /// How many records it had.
        records: usize,
        /// Why.
        why: Withdrawal,
    },
    /// Two members have one name.
    NameClash(MemberId, MemberId),
    /// A set was behind; now it has caught up.
    Converged {
        /// The member it belongs to.
        member: MemberId,
        /// How long it was known to be behind.
        lag: Duration,
    },
    /// A message could not be read, or says what it may not.
    BadMessage(&'static str),
    /// Records of a member were ignored, and why.
    Refused {
        /// The member.
        member: MemberId,
        /// How many.
        records: usize,
        /// Why.
        why: &'static str,
    },
    /// Our own records exceed what a member may have, or do so no longer.
    TooMany {
        /// So many are not shared,
        unshared: usize,
        /// so many are,
        shared: usize,
        /// and so many may be.
        limit: usize,
        /// One of the sources that are not shared.
        source: Option<Arc<str>>,
    },
    /// Counted only: a delta that came out of order.
    Gap,
    /// Counted only: a set was asked for.
    Pull,
    /// Counted only: somebody asked for sets too often.
    PullRefused,
    /// Counted only: a digest was sent.
    Digest,
    /// Another instance of this member was heard of, with a higher version
    /// than we ever wrote: our epoch has moved on.
    Outrun,
}

/// Why the records of a member are no longer served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// It left.
    Left,
    /// It failed.
    Failed,
    /// It was restarted.
    Replaced,
    /// Nothing new was heard of it for too long.
    Silent,
}

/// A member as this one sees it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The member.
    pub(crate) id: MemberId,
    /// Where it is reached.
    pub(crate) address: Option<SocketAddr>,
    /// What is known of it: `self`, `alive`, `leaving`, `failed`, `silent`.
    pub(crate) state: &'static str,
    /// Epoch of its set.
    pub(crate) epoch: u64,
    /// Version of its set.
    pub(crate) version: u64,
    /// Its records.
    pub(crate) records: usize,
    /// Whether its records are served.
    pub(crate) served: bool,
    /// Whether its first sync is over.
    pub(crate) complete: bool,
}

// === impl Withdrawal ===

impl Withdrawal {
    /// In a word, for people and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
            Self::Silent => "silent",
        }
    }
}
