//! One query to several upstreams, until one answers.
//!
//! An attempt that takes longer than its patience is not given up: the next
//! upstream is asked too, and whichever answers first is heard. So a slow
//! upstream costs a query of its own, not the query. What the others say is
//! waited for in the background, to learn how long they take.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use portolan_proto::Message;
use portolan_proto::Rcode;
use tokio::time::Instant;

use crate::Context;
use crate::Failure;
use crate::Question;
use crate::Transport;
use crate::error::ExchangeError;
use crate::hedge::Hedging;
use crate::policy::Attempt;
use crate::policy::MAX_SENDS;
use crate::policy::Plan;
use crate::policy::overdue;
use crate::policy::patience;
use crate::upstream::Upstream;

/// Longest that a query waits for upstreams, all attempts together: 3 s, well
/// below the 5 s after which a stub resolver gives up.
pub const TOTAL_BUDGET: Duration = Duration::from_secs(3);

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
}

/// An answer and who gave it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The answer.
    pub(crate) message: Message,
    /// Address and port of the upstream.
    pub(crate) upstream: Arc<str>,
}

/// The attempts of a query that are under way: the number, the upstream, and
/// what comes of it.
type Running = FuturesUnordered<BoxFuture<'static, (u32, usize, Result<Message, ExchangeError>)>>;

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
    /// Runs the plan within [`TOTAL_BUDGET`].
    pub(crate) async fn run(&self, mut plan: Plan) -> Result<Reply, Failure> {
        let deadline = Instant::now() + TOTAL_BUDGET;
        let is_sparing = self.hedging.query();
        let mut outcome = Outcome::default();
        let mut running = Running::new();
        let mut hedges = 0;
        let asked_once = u32::try_from(self.upstreams.len()).unwrap_or(u32::MAX);
        // The attempt begun last, and when its patience ends.
        let mut newest = None;
        // When its upstream is to be probed in the meantime.
        let mut doubt = None;
        let mut begun = 0;
        loop {
            if newest.is_none()
                && let Some((attempt, upstream, transport)) = self.next(&mut plan)
            {
                let now = Instant::now();
                begun += 1;
                let is_repeat = begun >= asked_once;
                let round_trip = upstream.round_trip(transport);
                let mut wait = patience(round_trip, attempt.round, is_repeat, is_sparing);
                if is_repeat && transport == Transport::Tcp {
                    wait = wait.max(REPEAT);
                }
                newest = Some((begun, upstream, (now + wait).min(deadline)));
                let is_doubted = transport == Transport::Udp && !is_sparing;
                doubt = round_trip
                    .filter(|_| is_doubted)
                    .map(overdue)
                    .filter(|&overdue| overdue < wait)
                    .map(|overdue| now + overdue);
                let until = (now + self.read_timeout).min(deadline);
                let (asked, question) = (Arc::clone(upstream), Arc::clone(self.question));
                running.push(Box::pin(async move {
                    let result = asked.ask(&question, transport, begun > 1, until).await;
                    (begun, attempt.upstream, result)
                }));
            }
            if running.is_empty() {
                return outcome.end();
            }
            let wake = newest.map_or(deadline, |(_, _, wake)| doubt.unwrap_or(wake));
            let asked = newest.map(|(_, upstream, _)| upstream);
            let is_slow = tokio::select! {
                biased;
                Some((number, index, result)) = running.next() => {
                    let is_newest = newest.take_if(|(newest, _, _)| *newest == number).is_some();
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
                () = refusal(asked), if !is_sparing => true,
                () = tokio::time::sleep_until(wake) => {
                    if wake >= deadline {
                        return outcome.end();
                    }
                    match (doubt.take(), asked) {
                        (Some(_), Some(upstream)) => {
                            upstream.doubted();
                            false
                        }
                        _ => true,
                    }
                }
            };
            if is_slow && let Some((_, upstream, _)) = newest.take() {
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

    /// The next attempt, whom it asks and how. When as much as may be was sent
    /// over UDP, TCP is what is left to try.
    fn next(&self, plan: &mut Plan) -> Option<(Attempt, &Arc<Upstream>, Transport)> {
        loop {
            let attempt = plan.next()?;
            let upstream = self.upstreams.get(attempt.upstream)?;
            let transport = upstream.transport(self.question);
            if usize::try_from(attempt.round).is_ok_and(|round| round < MAX_SENDS) {
                return Some((attempt, upstream, transport));
            }
            if transport == Transport::Udp {
                return Some((attempt, upstream, Transport::Tcp));
            }
        }
    }

    /// Leaves attempts to the background. Those that get no answer, or one that
    /// would have been kept back, have justified a second query each.
    fn leave(&self, mut running: Running, hedges: usize) {
        if running.is_empty() {
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
            let mut unanswered = 0;
            while let Some((_, _, result)) = running.next().await {
                let of_use = result.is_ok_and(|message| !failover.contains(&message.rcode()));
                unanswered += usize::from(!of_use);
            }
            for _ in 0..unanswered.min(hedges) {
                hedging.give_back();
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

/// Waits until an upstream refuses another query. A query that it took the
/// moment before it ended is not refused: nobody is left to say so.
async fn refusal(upstream: Option<&Arc<Upstream>>) {
    match upstream {
        Some(upstream) => upstream.refusal().await,
        None => std::future::pending().await,
    }
}

/// Least patience before a query is repeated on a connection. TCP repeats what
/// is lost; only a connection that is gone for good is worth another one.
const REPEAT: Duration = crate::line::SILENCE;

/// Error text when no upstream is worth asking.
pub(crate) const NO_HEALTHY: &str = "no healthy proxies";
