//! A worker without a socket.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_table::SnapshotGuard;
use portolan_table::Table;

use crate::Families;
use crate::Routing;
use crate::Transport;
use crate::fast::AHEAD;
use crate::fast::Batch;
use crate::fast::Desk;
use crate::fast::Fate;
use crate::fast::for_each;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::rotation::Rotation;
use crate::udp::now;

/// Answers messages as a UDP worker does, but for receiving and sending: what
/// benches measure.
pub struct Responder {
    /// What all listeners share.
    shared: Shared,
    /// Which block answers.
    routing: Routing,
    /// What is at hand.
    desk: Desk,
    /// The response in hand.
    out: Vec<u8>,
}

// === impl Responder ===

impl Responder {
    /// Answers from a table.
    pub fn new(table: Arc<Table>, families: Families, routing: Routing) -> Self {
        Self {
            shared: Shared {
                table,
                families,
                rotation: Rotation::default(),
            },
            routing,
            desk: Desk::default(),
            out: Vec::with_capacity(4096),
        }
    }

    /// Answers a batch of messages from one client, and hands each response to
    /// `respond`. What would have to be asked elsewhere is left out.
    pub fn respond(
        &mut self,
        messages: &[&[u8]],
        client: SocketAddr,
        mut respond: impl FnMut(&[u8]),
    ) {
        let snapshot: SnapshotGuard = self.shared.table.load();
        let now = now();
        let (desk, out) = (&mut self.desk, &mut self.out);
        let (shared, routing) = (&self.shared, &self.routing);
        let batch = Batch {
            shared,
            routing,
            snapshot: &snapshot,
        };
        for messages in messages.chunks(AHEAD) {
            let ahead = batch.read(messages.iter().copied(), &mut desk.qnames);
            let Desk {
                qnames,
                missed,
                tallies,
                ..
            } = desk;
            let read = ahead.queries(qnames);
            for_each(messages.iter().zip(read), |(message, read)| {
                out.clear();
                let fate = read.map_or(Fate::None, |read| {
                    batch.answer(read, message.len(), client.ip(), tallies, out)
                });
                let received = Received {
                    message,
                    client,
                    local: client,
                    transport: Transport::Udp,
                    tcp_idle: 0,
                    now,
                };
                let step = match fate {
                    Fate::Response => Step::Respond,
                    Fate::Upstreams(block) => {
                        handle::forward(shared, &snapshot, block, &received, out, missed, tallies)
                    }
                    Fate::None => {
                        let tallies = Some(&mut *tallies);
                        handle::handle(shared, routing, &snapshot, &received, out, missed, tallies)
                    }
                };
                if let Step::Respond = step {
                    respond(out);
                }
            });
        }
        if desk.tallies.has_any() {
            desk.tallies.flush(handle::elapsed(now));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}
