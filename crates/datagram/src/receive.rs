//! Receiving.

use std::marker::PhantomData;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockaddrLike;

use crate::Local;
use crate::control::Heard;
use crate::send::empty;

/// Most datagrams, or runs of them, that one call receives.
pub const MOST: usize = 32;

/// Receives many datagrams by one system call, into room that is kept. It stays
/// with the thread that made it.
///
/// A datagram begins in one of the slots, which are next to each other. What
/// does not fit one goes on in a room as large as may be, of which the system
/// takes no memory before it is used; then the part in the slot is put before
/// it.
#[derive(Debug)]
pub struct Receiver<P> {
    /// The slots, then the rooms.
    octets: Vec<u8>,
    /// Most octets of a datagram, or of those that are put together.
    longest: usize,
    /// Who sent them.
    peers: Vec<libc::sockaddr_in6>,
    /// What the kernel says of them.
    controls: Vec<[u8; CONTROL]>,
    /// Where their octets go. The headers name it.
    _parts: Vec<[libc::iovec; 2]>,
    /// One header each.
    headers: Vec<libc::mmsghdr>,
    /// How many of the headers the kernel has written to.
    used: usize,
    /// What peers are.
    family: PhantomData<P>,
}

/// A datagram that was received, or several that the kernel has put together.
#[derive(Clone, Copy, Debug)]
pub struct Received<P> {
    /// Where its octets begin.
    pub start: usize,
    /// How many there are.
    pub length: usize,
    /// Whether it had more, which are lost.
    pub is_cut: bool,
    /// Octets of each but the last, where several may have been put together
    /// (`UDP_GRO`, udp(7)).
    pub segment: Option<usize>,
    /// Who sent it.
    pub peer: P,
    /// Where it was sent to, if the socket was told to say so.
    pub local: Option<Local>,
}

// === impl Receiver ===

impl<P: SockaddrLike> Receiver<P> {
    /// Room for datagrams of up to so many octets.
    pub fn new(longest: usize) -> Self {
        let longest = longest.max(SLOT);
        let mut octets = vec![0; room(longest, MOST)];
        let mut peers = vec![NO_PEER; MOST];
        let mut controls = vec![[0; CONTROL]; MOST];
        let base = octets.as_mut_ptr();
        let mut parts: Vec<_> = (0..MOST)
            .map(|index| {
                [
                    libc::iovec {
                        iov_base: base.wrapping_add(slot(index)).cast(),
                        iov_len: SLOT,
                    },
                    libc::iovec {
                        iov_base: base.wrapping_add(room(longest, index) + SLOT).cast(),
                        iov_len: longest - SLOT,
                    },
                ]
            })
            .collect();
        let named = peers.iter_mut().zip(&mut controls).zip(&mut parts);
        let headers = named.map(|((peer, control), parts)| {
            let mut header = empty();
            header.msg_name = ptr::from_mut(peer).cast();
            header.msg_iov = parts.as_mut_ptr();
            header.msg_iovlen = 2;
            header.msg_control = control.as_mut_ptr().cast();
            libc::mmsghdr {
                msg_hdr: header,
                msg_len: 0,
            }
        });
        Self {
            headers: headers.collect(),
            octets,
            longest,
            peers,
            controls,
            _parts: parts,
            used: MOST,
            family: PhantomData,
        }
    }

    /// Receives what there is, [`MOST`] datagrams at most; if it `waits`, it does
    /// so for the first, as long as the socket does. Those whose peer is not of
    /// the type `P` are left out.
    ///
    /// # Errors
    ///
    /// Those of recvmmsg(2).
    pub fn receive(
        &mut self,
        socket: &UdpSocket,
        waits: bool,
    ) -> Result<impl Iterator<Item = Received<P>>, Errno> {
        let written = self.headers.iter_mut().zip(&mut self.controls);
        for (header, control) in written.take(self.used) {
            *control = [0; CONTROL];
            header.msg_hdr.msg_namelen = PEER;
            header.msg_hdr.msg_controllen = CONTROL_LENGTH.into();
        }
        // After an error nobody knows.
        self.used = MOST;
        let call = libc::SYS_recvmmsg;
        let descriptor = libc::c_long::from(socket.as_raw_fd());
        let headers = self.headers.as_mut_ptr();
        let flags = libc::c_long::from(if waits {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        });
        let forever = ptr::null_mut::<libc::timespec>();
        #[expect(
            unsafe_code,
            reason = "nix has no room for control messages that stays"
        )]
        // SAFETY: invariants 1 and 2. The headers name what `self` owns, which
        // is as it was made by `new` and borrowed exclusively, with the lengths
        // it has.
        let count = unsafe { libc::syscall(call, descriptor, headers, MOST, flags, forever) };
        self.used = usize::try_from(Errno::result(count)?).unwrap_or_default();
        for (index, header) in self.headers.iter().take(self.used).enumerate() {
            if length(header) > SLOT {
                let slot = slot(index);
                let room = room(self.longest, index);
                self.octets.copy_within(slot..slot + SLOT, room);
            }
        }
        Ok((0..self.used).filter_map(|index| self.received(index)))
    }

    /// Where the octets are.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What was received with a header.
    fn received(&self, index: usize) -> Option<Received<P>> {
        let header = self.headers.get(index)?;
        let heard = Heard::read(self.controls.get(index)?);
        let length = length(header);
        let start = if length > SLOT {
            room(self.longest, index)
        } else {
            slot(index)
        };
        let address = ptr::from_ref(self.peers.get(index)?).cast();
        let address_length = header.msg_hdr.msg_namelen.min(PEER);
        #[expect(unsafe_code, reason = "what the kernel wrote is an address")]
        // SAFETY: invariant 3. There is room for the larger of the two
        // addresses, all of it is initialized, and it was not written beyond
        // the length.
        let peer = unsafe { P::from_raw(address, Some(address_length)) }?;
        Some(Received {
            start,
            length,
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            segment: heard.segment,
            peer,
            local: heard.local,
        })
    }
}

/// Octets that the kernel wrote.
fn length(header: &libc::mmsghdr) -> usize {
    usize::try_from(header.msg_len).unwrap_or_default()
}

/// Where a slot begins: a cache line further each time than a power of two, so
/// that they do not meet in the cache.
fn slot(index: usize) -> usize {
    index * (SLOT + 64)
}

/// Where the room of a datagram begins that does not fit its slot.
fn room(longest: usize, index: usize) -> usize {
    slot(MOST) + index * longest
}

/// Octets of a slot: any query, and most runs of queries.
const SLOT: usize = 2048;

/// Room for control messages, in octets.
const CONTROL: usize = CONTROL_LENGTH as usize;

/// The same, as any C library can have it.
const CONTROL_LENGTH: u8 = 64;

/// Octets of the larger of the two addresses.
const PEER: libc::socklen_t = 28;

/// No address.
const NO_PEER: libc::sockaddr_in6 = libc::sockaddr_in6 {
    sin6_family: 0,
    sin6_port: 0,
    sin6_flowinfo: 0,
    sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
    sin6_scope_id: 0,
};

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;
    use std::time::Duration;

    use nix::sys::socket::SockaddrIn;
    use nix::sys::socket::SockaddrIn6;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt;

    use super::*;
    use crate::Control;
    use crate::Sender;
    use crate::send::MOST as MOST_SENT;
    use crate::send_one;

    #[test]
    fn the_length_of_an_address_is_that_of_the_larger() {
        let size = size_of::<libc::sockaddr_in6>();
        assert_eq!(usize::try_from(PEER).unwrap(), size);
    }

    #[test]
    fn what_is_sent_is_received_with_both_addresses() {
        let (server, client) = (bind("0.0.0.0"), bind("127.0.0.1"));
        setsockopt(&server, sockopt::Ipv4PacketInfo, &true).unwrap();
        let port = server.local_addr().unwrap().port();
        client.send_to(b"query", ("127.0.0.9", port)).unwrap();
        let mut receiver = Receiver::<SockaddrIn>::new(100);
        let query = one(&mut receiver, &server);
        assert_eq!(text(&receiver, &query), b"query");
        assert_eq!(query.peer.port(), client.local_addr().unwrap().port());
        let local = query.local.unwrap();
        assert_eq!(local.ip, Ipv4Addr::new(127, 0, 0, 9));
        let control = Control {
            local: Some(local),
            segment: 0,
        };
        assert!(send_one(&server, b"one", &query.peer, control));
        let many = [&b"two"[..], b"three"].map(|text| (text, query.peer));
        let sent = Sender::new().send(&server, many.into_iter(), control);
        assert_eq!(sent, Ok(2));
        let mut room = [0; 100];
        for text in [&b"one"[..], b"two", b"three"] {
            let (length, from) = client.recv_from(&mut room).unwrap();
            assert_eq!(&room[..length], text);
            assert_eq!(from, SocketAddr::from(([127, 0, 0, 9], port)));
        }
    }

    #[test]
    fn ipv6_says_where_to_as_well() {
        let (server, client) = (bind("::"), bind("::1"));
        setsockopt(&server, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        let port = server.local_addr().unwrap().port();
        client.send_to(b"query", ("::1", port)).unwrap();
        let mut receiver = Receiver::<SockaddrIn6>::new(100);
        let query = one(&mut receiver, &server);
        assert_eq!(query.local.unwrap().ip.to_string(), "::1");
        let control = Control {
            local: query.local,
            segment: 0,
        };
        assert!(send_one(&server, b"response", &query.peer, control));
        assert_eq!(client.recv(&mut [0; 100]).unwrap(), 8);
    }

    #[test]
    fn the_kernel_takes_apart_and_puts_together() {
        let (server, client) = (bind("127.0.0.1"), bind("127.0.0.1"));
        setsockopt(&client, sockopt::UdpGroSegment, &true).unwrap();
        let control = Control {
            local: None,
            segment: 1000,
        };
        let octets: Vec<u8> = (0..=u8::MAX).cycle().take(5_500).collect();
        let run = [(&octets[..], address(&client))];
        let mut receiver = Receiver::<SockaddrIn>::new(65_535);
        // The second one finds what the first has left.
        for octets in [&octets[..], &octets[100..]] {
            let run = run.map(|(_, peer)| (octets, peer)).into_iter();
            assert_eq!(Sender::new().send(&server, run, control), Ok(1));
            let received = one(&mut receiver, &client);
            assert_eq!(received.segment, Some(1000));
            assert_eq!(text(&receiver, &received), octets);
        }
        server
            .send_to(b"alone", client.local_addr().unwrap())
            .unwrap();
        let received = one(&mut receiver, &client);
        assert_eq!(received.segment, None);
        assert_eq!(text(&receiver, &received), b"alone");
    }

    #[test]
    fn all_lengths_arrive_as_they_were() {
        let (server, client) = (bind("127.0.0.1"), bind("127.0.0.1"));
        setsockopt(&client, sockopt::RcvBuf, &(1 << 20)).unwrap();
        let texts: Vec<Vec<u8>> = [0, 1, SLOT - 1, SLOT, SLOT + 1, 4_095, 4_096]
            .iter()
            .zip(b'a'..)
            .map(|(length, letter)| vec![letter; *length])
            .collect();
        for text in &texts {
            server.send_to(text, client.local_addr().unwrap()).unwrap();
        }
        let mut receiver = Receiver::<SockaddrIn>::new(4_096);
        let received: Vec<_> = receiver.receive(&client, true).unwrap().collect();
        let received = received.iter().map(|it| text(&receiver, it).to_vec());
        assert_eq!(received.collect::<Vec<_>>(), texts);
    }

    #[test]
    fn too_much_is_cut_and_too_many_are_left() {
        let (server, client) = (bind("127.0.0.1"), bind("127.0.0.1"));
        setsockopt(&client, sockopt::RcvBuf, &(1 << 20)).unwrap();
        let long = [b'a'; SLOT + 1];
        let many = std::iter::repeat_n((&long[..], address(&client)), MOST_SENT + 1);
        let sent = Sender::new().send(&server, many, Control::default());
        assert_eq!(sent, Ok(MOST_SENT));
        let mut receiver = Receiver::<SockaddrIn>::new(SLOT);
        for _ in 0..MOST_SENT / MOST {
            let all: Vec<_> = receiver.receive(&client, true).unwrap().collect();
            assert_eq!(all.len(), MOST);
            assert!(all.iter().all(|it| it.length == SLOT && it.is_cut));
        }
        client.set_nonblocking(true).unwrap();
        assert_eq!(receiver.receive(&client, true).err(), Some(Errno::EAGAIN));
        // After an error as before.
        server
            .send_to(b"next", client.local_addr().unwrap())
            .unwrap();
        let next = one(&mut receiver, &client);
        assert_eq!((text(&receiver, &next), next.is_cut), (&b"next"[..], false));
    }

    #[test]
    fn the_first_error_is_told() {
        let server = bind("127.0.0.1");
        let nowhere = SockaddrIn::new(127, 0, 0, 1, 0);
        let datagrams = [(&b"response"[..], nowhere)];
        let sent = Sender::new().send(&server, datagrams.into_iter(), Control::default());
        assert_eq!(sent, Err(Errno::EINVAL));
    }

    /// The datagram that is received.
    fn one<P: SockaddrLike>(receiver: &mut Receiver<P>, socket: &UdpSocket) -> Received<P> {
        let mut all = receiver.receive(socket, true).unwrap();
        let first = all.next().unwrap();
        assert!(all.next().is_none());
        first
    }

    /// Its octets.
    fn text<'a, P: SockaddrLike>(receiver: &'a Receiver<P>, it: &Received<P>) -> &'a [u8] {
        &receiver.octets()[it.start..it.start + it.length]
    }

    /// The address of a socket.
    fn address(socket: &UdpSocket) -> SockaddrIn {
        match socket.local_addr().unwrap() {
            SocketAddr::V4(v4) => v4.into(),
            SocketAddr::V6(v6) => panic!("{v6} is not IPv4"),
        }
    }

    /// A socket of this host.
    fn bind(ip: &str) -> UdpSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).unwrap();
        socket
    }
}
