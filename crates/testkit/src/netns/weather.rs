//! Packets that are late, out of order, or damaged.
//!
//! Rules of iptables hand packets to a queue of the kernel (`-j NFQUEUE`); here
//! they are taken out, and each is given back as a test decides.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use nfq::Message;
use nfq::Queue;
use nfq::Verdict;

use super::Namespace;
use super::capture::Packet;
use crate::process::clock;
use crate::process::pause;

/// What happens to the packets of some ports, until it is dropped. Then they
/// are lost.
#[derive(Debug)]
pub struct Weather {
    /// How many packets came.
    seen: Arc<AtomicUsize>,
    /// Whether to end.
    done: Arc<AtomicBool>,
}

/// What becomes of a packet.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It goes on after a while.
    Late(Duration),
    /// Something else goes on in its place.
    Changed(Vec<u8>),
}

// === impl Weather ===

impl Weather {
    /// Has `judge` decide about all that comes from or for some ports, over
    /// UDP and TCP.
    ///
    /// # Errors
    ///
    /// If the kernel has no such queues, or `iptables` is missing.
    pub fn start(
        namespace: &Namespace,
        ports: &[u16],
        mut judge: impl FnMut(&Packet) -> Fate + Send + 'static,
    ) -> anyhow::Result<Self> {
        let mut queue = namespace.enter(|| {
            let mut queue = Queue::open().context("a queue of packets")?;
            queue.bind(QUEUE).context("a queue of packets")?;
            queue.set_nonblocking(true);
            Ok(queue)
        })?;
        let mut rules = String::from("*filter\n");
        for port in ports {
            for protocol in ["udp", "tcp"] {
                for side in ["dport", "sport"] {
                    rules.push_str(&format!(
                        "-A INPUT -p {protocol} --{side} {port} -j NFQUEUE --queue-num {QUEUE}\n"
                    ));
                }
            }
        }
        namespace.run(&["iptables-restore"], &(rules + "COMMIT\n"))?;
        let weather = Self {
            seen: Arc::default(),
            done: Arc::default(),
        };
        let (seen, done) = (Arc::clone(&weather.seen), Arc::clone(&weather.done));
        thread::Builder::new().spawn(move || {
            let mut late: BTreeMap<(Instant, usize), Message> = BTreeMap::new();
            while !done.load(Ordering::Relaxed) {
                while let Some(entry) = late.first_entry()
                    && entry.key().0 <= clock()
                {
                    let _ = queue.verdict(entry.remove());
                }
                let mut message = match queue.recv() {
                    Ok(message) => message,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        pause(POLL);
                        continue;
                    }
                    Err(_) => continue,
                };
                let number = seen.fetch_add(1, Ordering::Relaxed);
                message.set_verdict(Verdict::Accept);
                let fate = Packet::read(message.get_payload()).map_or(Fate::Pass, |p| judge(&p));
                match fate {
                    Fate::Pass => {}
                    Fate::Changed(octets) => message.set_payload(octets),
                    Fate::Late(by) => {
                        late.insert((clock() + by, number), message);
                        continue;
                    }
                }
                let _ = queue.verdict(message);
            }
        })?;
        Ok(weather)
    }

    /// How many packets came.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// The number of the queue; each namespace has its own.
const QUEUE: u16 = 0;

/// How long the queue is left alone when there is nothing in it.
const POLL: Duration = Duration::from_micros(500);
