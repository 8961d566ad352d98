//! The UDP sockets of the query runtime to one upstream, some of which are used
//! again ([`crate::idle`]). A query that is repeated has a new one in any case.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::error::Cause;
use crate::idle::Idle;
use crate::idle::Port;
use crate::sockets::Connected;
use crate::sockets::Noted;
use crate::sockets::Sockets;
use crate::udp::Link;

/// What is waited for: datagrams, and what ICMP says. Not that there is room
/// to send, which every datagram that leaves would tell.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// Octets of a datagram that are read. More than is offered, for an upstream
/// that does not care.
const RECEIVE: usize = 4096;

/// The sockets to one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Its two ends.
    link: Link,
    /// Where they are noted.
    sockets: Sockets,
    /// Those that are idle.
    idle: Mutex<Idle<Socket>>,
    /// How often those that were open turned out to be of no use.
    voids: AtomicU64,
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The socket.
    io: AsyncFd<UdpSocket>,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// When it was opened.
    opened: Instant,
    /// Queries that it was used for.
    uses: u32,
    /// Notes it for as long as it lives; closed before that ends.
    _noted: Box<Noted>,
}

// === impl Pool ===

impl Pool {
    /// No sockets yet.
    pub(crate) fn new(link: Link, sockets: Sockets) -> Self {
        Self {
            link,
            sockets,
            idle: Mutex::default(),
            voids: AtomicU64::new(0),
        }
    }

    /// The two ends of its sockets.
    pub(crate) fn link(&self) -> Link {
        self.link
    }

    /// The upstream.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.link.peer
    }

    /// A new socket.
    pub(crate) fn open(&self) -> io::Result<Socket> {
        Socket::open(self.link, &self.sockets)
    }

    /// An idle socket that has sent a query, if there is one that can.
    pub(crate) fn reuse(&self, query: &[u8]) -> Option<Socket> {
        let chosen = self.lock().choose(Instant::now());
        let mut socket = chosen?.ok()?;
        (socket.is_untouched() && socket.send(query).is_ok()).then_some(socket)
    }

    /// Takes back a socket that has had its answer.
    pub(crate) fn put_back(&self, socket: Socket) {
        let closed = self
            .lock()
            .put_back(socket, Instant::now(), self.sockets.has_room());
        // Without the lock.
        drop(closed);
    }

    /// Closes a socket that failed, and has those opened before not be used
    /// again if it was one of them.
    pub(crate) fn fail(&self, socket: Socket) {
        if socket.is_reused() {
            self.void();
        }
    }

    /// Has none be used again that was opened up to now, in lanes neither.
    pub(crate) fn void(&self) {
        self.voids.fetch_add(1, Ordering::Relaxed);
        self.lock().void(Instant::now());
    }

    /// How often that was so.
    pub(crate) fn voids(&self) -> u64 {
        self.voids.load(Ordering::Relaxed)
    }

    /// Closes idle sockets that are not to be used again.
    pub(crate) async fn tidy(&self) {
        let close = || {
            let invalid = self.lock().pop_invalid(Instant::now());
            invalid.is_some()
        };
        while close() {
            // There may be many, and queries have no time.
            tokio::task::yield_now().await;
        }
    }

    /// The idle sockets.
    fn lock(&self) -> MutexGuard<'_, Idle<Socket>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Socket ===

impl Socket {
    /// A connected socket on a port of the system's choice, which is random.
    fn open(link: Link, sockets: &Sockets) -> io::Result<Self> {
        Self::new(link.connect(sockets)?)
    }

    /// Takes over a connected socket.
    pub(crate) fn new(connected: Connected) -> io::Result<Self> {
        let Connected {
            io,
            opened,
            uses,
            noted,
        } = connected;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that lie about their descriptor"
        )]
        let io = AsyncFd::with_interest(io, INTEREST)?;
        Ok(Self {
            io,
            local: noted.local(),
            opened,
            uses,
            _noted: noted,
        })
    }

    /// Whether it was used for another query before.
    pub(crate) fn is_reused(&self) -> bool {
        self.uses > 1
    }

    /// Sends a query.
    pub(crate) fn send(&mut self, query: &[u8]) -> io::Result<()> {
        self.uses += 1;
        self.io.get_ref().send(query).map(drop)
    }

    /// Hands each datagram to `read` until it makes something of one, until
    /// `deadline`.
    pub(crate) async fn receive<T>(
        &self,
        deadline: Instant,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Cause> {
        let received = async {
            loop {
                let receive = |socket: &UdpSocket| {
                    // On the stack, and not while the query waits.
                    let mut buffer = [0; RECEIVE];
                    let length = socket.recv(&mut buffer)?;
                    Ok(read(buffer.get(..length).unwrap_or_default()))
                };
                if let Some(done) = self.io.async_io(INTEREST, receive).await? {
                    return Ok(done);
                }
                tracing::trace!(plugin = "forward", from = %self.local, "stray datagram ignored");
            }
        };
        match timeout_at(deadline, received).await {
            Ok(received) => received.map_err(|error: io::Error| error.into()),
            Err(_) => Err(Cause::Timeout),
        }
    }

    /// Whether nothing has come since the answer, neither a datagram nor an
    /// error.
    fn is_untouched(&self) -> bool {
        // It counts as readable from the answer on, so that this does ask.
        let peeked = self
            .io
            .try_io(Interest::READABLE, |socket| socket.recv(&mut []));
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Port for Socket {
    fn opened(&self) -> Instant {
        self.opened
    }

    fn uses(&self) -> u32 {
        self.uses
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::idle::LIFE;
    use crate::idle::USES;
    use crate::sockets::SocketRoom;

    #[tokio::test]
    async fn a_port_comes_back_after_many_others_and_so_often() {
        /// Enough to use sockets up.
        const QUERIES: usize = 20_000;
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        let mut last = HashMap::new();
        let mut uses: HashMap<u16, u32> = HashMap::new();
        for number in 0..QUERIES {
            let port = upstream.ask(&pool).await;
            if let Some(before) = last.insert(port, number) {
                // Where the system gives a port again that was closed, that
                // is by chance; here it has thousands to choose from.
                assert!(number - before >= FEW / 2, "{port}: {before}, {number}");
            }
            *uses.entry(port).or_default() += 1;
        }
        let most = uses.values().max().copied().unwrap();
        assert!((USES / 2..=2 * USES).contains(&most), "{most}");
        assert!(uses.len() > QUERIES / USES as usize, "{}", uses.len());
    }

    #[tokio::test]
    async fn without_descriptors_every_query_has_a_new_socket() {
        let upstream = Upstream::new();
        let pool = upstream.pool(64);
        for _ in 0..2 * FEW {
            upstream.ask(&pool).await;
        }
        assert!(pool.lock().is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_was_reached_while_idle_is_not_used() {
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        let ports = upstream.fill(&pool).await;
        for port in ports {
            upstream
                .socket
                .send_to(b"guess", SocketAddr::from(([127, 0, 0, 1], port)))
                .unwrap();
        }
        assert!(pool.reuse(b"query").is_none());
    }

    #[tokio::test]
    async fn a_socket_with_an_error_is_not_used() {
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        upstream.fill(&pool).await;
        drop(upstream);
        for socket in pool.lock().iter_mut() {
            socket.send(b"nobody is there").unwrap();
        }
        assert!(pool.reuse(b"query").is_none());
    }

    #[tokio::test]
    async fn those_before_one_that_failed_are_not_used() {
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        upstream.fill(&pool).await;
        upstream.fill(&pool).await;
        let failed = pool.reuse(b"query").unwrap();
        upstream.socket.recv_from(&mut []).unwrap();
        pool.fail(failed);
        assert!(pool.reuse(b"query").is_none());
        pool.tidy().await;
        assert!(pool.lock().is_empty());
        // Those that were opened since are as good as any.
        upstream.fill(&pool).await;
        assert!(pool.reuse(b"query").is_some());
    }

    #[tokio::test]
    async fn a_new_socket_that_fails_says_nothing_of_the_others() {
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        upstream.fill(&pool).await;
        pool.fail(pool.open().unwrap());
        assert!(pool.reuse(b"query").is_some());
    }

    #[tokio::test]
    async fn what_is_old_is_closed() {
        let upstream = Upstream::new();
        let pool = upstream.pool(1 << 20);
        upstream.fill(&pool).await;
        tokio::time::pause();
        tokio::time::advance(LIFE).await;
        assert!(pool.reuse(b"query").is_none());
        pool.tidy().await;
        assert!(pool.lock().is_empty());
    }

    #[tokio::test]
    async fn a_refusal_is_heard_at_once() {
        let upstream = Upstream::new();
        let pool = upstream.pool(64);
        drop(upstream);
        let mut socket = pool.open().unwrap();
        socket.send(b"query").unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let refused = socket.receive(deadline, |_| Some(())).await.unwrap_err();
        assert_eq!(refused.to_string(), "connection refused");
    }

    #[tokio::test]
    async fn strays_are_passed_over_until_the_time_is_up() {
        let upstream = Upstream::new();
        let pool = upstream.pool(64);
        let mut socket = pool.open().unwrap();
        socket.send(b"query").unwrap();
        for text in [&b"stray"[..], b"stray", b"answer"] {
            upstream.socket.send_to(text, socket.local).unwrap();
        }
        let read = |datagram: &[u8]| (datagram == b"answer").then_some(());
        let deadline = Instant::now() + Duration::from_secs(5);
        socket.receive(deadline, read).await.unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let late = socket.receive(deadline, read).await;
        assert!(matches!(late, Err(Cause::Timeout)), "{late:?}");
    }

    /// As many idle sockets are chosen from here.
    const FEW: usize = 32;

    /// An upstream that answers when it is told to.
    struct Upstream {
        /// Its socket.
        socket: UdpSocket,
    }

    impl Upstream {
        /// On a port of its own.
        fn new() -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            Self { socket }
        }

        /// A pool of sockets to it, in a process with so many descriptors.
        fn pool(&self, descriptors: u64) -> Pool {
            let link = Link {
                peer: self.socket.local_addr().unwrap(),
                source: None,
            };
            let room = SocketRoom::within(descriptors, u64::MAX, 1);
            Pool {
                idle: Mutex::new(Idle::with_choice(FEW, FEW / 2)),
                ..Pool::new(link, Sockets::new(room))
            }
        }

        /// Has a query answered. Gives the port that it came from.
        async fn ask(&self, pool: &Pool) -> u16 {
            let socket = pool.reuse(b"query").unwrap_or_else(|| {
                let mut socket = pool.open().unwrap();
                socket.send(b"query").unwrap();
                socket
            });
            self.answer(pool, socket).await
        }

        /// Answers the query of a socket, which goes back.
        async fn answer(&self, pool: &Pool, socket: Socket) -> u16 {
            let (_, client) = self.socket.recv_from(&mut [0; 16]).unwrap();
            assert_eq!(client, socket.local);
            self.socket.send_to(b"answer", client).unwrap();
            let deadline = Instant::now() + Duration::from_secs(5);
            let read = |datagram: &[u8]| (datagram == b"answer").then_some(());
            socket.receive(deadline, read).await.unwrap();
            pool.put_back(socket);
            client.port()
        }

        /// Has enough idle sockets to choose from. Gives the ports of all.
        async fn fill(&self, pool: &Pool) -> Vec<u16> {
            let mut ports = Vec::new();
            for _ in 0..FEW {
                let mut socket = pool.open().unwrap();
                socket.send(b"query").unwrap();
                ports.push(self.answer(pool, socket).await);
            }
            ports
        }
    }
}
