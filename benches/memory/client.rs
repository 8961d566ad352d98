//! The clients, and what one of them sees all the time.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::question::Kind;
use crate::tally::Tally;

/// The hosts file.
pub(crate) const LOCAL: &str = "10.0.0.0 n0.local.test\n";

/// Between two questions of the one who watches.
const PACE: Duration = Duration::from_millis(20);

/// How long the one who watches waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for a local name all the time.
pub(crate) struct Watch {
    /// Ends it.
    stop: Arc<AtomicBool>,
    /// The thread.
    thread: JoinHandle<anyhow::Result<Watched>>,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    /// What became of the questions.
    pub(crate) tally: Tally,
    /// The longest that one took.
    pub(crate) longest: Duration,
}

// === impl Watch ===

impl Watch {
    /// Begins.
    pub(crate) fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let watch = move || watch(server, &stopped);
        let thread = thread::Builder::new().spawn(watch)?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) -> anyhow::Result<Watched> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the one who watches")?
    }
}

/// Asks until stopped.
fn watch(server: SocketAddr, stopped: &AtomicBool) -> anyhow::Result<Watched> {
    let socket = datagrams_from(address(0), server, PATIENCE)?;
    let mut watched = Watched::default();
    let mut buffer = [0; 512];
    for id in (0..=u16::MAX).cycle() {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let begun = clock();
        socket.send(&Kind::Local.query(id, 0))?;
        match receive(&socket, &mut buffer, begun + PATIENCE, |found| found == id) {
            Some((_, response)) => watched.tally.add(Kind::Local.judge(0, response)),
            None => watched.tally.lost += 1,
        }
        watched.longest = watched.longest.max(begun.elapsed());
        pause(PACE);
    }
    Ok(watched)
}

/// The address of a client.
pub(crate) fn address(client: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, client)
}

/// A socket for datagrams from one of the addresses of clients.
pub(crate) fn datagrams_from(
    client: Ipv4Addr,
    server: SocketAddr,
    timeout: Duration,
) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((client, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(timeout))?;
    Ok(socket)
}

/// The next response whose id is wanted, until `deadline`.
pub(crate) fn receive<'a>(
    socket: &UdpSocket,
    buffer: &'a mut [u8],
    deadline: Instant,
    is_wanted: impl Fn(u16) -> bool,
) -> Option<(u16, &'a [u8])> {
    loop {
        if clock() >= deadline {
            return None;
        }
        let Ok(length) = socket.recv(buffer) else {
            continue;
        };
        if let Some([i0, i1]) = buffer.get(..length)?.first_chunk::<2>() {
            let id = u16::from_be_bytes([*i0, *i1]);
            if is_wanted(id) {
                return Some((id, buffer.get(..length)?));
            }
        }
    }
}
