//! Receiving many datagrams at a time.
//!
//! The first is waited for, the others are what has arrived meanwhile. What the
//! kernel has put together (`UDP_GRO`) is taken apart.

use std::net::UdpSocket;

use nix::errno::Errno;
use portolan_datagram::Local;
use portolan_datagram::MOST_RECEIVED;
use portolan_datagram::Received;
use portolan_datagram::Receiver;
use portolan_proto::HEADER_LEN;

use super::peer::Peer;

/// Queries that have been received together.
pub(super) struct Inbox<P> {
    /// Receives them.
    receiver: Receiver<P>,
    /// Where each of them is.
    queries: Vec<Query<P>>,
}

/// Where a query is, and where it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<P> {
    /// Where it begins.
    start: usize,
    /// How many octets it has.
    length: usize,
    /// Who sent it.
    pub(super) peer: P,
    /// The address it was sent to; `None` if the socket has just that one.
    pub(super) local: Option<Local>,
}

// === impl Inbox ===

impl<P: Peer> Inbox<P> {
    /// Room for a batch. With `coalesced`, the kernel may hand over several
    /// datagrams of one client as one.
    pub(super) fn new(coalesced: bool) -> Self {
        Self {
            receiver: Receiver::new(if coalesced { COALESCED } else { LONGEST }),
            queries: Vec::with_capacity(MOST_RECEIVED + MAX_SEGMENTS),
        }
    }

    /// Receives what there is, [`MOST_RECEIVED`] datagrams at most; if it
    /// `waits`, it does so for the first.
    pub(super) fn receive(&mut self, socket: &UdpSocket, waits: bool) -> Result<(), Errno> {
        self.queries.clear();
        for received in self.receiver.receive(socket, waits)? {
            note(&mut self.queries, received);
        }
        Ok(())
    }

    /// The queries.
    pub(super) fn queries(&self) -> &[Query<P>] {
        &self.queries
    }

    /// The octets of one of them.
    #[inline]
    pub(super) fn octets(&self, query: &Query<P>) -> &[u8] {
        let octets = self.receiver.octets();
        let octets = octets.get(query.start..query.start + query.length);
        octets.unwrap_or_default()
    }
}

/// Notes the datagrams that were received as one.
fn note<P: Peer>(queries: &mut Vec<Query<P>>, received: Received<P>) {
    let mut start = received.start;
    let end = start + received.length;
    let segment = received.segment.unwrap_or(received.length);
    loop {
        let length = segment.max(1).min(end - start);
        // Of one that is too long the header is left, so that the client hears
        // FORMERR.
        let is_long = received.is_cut || length > LONGEST;
        queries.push(Query {
            start,
            length: if is_long {
                length.min(HEADER_LEN)
            } else {
                length
            },
            peer: received.peer,
            local: received.local,
        });
        start += length;
        if start >= end {
            return;
        }
    }
}

/// Longest query taken, in octets; a longer one is malformed.
const LONGEST: usize = 4096;

/// Most octets that the kernel hands over as one.
const COALESCED: usize = 65_535;

/// Most datagrams among them (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use nix::sys::socket::SockaddrIn;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt;

    use super::*;

    #[test]
    fn what_has_arrived_is_received_together() {
        let (server, client) = pair();
        for octets in [&b"first"[..], b"", b"third"] {
            client.send(octets).unwrap();
        }
        let mut inbox = Inbox::<SockaddrIn>::new(false);
        inbox.receive(&server, true).unwrap();
        assert_eq!(texts(&inbox), ["first", "", "third"]);
        client.send(b"later").unwrap();
        inbox.receive(&server, true).unwrap();
        assert_eq!(texts(&inbox), ["later"]);
        assert_eq!(
            inbox.queries()[0].peer.to_std(),
            client.local_addr().unwrap()
        );
    }

    #[test]
    fn a_batch_has_a_bound() {
        let (server, client) = pair();
        for _ in 0..MOST_RECEIVED + 1 {
            client.send(b"q").unwrap();
        }
        let mut inbox = Inbox::<SockaddrIn>::new(true);
        inbox.receive(&server, true).unwrap();
        assert_eq!(inbox.queries().len(), MOST_RECEIVED);
        inbox.receive(&server, true).unwrap();
        assert_eq!(inbox.queries().len(), 1);
    }

    #[test]
    fn long_datagrams_leave_room_for_each_other() {
        let (server, client) = pair();
        setsockopt(&server, sockopt::RcvBuf, &(1 << 20)).unwrap();
        let mut expected = Vec::new();
        for last in 0..20 {
            let mut octets = vec![b'a'; LONGEST];
            octets[LONGEST - 1] = last;
            client.send(&octets).unwrap();
            expected.push(octets);
        }
        let mut inbox = Inbox::<SockaddrIn>::new(true);
        let mut received = Vec::new();
        while received.len() < expected.len() {
            inbox.receive(&server, true).unwrap();
            let queries = inbox.queries().iter();
            received.extend(queries.map(|query| inbox.octets(query).to_vec()));
        }
        assert_eq!(received, expected);
    }

    #[test]
    fn of_a_datagram_that_is_too_long_the_header_is_left() {
        for coalesced in [false, true] {
            let (server, client) = pair();
            client.send(&[b'a'; LONGEST + 1]).unwrap();
            client.send(b"next").unwrap();
            let mut inbox = Inbox::<SockaddrIn>::new(coalesced);
            inbox.receive(&server, true).unwrap();
            assert_eq!(texts(&inbox), ["aaaaaaaaaaaa", "next"]);
        }
    }

    #[test]
    fn what_the_kernel_has_put_together_is_taken_apart() {
        let (server, client) = pair();
        setsockopt(&server, sockopt::UdpGroSegment, &true).unwrap();
        setsockopt(&client, sockopt::UdpGsoSegment, &4).unwrap();
        client.send(b"abcdefghij").unwrap();
        setsockopt(&client, sockopt::UdpGsoSegment, &0).unwrap();
        client.send(b"alone").unwrap();
        let mut inbox = Inbox::<SockaddrIn>::new(true);
        inbox.receive(&server, true).unwrap();
        assert_eq!(texts(&inbox), ["abcd", "efgh", "ij", "alone"]);
    }

    /// A socket and a client of it.
    fn pair() -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let timeout = Some(Duration::from_secs(5));
        server.set_read_timeout(timeout).unwrap();
        (server, client)
    }

    /// What was received.
    fn texts(inbox: &Inbox<SockaddrIn>) -> Vec<&str> {
        let octets = inbox.queries().iter().map(|query| inbox.octets(query));
        octets.map(|o| std::str::from_utf8(o).unwrap()).collect()
    }
}
