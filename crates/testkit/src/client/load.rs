//! Many queries a second, each of them accounted for.
//!
//! A thread sends at a steady rate from a few ports in turn, whatever comes
//! back; a thread for each port takes the answers in. An id is used once per
//! port, so that every answer belongs to one query, however late. A query is
//! lost if no answer comes within the patience of the plan.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;

use super::Query;
use super::connected;
use super::decode;
use super::now;

/// What to ask, how often and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names to ask for, one after another and again.
    pub names: Vec<String>,
    /// Type to ask for.
    pub qtype: RecordType,
    /// Queries a second.
    pub rate: u32,
    /// How long to go on, unless stopped before.
    pub duration: Duration,
    /// How long an answer may take before its query is lost.
    pub patience: Duration,
}

/// Queries under way in the background.
#[derive(Debug)]
pub struct Load {
    /// Ends the sending when dropped.
    stop: Option<mpsc::SyncSender<()>>,
    /// The thread that sends.
    sender: Option<JoinHandle<()>>,
    /// The threads that receive.
    receivers: Vec<JoinHandle<()>>,
    /// What the threads share.
    shared: Arc<Shared>,
}

/// What became of every query.
#[derive(Clone, Debug)]
pub struct Report {
    /// Queries sent.
    pub sent: usize,
    /// Queries answered in time, rightly or wrongly.
    pub answered: usize,
    /// Queries not answered in time.
    pub lost: usize,
    /// Answers that the judge refused, and octets that answer nothing.
    pub wrong: Vec<Wrong>,
    /// Latency that half of the answers kept.
    pub p50: Duration,
    /// Latency that 99 of 100 answers kept.
    pub p99: Duration,
    /// Longest latency.
    pub max: Duration,
    /// Every query, in the order of sending.
    pub samples: Vec<Sample>,
}

/// One query.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name asked for.
    pub name: String,
    /// When it was sent.
    pub sent_at: Instant,
    /// The answer, or none: the query is lost.
    pub answer: Option<Answer>,
}

/// An answer that came in time.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its response code.
    pub rcode: ResponseCode,
    /// Addresses in its answer section, in order.
    pub addresses: Vec<IpAddr>,
    /// Time from query to answer.
    pub latency: Duration,
}

/// An answer that is wrong.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// The name it was given for; empty if it answers no query.
    pub name: String,
    /// When it came.
    pub at: Instant,
    /// What is wrong with it.
    pub reason: String,
}

/// What the threads of a load share.
struct Shared {
    /// The account.
    account: Mutex<Account>,
    /// Told of each answer.
    progress: Condvar,
    /// Whether an answer to a name is right, or what is wrong with it.
    judge: Box<Judge>,
    /// Names to ask for.
    names: Vec<String>,
    /// How long an answer may take.
    patience: Duration,
}

/// Judges the answer to a name.
type Judge = dyn Fn(&str, &Answer) -> Result<(), String> + Send + Sync;

/// The queries so far.
#[derive(Debug, Default)]
struct Account {
    /// When each query was sent, in order.
    sent: Vec<Instant>,
    /// The answers by index of their query.
    answers: BTreeMap<usize, Answer>,
    /// Answers that are wrong, at most [`MAX_WRONG`].
    wrong: Vec<Wrong>,
    /// Whether the receivers are to end.
    done: bool,
}

// === impl Plan ===

impl Plan {
    /// Asks for the A records of one name, an answer to come within two
    /// seconds.
    pub fn new(name: &str, rate: u32, duration: Duration) -> Self {
        Self {
            names: vec![name.to_owned()],
            qtype: RecordType::A,
            rate,
            duration,
            patience: Duration::from_secs(2),
        }
    }

    /// How many queries that is.
    fn count(&self) -> anyhow::Result<usize> {
        let count = self.duration.as_millis() * u128::from(self.rate) / 1000;
        let count = usize::try_from(count).context("too many queries")?;
        ensure!(count <= MAX_QUERIES, "{count} queries are too many");
        ensure!(!self.names.is_empty(), "there is no name to ask for");
        Ok(count)
    }

    /// The query for each name, to be given an id.
    fn templates(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        self.names
            .iter()
            .map(|name| Query::new(name, self.qtype).encode())
            .collect()
    }
}

// === impl Load ===

impl Load {
    /// Begins to ask. `judge` is given each answer and the name it is for,
    /// and says what is wrong with it, if anything.
    ///
    /// # Errors
    ///
    /// The server is not on a loopback address, the plan is too large, or
    /// sockets or threads fail.
    pub fn start(
        server: SocketAddr,
        plan: &Plan,
        judge: impl Fn(&str, &Answer) -> Result<(), String> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let count = plan.count()?;
        let templates = plan.templates()?;
        let rate = plan.rate.max(1);
        let shared = Arc::new(Shared {
            account: Mutex::default(),
            progress: Condvar::new(),
            judge: Box::new(judge),
            names: plan.names.clone(),
            patience: plan.patience,
        });
        let mut receivers = Vec::new();
        let mut sockets = Vec::new();
        for port in 0..PORTS {
            let socket = connected(server)?;
            socket.set_read_timeout(Some(POLL))?;
            let receiving = socket.try_clone()?;
            sockets.push(socket);
            let shared = Arc::clone(&shared);
            let receive = move || shared.receive(port, &receiving);
            receivers.push(thread::Builder::new().spawn(receive)?);
        }
        let (stop, stopped) = mpsc::sync_channel(1);
        let sending = Arc::clone(&shared);
        let send = move || sending.send(&sockets, &templates, rate, count, &stopped);
        Ok(Self {
            stop: Some(stop),
            sender: Some(thread::Builder::new().spawn(send)?),
            receivers,
            shared,
        })
    }

    /// How many queries were sent so far.
    pub fn sent(&self) -> usize {
        self.shared.account().sent.len()
    }

    /// Stops asking, waits for the answers that may still come in time, and
    /// reports.
    pub fn stop(mut self) -> Report {
        self.stop = None;
        self.finish()
    }

    /// Goes on until the plan is through, and reports.
    pub fn wait(self) -> Report {
        self.finish()
    }

    /// Waits for the threads.
    fn finish(mut self) -> Report {
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
        self.shared.drain();
        for receiver in self.receivers.drain(..) {
            let _ = receiver.join();
        }
        self.shared.report()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that failed does not wait: the sender ends when its channel
        // does, the receivers within a poll.
        self.shared.account().done = true;
    }
}

// === impl Report ===

impl Report {
    /// Fails unless at least so many queries were sent and every one of them
    /// was answered, and rightly.
    ///
    /// # Errors
    ///
    /// How many were lost or wrong, and the first wrong ones.
    pub fn ensure_flawless(&self, sent: usize) -> anyhow::Result<()> {
        let first = &self.wrong[..self.wrong.len().min(3)];
        ensure!(
            self.sent >= sent && self.lost == 0 && self.wrong.is_empty(),
            "of {} queries {} lost, {} wrong, such as {first:?}",
            self.sent,
            self.lost,
            self.wrong.len(),
        );
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// The account. A judge that panicked does not take it along.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `count` queries at a rate, until stopped.
    fn send(
        &self,
        sockets: &[UdpSocket],
        templates: &[Vec<u8>],
        rate: u32,
        count: usize,
        stopped: &mpsc::Receiver<()>,
    ) {
        let start = now();
        let places = sockets.iter().zip(0u16..).cycle();
        let mut id = 0u16;
        for ((index, template), (socket, port)) in
            (0..count).zip(templates.iter().cycle()).zip(places)
        {
            if index > 0 && port == 0 {
                id = id.wrapping_add(1);
            }
            let nanos = u128::try_from(index).unwrap_or(0) * 1_000_000_000 / u128::from(rate);
            let due = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let wait = due.saturating_duration_since(now());
            // A sender that is dropped says stop as well.
            if stopped.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let mut query = template.clone();
            if let Some(octets) = query.first_chunk_mut::<2>() {
                *octets = id.to_be_bytes();
            }
            // The time goes down first: the answer may be faster than we.
            self.account().sent.push(now());
            // A server that is down refuses: the query is lost.
            let _ = socket.send(&query);
        }
    }

    /// Takes in what comes to one port.
    fn receive(&self, port: usize, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_536];
        while !self.account().done {
            // Neither a timeout nor a refusal is an answer.
            let Ok(length) = socket.recv(&mut buffer) else {
                continue;
            };
            let at = now();
            let octets = buffer.get(..length).unwrap_or_default();
            if let Err((name, reason)) = self.take(port, octets, at) {
                self.account().note_wrong(Wrong { name, at, reason });
            }
            self.progress.notify_all();
        }
    }

    /// Takes in one datagram; in error, gives the name and what is wrong.
    fn take(&self, port: usize, octets: &[u8], at: Instant) -> Result<(), (String, String)> {
        let nobody = |reason: String| (String::new(), reason);
        let response = decode(octets).map_err(|error| nobody(format!("{error:#}")))?;
        let index = usize::from(response.metadata.id) * PORTS + port;
        let sent_at = self.account().sent.get(index).copied();
        let sent_at = sent_at.ok_or_else(|| nobody(format!("nobody asked for {response:?}")))?;
        let name = self.name(index).to_owned();
        let spelled = response.queries.first().map(|query| query.name.to_ascii());
        let asked_for = |spelled: &str| spelled.trim_end_matches('.') == name.trim_end_matches('.');
        if !spelled.as_deref().is_some_and(asked_for) {
            return Err((name, format!("another question: {response:?}")));
        }
        let answer = Answer {
            rcode: response.metadata.response_code,
            addresses: addresses(&response),
            latency: at.saturating_duration_since(sent_at),
        };
        let verdict = (self.judge)(&name, &answer);
        if answer.latency <= self.patience && self.account().answers.insert(index, answer).is_some()
        {
            return Err((name, "answered twice".to_owned()));
        }
        verdict.map_err(|reason| (name, reason))
    }

    /// The name that a query asks for.
    fn name(&self, index: usize) -> &str {
        self.names
            .get(index % self.names.len().max(1))
            .map_or("", String::as_str)
    }

    /// Waits until every query is answered or lost, and ends the receivers.
    fn drain(&self) {
        let mut account = self.account();
        while let Some(&last) = account.sent.last() {
            let left = (last + self.patience).saturating_duration_since(now());
            if left.is_zero() || account.answers.len() >= account.sent.len() {
                break;
            }
            account = self
                .progress
                .wait_timeout(account, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        account.done = true;
    }

    /// Sums up.
    fn report(&self) -> Report {
        let account = self.account();
        let samples: Vec<Sample> = account
            .sent
            .iter()
            .enumerate()
            .map(|(index, &sent_at)| Sample {
                name: self.name(index).to_owned(),
                sent_at,
                answer: account.answers.get(&index).cloned(),
            })
            .collect();
        let mut latencies: Vec<Duration> = account
            .answers
            .values()
            .map(|answer| answer.latency)
            .collect();
        latencies.sort_unstable();
        Report {
            sent: samples.len(),
            answered: latencies.len(),
            lost: samples.len() - latencies.len(),
            wrong: account.wrong.clone(),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            max: latencies.last().copied().unwrap_or_default(),
            samples,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("account", &self.account)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

// === impl Account ===

impl Account {
    /// Keeps what is wrong, while there is room.
    fn note_wrong(&mut self, wrong: Wrong) {
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(wrong);
        }
    }
}

/// The addresses of an answer section.
fn addresses(response: &Message) -> Vec<IpAddr> {
    response
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .collect()
}

/// The least of the sorted values that `percent` of 100 do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Ports that queries are sent from.
const PORTS: usize = 8;

/// Most queries of one load: every id of every port.
const MAX_QUERIES: usize = PORTS * 65_536;

/// Most wrong answers that are kept.
const MAX_WRONG: usize = 1000;

/// How often a receiver looks whether it is to end.
const POLL: Duration = Duration::from_millis(50);
