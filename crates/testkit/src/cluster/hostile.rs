//! What arrives at a gossip port that is open to a network.

use std::io::Write as _;
use std::iter;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;

use super::Dice;
use crate::process::pause;

/// Octets over TCP that keep a core busy for ever, or allocate 4 GiB, in a
/// member that reads a length before it checks it.
const KILL_PAYLOADS: [&[u8]; 4] = [
    &[0x02],
    &[0x02, 0x80],
    &[0x0f, 0x01, 0xff, 0xff, 0xff, 0x00],
    &[0x0d, 0xff, 0xff, 0xff, 0xff, 0x0f],
];

/// Connects to a port and sends each of the [`KILL_PAYLOADS`], some over
/// connections that stay open as long as what is given back, and some over
/// connections that end at once.
///
/// # Errors
///
/// If nobody listens there.
pub fn send_kill_payloads(to: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    let mut open = Vec::new();
    for payload in KILL_PAYLOADS {
        for _ in 0..4 {
            open.push(connect(to, payload)?);
            drop(connect(to, payload)?);
        }
    }
    Ok(open)
}

/// Sends garbage over so many connections, which stay open as long as what is
/// given back.
///
/// # Errors
///
/// If nobody listens there.
pub fn send_garbage(to: SocketAddr, seed: u64, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let send = |octets: Vec<u8>| {
        // Not faster than they are accepted: it is not about the backlog.
        pause(Duration::from_millis(3));
        connect(to, &octets)
    };
    garbage(seed).take(count).map(send).collect()
}

/// Sends so many datagrams of garbage, some 20,000 a second at most.
///
/// # Errors
///
/// If there is no socket to be had.
pub fn send_datagrams(to: SocketAddr, seed: u64, count: usize) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((to.ip(), 0))?;
    for (number, octets) in garbage(seed).take(count).enumerate() {
        socket.send_to(&octets, to)?;
        if number % 100 == 0 {
            pause(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Datagrams that are no messages, or begin like one: octets at random, and
/// first octets of every kind of message before a length that lies.
fn garbage(seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut dice = Dice::new(seed);
    iter::repeat_with(move || {
        let length = match dice.below(8) {
            0 => dice.below(4),
            1 => 1_300 + dice.below(100),
            _ => dice.below(200),
        };
        let mut octets = dice.octets(length);
        // Kinds of messages of membership are below 16, ours are 1 and a kind
        // below 6.
        match (dice.below(4), octets.as_mut_slice()) {
            (0, [kind, ..]) => *kind %= 16,
            (1, [kind, first, second, ..]) => {
                *kind %= 16;
                [*first, *second] = [0xff, 0x7f];
            }
            (2, [version, kind, ..]) => {
                *version = 1;
                *kind %= 6;
            }
            _ => {}
        }
        octets
    })
}

/// Sends octets over TCP.
fn connect(to: SocketAddr, octets: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    // It may hang up on us.
    let _ = stream.write_all(octets);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_short_and_long_and_the_same_every_time() {
        let some: Vec<Vec<u8>> = garbage(1).take(1_000).collect();
        assert!(some.iter().any(Vec::is_empty));
        assert!(some.iter().any(|octets| octets.len() > 1_300));
        assert!(some.iter().all(|octets| octets.len() < 1_400));
        assert_eq!(some, garbage(1).take(1_000).collect::<Vec<_>>());
    }
}
