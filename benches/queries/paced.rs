//! The load of an open loop: queries are sent when it is time, whether those
//! before were answered or not, and each response is timed from when its query
//! was due. A server that stops for a moment is blamed for all that were due
//! meanwhile.

use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use crate::generator::Counts;
use crate::generator::Queries;

/// Queries on their way.
struct Waiting {
    /// When the query of each id was due; `None` if it is not waited for.
    due: Vec<Option<Duration>>,
    /// What was answered, and how long it took.
    latencies: Vec<Duration>,
    /// Counts.
    counts: Counts,
}

/// Asks with a pause after each query, for so long.
pub(crate) fn ask(
    sockets: &[UdpSocket],
    queries: &mut Queries,
    pause: Duration,
    length: Duration,
) -> anyhow::Result<Counts> {
    for socket in sockets {
        socket.set_nonblocking(true)?;
    }
    let mut waiting = Waiting {
        due: vec![None; usize::from(u16::MAX) + 1],
        latencies: Vec::new(),
        counts: Counts::default(),
    };
    let (start, mut due, mut sent) = (now(), Duration::ZERO, 0_u64);
    let mut turn = sockets.iter().cycle();
    while start.elapsed() < length + PATIENCE {
        while due < length && due <= start.elapsed() {
            let id = queries.fill_one();
            if let Some(slot) = waiting.due.get_mut(usize::from(id)) {
                *slot = Some(due);
            }
            // What is refused is lost.
            drop(turn.next().map(|socket| socket.send(queries.octets())));
            due += pause;
            sent += 1;
        }
        for socket in sockets {
            waiting.receive(socket, start);
        }
    }
    let Waiting {
        mut latencies,
        mut counts,
        ..
    } = waiting;
    latencies.sort_unstable();
    counts.lost = sent.saturating_sub(counts.good + counts.bad);
    counts.microseconds = u64::try_from(length.as_micros())?;
    counts.p50 = percentile(&latencies, 50);
    counts.p99 = percentile(&latencies, 99);
    Ok(counts)
}

// === impl Waiting ===

impl Waiting {
    /// Takes the responses that there are.
    fn receive(&mut self, socket: &UdpSocket, start: Instant) {
        let mut buffer = [0; 1500];
        while let Ok(length) = socket.recv(&mut buffer) {
            let response = buffer.get(..length).unwrap_or_default();
            let [i0, i1, ..] = *response else { continue };
            let slot = self.due.get_mut(usize::from(u16::from_be_bytes([i0, i1])));
            if let Some(due) = slot.and_then(Option::take) {
                self.latencies.push(start.elapsed().saturating_sub(due));
                self.counts.add(response);
            }
        }
    }
}

/// So many of a hundred were no slower, in nanoseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u64 {
    let found = sorted.get(sorted.len() * percent / 100);
    found.map_or(0, |latency| {
        u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// When a query counts as lost.
const PATIENCE: Duration = Duration::from_millis(300);
