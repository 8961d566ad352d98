//! Connections: that ask for large answers and read them, that do not read
//! them, that send half of a message, that say nothing.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::client::stream_from;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use crate::client::address;
use crate::question::Kind;
use crate::tally::Tally;

/// Connections of one client, fewer than it may have.
const PER_CLIENT: usize = 200;

/// Questions that one asks who does not read the answers.
pub(crate) const UNREAD: u32 = 8;

/// Octets that the system keeps for one who does not read.
const SMALL_BUFFER: usize = 4096;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Threads that read answers.
const READERS: usize = 8;

/// Where the clients of a kind of connections begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// Who ask and read.
    Reading = 20,
    /// Who ask and do not read.
    Deaf = 40,
    /// Who send half of a message.
    Half = 60,
    /// Who say nothing.
    Idle = 80,
}

/// Opens connections.
pub(crate) fn open(server: SocketAddr, base: Base, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let receive = matches!(base, Base::Deaf).then_some(SMALL_BUFFER);
    (0..count)
        .map(|position| {
            let client = u8::try_from(position / PER_CLIENT)? + base as u8;
            let stream = stream_from(address(client), server, receive)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
        .collect()
}

/// Asks for a large answer on every connection, then reads them. `first` is
/// the number of the first name; `step` is 0 if all ask for the same.
pub(crate) fn ask_large(streams: &mut [TcpStream], first: u32, step: u32) -> anyhow::Result<Tally> {
    let numbers = || (0..).map(|position: u32| first + position * step);
    for (stream, number) in streams.iter_mut().zip(numbers()) {
        stream.write_all(&framed(&Kind::Large.query(7, number))?)?;
    }
    let part = streams.len().div_ceil(READERS).max(1);
    thread::scope(|scope| {
        let parts = streams.chunks_mut(part).zip((0..).step_by(part));
        let readers: Vec<_> = parts
            .map(|(streams, skipped)| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    for (stream, number) in streams.iter_mut().zip(numbers().skip(skipped)) {
                        match read_message(stream) {
                            Ok(message) => tally.add(Kind::Large.judge(number, &message)),
                            Err(_) => tally.lost += 1,
                        }
                    }
                    tally
                })
            })
            .collect();
        let mut tally = Tally::default();
        for reader in readers {
            tally += reader.join().ok().context("a reader")?;
        }
        Ok(tally)
    })
}

/// Asks for several large answers on every connection and reads none, until
/// the server closes the connection. All ask for the same names.
pub(crate) fn ask_and_ignore(mut streams: Vec<TcpStream>, first: u32) -> anyhow::Result<Tally> {
    for stream in &mut streams {
        for number in first..first + UNREAD {
            let query = framed(&Kind::Large.query(7, number))?;
            if stream.write_all(&query).is_err() {
                break;
            }
        }
    }
    // Those stay open whose answers the system could take.
    let closed = closed(streams, Duration::from_secs(8))?.closed;
    Ok(Tally {
        closed,
        ..Tally::default()
    })
}

/// Sends half of a message of 65,535 octets on every connection, and waits
/// until the server closes it.
pub(crate) fn send_half(mut streams: Vec<TcpStream>) -> anyhow::Result<Tally> {
    let half = [&[255, 255][..], &[0; 32_768]].concat();
    for stream in &mut streams {
        // It may be closed by now.
        drop(stream.write_all(&half));
    }
    closed(streams, Duration::from_secs(6))
}

/// Waits for so long, and counts the connections that the server closed.
fn closed(streams: Vec<TcpStream>, wait: Duration) -> anyhow::Result<Tally> {
    let deadline = clock() + wait;
    while clock() < deadline {
        pause(Duration::from_millis(100));
    }
    let mut tally = Tally::default();
    for mut stream in streams {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        let mut buffer = vec![0; 65_536];
        let is_open = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => {
                    let kind = error.kind();
                    break matches!(
                        kind,
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    );
                }
            }
        };
        if is_open {
            tally.lost += 1;
        } else {
            tally.closed += 1;
        }
    }
    Ok(tally)
}

/// Reads a message.
fn read_message(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A message behind its length.
fn framed(message: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u16::try_from(message.len())?;
    Ok([&length.to_be_bytes()[..], message].concat())
}
