//! The UDP sockets that are open to upstreams.
//!
//! A question that comes from one of them is this server's own: it has gone
//! round. Questions over connections are not told apart in this way; for them
//! there is [`crate::loops`] alone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::idle::CHOICE;

/// The sockets of one context. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    /// Their addresses and ports.
    open: Arc<Mutex<HashSet<(IpAddr, u16)>>>,
    /// Whether there is room for idle ones.
    room: SocketRoom,
}

/// How many UDP sockets may be open to upstreams for idle ones to be kept, in
/// the whole process. Cloning shares the count. By default none is kept.
#[derive(Clone, Debug, Default)]
pub struct SocketRoom {
    /// That many.
    most: usize,
    /// How many are open.
    open: Arc<AtomicUsize>,
}

/// A socket, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Where it is noted.
    sockets: Sockets,
    /// Our end.
    local: SocketAddr,
}

/// A socket that is connected to an upstream.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The socket. Whoever reads it does not wait.
    pub(crate) io: UdpSocket,
    /// When it was opened.
    pub(crate) opened: Instant,
    /// Queries that it was used for.
    pub(crate) uses: u32,
    /// Notes it for as long as it lives; closed before that ends. Boxed: nobody
    /// looks at it meanwhile.
    pub(crate) noted: Box<Noted>,
}

// === impl Sockets ===

impl Sockets {
    /// None yet, and idle ones only while there is room.
    pub(crate) fn new(room: SocketRoom) -> Self {
        Self {
            open: Arc::default(),
            room,
        }
    }

    /// Notes a socket that is connected.
    pub(crate) fn note(&self, local: SocketAddr) -> Noted {
        self.lock().insert(end(local));
        self.room.open.fetch_add(1, Ordering::Relaxed);
        Noted {
            sockets: self.clone(),
            local,
        }
    }

    /// Whether a question came from one of them.
    pub(crate) fn contains(&self, client: SocketAddr) -> bool {
        self.lock().contains(&end(client))
    }

    /// Whether an idle one may be kept.
    pub(crate) fn has_room(&self) -> bool {
        self.room.open.load(Ordering::Relaxed) <= self.room.most
    }

    /// The sockets.
    fn lock(&self) -> MutexGuard<'_, HashSet<(IpAddr, u16)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SocketRoom ===

impl SocketRoom {
    /// Enough for each of so many threads that ask, within a quarter of the
    /// files and of the memory, in octets, that the process may have. None where
    /// that is too few to choose from ([`crate::idle`]): each query has a socket
    /// of its own then.
    pub fn within(descriptors: u64, memory: u64, threads: usize) -> Self {
        let few = (descriptors / 4).min(memory / 4 / KERNEL);
        let few = usize::try_from(few).unwrap_or(usize::MAX);
        let threads = threads.max(1);
        // Fewer are not worth keeping: those of one upstream that each thread
        // chooses from, and as many as one does that wait for answers.
        let least = threads.saturating_add(1).saturating_mul(CHOICE);
        Self {
            most: match few.min(threads.saturating_mul(EACH)) {
                few if few < least => 0,
                enough => enough,
            },
            open: Arc::default(),
        }
    }
}

// === impl Noted ===

impl Noted {
    /// Our end.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.sockets.lock().remove(&end(self.local));
        self.sockets.room.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What tells a socket: an IPv4 address in IPv6 clothes is IPv4.
fn end(addr: SocketAddr) -> (IpAddr, u16) {
    (addr.ip().to_canonical(), addr.port())
}

/// Open sockets for one thread: for three upstreams, and for what waits.
const EACH: usize = 4096;

/// Octets that the kernel has for a socket, roughly.
const KERNEL: u64 = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_for_as_long_as_it_lives() {
        let sockets = Sockets::default();
        let noted = sockets.note("192.0.2.1:4000".parse().unwrap());
        assert!(sockets.contains("[::ffff:192.0.2.1]:4000".parse().unwrap()));
        assert!(!sockets.contains("192.0.2.1:4001".parse().unwrap()));
        drop(noted);
        assert!(!sockets.contains("192.0.2.1:4000".parse().unwrap()));
    }

    #[test]
    fn little_leaves_no_room_for_idle_sockets() {
        let much = u64::MAX;
        for (descriptors, memory, threads, most) in [
            (64, much, 1, 0),
            (4096, much, 1, 0),
            (8192, much, 1, 2048),
            (8192, much, 4, 0),
            (16_384, much, 4, 4096),
            (1 << 30, much, 1, 4096),
            (1 << 30, much, 4, 16_384),
            (1 << 30, 50_000_000, 4, 4166),
        ] {
            let room = SocketRoom::within(descriptors, memory, threads);
            assert_eq!(room.most, most, "{descriptors} {memory} {threads}");
        }
    }

    #[test]
    fn the_sockets_of_all_share_the_room() {
        let room = SocketRoom {
            most: 2,
            open: Arc::default(),
        };
        let (one, other) = (Sockets::new(room.clone()), Sockets::new(room));
        let noted: Vec<_> = (4000..4003)
            .map(|port| one.note(([192, 0, 2, 1], port).into()))
            .collect();
        assert!(!other.has_room());
        drop(noted);
        assert!(other.has_room());
    }
}
