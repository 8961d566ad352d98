//! The least that a server can do: it sends each query back as a response.
//!
//! It reads nothing and looks nothing up, so that what it costs is what the
//! kernel costs, one datagram in and one out.

use std::net::Ipv4Addr;
use std::net::UdpSocket;

/// Answers for ever.
pub(crate) fn run(port: u16) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut buffer = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        if let Some(message) = buffer.get_mut(..length)
            && let Some(flags) = message.get_mut(2)
        {
            *flags |= RESPONSE;
            socket.send_to(message, client)?;
        }
    }
}

/// QR, in the first octet of the flags (RFC 1035 §4.1.1).
const RESPONSE: u8 = 0x80;
