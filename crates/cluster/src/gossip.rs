//! SWIM membership and gossip, with crate memberlist below.
//!
//! This is the only module that knows memberlist; none of its types leaves it,
//! and it is instantiated once, here. What memberlist does not do by itself:
//!
//! - [`transport`] owns the sockets: who may connect, how many at once, how
//!   long; [`guard`] reads from connections so that neither an endless length
//!   nor a length of four gigabytes reaches memberlist (both kill it).
//! - [`delegate`] hears what memberlist has to tell. It never waits: memberlist
//!   cancels a waiting delegate half-way, and the event is lost.
//! - [`queue`] holds what is to be gossiped.
//!
//! Messages have no sender; whoever needs one writes it into the message.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;
use memberlist::Memberlist;
use memberlist_proto::MaybeResolvedAddress;
use memberlist_proto::SecretKey;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::member::MemberId;

use delegate::Delegate;
use gate::Gate;
use queue::Queue;
use transport::Transport;

mod delegate;
mod gate;
mod guard;
mod options;
mod queue;
mod transport;

#[cfg(test)]
mod tests;

/// A member of a cluster, for as long as it is one. Clones are the same.
#[derive(Clone)]
pub(crate) struct Gossip {
    /// What memberlist has of us.
    list: Memberlist<Transport, Delegate>,
    /// What is to be gossiped.
    queue: Arc<Queue>,
    /// Who may talk to us, and what was refused.
    gate: Arc<Gate>,
    /// What was heard and not understood or not taken.
    counts: Arc<delegate::Counts>,
    /// Joins that go on after nobody waits for them.
    tracker: TaskTracker,
}

/// What a member is told at start.
#[derive(Clone)]
pub(crate) struct GossipConfig {
    /// This member.
    pub(crate) id: MemberId,
    /// Address to bind, UDP and TCP.
    pub(crate) bind: SocketAddr,
    /// Address that others reach us by; port 0 for the one that was bound.
    pub(crate) advertise: SocketAddr,
    /// Label of the cluster, without the version of our protocol.
    pub(crate) label: String,
    /// Networks that members may have their addresses in; none for any.
    pub(crate) networks: Vec<IpNet>,
    /// Keys of 16, 24 or 32 octets; the first encrypts. None for plaintext.
    pub(crate) keys: Vec<Vec<u8>>,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A member is there. Tells of this member too, at start.
    Joined(MemberId, SocketAddr),
    /// A member is gone, however.
    Left(MemberId),
    /// Somebody's message, by gossip, datagram or connection.
    Message(Bytes),
    /// Somebody's state, from an exchange of whole states.
    Exchange(Bytes),
}

/// What was not taken, counted since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// Events that nobody took in time.
    pub(crate) dropped: u64,
    /// Members whose id or address may not be, or that are too many.
    pub(crate) members: u64,
    /// Connections from outside the networks, or too many at once.
    pub(crate) connections: u64,
    /// Datagrams from outside the networks, or that are none of ours.
    pub(crate) datagrams: u64,
    /// Messages announced to be longer than any may be.
    pub(crate) oversized: u64,
    /// Connections and datagrams of another cluster, or with another secret.
    pub(crate) foreign: u64,
    /// Messages for gossip that had to make room for newer ones.
    pub(crate) pruned: u64,
}

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A key has the wrong length.
    #[error("a cluster key has {0} octets; it has to have 16, 24 or 32")]
    Key(usize),
    /// The label cannot be one.
    #[error("cluster label: {0}")]
    Label(String),
    /// A socket could not be bound, or the like.
    #[error("cluster cannot listen on {0}: {1}")]
    Listen(SocketAddr, String),
    /// Keys are configured, yet nothing would be encrypted.
    #[error("cluster encryption did not come up")]
    Plaintext,
}

/// Why a member was not joined, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) enum JoinError {
    /// It is of another cluster, or has another secret: somebody has to look
    /// into that.
    #[error("{0}")]
    Foreign(String),
    /// It did not answer as a member does.
    #[error("{0}")]
    Unreached(String),
}

/// Why a message was not sent, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SendError(pub(crate) String);

/// Why keys were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// A key has the wrong length.
    #[error("a cluster key has {0} octets; it has to have 16, 24 or 32")]
    Length(usize),
    /// Plaintext to encryption or back.
    #[error("to begin or end encryption takes a restart")]
    Restart,
}

/// So long may a member take to let us join.
pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

// === impl Event ===

impl Event {
    /// How many octets of others it holds.
    fn octets(&self) -> usize {
        match self {
            Self::Message(octets) | Self::Exchange(octets) => octets.len(),
            Self::Joined(..) | Self::Left(_) => 0,
        }
    }
}

// === impl Gossip ===

impl Gossip {
    /// Binds, and is a cluster of one. Events that `events` has no room for are
    /// dropped and counted; `exchange` is what others get from us in an
    /// exchange of whole states.
    pub(crate) async fn start(
        config: GossipConfig,
        events: mpsc::Sender<Event>,
        exchange: Arc<ArcSwap<Bytes>>,
    ) -> Result<Self, StartError> {
        let keys = config
            .keys
            .iter()
            .map(|key| secret_key(key))
            .collect::<Result<Vec<_>, usize>>()
            .map_err(StartError::Key)?;
        let encrypted = !keys.is_empty();
        let label = options::label(&config.label).map_err(StartError::Label)?;
        let gate = Arc::new(Gate::new(config.networks, label.as_bytes(), keys.clone()));
        let queue = Arc::new(Queue::default());
        let counts = Arc::default();
        let transport = transport::Options {
            id: config.id.shared(),
            bind: config.bind,
            advertise: config.advertise,
            max_packet: options::max_packet(&label, encrypted),
            gate: Arc::clone(&gate),
        };
        let delegate = Delegate::new(
            config.id,
            events,
            exchange,
            Arc::clone(&queue),
            Arc::clone(&gate),
            Arc::clone(&counts),
        );
        let options = options::options(label, &keys);
        let list = Box::pin(Memberlist::with_delegate(delegate, transport, options))
            .await
            .map_err(|error| StartError::Listen(config.bind, error.to_string()))?;
        let gossip = Self {
            list,
            queue,
            gate,
            counts,
            tracker: TaskTracker::new(),
        };
        if encrypted && !gossip.list.encryption_enabled() {
            gossip.shutdown().await;
            return Err(StartError::Plaintext);
        }
        Ok(gossip)
    }

    /// The address that others reach us by.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        *self.list.advertise_address()
    }

    /// Gossips a message, of as many octets as a datagram has room for. Alone
    /// in the cluster there is nobody to tell.
    pub(crate) fn broadcast(&self, message: Bytes) {
        self.queue.push(message);
    }

    /// Sends a message to one member, over a connection or as one datagram.
    /// A connection ends after ten seconds at the latest.
    pub(crate) async fn send(
        &self,
        to: SocketAddr,
        reliable: bool,
        message: Bytes,
    ) -> Result<(), SendError> {
        let sent = if reliable {
            Box::pin(self.list.send_reliable(&to, message)).await
        } else {
            Box::pin(self.list.send(&to, message)).await
        };
        sent.map_err(|error| SendError(error.to_string()))
    }

    /// Joins the cluster that a member is in: both learn each other's members.
    /// Ends after [`JOIN_TIMEOUT`].
    pub(crate) async fn join(&self, to: SocketAddr) -> Result<(), JoinError> {
        // Nothing that memberlist does is cancelled half-way.
        let list = self.list.clone();
        let joining = self.tracker.spawn(async move {
            let join = list.join(MaybeResolvedAddress::resolved(to));
            Box::pin(join).await.map_err(|error| error.to_string())
        });
        match timeout(JOIN_TIMEOUT, joining).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(options::join_error(&error)),
            Ok(Err(_)) => Err(JoinError::Unreached("stopped".to_owned())),
            Err(_) => Err(JoinError::Unreached("no answer in time".to_owned())),
        }
    }

    /// The members that are there, this one among them.
    pub(crate) async fn online(&self) -> Vec<(MemberId, SocketAddr)> {
        let members = self.list.online_members().await;
        members
            .iter()
            .filter_map(|member| Some((MemberId::parse(member.id())?, *member.address())))
            .collect()
    }

    /// Makes `keys` the keys, at once and without a gap: the first encrypts,
    /// each decrypts.
    pub(crate) fn set_keys(&self, keys: &[Vec<u8>]) -> Result<(), KeyError> {
        let keys = keys
            .iter()
            .map(|key| secret_key(key))
            .collect::<Result<Vec<_>, usize>>()
            .map_err(KeyError::Length)?;
        match (self.list.keyring(), keys.first()) {
            (None, None) => Ok(()),
            (None, Some(_)) | (Some(_), None) => Err(KeyError::Restart),
            (Some(ring), Some(first)) => {
                options::turn(ring, *first, &keys);
                self.gate.set_keys(&keys);
                Ok(())
            }
        }
    }

    /// An event was taken from the queue: there is room for others.
    pub(crate) fn took(&self, event: &Event) {
        self.counts.release(event.octets());
    }

    /// What was not taken.
    pub(crate) fn refusals(&self) -> Refusals {
        let mut refusals = self.gate.refusals();
        self.counts.add_to(&mut refusals);
        refusals.pruned = self.queue.pruned();
        refusals
    }

    /// Tells the others that we leave, and waits until one of them was told.
    /// Nothing can be sent afterwards.
    pub(crate) async fn leave(&self, within: Duration) {
        match timeout(within, Box::pin(self.list.leave(within))).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "leave"),
            Err(_) => tracing::debug!("leave: no time"),
        }
    }

    /// Ends all; the port is free afterwards. For others we are dead, unless we
    /// left before.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = Box::pin(self.list.shutdown()).await {
            tracing::debug!(%error, "shutdown");
        }
        self.tracker.close();
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").finish_non_exhaustive()
    }
}

/// A key, or how long it is.
fn secret_key(octets: &[u8]) -> Result<SecretKey, usize> {
    SecretKey::try_from(octets).map_err(|_| octets.len())
}
