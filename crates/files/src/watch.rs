//! Wakes a task when the operating system reports a change to a set of places.
//!
//! A report only says that it is worth looking; what changed is for the look
//! to find out. That makes lost, doubled and late reports harmless, and lets
//! one permit stand for any number of them.

use std::sync::Arc;
use std::time::Duration;

use notify::EventKind;
use notify::RecommendedWatcher;
use notify::RecursiveMode;
use notify::Watcher as _;
use notify::event::AccessKind;
use notify::event::AccessMode;
use tokio::sync::Notify;
use tokio::task;
use tokio::time::Instant;

use crate::points::Points;

/// Follows a changing set of places.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Stored whenever a change is reported.
    wake: Arc<Notify>,
    /// Whether to ask for reports at all.
    enabled: bool,
    /// Places that are watched.
    points: Points,
    /// The subscription to their changes.
    subscription: Option<RecommendedWatcher>,
    /// Whether the operator was told of the present trouble.
    reported: bool,
}

/// Why a change may go unreported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// There is no subscription at all.
    #[error("no change notification: {0}")]
    Unavailable(#[source] notify::Error),
    /// Some places are not covered.
    #[error("no change notification for {failed} of {all} places: {cause}")]
    Partial {
        /// Places that are not covered.
        failed: usize,
        /// Places in all.
        all: usize,
        /// Why the last of them is not.
        #[source]
        cause: notify::Error,
    },
    /// The thread that does it was ended.
    #[error("no change notification: the attempt was ended")]
    Ended,
}

// === impl Watcher ===

impl Watcher {
    /// Watches nothing yet, and never will unless enabled.
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            wake: Arc::new(Notify::new()),
            enabled,
            points: Points::default(),
            subscription: None,
            reported: false,
        }
    }

    /// Waits until changes were reported and have ceased for [`QUIET`], or go
    /// on for [`QUIET_LIMIT`].
    ///
    /// Cancel safe in so far as whoever drops it looks at the places anyway.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
        let limit = Instant::now() + QUIET_LIMIT;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(limit.min(Instant::now() + QUIET)) => return,
                () = self.wake.notified() => {}
            }
        }
    }

    /// Watches these places instead of those so far. A new subscription calls
    /// for one more look, since nobody watched while it was made. An error is
    /// returned once until the trouble ends.
    ///
    /// The old subscription ends after the new one has begun. Subscribing anew
    /// is cheaper than it sounds: places change when a file is replaced, and a
    /// subscription that is altered instead keeps a trace of each file it ever
    /// saw.
    pub(crate) async fn follow(&mut self, points: Points) -> Result<(), WatchError> {
        if !self.enabled || (self.subscription.is_some() && points == self.points) {
            return Ok(());
        }
        let wake = Arc::clone(&self.wake);
        let attempt = task::spawn_blocking(move || subscribe(wake, points)).await;
        let outcome = match attempt {
            Ok(Ok((subscription, points, shortfall))) => {
                self.subscription = Some(subscription);
                self.points = points;
                self.wake.notify_one();
                shortfall.map_or(Ok(()), Err)
            }
            Ok(Err(error)) => Err(WatchError::Unavailable(error)),
            Err(_) => Err(WatchError::Ended),
        };
        let told = std::mem::replace(&mut self.reported, outcome.is_err());
        if told { Ok(()) } else { outcome }
    }
}

/// Subscribes to the changes of places. Blocks for a moment.
fn subscribe(
    wake: Arc<Notify>,
    points: Points,
) -> Result<(RecommendedWatcher, Points, Option<WatchError>), notify::Error> {
    let mut subscription = notify::recommended_watcher(move |event| {
        if is_worth_a_look(&event) {
            wake.notify_one();
        }
    })?;
    let mut failed = 0;
    let mut all = 0;
    let mut last = None;
    for place in points.paths() {
        all += 1;
        if let Err(error) = subscription.watch(place, RecursiveMode::NonRecursive) {
            // A place that has just gone is not among the next ones.
            if !matches!(error.kind, notify::ErrorKind::PathNotFound) {
                failed += 1;
                last = Some(error);
            }
        }
    }
    let shortfall = last.map(|cause| WatchError::Partial { failed, all, cause });
    Ok((subscription, points, shortfall))
}

/// Whether a report means that a file may have changed: reading is reported
/// too, our own above all.
fn is_worth_a_look(event: &notify::Result<notify::Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        Err(_) => true,
    }
}

/// How long changes have to cease before a look: a writer writes in several
/// steps.
const QUIET: Duration = Duration::from_millis(50);

/// When to look even though changes go on.
const QUIET_LIMIT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::paths;
    use crate::paths::Selection;

    #[tokio::test]
    async fn a_change_wakes_and_reading_does_not() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("hosts");
        fs::write(&file, "").unwrap();
        let mut watcher = Watcher::new(true);
        watcher.follow(points(&file)).await.unwrap();
        woken(&watcher).await.expect("the new subscription wakes");
        fs::read(&file).unwrap();
        woken(&watcher).await.expect_err("reading is no change");
        fs::write(&file, "x").unwrap();
        woken(&watcher).await.expect("a change wakes");
    }

    #[tokio::test]
    async fn the_same_places_are_not_subscribed_to_twice() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("hosts");
        fs::write(&file, "").unwrap();
        let mut watcher = Watcher::new(true);
        watcher.follow(points(&file)).await.unwrap();
        woken(&watcher).await.unwrap();
        watcher.follow(points(&file)).await.unwrap();
        woken(&watcher).await.expect_err("nothing is new");
    }

    #[tokio::test]
    async fn a_disabled_watcher_never_wakes() {
        let dir = TempDir::new().unwrap();
        let mut watcher = Watcher::new(false);
        watcher.follow(points(dir.path())).await.unwrap();
        fs::write(dir.path().join("hosts"), "x").unwrap();
        woken(&watcher).await.expect_err("nobody watches");
    }

    /// Waits for a while for a report.
    async fn woken(watcher: &Watcher) -> Result<(), tokio::time::error::Elapsed> {
        tokio::time::timeout(Duration::from_millis(400), watcher.changed()).await
    }

    fn points(path: &std::path::Path) -> Points {
        let path = path.to_str().unwrap();
        let mut points = Points::default();
        points.follow(path, &paths::list(path, &Selection::ANY));
        points
    }
}
