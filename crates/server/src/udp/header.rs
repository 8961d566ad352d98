//! What the kernel is told of each message that is sent.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::os::fd::RawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::sendmmsg;
use nix::sys::socket::sendmsg;

use super::peer::Local;
use super::peer::Peer;

/// Room for headers, kept from batch to batch: one set for each kind of
/// control messages, because each kind fills its room to the last octet.
pub(super) struct Headers<P> {
    /// Without control messages.
    plain: MultiHeaders<P>,
    /// With a segment size.
    segment: MultiHeaders<P>,
    /// With an IPv4 address.
    v4: MultiHeaders<P>,
    /// With an IPv4 address and a segment size.
    v4_segment: MultiHeaders<P>,
    /// With an IPv6 address.
    v6: MultiHeaders<P>,
    /// With an IPv6 address and a segment size.
    v6_segment: MultiHeaders<P>,
}

/// What holds for all messages of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    /// Where they are sent from; `None` if the socket has just one address.
    pub(super) local: Option<Local>,
    /// The length at which they are cut up; 0 is not at all.
    pub(super) segment: u16,
}

// === impl Headers ===

impl<P: Peer> Headers<P> {
    /// Room for as many messages as one call sends.
    pub(super) fn new() -> Self {
        let headers = |control| MultiHeaders::preallocate(super::inbox::BATCH, control);
        Self {
            plain: headers(None),
            segment: headers(Some(cmsg_space!(u16))),
            v4: headers(Some(cmsg_space!(libc::in_pktinfo))),
            v4_segment: headers(Some(cmsg_space!(libc::in_pktinfo, u16))),
            v6: headers(Some(cmsg_space!(libc::in6_pktinfo))),
            v6_segment: headers(Some(cmsg_space!(libc::in6_pktinfo, u16))),
        }
    }

    /// Sends messages. Gives how many the kernel took; the error is that of
    /// the first.
    pub(super) fn send(
        &mut self,
        socket: RawFd,
        slices: &[[IoSlice<'_>; 1]],
        peers: &[Option<P>],
        control: Control,
        flags: MsgFlags,
    ) -> Result<usize, Errno> {
        let cut = ControlMessage::UdpGsoSegments(&control.segment);
        let is_cut = control.segment > 0;
        let v4 = control.local.and_then(Local::v4);
        let v6 = control.local.and_then(Local::v6);
        let sent = match (&v4, &v6, is_cut) {
            (Some(from), _, false) => {
                let controls = [ControlMessage::Ipv4PacketInfo(from)];
                sendmmsg(socket, &mut self.v4, slices, peers, controls, flags)
            }
            (Some(from), _, true) => {
                let controls = [ControlMessage::Ipv4PacketInfo(from), cut];
                sendmmsg(socket, &mut self.v4_segment, slices, peers, controls, flags)
            }
            (None, Some(from), false) => {
                let controls = [ControlMessage::Ipv6PacketInfo(from)];
                sendmmsg(socket, &mut self.v6, slices, peers, controls, flags)
            }
            (None, Some(from), true) => {
                let controls = [ControlMessage::Ipv6PacketInfo(from), cut];
                sendmmsg(socket, &mut self.v6_segment, slices, peers, controls, flags)
            }
            (None, None, false) => sendmmsg(socket, &mut self.plain, slices, peers, [], flags),
            (None, None, true) => sendmmsg(socket, &mut self.segment, slices, peers, [cut], flags),
        };
        sent.map(Iterator::count)
    }
}

/// Sends one message, with a header of its own. Says whether the kernel took
/// it.
pub(super) fn send_one<P: Peer>(
    socket: &UdpSocket,
    octets: &[u8],
    peer: P,
    local: Option<Local>,
) -> bool {
    let v4 = local.and_then(Local::v4);
    let v6 = local.and_then(Local::v6);
    let v4 = v4.as_ref().map(ControlMessage::Ipv4PacketInfo);
    let v6 = v6.as_ref().map(ControlMessage::Ipv6PacketInfo);
    let control = v4.or(v6);
    let (descriptor, parts) = (socket.as_raw_fd(), [IoSlice::new(octets)]);
    let flags = MsgFlags::MSG_DONTWAIT;
    sendmsg(descriptor, &parts, control.as_slice(), flags, Some(&peer)).is_ok()
}
