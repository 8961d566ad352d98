//! A worker without a socket.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_table::SnapshotGuard;
use portolan_table::Table;

use crate::Families;
use crate::Routing;
use crate::Transport;
use crate::handle;
use crate::handle::Received;
use crate::handle::Shared;
use crate::handle::Step;
use crate::rotation::Rotation;
use crate::tally::Tallies;
use crate::udp::now;

/// Answers messages as a UDP worker does, but for receiving and sending: what
/// benches measure.
pub struct Responder {
    /// What all listeners share.
    shared: Shared,
    /// Which block answers.
    routing: Routing,
    /// What is counted.
    tallies: Tallies,
    /// The response in hand.
    response: Vec<u8>,
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
            tallies: Tallies::default(),
            response: Vec::with_capacity(4096),
        }
    }

    /// Answers a batch of messages from one client, and hands each response to
    /// `respond`. What would have to be asked elsewhere is left out.
    pub fn respond<'m>(
        &mut self,
        messages: impl IntoIterator<Item = &'m [u8]>,
        client: SocketAddr,
        mut respond: impl FnMut(&[u8]),
    ) {
        let snapshot: SnapshotGuard = self.shared.table.load();
        let now = now();
        for message in messages {
            let received = Received {
                message,
                client,
                local: client,
                transport: Transport::Udp,
                tcp_idle: 0,
                now,
            };
            let (routing, out) = (&self.routing, &mut self.response);
            let tallies = Some(&mut self.tallies);
            let step = handle::handle(&self.shared, routing, &snapshot, &received, out, tallies);
            if let Step::Respond = step {
                respond(&self.response);
            }
        }
        if self.tallies.has_any() {
            self.tallies.flush(handle::elapsed(now));
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
