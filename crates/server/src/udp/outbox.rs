//! Sending many datagrams at a time.
//!
//! Responses are put one behind the other. Those of one length that follow
//! one another to one client become one message to the kernel, which cuts it
//! up again (`UDP_SEGMENT`): it has to find its way through the stack once.
//! All messages that differ in no more than client and text go by one
//! `sendmmsg`. What a kernel or a driver refuses is sent one by one.

use std::net::UdpSocket;
use std::ops::Range;

use nix::errno::Errno;
use portolan_datagram::Control;
use portolan_datagram::Local;
use portolan_datagram::Sender;

use super::peer::Peer;

/// Responses that are sent together.
pub(super) struct Outbox<P> {
    /// Their octets.
    octets: Vec<u8>,
    /// Where each of them is.
    responses: Vec<Response<P>>,
    /// The messages that are sent together.
    messages: Vec<Response<P>>,
    /// Sends them.
    sender: Sender<P>,
    /// Most responses in one message that the kernel cuts up; 1 where it is
    /// not to be asked.
    segments: usize,
    /// Responses that the kernel did not take.
    lost: u64,
}

/// Where a response is, and where it goes to. Also a run of responses.
#[derive(Clone, Debug)]
struct Response<P> {
    /// Where its octets are.
    range: Range<usize>,
    /// Who gets it.
    peer: P,
    /// Where it is sent from; `None` if the socket has just one address.
    local: Option<Local>,
    /// Octets of each response but the last, where there are several; else 0.
    segment: u16,
}

// === impl Outbox ===

impl<P: Peer> Outbox<P> {
    /// Room for responses. With `segments`, the kernel cuts up runs of them.
    pub(super) fn new(segments: bool) -> Self {
        Self {
            octets: Vec::with_capacity(ROOM),
            responses: Vec::with_capacity(FULL),
            messages: Vec::with_capacity(FULL),
            sender: Sender::new(),
            segments: if segments { MAX_SEGMENTS } else { 1 },
            lost: 0,
        }
    }

    /// Takes a response. Call [`Self::flush`] once it is full.
    pub(super) fn push(&mut self, octets: &[u8], peer: P, local: Option<Local>) {
        self.write(peer, local, |out| {
            out.extend_from_slice(octets);
            true
        });
    }

    /// Takes a response that `write` appends, if it says that it did.
    pub(super) fn write(
        &mut self,
        peer: P,
        local: Option<Local>,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        // Responses stand one behind the other, without what was begun and
        // given up.
        let start = self.responses.last().map_or(0, |last| last.range.end);
        self.octets.truncate(start);
        let is_written = write(&mut self.octets);
        if is_written {
            self.responses.push(Response {
                range: start..self.octets.len(),
                peer,
                local,
                segment: 0,
            });
        }
        is_written
    }

    /// Whether there is no room for another response.
    pub(super) fn is_full(&self) -> bool {
        self.responses.len() >= FULL || self.octets.len() >= ROOM - MAX_RUN
    }

    /// Sends all responses. Gives how many the kernel did not take.
    pub(super) fn flush(&mut self, socket: &UdpSocket) -> u64 {
        self.lost = 0;
        self.messages.clear();
        let mut at = 0;
        while let Some(first) = self.responses.get(at) {
            let rest = self.responses.get(at..).unwrap_or_default();
            let count = run(rest, self.segments);
            let message = whole(first, rest.get(..count).unwrap_or_default());
            // What goes by one call has one kind of control message.
            if let Some(last) = self.messages.last()
                && (last.local, last.segment) != (message.local, message.segment)
            {
                self.send(socket);
            }
            self.messages.push(message);
            at += count;
        }
        self.send(socket);
        self.octets.clear();
        self.responses.clear();
        self.lost
    }

    /// Sends the messages.
    fn send(&mut self, socket: &UdpSocket) {
        let mut at = 0;
        while let Some(message) = self.messages.get(at) {
            let rest = self.messages.get(at..).unwrap_or_default();
            let control = Control {
                local: message.local,
                segment: message.segment,
            };
            match submit(socket, &mut self.sender, &self.octets, rest, control) {
                Ok(sent) => at += sent.max(1),
                Err(error) => {
                    if message.segment == 0 {
                        self.lost += 1;
                    } else {
                        let message = message.clone();
                        self.send_apart(socket, &message, error);
                    }
                    at += 1;
                }
            }
        }
        self.messages.clear();
    }

    /// Sends the responses of a run one by one.
    fn send_apart(&mut self, socket: &UdpSocket, run: &Response<P>, error: Errno) {
        let control = Control {
            local: run.local,
            segment: 0,
        };
        let mut start = run.range.start;
        while start < run.range.end {
            let end = run.range.end.min(start + usize::from(run.segment));
            let one = Response {
                range: start..end,
                segment: 0,
                ..*run
            };
            let one = std::slice::from_ref(&one);
            match submit(socket, &mut self.sender, &self.octets, one, control) {
                // It was the run that was refused, not the client: a driver
                // without checksums, a path through IPsec.
                Ok(_) if matches!(error, Errno::EIO | Errno::EINVAL) => self.segments = 1,
                Ok(_) => {}
                Err(_) => self.lost += 1,
            }
            start = end;
        }
    }
}

/// Hands messages to the kernel. Gives how many it took.
fn submit<P: Peer>(
    socket: &UdpSocket,
    sender: &mut Sender<P>,
    octets: &[u8],
    messages: &[Response<P>],
    control: Control,
) -> Result<usize, Errno> {
    let messages = messages.iter().map(|message| {
        let octets = octets.get(message.range.clone());
        (octets.unwrap_or_default(), message.peer)
    });
    sender.send(socket, messages, control)
}

/// How many of the responses, the first included, can be one message: those
/// to one client from one address that are equally long, and one that is
/// shorter behind them.
fn run<P: Peer>(responses: &[Response<P>], most: usize) -> usize {
    let Some(first) = responses.first() else {
        return 0;
    };
    let segment = first.range.len();
    let mut count = 1;
    for next in responses.iter().skip(1).take(most.saturating_sub(1)) {
        let length = next.range.len();
        let fits = next.range.end - first.range.start <= MAX_RUN;
        if next.peer != first.peer || next.local != first.local || length > segment || !fits {
            break;
        }
        count += 1;
        if length < segment {
            break;
        }
    }
    count
}

/// A run as one message.
fn whole<P: Peer>(first: &Response<P>, run: &[Response<P>]) -> Response<P> {
    let end = run.last().map_or(first.range.end, |last| last.range.end);
    let segment = if run.len() > 1 {
        u16::try_from(first.range.len()).unwrap_or(0)
    } else {
        0
    };
    Response {
        range: first.range.start..end,
        segment,
        ..*first
    }
}

/// Responses that are sent together at most.
const FULL: usize = portolan_datagram::MOST_SENT;

/// Octets of them.
const ROOM: usize = 128 * 1024;

/// Most responses in one message (`UDP_MAX_SEGMENTS`, before Linux 6.9).
const MAX_SEGMENTS: usize = 64;

/// Most octets in one message: what an IPv4 datagram holds, and a bit less.
const MAX_RUN: usize = 65_000;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;
    use std::net::SocketAddr;
    use std::net::SocketAddrV6;
    use std::time::Duration;

    use nix::sys::socket::SockaddrIn;
    use nix::sys::socket::SockaddrIn6;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt;

    use super::*;

    #[test]
    fn responses_of_all_lengths_reach_their_clients() {
        for segments in [false, true] {
            let (server, clients) = (bind(), [bind(), bind()]);
            let mut outbox = Outbox::<SockaddrIn>::new(segments);
            let plan: [(usize, &[u8]); 9] = [
                (0, b"aaaa"),
                (0, b"bbbb"),
                (0, b"cc"),
                (0, b"dd"),
                (1, b"ee"),
                (1, b"fff"),
                (0, b"ggg"),
                (1, b"hhh"),
                (1, b"iii"),
            ];
            for (client, octets) in plan {
                outbox.push(octets, peer(&clients[client]), None);
            }
            assert_eq!(outbox.flush(&server), 0);
            for (number, client) in clients.iter().enumerate() {
                let expected = plan.iter().filter(|(to, _)| *to == number);
                let expected: Vec<_> = expected.map(|(_, octets)| octets.to_vec()).collect();
                assert_eq!(read(client), expected, "{number} {segments}");
            }
        }
    }

    #[test]
    fn a_run_is_one_message() {
        let (server, client) = (bind(), bind());
        setsockopt(&client, sockopt::UdpGroSegment, &true).unwrap();
        let mut outbox = Outbox::<SockaddrIn>::new(true);
        for octets in [&b"aaaa"[..], b"bbbb", b"cc", b"dddd"] {
            outbox.push(octets, peer(&client), None);
        }
        assert_eq!(outbox.flush(&server), 0);
        // This client takes what the kernel has as one for one.
        assert_eq!(read(&client), [&b"aaaabbbbcc"[..], b"dddd"]);
    }

    #[test]
    fn a_run_that_is_refused_is_sent_apart() {
        let (server, client) = (bind(), bind());
        setsockopt(&client, sockopt::RcvBuf, &(4 << 20)).unwrap();
        let mut outbox = Outbox::<SockaddrIn>::new(true);
        // More than any kernel takes.
        outbox.segments = 1000;
        let count = 600;
        for round in 0..2 {
            for number in 0..count {
                outbox.push(&number_of(number), peer(&client), None);
            }
            assert_eq!(outbox.flush(&server), 0);
            let expected: Vec<_> = (0..count).map(number_of).collect();
            assert_eq!(read(&client), expected, "{round}");
            assert_eq!(outbox.segments, 1);
        }
    }

    #[test]
    fn a_client_that_cannot_be_reached_does_not_stop_the_others() {
        let (server, client) = (bind(), bind());
        let nowhere = SockaddrIn::new(127, 0, 0, 1, 0);
        let mut outbox = Outbox::<SockaddrIn>::new(true);
        for to in [nowhere, nowhere, peer(&client), nowhere, peer(&client)] {
            outbox.push(b"text", to, None);
        }
        assert_eq!(outbox.flush(&server), 3);
        assert_eq!(read(&client).len(), 2);
        assert_eq!(outbox.segments, MAX_SEGMENTS);
    }

    #[test]
    fn responses_leave_from_where_queries_came_to() {
        let server = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let client = bind();
        let mut outbox = Outbox::<SockaddrIn>::new(true);
        let local = |last| {
            Some(Local {
                ip: Ipv4Addr::new(127, 0, 0, last).into(),
                interface: 0,
            })
        };
        for (octets, last) in [(b"aaaa", 2), (b"bbbb", 2), (b"cccc", 3), (b"dddd", 1)] {
            outbox.push(octets, peer(&client), local(last));
        }
        assert_eq!(outbox.flush(&server), 0);
        let mut buffer = [0; 16];
        let from: Vec<IpAddr> = (0..4)
            .map(|_| client.recv_from(&mut buffer).unwrap().1.ip())
            .collect();
        let expected = [2, 2, 3, 1].map(|last| IpAddr::from([127, 0, 0, last]));
        assert_eq!(from, expected);
    }

    #[test]
    fn ipv6_and_mapped_addresses_are_served_from_one_socket() {
        let server = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let v6 = bind_to(Ipv6Addr::LOCALHOST.into());
        let v4 = bind();
        let mapped = |client: &UdpSocket| {
            let address = client.local_addr().unwrap();
            let ip = match address.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            SockaddrIn6::from(SocketAddrV6::new(ip, address.port(), 0, 0))
        };
        let mut outbox = Outbox::<SockaddrIn6>::new(true);
        let local = |ip: Ipv6Addr| {
            Some(Local {
                ip: ip.into(),
                interface: 0,
            })
        };
        let second = Ipv4Addr::new(127, 0, 0, 2);
        for octets in [b"aaaa", b"bbbb"] {
            outbox.push(octets, mapped(&v6), local(Ipv6Addr::LOCALHOST));
            outbox.push(octets, mapped(&v4), local(second.to_ipv6_mapped()));
        }
        assert_eq!(outbox.flush(&server), 0);
        assert_eq!(read(&v6), [b"aaaa", b"bbbb"]);
        let mut buffer = [0; 16];
        assert_eq!(v4.recv_from(&mut buffer).unwrap().1.ip(), second);
    }

    #[test]
    fn a_full_outbox_of_the_longest_responses_is_sent() {
        let (server, client) = (bind(), bind());
        setsockopt(&client, sockopt::RcvBuf, &(4 << 20)).unwrap();
        setsockopt(&server, sockopt::SndBuf, &(4 << 20)).unwrap();
        let mut outbox = Outbox::<SockaddrIn>::new(true);
        let mut count = 0;
        while !outbox.is_full() {
            outbox.push(&[7; 1232], peer(&client), None);
            count += 1;
        }
        assert_eq!(outbox.flush(&server), 0);
        let received = read(&client);
        assert_eq!(received.len(), count);
        assert!(received.iter().all(|octets| octets.len() == 1232));
    }

    /// A socket on a free port.
    fn bind() -> UdpSocket {
        bind_to(Ipv4Addr::LOCALHOST.into())
    }

    /// A socket on a free port of an address.
    fn bind_to(ip: IpAddr) -> UdpSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let timeout = Some(Duration::from_millis(100));
        socket.set_read_timeout(timeout).unwrap();
        socket
    }

    /// Where a socket is.
    fn peer(socket: &UdpSocket) -> SockaddrIn {
        match socket.local_addr().unwrap() {
            SocketAddr::V4(v4) => v4.into(),
            SocketAddr::V6(v6) => panic!("{v6} is of the other family"),
        }
    }

    /// What has arrived.
    fn read(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| {
            let length = socket.recv(&mut buffer).ok()?;
            Some(buffer[..length].to_vec())
        })
        .collect()
    }

    /// A number as two octets.
    fn number_of(number: u16) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }
}
