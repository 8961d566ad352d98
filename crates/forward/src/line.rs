//! A connection to an upstream that carries many queries at once.
//!
//! Queries are written as they come and responses are taken in any order
//! (RFC 7766 §6.2.1.1, §7): each goes to the query that has its id. A query
//! may be given to a line before its connection is there, so that a hundred
//! queries that come at once make one connection.
//!
//! A task drives the line. It ends when the connection does, when there was
//! nothing to do for a while, and when nobody holds the line any more. How
//! long that while may be, an upstream can say (RFC 7828): a line ends before
//! its time is up, so that no query meets a connection that closes.
//!
//! Large responses are read when there is [`crate::room`] for them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::AsyncBufRead;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::dial::Dialed;
use crate::error::Cause;
use crate::error::Fault;
use crate::error::Step;
use crate::room::LARGE;
use crate::room::LARGE_RESPONSES;
use crate::room::Room;
use crate::room::Taken;

/// Most queries that wait on one line.
const MAX_WAITING: usize = 1024;

/// Longest that a connection may take to be made.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// A line that says nothing for this long while a query waits is given no
/// other: its connection may be gone without a word.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// How long before the upstream a line ends, if that leaves half of its time.
const MARGIN: Duration = Duration::from_millis(500);

/// How often a line that is to end looks whether its last response came.
const RECHECK: Duration = Duration::from_millis(100);

/// Octets that are gathered for one write.
const GATHER: usize = 16 * 1024;

/// A connection that carries many queries at once. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Takes frames to be written.
    outbox: mpsc::Sender<Vec<u8>>,
    /// What goes on.
    state: Arc<Mutex<State>>,
    /// Tells that the time it may be idle has changed.
    changed: Arc<Notify>,
    /// When it was begun.
    begun: Instant,
}

/// What a query hears: a message, or that there will be none.
type Heard = Result<Message, Fault>;

/// A message that was read.
#[derive(Debug)]
struct Message {
    /// What was read.
    octets: Vec<u8>,
    /// The room it takes until it is taken, if it is large.
    room: Option<Taken>,
}

/// What goes on on a line.
#[derive(Debug)]
struct State {
    /// Where its life stands.
    phase: Phase,
    /// Who waits for a response, by id.
    waiting: BTreeMap<u16, oneshot::Sender<Heard>>,
    /// How many responses came.
    answered: u32,
    /// Since when a query has waited without a word of the upstream.
    silent_since: Option<Instant>,
    /// When it was last used.
    used: Instant,
    /// How long it may be idle.
    expire: Expire,
}

/// How long a line may be idle.
#[derive(Clone, Copy, Debug)]
struct Expire {
    /// As we want it.
    own: Duration,
    /// As the upstream wants it, if it said so last.
    theirs: Option<Duration>,
}

/// Where the life of a line stands.
#[derive(Clone, Debug)]
enum Phase {
    /// The connection is being made.
    Dialing,
    /// It is there, from this address.
    Open(Option<SocketAddr>),
    /// It is no more.
    Closed(Fault),
}

/// The place of one query on a line.
struct Place {
    /// The line.
    state: Arc<Mutex<State>>,
    /// The id.
    id: u16,
}

/// How a line stands, for whoever chooses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineStanding {
    /// Whether it can take a query.
    pub(crate) usable: bool,
    /// Whether its connection is there.
    pub(crate) open: bool,
    /// Queries that wait on it.
    pub(crate) waiting: usize,
    /// When it was begun.
    pub(crate) begun: Instant,
    /// When it was last used.
    pub(crate) used: Instant,
}

// === impl Line ===

impl Line {
    /// A line whose connection `dial` makes, and the work that drives it. It
    /// ends after `expire` without a query.
    pub(crate) fn new(
        dial: impl Future<Output = Result<Dialed, Fault>> + Send + 'static,
        expire: Duration,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (outbox, frames) = mpsc::channel(MAX_WAITING);
        let now = Instant::now();
        let state = Arc::new(Mutex::new(State {
            phase: Phase::Dialing,
            waiting: BTreeMap::new(),
            answered: 0,
            silent_since: None,
            used: now,
            expire: Expire {
                own: expire,
                theirs: None,
            },
        }));
        let changed = Arc::new(Notify::new());
        let line = Self {
            outbox,
            state: Arc::clone(&state),
            changed: Arc::clone(&changed),
            begun: now,
        };
        (line, drive(dial, state, frames, changed))
    }

    /// Asks, with the frame that `frame` makes for an id, and waits for the
    /// message with that id.
    pub(crate) async fn ask(
        &self,
        frame: impl FnOnce(u16) -> Vec<u8>,
    ) -> Result<(u16, Vec<u8>), Fault> {
        let (place, response) = self.enter()?;
        self.outbox
            .try_send(frame(place.id))
            .map_err(|_| Fault::new(Step::Write, Cause::Closed))?;
        match response.await {
            Ok(result) => result.map(|Message { octets, room }| {
                // From here on it is passed on without a pause.
                drop(room);
                (place.id, octets)
            }),
            Err(_) => Err(Fault::new(Step::Read, Cause::Closed)),
        }
    }

    /// Takes in for how long the upstream lets the connection be idle, in
    /// units of 100 ms; none if a response does not say (RFC 7828 §3.2.2: what
    /// was said before does not hold any more).
    pub(crate) fn keep_alive(&self, theirs: Option<u16>) {
        let theirs = theirs.map(|units| Duration::from_millis(100) * u32::from(units));
        lock(&self.state).expire.theirs = theirs;
        self.changed.notify_one();
    }

    /// How it stands.
    pub(crate) fn standing(&self, now: Instant) -> LineStanding {
        let state = lock(&self.state);
        let speaks = state
            .silent_since
            .is_none_or(|since| now.saturating_duration_since(since) < SILENCE);
        LineStanding {
            usable: speaks
                && !state.expire.is_over()
                && !matches!(state.phase, Phase::Closed(_))
                && state.waiting.len() < MAX_WAITING,
            open: matches!(state.phase, Phase::Open(_)),
            waiting: state.waiting.len(),
            begun: self.begun,
            used: state.used,
        }
    }

    /// Our end, once there is one.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match lock(&self.state).phase {
            Phase::Open(local) => local,
            Phase::Dialing | Phase::Closed(_) => None,
        }
    }

    /// Whether the upstream closed it after one response, though others were
    /// to come.
    pub(crate) fn took_one_query_only(&self) -> bool {
        let state = lock(&self.state);
        matches!(state.phase, Phase::Closed(_)) && state.answered == 1
    }

    /// Takes a place for a query.
    fn enter(&self) -> Result<(Place, oneshot::Receiver<Heard>), Fault> {
        let mut state = lock(&self.state);
        if let Phase::Closed(fault) = &state.phase {
            return Err(fault.clone());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(Fault::new(Step::Write, Cause::Closed));
        }
        let now = Instant::now();
        state.used = now;
        state.silent_since.get_or_insert(now);
        let (waiter, response) = oneshot::channel();
        // RFC 5452 §9.2 leaves nothing to guess, here neither. There are far
        // more ids than places.
        let id = loop {
            let id = rand::random();
            if !state.waiting.contains_key(&id) {
                break id;
            }
        };
        state.waiting.insert(id, waiter);
        let place = Place {
            state: Arc::clone(&self.state),
            id,
        };
        Ok((place, response))
    }
}

// === impl State ===

impl State {
    /// Hands a message to the query that has its id. One that nobody waits
    /// for any more is a sign of life all the same.
    fn hand_out(&mut self, message: Message, now: Instant) {
        let id = message
            .octets
            .first_chunk::<2>()
            .map(|octets| u16::from_be_bytes(*octets));
        let waiter = id.and_then(|id| self.waiting.remove(&id));
        self.used = now;
        self.answered = self.answered.saturating_add(1);
        self.silent_since = (!self.waiting.is_empty()).then_some(now);
        if let Some(waiter) = waiter {
            waiter.send(Ok(message)).ok();
        }
    }

    /// Ends the line, and with it all that waits.
    fn close(&mut self, fault: &Fault) {
        self.phase = Phase::Closed(fault.clone());
        while let Some((_, waiter)) = self.waiting.pop_first() {
            waiter.send(Err(fault.clone())).ok();
        }
    }
}

// === impl Expire ===

impl Expire {
    /// The shorter of the two, a little less than theirs (RFC 7828 §3.2.2: the
    /// client closes before that time).
    fn duration(self) -> Duration {
        let theirs = self.theirs.map(|theirs| theirs - MARGIN.min(theirs / 2));
        theirs.map_or(self.own, |theirs| theirs.min(self.own))
    }

    /// Whether the upstream wants no more queries (RFC 7828 §3.2.2: a time of
    /// 0).
    fn is_over(self) -> bool {
        self.theirs.is_some_and(|theirs| theirs.is_zero())
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.state).waiting.remove(&self.id);
    }
}

/// What goes on on a line.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the connection and carries messages until it ends.
async fn drive(
    dial: impl Future<Output = Result<Dialed, Fault>> + Send,
    state: Arc<Mutex<State>>,
    frames: mpsc::Receiver<Vec<u8>>,
    changed: Arc<Notify>,
) {
    let dialed = match timeout(DIAL_TIMEOUT, dial).await {
        Ok(Ok(dialed)) => dialed,
        Ok(Err(fault)) => return lock(&state).close(&fault),
        Err(_) => return lock(&state).close(&Fault::new(Step::Dial, Cause::Timeout)),
    };
    lock(&state).phase = Phase::Open(dialed.local);
    let (reader, writer) = tokio::io::split(dialed.stream);
    let fault = tokio::select! {
        fault = read(reader, &state) => fault,
        fault = write(writer, frames) => fault,
        () = idle(&state, &changed) => Fault::new(Step::Read, Cause::Closed),
    };
    lock(&state).close(&fault);
}

/// Reads messages until the connection ends.
async fn read(reader: impl AsyncRead + Unpin, state: &Mutex<State>) -> Fault {
    let mut reader = BufReader::new(reader);
    loop {
        match message(&mut reader, &LARGE_RESPONSES).await {
            Ok(message) => lock(state).hand_out(message, Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Fault::new(Step::Read, Cause::Closed);
            }
            Err(error) => return Fault::new(Step::Read, error.into()),
        }
    }
}

/// Reads one message behind its length (RFC 1035 §4.2.2), a large one once
/// there is room.
async fn message(
    reader: &mut (impl AsyncBufRead + Unpin),
    room: &'static Room,
) -> io::Result<Message> {
    let length = reader.read_u16().await?;
    if usize::from(length) >= LARGE {
        // What is announced and does not come takes no room from others.
        reader.fill_buf().await?;
    }
    let reading = async {
        let mut octets = vec![0; usize::from(length)];
        reader.read_exact(&mut octets).await?;
        Ok::<_, io::Error>(octets)
    };
    let (octets, room) = room.read(length, reading).await;
    Ok(Message {
        octets: octets?,
        room,
    })
}

/// Writes frames until the connection ends or nobody is left to ask.
async fn write(mut writer: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Vec<u8>>) -> Fault {
    while let Some(mut octets) = frames.recv().await {
        // What has come meanwhile goes in the same segment.
        while octets.len() < GATHER
            && let Ok(frame) = frames.try_recv()
        {
            octets.extend_from_slice(&frame);
        }
        let written = async {
            writer.write_all(&octets).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return Fault::new(Step::Write, error.into());
        }
    }
    Fault::new(Step::Write, Cause::Closed)
}

/// Waits until there was nothing to do for a while.
async fn idle(state: &Mutex<State>, changed: &Notify) {
    loop {
        let due = {
            let state = lock(state);
            let expire = state.expire.duration();
            if state.waiting.is_empty() && state.used.elapsed() >= expire {
                return;
            }
            if state.waiting.is_empty() {
                state.used + expire
            } else {
                Instant::now() + expire.max(RECHECK)
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = changed.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::DuplexStream;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn responses_come_in_any_order() {
        let (line, mut peer) = open(Duration::from_secs(10)).await;
        let (a, b) = (
            line.ask(|id| frame(id, b'a')),
            line.ask(|id| frame(id, b'b')),
        );
        let serve = async {
            let first = next(&mut peer).await;
            let second = next(&mut peer).await;
            for message in [second, first] {
                peer.write_u16(3).await.unwrap();
                peer.write_all(&message).await.unwrap();
            }
        };
        let (a, b, ()) = tokio::join!(a, b, serve);
        assert_eq!(a.unwrap().1[2], b'a');
        assert_eq!(b.unwrap().1[2], b'b');
    }

    #[tokio::test]
    async fn queries_wait_for_the_connection_and_share_its_fault() {
        let refused = async {
            tokio::task::yield_now().await;
            Err(Fault::new(Step::Dial, Cause::Timeout))
        };
        let (line, driver) = Line::new(refused, Duration::from_secs(10));
        let (a, b, ()) = tokio::join!(
            line.ask(|id| frame(id, b'a')),
            line.ask(|id| frame(id, b'b')),
            driver
        );
        assert!(matches!(a.unwrap_err().cause, Cause::Timeout));
        assert!(matches!(b.unwrap_err().cause, Cause::Timeout));
        assert!(!line.standing(Instant::now()).usable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_falls_silent_is_not_used_again() {
        let (line, _peer) = open(Duration::from_secs(10)).await;
        let asked = line.ask(|id| frame(id, b'a'));
        timeout(Duration::from_millis(300), asked)
            .await
            .unwrap_err();
        let standing = line.standing(Instant::now());
        assert!(standing.usable && standing.waiting == 0);
        tokio::time::advance(SILENCE).await;
        assert!(!line.standing(Instant::now()).usable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_without_queries_expires() {
        let (line, _peer) = open(Duration::from_millis(200)).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(line.standing(Instant::now()).usable);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!line.standing(Instant::now()).usable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_ends_before_the_time_of_the_upstream_is_up() {
        // Own time, what the upstream says of its own, both in ms.
        for (own, said, is, is_not) in [
            (10_000, Some(20), 1_400, 1_600),
            (10_000, Some(4), 150, 250),
            (2_000, Some(600), 1_900, 2_100),
            (2_000, None, 1_900, 2_100),
        ] {
            let (line, _peer) = open(Duration::from_millis(own)).await;
            // The line sleeps towards its own end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            line.keep_alive(Some(1_000));
            line.keep_alive(said);
            let usable = || line.standing(Instant::now()).usable;
            tokio::time::sleep(Duration::from_millis(is - 10)).await;
            assert!(usable(), "{said:?} after {is} ms");
            tokio::time::sleep(Duration::from_millis(is_not - is)).await;
            assert!(!usable(), "{said:?} after {is_not} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_to_end_takes_no_query_and_waits_for_responses() {
        let (line, mut peer) = open(Duration::from_secs(10)).await;
        let ask = line.ask(|id| frame(id, b'a'));
        let serve = async {
            let query = next(&mut peer).await;
            line.keep_alive(Some(0));
            assert!(!line.standing(Instant::now()).usable);
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.write_u16(3).await.unwrap();
            peer.write_all(&query).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask, serve);
        assert_eq!(answer.unwrap().1[2], b'a');
        let mut rest = Vec::new();
        assert_eq!(peer.read_to_end(&mut rest).await.unwrap(), 0, "closed");
    }

    #[tokio::test]
    async fn a_line_that_nobody_holds_ends() {
        let (near, mut peer) = tokio::io::duplex(1024);
        let (line, driver) = Line::new(dialed(near), Duration::from_secs(10));
        drop(line);
        driver.await;
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn large_messages_are_read_once_there_is_room() {
        let room: &'static Room = Box::leak(Box::new(Room::new(9_000)));
        let wait = Duration::from_millis(100);
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let mut far = BufReader::new(far);
        for length in [5_000, 5_000, 100, 5_000] {
            near.write_u16(length).await.unwrap();
            near.write_all(&vec![7; usize::from(length)]).await.unwrap();
        }
        let first = message(&mut far, room).await.unwrap();
        assert_eq!(room.free(), 4_000);
        let second = {
            let mut second = pin!(message(&mut far, room));
            timeout(wait, &mut second).await.unwrap_err();
            drop(first);
            timeout(wait, second).await.unwrap().unwrap()
        };
        assert_eq!(second.octets, [7; 5_000]);
        assert_eq!(room.free(), 4_000);
        // A small one needs none.
        let small = timeout(wait, message(&mut far, room)).await.unwrap();
        assert!(small.unwrap().room.is_none());
        drop(second);
        assert_eq!(room.free(), 9_000);
        assert_eq!(message(&mut far, room).await.unwrap().octets, [7; 5_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_that_stalls_keeps_no_room() {
        let room: &'static Room = Box::leak(Box::new(Room::new(9_000)));
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let mut far = BufReader::new(far);
        let mut reading = pin!(message(&mut far, room));
        near.write_u16(5_000).await.unwrap();
        timeout(HALF, &mut reading).await.unwrap_err();
        assert_eq!(room.free(), 9_000, "nothing came yet");
        near.write_all(&[7; 4_000]).await.unwrap();
        timeout(HALF, &mut reading).await.unwrap_err();
        assert_eq!(room.free(), 4_000);
        timeout(2 * HALF, &mut reading).await.unwrap_err();
        assert_eq!(room.free(), 9_000);
        near.write_all(&[7; 1_000]).await.unwrap();
        assert_eq!(reading.await.unwrap().octets, [7; 5_000]);
    }

    #[tokio::test]
    async fn a_response_that_was_taken_or_given_up_leaves_its_room() {
        let (line, mut peer) = open(Duration::from_secs(10)).await;
        let large = |id: u16| [&id.to_be_bytes()[..], &[0; 59_998]].concat();
        // More than there is room for, if any of it were kept.
        for turn in 0..2 * LARGE_RESPONSES.free() / 60_000 {
            let ask = line.ask(|id| frame(id, b'a'));
            let serve = async {
                let query = next(&mut peer).await;
                peer.write_u16(60_000).await.unwrap();
                let id = u16::from_be_bytes([query[0], query[1]]);
                // Every other one has an id that nobody waits for.
                let other = id.wrapping_add(1);
                if turn % 2 == 0 {
                    peer.write_all(&large(other)).await.unwrap();
                    peer.write_u16(60_000).await.unwrap();
                }
                peer.write_all(&large(id)).await.unwrap();
            };
            let patience = Duration::from_secs(30);
            let (answer, ()) = timeout(patience, async { tokio::join!(ask, serve) })
                .await
                .unwrap();
            assert_eq!(answer.unwrap().1.len(), 60_000);
        }
    }

    /// Half of the time that a response may stall.
    const HALF: Duration = Duration::from_millis(500);

    /// The next message at the other end.
    async fn next(peer: &mut DuplexStream) -> Vec<u8> {
        let length = peer.read_u16().await.unwrap();
        let mut message = vec![0; usize::from(length)];
        peer.read_exact(&mut message).await.unwrap();
        message
    }

    /// A line to a peer in memory.
    async fn open(expire: Duration) -> (Line, DuplexStream) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (line, driver) = Line::new(dialed(near), expire);
        TaskTracker::new().spawn(driver);
        while !line.standing(Instant::now()).open {
            tokio::task::yield_now().await;
        }
        (line, far)
    }

    /// A connection that is there already.
    fn dialed(stream: DuplexStream) -> std::future::Ready<Result<Dialed, Fault>> {
        std::future::ready(Ok(Dialed {
            stream: Box::new(stream),
            local: None,
        }))
    }

    /// A frame with an id and one octet.
    fn frame(id: u16, octet: u8) -> Vec<u8> {
        let [i0, i1] = id.to_be_bytes();
        vec![0, 3, i0, i1, octet]
    }
}
