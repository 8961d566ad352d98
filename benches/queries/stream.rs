//! The load over TCP: connections with one query outstanding each.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::ensure;

use crate::generator::Counts;
use crate::generator::Queries;

/// Asks over so many connections, for so long.
pub(crate) fn ask(
    server: SocketAddr,
    connections: usize,
    queries: &mut Queries,
    length: Duration,
) -> anyhow::Result<Counts> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    let mut counts = Counts::default();
    let mut frame = Vec::new();
    for stream in &mut streams {
        send(stream, queries, &mut frame)?;
    }
    let start = now();
    let mut buffer = [0; 1500];
    while start.elapsed() < length {
        for stream in &mut streams {
            counts.add(receive(stream, &mut buffer)?);
            send(stream, queries, &mut frame)?;
        }
    }
    counts.microseconds = u64::try_from(start.elapsed().as_micros())?;
    Ok(counts)
}

/// Receives a response, by one call if it comes in one piece.
fn receive<'a>(stream: &mut TcpStream, buffer: &'a mut [u8; 1500]) -> anyhow::Result<&'a [u8]> {
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        let count = stream.read(rest)?;
        ensure!(
            count > 0,
            "the server closed a connection, or said too much"
        );
        filled += count;
        let [l0, l1, ..] = *buffer;
        let end = 2 + usize::from(u16::from_be_bytes([l0, l1]));
        if filled >= 2 && filled >= end {
            return buffer.get(2..end).context("a response that fits");
        }
    }
}

/// Sends the next query.
fn send(stream: &mut TcpStream, queries: &mut Queries, frame: &mut Vec<u8>) -> anyhow::Result<()> {
    queries.fill_one();
    let length = u16::try_from(queries.octets().len())?;
    frame.clear();
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(queries.octets());
    Ok(stream.write_all(frame)?)
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// A server that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(5);
