//! Reads one file within bounds, and tells whether it is worth taking.

use std::fs::File;
use std::hash::DefaultHasher;
use std::hash::Hasher as _;
use std::io;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use crate::paths::Stamp;

/// A file to read, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadOrder {
    /// Its path.
    pub(crate) path: Arc<str>,
    /// Digest of the content in effect.
    pub(crate) digest: Option<u64>,
    /// Whether the file has kept its size for so long that nobody can be in
    /// the middle of writing it.
    pub(crate) settled: bool,
    /// Whether no content at all is to be believed.
    pub(crate) may_be_empty: bool,
}

/// What reading a file gave.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Somebody is writing it: look again soon.
    Unsettled,
    /// The content in effect.
    Unchanged(Seen),
    /// Another content.
    Changed {
        /// What was read.
        seen: Seen,
        /// The content.
        text: Vec<u8>,
    },
}

/// A content that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Stamp of the file when it was opened.
    pub(crate) stamp: Stamp,
    /// Digest of the content.
    pub(crate) digest: u64,
    /// Whether there is any content.
    pub(crate) has_content: bool,
    /// Whether the file was modified so recently that one more change could
    /// leave the stamp as it is.
    pub(crate) recent: bool,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is longer than this many octets.
    #[error("larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
}

/// Reads a file of at most `max_size` octets. Blocks.
pub(crate) fn read(order: &ReadOrder, max_size: u64) -> Result<Reading, ReadError> {
    let file = File::open(&*order.path)?;
    let stamp = Stamp::of(&file.metadata()?)?;
    if stamp.size > max_size {
        return Err(ReadError::TooLarge(max_size));
    }
    let mut text = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or_default() + 1);
    file.take(max_size + 1).read_to_end(&mut text)?;
    let length = text.len() as u64;
    if length > max_size {
        return Err(ReadError::TooLarge(max_size));
    }
    if is_half_written(&text, stamp, order) {
        return Ok(Reading::Unsettled);
    }
    let seen = Seen {
        stamp,
        digest: digest(&text),
        has_content: !text.is_empty(),
        recent: is_recent(stamp.modified),
    };
    if order.digest == Some(seen.digest) {
        return Ok(Reading::Unchanged(seen));
    }
    Ok(Reading::Changed { seen, text })
}

/// Whether a file looks as though its writer is not done. Writers fill a
/// buffer and write it out, so that what is there ends within a line.
fn is_half_written(text: &[u8], stamp: Stamp, order: &ReadOrder) -> bool {
    match text.last() {
        Some(&last) => !order.settled && (last != b'\n' || (text.len() as u64) < stamp.size),
        None => !order.may_be_empty,
    }
}

/// Digest that tells one content from another.
fn digest(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// Whether a modification is as recent as the clock of a file system is
/// coarse.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn is_recent(modified: SystemTime) -> bool {
    let now = SystemTime::now();
    let distance = now
        .duration_since(modified)
        .unwrap_or_else(|error| error.duration());
    distance < COARSE_CLOCK
}

/// File systems stamp with the kernel's tick, 10 ms at worst; some round.
const COARSE_CLOCK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_ends_within_a_line_is_taken_once_it_has_settled() {
        let dir = TempDir::new().unwrap();
        let order = order(&dir, b"192.0.2.1 a.exam");
        assert!(matches!(
            read(&order, MAX_SIZE).unwrap(),
            Reading::Unsettled
        ));
        let settled = ReadOrder {
            settled: true,
            ..order
        };
        assert!(matches!(
            read(&settled, MAX_SIZE).unwrap(),
            Reading::Changed { .. }
        ));
    }

    #[test]
    fn a_file_that_ends_with_a_line_is_taken_at_once() {
        let dir = TempDir::new().unwrap();
        let order = order(&dir, b"192.0.2.1 a.example.org\n");
        let Reading::Changed { seen, text } = read(&order, MAX_SIZE).unwrap() else {
            panic!("there is new content");
        };
        assert_eq!(text, b"192.0.2.1 a.example.org\n");
        assert!(seen.has_content);
        assert!(seen.recent, "it was written just now");
    }

    #[test]
    fn the_same_content_is_no_change() {
        let dir = TempDir::new().unwrap();
        let order = order(&dir, b"192.0.2.1 a.example.org\n");
        let Reading::Changed { seen, .. } = read(&order, MAX_SIZE).unwrap() else {
            panic!("there is new content");
        };
        let again = ReadOrder {
            digest: Some(seen.digest),
            ..order
        };
        assert!(matches!(
            read(&again, MAX_SIZE).unwrap(),
            Reading::Unchanged(_)
        ));
    }

    #[test]
    fn no_content_is_taken_only_if_it_is_to_be_believed() {
        let dir = TempDir::new().unwrap();
        let mut order = order(&dir, b"");
        order.settled = true;
        assert!(matches!(
            read(&order, MAX_SIZE).unwrap(),
            Reading::Unsettled
        ));
        order.may_be_empty = true;
        assert!(matches!(
            read(&order, MAX_SIZE).unwrap(),
            Reading::Changed { .. }
        ));
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let dir = TempDir::new().unwrap();
        let order = order(&dir, b"");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&*order.path)
            .unwrap();
        file.set_len(MAX_SIZE + 1).unwrap();
        let error = read(&order, MAX_SIZE).unwrap_err();
        assert_eq!(error.to_string(), "larger than 1 MiB");
    }

    #[test]
    fn an_old_file_is_not_recent() {
        let dir = TempDir::new().unwrap();
        let order = order(&dir, b"\n");
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&*order.path)
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let Reading::Changed { seen, .. } = read(&order, MAX_SIZE).unwrap() else {
            panic!("there is new content");
        };
        assert!(!seen.recent);
    }

    /// Writes a file and orders it read, as one that has just changed.
    fn order(dir: &TempDir, text: &[u8]) -> ReadOrder {
        let path = dir.path().join("hosts");
        fs::write(&path, text).unwrap();
        ReadOrder {
            path: path.to_str().unwrap().into(),
            digest: None,
            settled: false,
            may_be_empty: false,
        }
    }

    /// The bound in these tests.
    const MAX_SIZE: u64 = 1 << 20;
}
