//! Bounds on what clients may take.

use std::time::Duration;

/// Bounds on clients, and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries that wait for an upstream, over all listeners. One more takes the
    /// place of the one that has waited longest, if that is longer than
    /// `pending_grace`; else it is answered SERVFAIL. Half of the places are
    /// not taken in this way. Default 1,024, less where little memory is to be
    /// had.
    pub pending: usize,
    /// Of these, queries of one client. Default half of them: to many a server
    /// all clients are one, a router in front or the gateway of a bridge.
    pub pending_per_client: usize,
    /// How long a query keeps its place when another one wants it. Default
    /// 500 ms: nearly all answers are there by then, also where the first
    /// upstream says nothing.
    pub pending_grace: Duration,
    /// Open TCP connections, over all listeners. One more closes the one that
    /// has been idle longest. Default 1,024, less where few file descriptors
    /// are to be had.
    pub connections: usize,
    /// Open TCP connections of one client address. Default 256.
    pub connections_per_client: usize,
    /// Queries of one TCP connection that are answered at a time; further
    /// ones are not read meanwhile. Default 128.
    pub pipelined: usize,
    /// Octets of responses that TCP clients have not taken yet, over all
    /// connections. One more closes the connection for which most wait.
    /// Default 4 MiB, less where little memory is to be had.
    pub unsent: usize,
    /// Octets of messages that TCP clients have begun and not finished, over
    /// all connections; what fits 512 octets is not counted. One more closes
    /// the connection that has sent most. Default 2 MiB, less where little
    /// memory is to be had.
    pub unfinished: usize,
    /// How long a TCP connection may be silent between messages (RFC 7766
    /// §6.2.3). Default 10 s.
    pub idle: Duration,
    /// How long a message may take to arrive once it has begun. Default 3 s.
    pub read: Duration,
    /// How long a response may take to be accepted by the client. Default
    /// 5 s.
    pub write: Duration,
    /// How long the responses to what was read may take in all once nothing
    /// more is read. Default 10 s: upstreams get 5, a client that is slow to
    /// take what it asked for as much.
    pub finish: Duration,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: PENDING,
            pending_per_client: PENDING / 2,
            pending_grace: Duration::from_millis(500),
            connections: 1024,
            connections_per_client: 256,
            pipelined: 128,
            unsent: 4 << 20,
            unfinished: 2 << 20,
            idle: Duration::from_secs(10),
            read: Duration::from_secs(3),
            write: Duration::from_secs(5),
            finish: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The defaults under a limit of `descriptors` open files: a quarter of
    /// them is for clients, the rest for upstreams, logs and Docker.
    pub fn within_descriptors(descriptors: u64) -> Self {
        let default = Self::default();
        let share = usize::try_from(descriptors / 4)
            .unwrap_or(usize::MAX)
            .max(4);
        Self {
            connections: default.connections.min(share),
            connections_per_client: default.connections_per_client.min(share),
            ..default
        }
    }

    /// These under a limit of `octets` of memory: a quarter of them is for
    /// queries that wait, an eighth for responses that do, a thirty-second for
    /// messages that are not finished.
    pub fn within_memory(self, octets: u64) -> Self {
        let share = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX);
        let pending = share(octets / 4 / PENDING_OCTETS).max(MIN_PENDING);
        Self {
            pending: self.pending.min(pending),
            pending_per_client: self.pending_per_client.min(pending / 2),
            unsent: self.unsent.min(share(octets / 8)),
            unfinished: self.unfinished.min(share(octets / 32)),
            ..self
        }
    }
}

/// Queries that may wait as a rule. What one takes in this process grows with
/// every upstream that says nothing, to some 10 kB; all together are to take no
/// more than 10 MB.
const PENDING: usize = 1024;

/// What a query takes that waits for upstreams which say nothing: a socket for
/// each attempt, their part of the kernel included.
const PENDING_OCTETS: u64 = 32 * 1024;

/// Queries that may wait in any case.
const MIN_PENDING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_bounds_what_waits() {
        let default = Limits::default();
        assert_eq!(default.within_memory(u64::MAX), default);
        assert_eq!(default.within_memory(1 << 30), default);
        let small = default.within_memory(50 << 20);
        assert_eq!((small.pending, small.pending_per_client), (400, 200));
        assert_eq!((small.unsent, small.unfinished), (4 << 20, 1_638_400));
        assert_eq!(small.connections, default.connections);
        assert_eq!(default.within_memory(0).pending, MIN_PENDING);
    }

    #[test]
    fn few_descriptors_leave_room_for_upstreams() {
        for (descriptors, connections, per_client) in [
            (0, 4, 4),
            (64, 16, 16),
            (1024, 256, 256),
            (4096, 1024, 256),
            (u64::MAX, 1024, 256),
        ] {
            let limits = Limits::within_descriptors(descriptors);
            assert_eq!(limits.connections, connections, "{descriptors}");
            assert_eq!(limits.connections_per_client, per_client, "{descriptors}");
        }
    }
}
