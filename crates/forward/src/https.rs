//! One query and its response over HTTPS (RFC 8484), on one HTTP/2
//! connection.
//!
//! HTTP carries many requests on a connection and tells them apart itself, so
//! there is one connection to an upstream. It is made when the first query
//! comes, given up when it falls silent or is idle for a while, and made anew
//! for the next query. Redirections are not followed and cookies not kept.

use std::error::Error;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use portolan_proto::Rcode;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::DohMethod;
use crate::Question;
use crate::dial::Dialer;
use crate::error::Cause;
use crate::error::ExchangeError;
use crate::error::Fault;
use crate::error::Step;
use crate::line::DIAL_TIMEOUT;
use crate::line::SILENCE;
use crate::lines::Limits;
use crate::question::Hop;
use crate::question::response_rcode;
use crate::room::LARGE_RESPONSES;
use crate::room::Room;
use crate::stream::Exchanged;
use crate::stream::read;
use crate::udp::UDP_PAYLOAD;

/// Media type of DNS messages (RFC 8484 §6).
const MEDIA_TYPE: &str = "application/dns-message";

/// Most octets of a response that are read: the longest message.
const MAX_MESSAGE: usize = 65_535;

/// Octets of a response that are taken before there is room for it, and those
/// of all responses on one connection.
const STREAM_WINDOW: u32 = 16 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// The id of every message: equal queries are equal requests (RFC 8484 §4.1).
/// What tells them apart is the stream of HTTP/2.
const ID: u16 = 0;

/// How one upstream is asked over HTTPS.
#[derive(Debug)]
pub(crate) struct Https {
    /// Makes connections.
    dialer: Dialer,
    /// How queries are put.
    method: DohMethod,
    /// Where they are put.
    uri: String,
    /// Bounds of the connection.
    limits: Limits,
    /// The connection, if there is one.
    current: Mutex<Option<Connection>>,
    /// Where connections run.
    spawner: Spawner,
    /// Where large responses find room.
    room: &'static Room,
}

/// A connection, or one that is being made. Cloning shares it.
#[derive(Clone, Debug)]
struct Connection {
    /// Where its life stands. Ends when every clone is gone.
    phase: watch::Receiver<Phase>,
    /// How it is used.
    usage: Arc<Mutex<Usage>>,
    /// When it was begun.
    begun: Instant,
}

/// Where the life of a connection stands.
#[derive(Clone, Debug)]
enum Phase {
    /// It is being made.
    Dialing,
    /// It takes requests.
    Open(http2::SendRequest<Full<Bytes>>),
    /// It is no more.
    Closed(Fault),
}

/// How a connection is used.
#[derive(Debug)]
struct Usage {
    /// Queries that wait on it.
    waiting: usize,
    /// Since when a query has waited without a word of the upstream.
    silent_since: Option<Instant>,
    /// When it was last used.
    used: Instant,
}

/// A query that waits on a connection.
struct Waiting(Arc<Mutex<Usage>>);

/// Runs the tasks of connections.
#[derive(Clone, Debug)]
struct Spawner {
    /// Where they run.
    tracker: TaskTracker,
    /// Ends them.
    token: CancellationToken,
}

// === impl Https ===

impl Https {
    /// Nothing is connected yet.
    pub(crate) fn new(
        dialer: Dialer,
        server_name: &ServerName<'_>,
        method: DohMethod,
        limits: Limits,
        tracker: TaskTracker,
        token: CancellationToken,
    ) -> Self {
        Self {
            uri: uri(server_name, dialer.link.peer.port()),
            dialer,
            method,
            limits,
            current: Mutex::default(),
            spawner: Spawner { tracker, token },
            room: &LARGE_RESPONSES,
        }
    }

    /// Asks a question and waits for its response until `deadline`. Boxed, as
    /// every query to any upstream has room for what it awaits.
    pub(crate) fn exchange<'a>(
        &'a self,
        question: &'a Question,
        edns: bool,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Exchanged, ExchangeError>> {
        self.exchange_unboxed(question, edns, deadline).boxed()
    }

    /// As [`Self::exchange`].
    async fn exchange_unboxed(
        &self,
        question: &Question,
        edns: bool,
        deadline: Instant,
    ) -> Result<Exchanged, ExchangeError> {
        let mut is_repeated = false;
        loop {
            let (connection, reused) = self.choose(Instant::now());
            let asked = self.ask(&connection, question, edns);
            let result = match timeout_at(deadline, asked).await {
                Ok(result) => result.and_then(|octets| read(octets, question, ID, edns)),
                Err(_) => Err(Fault::new(connection.step(), Cause::Timeout)),
            };
            match result {
                Ok(message) => return Ok(Exchanged { message, reused }),
                // The upstream closed it just now: another one may do.
                Err(fault) if reused && !is_repeated && fault.is_connection_lost() => {
                    is_repeated = true;
                }
                Err(fault) => return Err(self.error(fault)),
            }
        }
    }

    /// Sends a query on a new connection and waits until `deadline` for any
    /// response to it. A connection that works takes the place of the one
    /// there is.
    pub(crate) async fn probe(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Rcode, ExchangeError> {
        let connection = self.open();
        let asked = self.ask(&connection, question, false);
        let fault = match timeout_at(deadline, asked).await {
            Ok(Ok(octets)) => match response_rcode(&octets, ID) {
                Some(rcode) => {
                    *self.current() = Some(connection);
                    return Ok(rcode);
                }
                None => Fault::new(Step::Read, Cause::Mismatch),
            },
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(connection.step(), Cause::Timeout),
        };
        Err(self.error(fault))
    }

    /// The connection that the next query takes, and whether it is there.
    fn choose(&self, now: Instant) -> (Connection, bool) {
        let mut current = self.current();
        if let Some(connection) = current.as_ref()
            && connection.is_usable(&self.limits, now)
        {
            let open = matches!(*connection.phase.borrow(), Phase::Open(_));
            return (connection.clone(), open);
        }
        let connection = self.open();
        *current = Some(connection.clone());
        (connection, false)
    }

    /// Begins a connection.
    fn open(&self) -> Connection {
        let (sender, phase) = watch::channel(Phase::Dialing);
        let now = Instant::now();
        let usage = Arc::new(Mutex::new(Usage {
            waiting: 0,
            silent_since: None,
            used: now,
        }));
        let connection = Connection {
            phase,
            usage: Arc::clone(&usage),
            begun: now,
        };
        let (dialer, spawner) = (self.dialer.clone(), self.spawner.clone());
        self.spawner
            .run(drive(dialer, spawner, sender, usage, self.limits.expire));
        connection
    }

    /// Puts a question and waits for the octets of its response.
    async fn ask(
        &self,
        connection: &Connection,
        question: &Question,
        edns: bool,
    ) -> Result<Vec<u8>, Fault> {
        let waiting = Waiting::begin(&connection.usage);
        let mut sender = connection.opened().await?;
        let request = self.request(question, edns)?;
        let response = sender.send_request(request).await.map_err(lost)?;
        waiting.heard();
        check(&response)?;
        let octets = read_body(response.into_body(), self.room).await?;
        waiting.heard();
        Ok(octets)
    }

    /// The request for a question.
    fn request(&self, question: &Question, edns: bool) -> Result<Request<Full<Bytes>>, Fault> {
        let mut query = Vec::with_capacity(512);
        let edns = edns.then_some(UDP_PAYLOAD);
        question.write_query(&mut query, ID, edns, Hop::Https);
        let request = Request::builder().header(header::ACCEPT, MEDIA_TYPE);
        let request = match self.method {
            DohMethod::Post => request
                .method(Method::POST)
                .uri(&self.uri)
                .header(header::CONTENT_TYPE, MEDIA_TYPE)
                .body(Full::from(query)),
            DohMethod::Get => request
                .method(Method::GET)
                .uri(format!("{}?dns={}", self.uri, base64url(&query)))
                .body(Full::default()),
        };
        request.map_err(|error| http_fault(error.to_string()))
    }

    /// An error of this transport.
    fn error(&self, fault: Fault) -> ExchangeError {
        ExchangeError {
            step: fault.step,
            network: "https",
            local: None,
            peer: self.dialer.link.peer,
            cause: fault.cause,
        }
    }

    /// The connection, if there is one.
    fn current(&self) -> MutexGuard<'_, Option<Connection>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Connection ===

impl Connection {
    /// Whether it can take another query.
    fn is_usable(&self, limits: &Limits, now: Instant) -> bool {
        let young = limits
            .max_age
            .is_none_or(|age| now.saturating_duration_since(self.begun) < age);
        let closed = match &*self.phase.borrow() {
            Phase::Dialing => false,
            Phase::Open(sender) => sender.is_closed(),
            Phase::Closed(_) => true,
        };
        let usage = lock(&self.usage);
        let speaks = usage
            .silent_since
            .is_none_or(|since| now.saturating_duration_since(since) < SILENCE);
        young && !closed && speaks
    }

    /// Waits until it takes requests.
    async fn opened(&self) -> Result<http2::SendRequest<Full<Bytes>>, Fault> {
        let mut phase = self.phase.clone();
        let phase = phase
            .wait_for(|phase| !matches!(phase, Phase::Dialing))
            .await
            .map_err(|_| Fault::new(Step::Dial, Cause::Closed))?
            .clone();
        match phase {
            Phase::Open(sender) => Ok(sender),
            Phase::Closed(fault) => Err(fault),
            Phase::Dialing => Err(Fault::new(Step::Dial, Cause::Closed)),
        }
    }

    /// At which step a query is that gets no response.
    fn step(&self) -> Step {
        match *self.phase.borrow() {
            Phase::Dialing => Step::Dial,
            Phase::Open(_) | Phase::Closed(_) => Step::Read,
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// Counts a query.
    fn begin(usage: &Arc<Mutex<Usage>>) -> Self {
        let mut held = lock(usage);
        let now = Instant::now();
        held.waiting += 1;
        held.used = now;
        held.silent_since.get_or_insert(now);
        Self(Arc::clone(usage))
    }

    /// Takes in that the upstream responded.
    fn heard(&self) {
        let mut usage = lock(&self.0);
        let now = Instant::now();
        usage.used = now;
        usage.silent_since = (usage.waiting > 1).then_some(now);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.0).waiting -= 1;
    }
}

// === impl Spawner ===

impl Spawner {
    /// Runs something until it or the stanza ends.
    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = work => {}
            }
        });
    }
}

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, work: F) {
        self.run(async move {
            work.await;
        });
    }
}

/// Makes a connection and drives it until it ends, is idle for a while, or
/// nobody holds it any more.
async fn drive(
    dialer: Dialer,
    spawner: Spawner,
    phase: watch::Sender<Phase>,
    usage: Arc<Mutex<Usage>>,
    expire: Duration,
) {
    let connecting = async {
        let stream = dialer.dial_http().await?;
        http2::Builder::new(spawner)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::new(Step::Dial, Cause::Http(text(&error).into())))
    };
    let fault = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Ok(Ok((sender, connection))) => {
            phase.send_replace(Phase::Open(sender));
            tokio::select! {
                result = connection => result.err().map_or_else(
                    || Fault::new(Step::Read, Cause::Closed),
                    |error| http_fault(text(&error)),
                ),
                () = idle(&usage, expire) => Fault::new(Step::Read, Cause::Closed),
                () = phase.closed() => return,
            }
        }
        Ok(Err(fault)) => fault,
        Err(_) => Fault::new(Step::Dial, Cause::Timeout),
    };
    phase.send_replace(Phase::Closed(fault));
}

/// Waits until there was nothing to do for a while.
async fn idle(usage: &Mutex<Usage>, expire: Duration) {
    loop {
        let due = {
            let usage = lock(usage);
            match usage.waiting {
                0 if usage.used.elapsed() >= expire => return,
                0 => usage.used + expire,
                _ => Instant::now() + expire,
            }
        };
        tokio::time::sleep_until(due).await;
    }
}

/// How a connection is used.
fn lock(usage: &Mutex<Usage>) -> MutexGuard<'_, Usage> {
    usage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where queries to a server are put.
fn uri(server_name: &ServerName<'_>, port: u16) -> String {
    let host = match server_name {
        ServerName::IpAddress(address) => match std::net::IpAddr::from(*address) {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        },
        name => name.to_str().into_owned(),
    };
    if port == 443 {
        format!("https://{host}/dns-query")
    } else {
        format!("https://{host}:{port}/dns-query")
    }
}

/// Reads a response, a large one once there is room. One that does not say
/// how long it is may be the longest.
async fn read_body<B>(body: B, room: &'static Room) -> Result<Vec<u8>, Fault>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let length = body.size_hint().upper();
    let length = length.and_then(|length| u16::try_from(length).ok());
    let reading = Limited::new(body, MAX_MESSAGE).collect();
    // From here on it is passed on without a pause.
    let (body, _taken) = room.read(length.unwrap_or(u16::MAX), reading).await;
    let body = body.map_err(|error| http_fault(error.to_string()))?;
    Ok(body.to_bytes().into())
}

/// Refuses what is no DNS response.
fn check(response: &Response<Incoming>) -> Result<(), Fault> {
    if response.status() != StatusCode::OK {
        return Err(http_fault(format!("status {}", response.status())));
    }
    let media_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match media_type {
        Some(found) if found.eq_ignore_ascii_case(MEDIA_TYPE) => Ok(()),
        found => Err(http_fault(format!("content type {found:?}"))),
    }
}

/// What a request that is not answered means.
fn lost(error: hyper::Error) -> Fault {
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        Fault::new(Step::Write, Cause::Closed)
    } else {
        http_fault(text(&error))
    }
}

/// A fault of HTTP.
fn http_fault(reason: String) -> Fault {
    Fault::new(Step::Read, Cause::Http(reason.into()))
}

/// An error with its causes.
fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Base 64 for URLs, without padding (RFC 4648 §5, RFC 8484 §6).
fn base64url(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for chunk in octets.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for place in 0..=chunk.len() {
            let digit = bits >> (18 - 6 * place) & 0x3f;
            text.push(ALPHABET.get(digit as usize).map_or('_', |&d| char::from(d)));
        }
    }
    text
}

/// The digits of base 64 for URLs.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::Context;
    use std::task::Poll;

    use hyper::body::Frame;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_response_is_read_once_there_is_room() {
        let room: &'static Room = Box::leak(Box::new(Room::new(70_000)));
        let body = |length| Full::new(Bytes::from(vec![7; length]));
        let (_, taken) = room.read(10_000, std::future::ready(())).await;
        for length in [0, 4_095, 60_000] {
            let octets = read_body(body(length), room).await.unwrap();
            assert_eq!(octets, vec![7; length]);
        }
        assert_eq!(room.free(), 60_000, "what was read leaves its room");
        let wait = Duration::from_secs(9);
        let read = timeout(wait, read_body(body(60_001), room)).await;
        read.unwrap_err();
        let unknown = || Unknown(body(100));
        let read = timeout(wait, read_body(unknown(), room)).await;
        read.unwrap_err();
        drop(taken);
        for octets in [
            read_body(unknown(), room).await.unwrap(),
            read_body(body(100), room).await.unwrap(),
        ] {
            assert_eq!(octets, [7; 100]);
        }
        // What is longer than a message is refused.
        read_body(body(65_536), room).await.unwrap_err();
        assert_eq!(room.free(), 70_000);
    }

    /// A body that does not say how long it is.
    struct Unknown(Full<Bytes>);

    impl Body for Unknown {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Pin::new(&mut self.0).poll_frame(context)
        }
    }

    #[test]
    fn base64url_is_that_of_the_rfc() {
        // RFC 8484 §4.1.1: the query for www.example.com.
        let query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
        assert_eq!(
            base64url(query),
            "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
        );
        for (octets, text) in [(&b"f"[..], "Zg"), (b"fo", "Zm8"), (b"\xff\xfe", "__4")] {
            assert_eq!(base64url(octets), text);
        }
    }

    #[test]
    fn queries_are_put_where_rfc_8484_says() {
        for (name, port, expected) in [
            ("dns.example", 443, "https://dns.example/dns-query"),
            ("dns.example", 8443, "https://dns.example:8443/dns-query"),
            ("192.0.2.53", 443, "https://192.0.2.53/dns-query"),
            ("2001:db8::53", 443, "https://[2001:db8::53]/dns-query"),
        ] {
            let name = ServerName::try_from(name).unwrap();
            assert_eq!(uri(&name, port), expected);
        }
    }
}
