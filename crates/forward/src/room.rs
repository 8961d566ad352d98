//! Room for large responses that were read and not passed on yet.
//!
//! An upstream may send a thousand of them at once, faster than those who
//! asked pass them on. All connections together read no more than there is
//! room for; the rest waits with the upstream (RFC 7766 §6.2.1.1 leaves that
//! to TCP, RFC 9113 §5.2 to the windows of HTTP/2).

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

/// The room of the process, as the memory is.
pub(crate) static LARGE_RESPONSES: Room = Room::new(4 << 20);

/// Octets of a response from which on it needs room before it is read.
pub(crate) const LARGE: usize = 4096;

/// How long a large response holds its room while it is being read. One that
/// takes longer is read without, so that an upstream which stops in the midst
/// of responses does not keep others from theirs.
const STALLED: Duration = Duration::from_secs(1);

/// Room for so many octets of large responses. It is held for a bounded time:
/// until the response was read, and then until whoever asked has a turn, or
/// has gone.
#[derive(Debug)]
pub(crate) struct Room(Semaphore);

/// The room that a large response takes, until dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// As much.
    _permit: SemaphorePermit<'static>,
}

// === impl Room ===

impl Room {
    /// Room for so many octets.
    pub(crate) const fn new(octets: usize) -> Self {
        Self(Semaphore::const_new(octets))
    }

    /// Does the reading of a response of so many octets: at once if they are
    /// few, otherwise when there is room, and gives the room along.
    pub(crate) async fn read<T>(
        &'static self,
        octets: u16,
        reading: impl Future<Output = T>,
    ) -> (T, Option<Taken>) {
        if usize::from(octets) < LARGE {
            return (reading.await, None);
        }
        let permit = self.0.acquire_many(u32::from(octets)).await;
        let taken = Taken {
            _permit: permit.expect("it is never closed"),
        };
        let mut reading = pin!(reading);
        match timeout(STALLED, &mut reading).await {
            Ok(read) => (read, Some(taken)),
            Err(_) => {
                drop(taken);
                (reading.await, None)
            }
        }
    }

    /// Octets that there is room for just now.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_large_is_read_once_there_is_room() {
        let room: &'static Room = Box::leak(Box::new(Room::new(9_000)));
        let wait = STALLED * 10;
        let (_, first) = room.read(5_000, ready(())).await;
        assert_eq!(room.free(), 4_000);
        timeout(wait, room.read(5_000, async { panic!("no room") }))
            .await
            .unwrap_err();
        let (_, small) = room.read(4_095, ready(())).await;
        assert!(small.is_none());
        drop(first);
        let (_, second) = timeout(wait, room.read(5_000, ready(()))).await.unwrap();
        assert_eq!(room.free(), 4_000);
        drop(second);
        assert_eq!(room.free(), 9_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stalls_keeps_no_room() {
        let room: &'static Room = Box::leak(Box::new(Room::new(9_000)));
        let mut stalling = pin!(room.read(5_000, pending::<()>()));
        timeout(STALLED / 2, &mut stalling).await.unwrap_err();
        assert_eq!(room.free(), 4_000);
        timeout(STALLED, &mut stalling).await.unwrap_err();
        assert_eq!(room.free(), 9_000);
    }
}
