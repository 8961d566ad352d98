//! Receiving.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockaddrLike;

use crate::Local;
use crate::control::Heard;
use crate::send::empty;
use crate::send::set_control;

/// A datagram that was received, or several that the kernel has put together.
#[derive(Clone, Copy, Debug)]
pub struct Received<P> {
    /// Octets in the room.
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

/// Receives a datagram into `room`; waits for one if `wait`, for as long as the
/// socket does.
///
/// # Errors
///
/// Those of recvmsg(2); `EINVAL` for a peer that is not of the type `P`.
#[inline]
pub fn receive<P: SockaddrLike>(
    socket: &UdpSocket,
    room: &mut [u8],
    wait: bool,
) -> Result<Received<P>, Errno> {
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    let mut name = NO_NAME;
    let mut control = [0_u8; LENGTH as usize];
    let mut header = empty();
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = NAME;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    set_control(&mut header, control.as_mut_ptr(), LENGTH);
    let flags = libc::c_long::from(if wait { 0 } else { libc::MSG_DONTWAIT });
    let call = libc::SYS_recvmsg;
    let descriptor = libc::c_long::from(socket.as_raw_fd());
    #[expect(unsafe_code, reason = "no thread is cancelled here")]
    // SAFETY: invariants 1 and 2. The header names `room`, which is borrowed
    // exclusively, and what this function owns, with their lengths.
    let received = unsafe { libc::syscall(call, descriptor, &raw mut header, flags) };
    let received = Errno::result(received)?;
    let length = header.msg_namelen.min(NAME);
    #[expect(unsafe_code, reason = "what the kernel wrote is an address")]
    // SAFETY: invariant 3. `name` is as large and as aligned as the larger of
    // the two addresses, all of it is initialized, and it was not written
    // beyond `length`.
    let peer = unsafe { P::from_raw((&raw const name).cast(), Some(length)) };
    // What the kernel did not write is 0, which ends what is read.
    let heard = Heard::read(&control);
    Ok(Received {
        length: usize::try_from(received).unwrap_or_default(),
        is_cut: header.msg_flags & libc::MSG_TRUNC != 0,
        segment: heard.segment,
        peer: peer.ok_or(Errno::EINVAL)?,
        local: heard.local,
    })
}

/// Room for control messages, in octets.
const LENGTH: u8 = 128;

/// Octets of the larger of the two addresses.
const NAME: libc::socklen_t = 28;

/// No address.
const NO_NAME: libc::sockaddr_in6 = libc::sockaddr_in6 {
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

    use nix::sys::socket::SockaddrIn;
    use nix::sys::socket::SockaddrIn6;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt;

    use super::*;
    use crate::Control;
    use crate::MOST;
    use crate::Sender;
    use crate::send_one;

    #[test]
    fn the_length_of_an_address_is_that_of_the_larger() {
        assert_eq!(
            usize::try_from(NAME).unwrap(),
            size_of::<libc::sockaddr_in6>()
        );
    }

    #[test]
    fn what_is_sent_is_received_with_both_addresses() {
        let (server, client) = (bind("0.0.0.0"), bind("127.0.0.1"));
        setsockopt(&server, sockopt::Ipv4PacketInfo, &true).unwrap();
        let port = server.local_addr().unwrap().port();
        client.send_to(b"query", ("127.0.0.9", port)).unwrap();
        let mut room = [0; 100];
        let query = receive::<SockaddrIn>(&server, &mut room, true).unwrap();
        assert_eq!(&room[..query.length], b"query");
        assert_eq!(query.peer.port(), client.local_addr().unwrap().port());
        let local = query.local.unwrap();
        assert_eq!(local.ip, Ipv4Addr::new(127, 0, 0, 9));
        let control = Control {
            local: Some(local),
            segment: 0,
        };
        assert!(send_one(&server, b"one", &query.peer, control));
        let many = [&b"two"[..], b"three"]
            .into_iter()
            .map(|it| (it, query.peer));
        assert_eq!(Sender::new().send(&server, many, control), Ok(2));
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
        let query = receive::<SockaddrIn6>(&server, &mut [0; 100], true).unwrap();
        assert_eq!(query.local.unwrap().ip.to_string(), "::1");
        let control = Control {
            local: query.local,
            segment: 0,
        };
        assert!(send_one(&server, b"response", &query.peer, control));
        assert_eq!(client.recv(&mut [0; 100]).unwrap(), 8);
    }

    #[test]
    fn the_kernel_puts_together_and_takes_apart() {
        let (server, client) = (bind("127.0.0.1"), bind("127.0.0.1"));
        setsockopt(&client, sockopt::UdpGroSegment, &true).unwrap();
        let SocketAddr::V4(peer) = client.local_addr().unwrap() else {
            panic!("it is IPv4");
        };
        let control = Control {
            local: None,
            segment: 4,
        };
        let run = [(&b"abcdefghij"[..], SockaddrIn::from(peer))];
        assert_eq!(Sender::new().send(&server, run.into_iter(), control), Ok(1));
        let mut room = [0; 100];
        let received = receive::<SockaddrIn>(&client, &mut room, true).unwrap();
        assert_eq!((received.length, received.segment), (10, Some(4)));
    }

    #[test]
    fn too_much_is_cut_and_too_many_are_left() {
        let (server, client) = (bind("127.0.0.1"), bind("127.0.0.1"));
        let SocketAddr::V4(peer) = client.local_addr().unwrap() else {
            panic!("it is IPv4");
        };
        let many = std::iter::repeat_n((&b"response"[..], SockaddrIn::from(peer)), MOST + 1);
        let sent = Sender::new().send(&server, many, Control::default());
        assert_eq!(sent, Ok(MOST));
        for _ in 0..MOST {
            let received = receive::<SockaddrIn>(&client, &mut [0; 4], true).unwrap();
            assert_eq!((received.length, received.is_cut), (4, true));
        }
        let nothing = receive::<SockaddrIn>(&client, &mut [0; 4], false);
        assert_eq!(nothing.unwrap_err(), Errno::EAGAIN);
    }

    #[test]
    fn the_first_error_is_told() {
        let server = bind("127.0.0.1");
        let nowhere = SockaddrIn::new(127, 0, 0, 1, 0);
        let datagrams = [(&b"response"[..], nowhere)];
        let sent = Sender::new().send(&server, datagrams.into_iter(), Control::default());
        assert_eq!(sent, Err(Errno::EINVAL));
    }

    /// A socket of this host.
    fn bind(ip: &str) -> UdpSocket {
        UdpSocket::bind((ip, 0)).unwrap()
    }
}
