//! What memberlist has to tell.
//!
//! No method here ever waits: memberlist cancels a delegate that does half-way
//! through, and calls some while it holds its lock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use memberlist_core::delegate::AliveDelegate;
use memberlist_core::delegate::ConflictDelegate;
use memberlist_core::delegate::Delegate as MemberlistDelegate;
use memberlist_core::delegate::EventDelegate;
use memberlist_core::delegate::MergeDelegate;
use memberlist_core::delegate::NodeDelegate;
use memberlist_core::delegate::PingDelegate;
use memberlist_proto::NodeState;
use tokio::sync::mpsc;

use crate::ledger::MAX_MEMBERS;
use crate::member::MemberId;

use super::Event;
use super::Refusals;
use super::gate::Gate;
use super::gate::MAX_MESSAGE;
use super::queue::Queue;

/// A member as memberlist has it.
type State = Arc<NodeState<Arc<str>, SocketAddr>>;

/// Hears what memberlist has to tell, and passes it on.
#[derive(Debug)]
pub(super) struct Delegate {
    /// This member.
    me: MemberId,
    /// Where events go.
    events: mpsc::Sender<Event>,
    /// Our state, for an exchange of whole states.
    exchange: Arc<ArcSwap<Bytes>>,
    /// What is to be gossiped.
    queue: Arc<Queue>,
    /// Who may be a member.
    gate: Arc<Gate>,
    /// What was not taken.
    counts: Arc<Counts>,
    /// The members that are there.
    present: Mutex<BTreeMap<MemberId, SocketAddr>>,
}

/// What was not taken.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Events that nobody took in time.
    dropped: AtomicU64,
    /// Members that may not be.
    members: AtomicU64,
    /// Octets of messages that wait to be taken.
    waiting: AtomicUsize,
}

/// So many octets of messages may wait: two of the longest.
pub(super) const MAX_WAITING: usize = 2 * MAX_MESSAGE;

/// Why a member may not be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoMember {
    /// Its id is none of ours.
    #[error("not an id")]
    Id,
    /// It cannot be reached there, or may not be.
    #[error("not an address for a member")]
    Address,
    /// There are too many.
    #[error("too many members")]
    TooMany,
}

// === impl Delegate ===

impl Delegate {
    /// Passes on to `events`.
    pub(super) fn new(
        me: MemberId,
        events: mpsc::Sender<Event>,
        exchange: Arc<ArcSwap<Bytes>>,
        queue: Arc<Queue>,
        gate: Arc<Gate>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            me,
            events,
            exchange,
            queue,
            gate,
            counts,
            present: Mutex::default(),
        }
    }

    /// Passes an event of membership on, as long as there is any room.
    fn tell(&self, event: Event) -> bool {
        let passed = self.events.try_send(event).is_ok();
        if !passed {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        passed
    }

    /// Passes octets on, unless that would take the last room: what is lost of
    /// them is repaired sooner than a lost event of membership.
    fn pass(&self, event: Event) {
        let octets = event.octets();
        let is_full = self.events.capacity() <= self.events.max_capacity() / 8;
        if is_full || !self.counts.claim(octets) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        } else if !self.tell(event) {
            self.counts.release(octets);
        }
    }

    /// Whether a member may be one.
    fn examine(&self, id: &str, address: SocketAddr) -> Result<(), NoMember> {
        let id = MemberId::parse(id).ok_or(NoMember::Id)?;
        if id == self.me {
            return Ok(());
        }
        let ip = address.ip();
        let unfit = ip.is_unspecified() || ip.is_multicast() || address.port() == 0;
        if unfit || !self.gate.allows(ip) {
            return Err(NoMember::Address);
        }
        let present = self.present();
        if present.len() >= MAX_MEMBERS && !present.contains_key(&id) {
            return Err(NoMember::TooMany);
        }
        Ok(())
    }

    /// The members that are there; nothing panics while they are held.
    fn present(&self) -> MutexGuard<'_, BTreeMap<MemberId, SocketAddr>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemberlistDelegate for Delegate {
    type Id = Arc<str>;
    type Address = SocketAddr;
}

impl AliveDelegate for Delegate {
    type Error = NoMember;
    type Id = Arc<str>;
    type Address = SocketAddr;

    async fn notify_alive(&self, peer: State) -> Result<(), NoMember> {
        self.examine(peer.id(), *peer.address()).inspect_err(|_| {
            self.counts.members.fetch_add(1, Ordering::Relaxed);
        })
    }
}

impl EventDelegate for Delegate {
    type Id = Arc<str>;
    type Address = SocketAddr;

    async fn notify_join(&self, node: State) {
        let Some(id) = MemberId::parse(node.id()) else {
            return;
        };
        let members = {
            let mut present = self.present();
            present.insert(id.clone(), *node.address());
            present.len()
        };
        self.queue.set_members(members);
        self.tell(Event::Joined(id, *node.address()));
    }

    async fn notify_leave(&self, node: State) {
        let Some(id) = MemberId::parse(node.id()) else {
            return;
        };
        let members = {
            let mut present = self.present();
            present.remove(&id);
            present.len()
        };
        self.queue.set_members(members);
        self.tell(Event::Left(id));
    }

    async fn notify_update(&self, _node: State) {}
}

impl ConflictDelegate for Delegate {
    type Id = Arc<str>;
    type Address = SocketAddr;

    async fn notify_conflict(&self, _existing: State, _other: State) {
        self.counts.members.fetch_add(1, Ordering::Relaxed);
    }
}

impl MergeDelegate for Delegate {
    type Error = Infallible;
    type Id = Arc<str>;
    type Address = SocketAddr;

    async fn notify_merge(
        &self,
        _peers: Arc<[NodeState<Arc<str>, SocketAddr>]>,
    ) -> Result<(), Infallible> {
        // Each of them is examined by itself.
        Ok(())
    }
}

impl PingDelegate for Delegate {
    type Id = Arc<str>;
    type Address = SocketAddr;

    async fn ack_payload(&self) -> Bytes {
        Bytes::new()
    }

    async fn notify_ping_complete(&self, _node: State, _rtt: Duration, _payload: Bytes) {}
}

impl NodeDelegate for Delegate {
    async fn notify_message(&self, message: Cow<'_, [u8]>) {
        if !message.is_empty() {
            self.pass(Event::Message(Bytes::copy_from_slice(&message)));
        }
    }

    async fn broadcast_messages<F>(
        &self,
        limit: usize,
        _encoded_len: F,
    ) -> impl Iterator<Item = Bytes> + Send
    where
        F: Fn(Bytes) -> (usize, Bytes) + Send + Sync + 'static,
    {
        self.queue.take(limit).into_iter()
    }

    async fn local_state(&self, _join: bool) -> Bytes {
        Bytes::clone(&self.exchange.load())
    }

    async fn merge_remote_state(&self, octets: &[u8], _join: bool) {
        self.pass(Event::Exchange(Bytes::copy_from_slice(octets)));
    }
}

// === impl Counts ===

impl Counts {
    /// Makes room for so many octets, if there is some.
    fn claim(&self, octets: usize) -> bool {
        let fits = |all: usize| Some(all.saturating_add(octets)).filter(|all| *all <= MAX_WAITING);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.waiting.fetch_update(set, fetch, fits).is_ok()
    }

    /// So many octets do not wait any more.
    pub(super) fn release(&self, octets: usize) {
        let less = |all: usize| Some(all.saturating_sub(octets));
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        // It never says no.
        let _ = self.waiting.fetch_update(set, fetch, less);
    }

    /// Adds what was counted here.
    pub(super) fn add_to(&self, refusals: &mut Refusals) {
        refusals.dropped += self.dropped.load(Ordering::Relaxed);
        refusals.members += self.members.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_member_is_one() {
        let (delegate, _events) = delegate(&["192.0.2.0/24"], 16);
        let id = "b#0000000000000002";
        let table = [
            (id, "192.0.2.1:7946", Ok(())),
            ("b", "192.0.2.1:7946", Err(NoMember::Id)),
            ("b\n#0000000000000002", "192.0.2.1:7946", Err(NoMember::Id)),
            ("", "192.0.2.1:7946", Err(NoMember::Id)),
            (id, "192.0.2.1:0", Err(NoMember::Address)),
            (id, "0.0.0.0:7946", Err(NoMember::Address)),
            (id, "224.0.0.1:7946", Err(NoMember::Address)),
            (id, "198.51.100.1:7946", Err(NoMember::Address)),
            (id, "[2001:db8::1]:7946", Err(NoMember::Address)),
            // Ourselves, as memberlist has us first of all.
            ("me#0000000000000001", "198.51.100.1:7946", Ok(())),
        ];
        for (id, address, expected) in table {
            assert_eq!(
                delegate.examine(id, address.parse().unwrap()),
                expected,
                "{id} {address}"
            );
        }
    }

    #[test]
    fn there_are_no_more_members_than_may_be() {
        let (delegate, _events) = delegate(&[], 16);
        let address = SocketAddr::from(([192, 0, 2, 1], 7_946));
        for n in 0..MAX_MEMBERS {
            let id = MemberId::new("m", n.try_into().unwrap());
            assert_eq!(delegate.examine(id.as_str(), address), Ok(()));
            delegate.present().insert(id, address);
        }
        let more = MemberId::new("more", 1);
        assert_eq!(
            delegate.examine(more.as_str(), address),
            Err(NoMember::TooMany)
        );
        assert_eq!(
            delegate.examine(MemberId::new("m", 7).as_str(), address),
            Ok(())
        );
    }

    #[test]
    fn messages_leave_room_for_events_of_membership() {
        let (delegate, mut events) = delegate(&[], 16);
        for _ in 0..100 {
            delegate.pass(Event::Message(Bytes::from_static(b"x")));
        }
        delegate.tell(Event::Left(MemberId::new("b", 2)));
        delegate.tell(Event::Left(MemberId::new("c", 3)));
        delegate.tell(Event::Left(MemberId::new("d", 4)));
        let heard: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert_eq!(heard.len(), 16);
        assert_eq!(heard.last(), Some(&Event::Left(MemberId::new("c", 3))));
        let mut refusals = Refusals::default();
        delegate.counts.add_to(&mut refusals);
        assert_eq!(refusals.dropped, 100 - 14 + 1);
    }

    #[test]
    fn no_more_octets_wait_than_two_of_the_longest_messages_have() {
        let (delegate, mut events) = delegate(&[], 4_096);
        let large = Bytes::from(vec![0; 20 << 20]);
        for _ in 0..10 {
            delegate.pass(Event::Message(large.clone()));
        }
        // There is room for a small one all the same.
        delegate.pass(Event::Exchange(Bytes::from_static(b"x")));
        let heard: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert_eq!(heard.len(), 4);
        let mut refusals = Refusals::default();
        delegate.counts.add_to(&mut refusals);
        assert_eq!(refusals.dropped, 7);
        // What was taken makes room.
        for event in &heard {
            delegate.counts.release(event.octets());
        }
        delegate.pass(Event::Message(large));
        assert!(events.try_recv().is_ok());
    }

    fn delegate(networks: &[&str], room: usize) -> (Delegate, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(room);
        let networks = networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let delegate = Delegate::new(
            MemberId::new("me", 1),
            events,
            Arc::default(),
            Arc::default(),
            Arc::new(Gate::new(networks, b"home", Vec::new())),
            Arc::default(),
        );
        (delegate, receiver)
    }
}
