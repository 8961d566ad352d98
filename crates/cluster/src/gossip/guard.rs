//! Connections that memberlist can read without harm.
//!
//! Two things that anybody may send kill memberlist 0.8.5, before it looks at a
//! key: the octet `02` alone makes it look for the rest of a length without
//! ever waiting, which takes a core for good; `0f 01 ff ff ff 00` makes it
//! allocate four gigabytes. So nothing gets past this reader before the whole
//! length is there and has been found to be bearable.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf as _;
use bytes::BytesMut;
use memberlist_core::transport::Connection;
use memberlist_proto::ProtoReader;
use memberlist_proto::ProtoWriter;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;
use tokio::time::timeout_at;

use super::gate::Claim;
use super::gate::ENCRYPTED;
use super::gate::Gate;
use super::gate::LABELED;
use super::gate::Opening;
use super::gate::Permit;

/// A connection that ends in time.
#[derive(Debug)]
pub(super) struct Guarded {
    /// What comes in.
    reader: GuardReader,
    /// What goes out.
    writer: GuardWriter,
}

/// The half that reads.
#[derive(Debug)]
pub(super) struct GuardReader {
    /// The socket.
    half: OwnedReadHalf,
    /// What was read and not yet taken.
    buffer: BytesMut,
    /// When the connection ends.
    deadline: Instant,
    /// Whom it is from.
    peer: SocketAddr,
    /// Whether the other opened the connection.
    inbound: bool,
    /// Whether it has been looked at how the connection begins.
    begun: bool,
    /// Whether it began as no member of ours does.
    foreign: bool,
    /// Room for the message that is read.
    claim: Option<Claim>,
    /// How the message that is read next is encrypted, if the other wants
    /// something of us.
    sealed: Option<u8>,
    /// What the limits are.
    gate: Arc<Gate>,
    /// The right to be open.
    _permit: Option<Arc<Permit>>,
}

/// The half that writes.
#[derive(Debug)]
pub(super) struct GuardWriter {
    /// The socket.
    half: OwnedWriteHalf,
    /// When the connection ends.
    deadline: Instant,
    /// The right to be open.
    _permit: Option<Arc<Permit>>,
}

/// No connection lives longer.
const LIFE: Duration = Duration::from_secs(10);

/// memberlist's tag of several messages in one.
const COMPOUND: u8 = 1;

/// memberlist's tag of what has a checksum.
const CHECKSUMED: u8 = 13;

/// memberlist's tag of what is compressed.
const COMPRESSED: u8 = 14;

/// Octets before a message of one of those tags, the length last.
const HEADER: usize = 6;

/// Whether our key opens a message is tried up to this length, to tell people:
/// what somebody who wants to join sends first is short.
const MAX_TRIED: usize = 64 << 10;

/// Octets that a length of 32 bits takes at most, seven bits each.
const MAX_VARINT: usize = 5;

// === impl Guarded ===

impl Guarded {
    /// A connection with `peer`, which has a permit if the other opened it.
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        gate: Arc<Gate>,
        permit: Option<Permit>,
    ) -> Self {
        let deadline = Instant::now() + LIFE;
        let inbound = permit.is_some();
        let permit = permit.map(Arc::new);
        let (reader, writer) = stream.into_split();
        Self {
            reader: GuardReader {
                half: reader,
                buffer: BytesMut::new(),
                deadline,
                peer,
                inbound,
                begun: !inbound,
                foreign: false,
                claim: None,
                sealed: None,
                gate,
                _permit: permit.clone(),
            },
            writer: GuardWriter {
                half: writer,
                deadline,
                _permit: permit,
            },
        }
    }
}

impl Connection for Guarded {
    type Reader = GuardReader;
    type Writer = GuardWriter;

    fn split(self) -> (GuardReader, GuardWriter) {
        (self.reader, self.writer)
    }

    fn read(&mut self, octets: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        self.reader.read(octets)
    }

    fn read_exact(&mut self, octets: &mut [u8]) -> impl Future<Output = io::Result<()>> + Send {
        self.reader.read_exact(octets)
    }

    fn peek(&mut self, octets: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        self.reader.peek(octets)
    }

    fn peek_exact(&mut self, octets: &mut [u8]) -> impl Future<Output = io::Result<()>> + Send {
        self.reader.peek_exact(octets)
    }

    fn write_all(&mut self, octets: &[u8]) -> impl Future<Output = io::Result<()>> + Send {
        self.writer.write_all(octets)
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.writer.flush()
    }

    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.writer.close()
    }
}

// === impl GuardReader ===

impl GuardReader {
    /// Reads on; false at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        let read = self.half.read_buf(&mut self.buffer);
        let read = timeout_at(self.deadline, read)
            .await
            .map_err(|_| late())??;
        Ok(read > 0)
    }

    /// Looks at how the connection begins, to tell people. What is wrong with
    /// it is memberlist's to say, which tells the other.
    async fn begin(&mut self) -> io::Result<()> {
        while !self.begun {
            let opening = self.gate.opening(&self.buffer);
            if opening != Opening::Ours {
                self.foreign = true;
                self.gate.foreign(self.peer.ip(), opening);
            }
            let known = self.foreign || self.gate.is_opened(&self.buffer);
            self.begun = known || !self.fill().await?;
        }
        Ok(())
    }

    /// Reads until so many octets are there.
    async fn need(&mut self, octets: usize) -> io::Result<()> {
        self.begin().await?;
        while self.buffer.len() < octets {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Makes room for the message that begins here, if its length is there.
    fn examine(&mut self) -> io::Result<bool> {
        let Some(length) = announced(&self.buffer)? else {
            return Ok(false);
        };
        // Given back first: the same header may be looked at twice.
        self.claim = None;
        self.claim = Some(self.gate.claim(length).ok_or_else(too_long)?);
        Ok(true)
    }

    /// Copies what is there, as much as fits.
    fn copy(&self, octets: &mut [u8]) -> usize {
        let both = octets.len().min(self.buffer.len());
        for (to, from) in octets.iter_mut().zip(&self.buffer) {
            *to = *from;
        }
        both
    }
}

impl ProtoReader for GuardReader {
    async fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.begin().await?;
        if self.buffer.is_empty() && !octets.is_empty() {
            self.fill().await?;
        }
        let copied = self.copy(octets);
        self.buffer.advance(copied);
        Ok(copied)
    }

    async fn read_exact(&mut self, octets: &mut [u8]) -> io::Result<()> {
        let sealed = self.sealed.take();
        if octets.len() == HEADER {
            self.need(HEADER).await?;
            self.examine()?;
            if let [ENCRYPTED, algorithm, ..] = *self.buffer {
                self.sealed = Some(algorithm).filter(|_| self.inbound && !self.foreign);
            }
        }
        let copied = self.copy(octets);
        self.buffer.advance(copied);
        if let Some(rest) = octets.get_mut(copied..)
            && !rest.is_empty()
        {
            let read = self.half.read_exact(rest);
            timeout_at(self.deadline, read)
                .await
                .map_err(|_| late())??;
        }
        if let Some(algorithm) = sealed.filter(|_| octets.len() <= MAX_TRIED)
            && !self.gate.opens(algorithm, octets)
        {
            self.gate.foreign(self.peer.ip(), Opening::Ours);
        }
        Ok(())
    }

    /// Only used for a header whose length memberlist then allocates: does not
    /// return before that length is known.
    async fn peek(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.begin().await?;
        while !self.examine()? {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.copy(octets))
    }

    async fn peek_exact(&mut self, octets: &mut [u8]) -> io::Result<()> {
        self.need(octets.len()).await?;
        self.examine()?;
        self.copy(octets);
        Ok(())
    }
}

// === impl GuardWriter ===

impl ProtoWriter for GuardWriter {
    async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        let write = self.half.write_all(octets);
        timeout_at(self.deadline, write).await.map_err(|_| late())?
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.half.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}

/// The length that a message announces, which begins here: none as long as it
/// is not all there.
fn announced(octets: &[u8]) -> io::Result<Option<usize>> {
    let Some((tag, rest)) = octets.split_first() else {
        return Ok(None);
    };
    match *tag {
        LABELED => Ok(Some(0)),
        COMPOUND | ENCRYPTED | CHECKSUMED => {
            let length = rest
                .get(1..HEADER - 1)
                .and_then(|octets| octets.try_into().ok());
            length.map_or(Ok(None), |length| fits(u32::from_be_bytes(length)))
        }
        COMPRESSED => Err(io::Error::new(io::ErrorKind::InvalidData, "compressed")),
        _ => {
            let mut length = 0_u64;
            for (place, octet) in rest.iter().take(MAX_VARINT).enumerate() {
                length |= u64::from(octet & 0x7f) << (7 * place);
                if octet & 0x80 == 0 {
                    return u32::try_from(length).map_or_else(|_| Err(too_long()), fits);
                }
            }
            if rest.len() < MAX_VARINT {
                Ok(None)
            } else {
                Err(too_long())
            }
        }
    }
}

/// A length as it is counted here.
fn fits(length: u32) -> io::Result<Option<usize>> {
    usize::try_from(length).map(Some).map_err(|_| too_long())
}

/// A message is longer than any may be.
fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "message too long")
}

/// A connection took too long.
fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connection took too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_known_when_all_of_it_is_there() {
        let table: [(&[u8], Option<usize>); 12] = [
            (b"", None),
            (b"\x02", None),
            (b"\x02\x80", None),
            (b"\x02\x05", Some(5)),
            (b"\x08\x80\x80\x80\x10", Some(0x200_0000)),
            (b"\x08\xff\xff\xff\xff\x0f", Some(0xffff_ffff)),
            (b"\x0f\x01\xff\xff\xff", None),
            (b"\x0f\x01\xff\xff\xff\x00", Some(0xffff_ff00)),
            (b"\x01\x02\x00\x00\x00\x07", Some(7)),
            (b"\x0d\x02\x00\x00\x01\x00", Some(256)),
            (b"\x0c", Some(0)),
            (b"\x0c\xff", Some(0)),
        ];
        for (octets, expected) in table {
            assert_eq!(announced(octets).unwrap(), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_length_without_end_is_none() {
        for octets in [
            &b"\x02\xff\xff\xff\xff\xff"[..],
            b"\x02\xff\xff\xff\xff\x1f",
            b"\x0e...",
        ] {
            assert!(announced(octets).is_err(), "{octets:?}");
        }
    }
}
