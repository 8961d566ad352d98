//! A stream, taken apart into messages.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::connections::Share;

/// Octets that most messages fit: room for these is not counted.
const SMALL: usize = 512;

/// Most octets of room beyond what has come. What a message announces takes
/// nothing before it comes.
const AHEAD: usize = 8 << 10;

/// Splits a stream into messages.
pub(super) struct Frames {
    /// The stream.
    stream: OwnedReadHalf,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// Its octets, unless they are few.
    share: Share,
}

// === impl Frames ===

impl Frames {
    /// Nothing was read yet. What is read is counted as `share`.
    pub(super) fn new(stream: OwnedReadHalf, share: Share) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            share,
        }
    }

    /// Whether a message was begun.
    pub(super) fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next message: its first octet within `idle`, the rest within
    /// `read`. Cancel safe: what was read stays in the buffer.
    pub(super) async fn next(&mut self, idle: Duration, read: Duration) -> io::Result<Vec<u8>> {
        if !self.has_begun() {
            timeout(idle, self.fill())
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??;
        }
        timeout(read, async {
            loop {
                if let Some(message) = self.take() {
                    return Ok(message);
                }
                self.fill().await?;
            }
        })
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Reads some more.
    async fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            let more = self.buffer.len().clamp(SMALL, AHEAD);
            self.buffer.reserve_exact(more);
            self.count();
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Takes a message that is complete off the buffer.
    fn take(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.buffer.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let message = rest.get(..length)?.to_vec();
        self.buffer.drain(..2 + length);
        if self.buffer.len() <= SMALL && self.buffer.capacity() > SMALL {
            self.buffer.shrink_to(SMALL);
            self.count();
        }
        Some(message)
    }

    /// Counts what is held.
    fn count(&mut self) {
        let held = self.buffer.capacity();
        self.share.set(if held > SMALL { held } else { 0 });
    }
}

#[cfg(test)]
mod tests;
