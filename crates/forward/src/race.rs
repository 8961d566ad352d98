//! One query to several upstreams, until one answers.
//!
//! An attempt that takes longer than its patience is not given up: the next
//! upstream is asked too, and whichever answers first is heard. So a slow
//! upstream costs a query of its own, not the query. What the others say is
//! waited for in the background, to learn how long they take.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use portolan_proto::Message;
use portolan_proto::Rcode;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::Context;
use crate::Failure;
use crate::Question;
use crate::Transport;
use crate::error::ExchangeError;
use crate::hedge::GRACE;
use crate::hedge::Hedging;
use crate::policy::Attempt;
use crate::policy::MAX_SENDS;
use crate::policy::Patience;
use crate::policy::Plan;
use crate::policy::overdue;
use crate::udp::Begun;
use crate::upstream::Upstream;

/// Longest that a query waits for upstreams, all attempts together: the client
/// hears within 3 s, well below the 5 s after which a stub resolver gives up.
pub const TOTAL_BUDGET: Duration = Duration::from_millis(2900);

/// What a race needs to know.
pub(crate) struct Race<'a> {
    /// Whom to ask.
    pub(crate) upstreams: &'a [Arc<Upstream>],
    /// What to ask.
    pub(crate) question: &'a Arc<Question>,
    /// The account of second queries.
    pub(crate) hedging: &'a Arc<Hedging>,
    /// Where attempts go on in the background.
    pub(crate) context: &'a Context,
    /// Longest wait for one answer.
    pub(crate) read_timeout: Duration,
    /// Codes that are kept back while another upstream may do better.
    pub(crate) failover: &'a [Rcode],
    /// When there is to be an answer.
    pub(crate) deadline: Instant,
}

/// An answer and who gave it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The answer.
    pub(crate) message: Message,
    /// Address and port of the upstream.
    pub(crate) upstream: Arc<str>,
}

/// The attempts of a query that are under way: one as a rule, and never many.
#[derive(Default)]
struct Running(Vec<BoxFuture<'static, Ended>>);

/// An attempt that has ended: its number, the upstream, and what came of it.
type Ended = (u32, usize, Result<Message, ExchangeError>);

/// The attempt that is next, whom it asks and how, and what of it was begun.
type Next<'a> = (Attempt, &'a Arc<Upstream>, Transport, Option<Box<Begun>>);

/// The attempt that was begun last, until it is overtaken.
struct Newest<'a> {
    /// Its number.
    number: u32,
    /// Who was asked.
    upstream: &'a Arc<Upstream>,
    /// Until when it is waited for alone.
    waits: Waits,
}

/// Until when an attempt is waited for alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// When the upstream is to be probed, for the answer is overdue.
    doubt: Option<Instant>,
    /// When the next one is to be asked too, if that can be afforded.
    slow: Instant,
    /// When it is in any case.
    slowest: Instant,
}

/// What happened so far.
#[derive(Default)]
struct Outcome {
    /// The last answer that was kept back.
    kept: Option<Reply>,
    /// The last error.
    error: Option<ExchangeError>,
}

// === impl Race ===

impl Race<'_> {
    /// Runs the plan until the deadline. What is `begun` is its first attempt.
    pub(crate) async fn run(
        &self,
        mut plan: Plan,
        mut begun: Option<(Attempt, Box<Begun>)>,
    ) -> Result<Reply, Failure> {
        let deadline = self.deadline;
        self.hedging.query();
        let mut outcome = Outcome::default();
        let mut running = Running::default();
        let mut hedges = 0;
        let mut newest: Option<Newest<'_>> = None;
        let mut number = 0;
        loop {
            let mut is_refused = false;
            if newest.is_none()
                && let Some((attempt, upstream, transport, begun)) =
                    self.next(&mut plan, &mut begun)
            {
                number += 1;
                let at = begun.as_ref().map_or_else(Instant::now, |it| it.started);
                is_refused = begun.as_ref().is_some_and(|it| it.is_refused(upstream));
                let is_repeat = is_repeat(number, self.upstreams.len());
                newest = Some(Newest {
                    number,
                    upstream,
                    waits: Waits::new(upstream, transport, attempt.round, is_repeat, at),
                });
                let until = (at + self.read_timeout).min(deadline);
                let (asked, question) = (Arc::clone(upstream), Arc::clone(self.question));
                running.0.push(Box::pin(async move {
                    let exchange = asked.ask(&question, transport, number > 1, begun, until);
                    (number, attempt.upstream, exchange.await)
                }));
            }
            if running.0.is_empty() {
                self.hedging.give_back(hedges);
                return outcome.end();
            }
            let wake = newest
                .as_ref()
                .map_or(deadline, |newest| newest.waits.due())
                .min(deadline);
            let asked = newest.as_ref().map(|newest| newest.upstream);
            let is_slow = tokio::select! {
                biased;
                Some((number, index, result)) = running.next() => {
                    let is_newest = newest.take_if(|newest| newest.number == number).is_some();
                    match result {
                        Ok(message) => {
                            let reply = self.reply(index, message);
                            if !self.failover.contains(&reply.message.rcode()) {
                                self.leave(running, hedges);
                                return Ok(reply);
                            }
                            plan.settle(index);
                            outcome.kept = Some(reply);
                        }
                        Err(error) => {
                            outcome.error = Some(error);
                            plan.failed(!is_newest);
                        }
                    }
                    false
                }
                () = refusal(asked, is_refused) => true,
                () = tokio::time::sleep_until(wake) => {
                    if wake >= deadline {
                        self.hedging.give_back(hedges);
                        return outcome.end();
                    }
                    let can_spend = self.hedging.can_spend();
                    newest.as_mut().is_some_and(|newest| newest.handle_timeout(can_spend))
                }
            };
            if is_slow && let Some(Newest { upstream, .. }) = newest.take() {
                upstream.failed();
                plan.slow();
                if plan.has_next() {
                    upstream.hedged();
                    self.hedging.spend();
                    hedges += 1;
                }
            }
        }
    }

    /// The next attempt, whom it asks and how; what is `begun` comes first. When
    /// as much as may be was sent over UDP, TCP is what is left to try.
    fn next(&self, plan: &mut Plan, begun: &mut Option<(Attempt, Box<Begun>)>) -> Option<Next<'_>> {
        if let Some((attempt, begun)) = begun.take() {
            let upstream = self.upstreams.get(attempt.upstream)?;
            return Some((attempt, upstream, Transport::Udp, Some(begun)));
        }
        loop {
            let attempt = plan.next()?;
            let upstream = self.upstreams.get(attempt.upstream)?;
            let transport = upstream.transport(self.question);
            if usize::try_from(attempt.round).is_ok_and(|round| round < MAX_SENDS) {
                return Some((attempt, upstream, transport, None));
            }
            if transport == Transport::Udp {
                return Some((attempt, upstream, Transport::Tcp, None));
            }
        }
    }

    /// Leaves attempts to the background. Those that get no answer, or one that
    /// would have been kept back, have justified a second query each.
    fn leave(&self, mut running: Running, hedges: usize) {
        if running.0.is_empty() {
            // All that was asked has answered.
            return;
        }
        let hedging = Arc::clone(self.hedging);
        let Some(place) = hedging.straggle() else {
            return;
        };
        let failover = self.failover.to_vec();
        self.context.spawn(async move {
            let _place = place;
            let until = Instant::now() + GRACE;
            let mut lost = running.0.len();
            let is_of_use = |result: Result<Message, _>| {
                result.is_ok_and(|message| !failover.contains(&message.rcode()))
            };
            while let Ok(Some((_, _, result))) = timeout_at(until, running.next()).await {
                lost -= usize::from(is_of_use(result));
            }
            hedging.give_back(lost.min(hedges));
            while let Some((_, _, result)) = running.next().await {
                if is_of_use(result) {
                    if lost <= hedges {
                        hedging.spend();
                    }
                    lost -= 1;
                }
            }
        });
    }

    /// What the upstream at an index says.
    fn reply(&self, index: usize, message: Message) -> Reply {
        let upstream = self.upstreams.get(index);
        Reply {
            message,
            upstream: upstream.map_or_else(Default::default, |u| Arc::clone(u.label())),
        }
    }
}

// === impl Running ===

impl Running {
    /// The next attempt that ends; `None` if there is none. Cancel safe.
    async fn next(&mut self) -> Option<Ended> {
        poll_fn(|cx| {
            let mut attempts = self.0.iter_mut().enumerate();
            let found = attempts.find_map(|(index, attempt)| match attempt.poll_unpin(cx) {
                Poll::Ready(ended) => Some((index, ended)),
                Poll::Pending => None,
            });
            match found {
                Some((index, ended)) => {
                    drop(self.0.swap_remove(index));
                    Poll::Ready(Some(ended))
                }
                None if self.0.is_empty() => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }
}

// === impl Newest ===

impl Newest<'_> {
    /// Says whether the next upstream is to be asked now; `can_spend` says
    /// whether that can be afforded. If not, a probe has to do.
    fn handle_timeout(&mut self, can_spend: bool) -> bool {
        let waits = &mut self.waits;
        let is_doubted = waits.doubt.take().is_some();
        let is_slow = !is_doubted && (can_spend || waits.slow >= waits.slowest);
        if !is_slow {
            self.upstream.doubted();
        }
        if !is_doubted {
            waits.slow = waits.slowest;
        }
        is_slow
    }
}

// === impl Waits ===

impl Waits {
    /// The waits for an upstream that is asked at a time. `is_repeat` says that
    /// all have been asked.
    pub(crate) fn new(
        upstream: &Upstream,
        transport: Transport,
        round: u32,
        is_repeat: bool,
        at: Instant,
    ) -> Self {
        let round_trip = upstream.round_trip(transport);
        let mut patience = Patience::new(round_trip, round, is_repeat);
        if is_repeat && transport == Transport::Tcp {
            patience = patience.at_least(REPEAT);
        }
        Self {
            doubt: round_trip
                .filter(|_| transport == Transport::Udp)
                .map(overdue)
                .filter(|&overdue| overdue < patience.usual)
                .map(|overdue| at + overdue),
            slow: at + patience.usual,
            slowest: at + patience.longest,
        }
    }

    /// When the first of them ends.
    pub(crate) fn due(&self) -> Instant {
        self.doubt.unwrap_or(self.slow)
    }
}

// === impl Outcome ===

impl Outcome {
    /// What is left when no attempt is.
    fn end(self) -> Result<Reply, Failure> {
        if let Some(reply) = self.kept {
            return Ok(reply);
        }
        Err(match self.error {
            None => Failure::unreachable(NO_HEALTHY.to_owned()),
            Some(error) if error.is_reached() => Failure::network(error.to_string()),
            Some(error) => Failure::unreachable(error.to_string()),
        })
    }
}

/// Whether an attempt repeats one: all have been asked before it.
pub(crate) fn is_repeat(number: u32, upstreams: usize) -> bool {
    usize::try_from(number).is_ok_and(|number| number >= upstreams)
}

/// Waits until an upstream refuses another query, if it has not yet. A query
/// that it took the moment before it ended is not refused: nobody is left to
/// say so.
async fn refusal(upstream: Option<&Arc<Upstream>>, is_refused: bool) {
    match upstream {
        Some(_) if is_refused => {}
        Some(upstream) => upstream.refusal().await,
        None => std::future::pending().await,
    }
}

/// Least patience before a query is repeated on a connection. TCP repeats what
/// is lost; only a connection that is gone for good is worth another one.
const REPEAT: Duration = crate::line::SILENCE;

/// Error text when no upstream is worth asking.
pub(crate) const NO_HEALTHY: &str = "no healthy proxies";
