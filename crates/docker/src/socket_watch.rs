//! Notices that a Unix socket has been created anew.
//!
//! An engine that comes back binds a new socket. Watching the directory wakes
//! us at once; looking at the file every quarter of a second does so where
//! directories cannot be watched (network and overlay file systems).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher as _;
use tokio::sync::Notify;

/// How often the file is looked at, whatever the directory watch says.
const POLL: Duration = Duration::from_millis(250);

/// Watches one socket. Exists only while the engine is away.
#[derive(Debug)]
pub(crate) struct SocketWatch {
    /// The socket.
    path: PathBuf,
    /// What the last attempt to connect found.
    seen: Option<Identity>,
    /// Rung when the directory changes.
    changed: Arc<Notify>,
    /// Keeps the directory watch alive; there may be none.
    _watcher: Option<RecommendedWatcher>,
}

/// What tells one socket file from its successor under the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    /// Device.
    device: u64,
    /// Inode; a file system may use one again at once.
    inode: u64,
    /// Change time in seconds and nanoseconds.
    changed: (i64, i64),
}

// === impl SocketWatch ===

impl SocketWatch {
    /// Watches `path`. What is there now counts as seen.
    pub(crate) fn new(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = watch_directory(path, &changed);
        let mut watch = Self {
            path: path.to_owned(),
            seen: None,
            changed,
            _watcher: watcher,
        };
        watch.mark();
        watch
    }

    /// Takes what is there now as seen, before an attempt to connect to it.
    pub(crate) fn mark(&mut self) {
        self.seen = identity(&self.path);
    }

    /// Whether the socket is there.
    pub(crate) fn exists(&self) -> bool {
        identity(&self.path).is_some()
    }

    /// Waits for a socket that has not been seen. Cancel safe.
    pub(crate) async fn appeared(&mut self) {
        loop {
            let current = identity(&self.path);
            if current.is_some() && current != self.seen {
                self.seen = current;
                return;
            }
            if current.is_none() {
                // The next file is a new one, even if it gets the same inode.
                self.seen = None;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

/// Rings `changed` when something happens in the directory of `path`.
fn watch_directory(path: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let bell = Arc::clone(changed);
    let ring = move |_: notify::Result<notify::Event>| bell.notify_one();
    let mut watcher = notify::recommended_watcher(ring).ok()?;
    watcher
        .watch(path.parent()?, RecursiveMode::NonRecursive)
        .ok()?;
    Some(watcher)
}

/// What is at `path` now.
fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| Identity::new(&metadata))
}

// === impl Identity ===

impl Identity {
    /// Of a file.
    fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_new_socket_is_noticed_and_the_old_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let first = UnixListener::bind(&path).unwrap();
        let mut watch = SocketWatch::new(&path);
        assert!(watch.exists());
        assert!(
            timeout(Duration::from_millis(400), watch.appeared())
                .await
                .is_err()
        );
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        timeout(Duration::from_millis(400), watch.appeared())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_a_directory_that_is_not_there_yet_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/docker.sock");
        let mut watch = SocketWatch::new(&path);
        assert!(!watch.exists());
        std::fs::create_dir(directory.path().join("later")).unwrap();
        let _socket = UnixListener::bind(&path).unwrap();
        timeout(Duration::from_millis(600), watch.appeared())
            .await
            .unwrap();
    }
}
