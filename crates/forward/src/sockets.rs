//! The UDP sockets that wait for upstreams.
//!
//! A question that comes from one of them is this server's own: it has gone
//! round. Questions over connections are not told apart in this way; for them
//! there is [`crate::loops`] alone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// The sockets: no more than there are queries to upstreams. Cloning shares
/// them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    /// Their addresses and ports.
    open: Arc<Mutex<HashSet<(IpAddr, u16)>>>,
}

/// A socket, for as long as it lives.
pub(crate) struct Noted {
    /// Where it is noted.
    sockets: Sockets,
    /// Its address and port.
    end: (IpAddr, u16),
}

// === impl Sockets ===

impl Sockets {
    /// Notes a socket that is connected.
    pub(crate) fn note(&self, local: SocketAddr) -> Noted {
        let end = end(local);
        self.lock().insert(end);
        Noted {
            sockets: self.clone(),
            end,
        }
    }

    /// Whether a question came from one of them.
    pub(crate) fn contains(&self, client: SocketAddr) -> bool {
        self.lock().contains(&end(client))
    }

    /// The sockets.
    fn lock(&self) -> MutexGuard<'_, HashSet<(IpAddr, u16)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Noted ===

impl Drop for Noted {
    fn drop(&mut self) {
        self.sockets.lock().remove(&self.end);
    }
}

/// What tells a socket: an IPv4 address in IPv6 clothes is IPv4.
fn end(addr: SocketAddr) -> (IpAddr, u16) {
    (addr.ip().to_canonical(), addr.port())
}

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
}
