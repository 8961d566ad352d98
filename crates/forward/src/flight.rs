//! Equal questions that wait for upstreams at the same time are asked once.
//!
//! Whoever asks what is being asked already waits for the same answer. That
//! spares upstreams a flood when a popular name expires, and takes from a
//! forger the many equal queries that one of many guesses would match
//! (RFC 5452 §5, birthday attacks).
//!
//! Nobody owns the asking: it goes on while anybody waits for it, and ends
//! with the last one. Where a [`crate::Lane`] asks, it tells those who asked the
//! same, or hands the asking over to them.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::quality::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::future::Shared;
use futures_util::future::WeakShared;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Answer;
use crate::Failure;
use crate::Question;
use crate::Transport;

/// What comes of asking.
pub(crate) type Outcome = Result<Answer, Failure>;

/// How long after its beginning a question is looked into: the least that one
/// of those who asked the same too calls for.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The beginning.
    since: Instant,
    /// In microseconds; [`u64::MAX`] while nobody has.
    least: AtomicU64,
    /// Rung when that is less than before.
    told: Notify,
}

/// All that shapes the query to an upstream, as octets.
type Asked = SmallVec<[u8; 64]>;

/// The asking of one question.
type Asking = BoxFuture<'static, Outcome>;

/// The questions that are being asked: no more than there are callers.
#[derive(Default)]
pub(crate) struct Flights {
    /// The questions.
    table: Mutex<Table>,
}

/// The part of [`Flights`] under the lock. Nobody lets go of an asking while
/// having the lock: the last one takes it off the table.
#[derive(Default)]
struct Table {
    /// Tells one asking of a question from the next.
    next: u64,
    /// Names come from the network: where they stand is not to be foreseen.
    hasher: RandomState,
    /// The questions. One that ends makes room for the next at once, so that few
    /// places are written to, again and again.
    under_way: Slab<UnderWay>,
    /// Their places, by the hash of all that shapes the query to an upstream.
    places: HashTable<usize>,
}

/// A question that is being asked.
struct UnderWay {
    /// The question.
    key: Asked,
    /// Its hash.
    hash: u64,
    /// Which asking of it.
    number: u64,
    /// Who asks.
    way: Way,
}

/// Who asks a question.
enum Way {
    /// Whoever waits for it.
    Shared {
        /// The asking.
        asking: WeakShared<Asking>,
        /// What those who asked it too call for.
        joined: Arc<Joined>,
    },
    /// A lane.
    Lane {
        /// When it began.
        since: Instant,
        /// Those who asked it too, if there are any.
        audience: Option<Box<Audience>>,
    },
}

/// Those who listen to what a lane tells.
struct Audience {
    /// Where it tells them.
    listeners: Vec<oneshot::Sender<Outcome>>,
    /// What they call for.
    joined: Joined,
}

/// What somebody who asks what is being asked already waits for.
enum Wait {
    /// The asking.
    Shared(Shared<Asking>),
    /// What a lane tells.
    Lane(oneshot::Receiver<Outcome>),
}

/// Takes a question off the table when its asking ends, or is given up.
#[derive(Debug)]
pub(crate) struct Landing {
    /// The table.
    flights: Arc<Flights>,
    /// The hash of the question.
    hash: u64,
    /// Which asking of it; 0 once it is off the table.
    number: u64,
}

// === impl Flights ===

impl Flights {
    /// Waits for what is being asked already, or asks. AD of the answer is as
    /// the first client wanted it. `ask` is told when somebody else joins;
    /// `suspicion` is how long after the beginning that is to be looked into.
    pub(crate) async fn join<A>(
        self: &Arc<Self>,
        question: &Question,
        suspicion: impl Fn() -> Duration,
        ask: impl FnOnce(Arc<Joined>) -> A,
    ) -> Outcome
    where
        A: Future<Output = Outcome> + Send + 'static,
    {
        let key = key(question);
        let mut has_listened = false;
        let asking = loop {
            let told = {
                let mut table = self.lock();
                let hash = table.hash(&key);
                match table.find(hash, &key).and_then(|it| it.join(&suspicion)) {
                    Some(Wait::Shared(asking)) => break asking,
                    Some(Wait::Lane(told)) if !has_listened => told,
                    _ => break table.begin(self, hash, key, Joined::default(), ask),
                }
            };
            if let Ok(outcome) = told.await {
                return outcome;
            }
            // It was handed over, or given up. Who was let down once does not
            // rely on a lane again.
            has_listened = true;
        };
        asking.await
    }

    /// Notes that a lane asks a question, unless that is being asked already.
    pub(crate) fn depart(self: &Arc<Self>, question: &Question, now: Instant) -> Option<Landing> {
        let key = key(question);
        let mut table = self.lock();
        let (hash, number) = (table.hash(&key), table.number());
        let way = Way::Lane {
            since: now,
            audience: None,
        };
        let asking = match table.find(hash, &key) {
            None => {
                table.insert(UnderWay {
                    key,
                    hash,
                    number,
                    way,
                });
                None
            }
            Some(under_way) => {
                let asking = match &under_way.way {
                    Way::Lane { .. } => return None,
                    Way::Shared { asking, .. } => asking.upgrade(),
                };
                if asking.is_none() {
                    (under_way.number, under_way.way) = (number, way);
                }
                asking
            }
        };
        drop(table);
        // It may be the last one, and ends without the lock.
        if asking.is_some() {
            return None;
        }
        Some(Landing {
            flights: Arc::clone(self),
            hash,
            number,
        })
    }

    /// The table.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("under_way", &self.lock().under_way.len())
            .finish_non_exhaustive()
    }
}

// === impl Table ===

impl Table {
    /// Puts a question with its hash on the table, and has it asked by those who
    /// wait for it.
    fn begin<A>(
        &mut self,
        flights: &Arc<Flights>,
        hash: u64,
        key: Asked,
        joined: Joined,
        ask: impl FnOnce(Arc<Joined>) -> A,
    ) -> Shared<Asking>
    where
        A: Future<Output = Outcome> + Send + 'static,
    {
        let number = self.number();
        let landing = Landing {
            flights: Arc::clone(flights),
            hash,
            number,
        };
        let joined = Arc::new(joined);
        // Not in a block that awaits it: that would have room for it twice.
        let asking = ask(Arc::clone(&joined)).inspect(move |_| drop(landing));
        let shared = asking.boxed().shared();
        if let Some(asking) = shared.downgrade() {
            let under_way = UnderWay {
                key,
                hash,
                number,
                way: Way::Shared { asking, joined },
            };
            match self.find(hash, &under_way.key) {
                None => self.insert(under_way),
                Some(before) => *before = under_way,
            }
        }
        shared
    }

    /// The hash of a question.
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The question, if it is under way.
    fn find(&mut self, hash: u64, key: &Asked) -> Option<&mut UnderWay> {
        let is_it = |&place: &usize| self.under_way.get(place).is_some_and(|it| it.key == *key);
        let place = self.places.find(hash, is_it).copied()?;
        self.under_way.get_mut(place)
    }

    /// Takes in a question that was not under way.
    fn insert(&mut self, under_way: UnderWay) {
        let hash = under_way.hash;
        let place = self.under_way.insert(under_way);
        let hash_at = |&place: &usize| self.under_way.get(place).map_or(0, |it| it.hash);
        self.places.insert_unique(hash, place, hash_at);
    }

    /// A number that no other asking has.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes an asking off the table, if it is there.
    fn remove(&mut self, hash: u64, number: u64) -> Option<UnderWay> {
        let is_it = |&place: &usize| {
            let under_way = self.under_way.get(place);
            under_way.is_some_and(|it| it.number == number)
        };
        let (place, _) = self.places.find_entry(hash, is_it).ok()?.remove();
        self.under_way.try_remove(place)
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// What somebody who asks the same waits for, if it is still being asked.
    /// `suspicion` is how long after the beginning that is to be looked into.
    fn join(&mut self, suspicion: impl Fn() -> Duration) -> Option<Wait> {
        let (wait, joined) = match &mut self.way {
            Way::Shared { asking, joined } => (Wait::Shared(asking.upgrade()?), &**joined),
            Way::Lane { since, audience } => {
                let audience = audience.get_or_insert_with(|| Audience::since(*since));
                let (sender, told) = oneshot::channel();
                audience.listeners.push(sender);
                (Wait::Lane(told), &audience.joined)
            }
        };
        joined.call_for(suspicion());
        Some(wait)
    }
}

// === impl Audience ===

impl Audience {
    /// Nobody, about what is being asked since then.
    fn since(since: Instant) -> Box<Self> {
        Box::new(Self {
            listeners: Vec::new(),
            joined: Joined::since(since),
        })
    }
}

// === impl Joined ===

impl Joined {
    /// Nobody has asked what is asked since then.
    fn since(since: Instant) -> Self {
        Self {
            since,
            least: AtomicU64::new(u64::MAX),
            told: Notify::new(),
        }
    }

    /// Ends when a question has been asked for as long as one of those who asked
    /// it too calls for.
    pub(crate) async fn is_suspicious(&self) {
        loop {
            let told = self.told.notified();
            match self.least() {
                None => told.await,
                Some(due) => {
                    if tokio::time::timeout_at(self.since + due, told)
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Calls for a look so long after the beginning.
    fn call_for(&self, suspicion: Duration) {
        let micros = u64::try_from(suspicion.as_micros()).unwrap_or(u64::MAX - 1);
        if self.least.fetch_min(micros, Ordering::Relaxed) > micros {
            self.told.notify_one();
        }
    }

    /// The least that was called for.
    fn least(&self) -> Option<Duration> {
        let micros = self.least.load(Ordering::Relaxed);
        (micros != u64::MAX).then_some(Duration::from_micros(micros))
    }
}

impl Default for Joined {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

// === impl Landing ===

impl Landing {
    /// Tells those who asked the same what came of it.
    pub(crate) fn tell(mut self, outcome: impl Fn() -> Outcome) {
        if let Some(UnderWay { way, .. }) = self.land()
            && let Way::Lane { audience, .. } = way
            && let Some(audience) = audience
        {
            for listener in audience.listeners {
                // Whoever has left need not be told.
                let _: Result<(), _> = listener.send(outcome());
            }
        }
    }

    /// Hands the asking over to those who wait for it: from now on `ask` does
    /// it. Where somebody else has begun to ask the same, it goes on by itself.
    pub(crate) async fn hand_over<A>(mut self, ask: impl FnOnce(Arc<Joined>) -> A) -> Outcome
    where
        A: Future<Output = Outcome> + Send + 'static,
    {
        let flights = Arc::clone(&self.flights);
        let asking = {
            let mut table = flights.lock();
            match table.remove(self.hash, std::mem::take(&mut self.number)) {
                Some(UnderWay {
                    key,
                    way: Way::Lane { since, audience },
                    ..
                }) => {
                    let audience = audience.unwrap_or_else(|| Audience::since(since));
                    let Audience { listeners, joined } = *audience;
                    Ok((
                        table.begin(&flights, self.hash, key, joined, ask),
                        listeners,
                    ))
                }
                _ => Err(ask),
            }
        };
        match asking {
            Ok((asking, listeners)) => {
                // Those who listened come back for it.
                drop(listeners);
                asking.await
            }
            // Boxed, as the other is: few come here, and all have room for it.
            Err(ask) => ask(Arc::default()).boxed().await,
        }
    }

    /// Takes the question off the table.
    fn land(&mut self) -> Option<UnderWay> {
        let number = std::mem::take(&mut self.number);
        self.flights.lock().remove(self.hash, number)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.number != 0 {
            // Those who listened are told without the lock.
            drop(self.land());
        }
    }
}

/// All that shapes the query to an upstream.
fn key(question: &Question) -> Asked {
    let flags = [
        question.dnssec_ok,
        question.checking_disabled,
        question.recursion_desired,
        question.transport == Transport::Tcp,
    ];
    let flags = flags
        .iter()
        .fold(0, |octet, &is_set| octet << 1 | u8::from(is_set));
    let [t0, t1] = question.qtype.0.to_be_bytes();
    let [c0, c1] = question.qclass.0.to_be_bytes();
    let mut key = Asked::from_slice(question.qname.as_wire());
    key.extend_from_slice(&[t0, t1, c0, c1, flags]);
    key
}

#[cfg(test)]
mod tests {
    use portolan_proto::Class;
    use portolan_proto::Rtype;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn equal_questions_are_asked_once() {
        let flights = Arc::new(Flights::default());
        let (done, waiting) = oneshot::channel();
        let question = question("a.example");
        let first = flights.join(&question, unused, |_| async { waiting.await.unwrap() });
        let second = flights.join(&question, unused, |_| async { panic!("asked twice") });
        let answer = async { done.send(failure("heard")).unwrap() };
        let (first, second, ()) = tokio::join!(first, second, answer);
        assert_eq!(first.unwrap_err().message, "heard");
        assert_eq!(second.unwrap_err().message, "heard");
        assert_eq!(flights.lock().under_way.len(), 0);
    }

    #[tokio::test]
    async fn the_least_that_somebody_calls_for_is_told() {
        let flights = Arc::new(Flights::default());
        let (done, waiting) = oneshot::channel();
        let question = question("a.example");
        let (tell, mut told) = oneshot::channel();
        let first = flights.join(&question, unused, |joined| {
            tell.send(joined).unwrap();
            async { waiting.await.unwrap() }
        });
        let mut first = Box::pin(first);
        assert!((&mut first).now_or_never().is_none());
        let told = told.try_recv().unwrap();
        assert_eq!(told.least(), None);
        for (seconds, least) in [(3, 3), (1, 1), (2, 1)] {
            let suspicion = || Duration::from_secs(seconds);
            let joined = flights.join(&question, suspicion, |_| std::future::pending());
            assert!(joined.now_or_never().is_none());
            assert_eq!(told.least(), Some(Duration::from_secs(least)));
        }
        done.send(failure("heard")).unwrap();
        first.await.unwrap_err();
    }

    #[tokio::test]
    async fn the_first_to_wait_may_leave() {
        let flights = Arc::new(Flights::default());
        let (done, waiting) = oneshot::channel();
        let question = question("a.example");
        let mut first =
            Box::pin(flights.join(&question, unused, |_| async { waiting.await.unwrap() }));
        assert!((&mut first).now_or_never().is_none());
        let second = flights.join(&question, unused, |_| async { panic!("asked twice") });
        let leave = async {
            drop(first);
            done.send(failure("heard")).unwrap();
        };
        let (second, ()) = tokio::join!(second, leave);
        assert_eq!(second.unwrap_err().message, "heard");
    }

    #[tokio::test]
    async fn what_everybody_has_left_is_asked_anew() {
        let flights = Arc::new(Flights::default());
        let question = question("a.example");
        let first = flights.join(&question, unused, |_| std::future::pending());
        assert!(first.now_or_never().is_none());
        assert_eq!(flights.lock().under_way.len(), 0);
        let second = flights
            .join(&question, unused, |_| async { failure("heard") })
            .await;
        assert_eq!(second.unwrap_err().message, "heard");
    }

    #[test]
    fn all_that_upstreams_are_told_is_in_the_key() {
        let base = question("a.example");
        let mut keys = vec![key(&base)];
        for change in [
            |q: &mut Question| *q = q.with_type(Rtype::AAAA),
            |q: &mut Question| *q = question("b.example"),
            |q: &mut Question| q.dnssec_ok = true,
            |q: &mut Question| q.checking_disabled = true,
            |q: &mut Question| q.recursion_desired = false,
            |q: &mut Question| q.transport = Transport::Tcp,
        ] {
            let mut other = base.clone();
            change(&mut other);
            keys.push(key(&other));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_eq!(key(&question("A.Example")), key(&base));
    }

    /// For those that nobody listens to.
    fn unused() -> Duration {
        Duration::ZERO
    }

    /// A question for an address.
    fn question(name: &str) -> Question {
        Question::new(&name.parse().unwrap(), Rtype::A, Class::IN)
    }

    /// An outcome that is told by its text.
    fn failure(text: &str) -> Outcome {
        Err(Failure::unreachable(text.to_owned()))
    }
}
