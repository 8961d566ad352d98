//! Whether the server is ready to serve, as `/ready` tells it.
//!
//! Each part that has to learn something first takes a [`Latch`] and releases it
//! when it has. The server is ready when no latch is held, until it shuts down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle on the readiness of the process; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// Shared with the latches.
    state: Arc<Mutex<State>>,
}

/// One part's say in readiness. It is held at first; dropping it withdraws it.
#[derive(Debug)]
#[must_use = "a latch that is dropped holds nothing up"]
pub struct Latch {
    /// The key in [`State::latches`].
    id: u64,
    /// Where the latch is kept.
    readiness: Readiness,
}

/// What happens when a part that was ready no longer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Monitor {
    /// Nothing: once ready, a part stays ready.
    #[default]
    UntilReady,
    /// The server is not ready until the part is again.
    Continuously,
}

/// The answer to "ready?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Every part is ready.
    Ready,
    /// These parts are not, in alphabetical order.
    Unready(Vec<String>),
    /// The server is about to end.
    ShuttingDown,
}

/// What the handles share.
#[derive(Debug, Default)]
struct State {
    /// How readiness that was lost counts.
    monitor: Monitor,
    /// The server is about to end.
    shutting_down: bool,
    /// The key of the next latch.
    next_id: u64,
    /// All latches there are.
    latches: BTreeMap<u64, Entry>,
}

/// What is known of one latch.
#[derive(Debug)]
struct Entry {
    /// The part's name.
    name: String,
    /// It is ready now.
    ready: bool,
    /// It has been ready before.
    was_ready: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a part by the name that `/ready` gives it; it is not ready yet.
    pub fn latch(&self, name: &str) -> Latch {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let entry = Entry {
            name: name.to_owned(),
            ready: false,
            was_ready: false,
        };
        state.latches.insert(id, entry);
        drop(state);
        Latch {
            id,
            readiness: self.clone(),
        }
    }

    /// Decides how readiness that was lost counts.
    pub fn set_monitor(&self, monitor: Monitor) {
        self.lock().monitor = monitor;
    }

    /// Makes the server unready for good: it is about to end.
    pub fn shut_down(&self) {
        self.lock().shutting_down = true;
    }

    /// Whether the server is ready now.
    pub fn status(&self) -> Status {
        let state = self.lock();
        if state.shutting_down {
            return Status::ShuttingDown;
        }
        let unready = state.latches.values().filter(|entry| match state.monitor {
            Monitor::UntilReady => !entry.was_ready,
            Monitor::Continuously => !entry.ready,
        });
        let names: BTreeSet<&str> = unready.map(|entry| entry.name.as_str()).collect();
        if names.is_empty() {
            Status::Ready
        } else {
            Status::Unready(names.into_iter().map(str::to_owned).collect())
        }
    }

    /// Locks the state; a poisoned lock still holds a valid one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Latch ===

impl Latch {
    /// The part is ready.
    pub fn release(&self) {
        self.set(true);
    }

    /// The part is not ready any more; this counts only under
    /// [`Monitor::Continuously`].
    pub fn hold(&self) {
        self.set(false);
    }

    /// Records whether the part is ready.
    fn set(&self, ready: bool) {
        if let Some(entry) = self.readiness.lock().latches.get_mut(&self.id) {
            entry.ready = ready;
            entry.was_ready |= ready;
        }
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.readiness.lock().latches.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_wait_for_is_ready() {
        assert_eq!(Readiness::default().status(), Status::Ready);
    }

    #[test]
    fn parts_that_are_not_ready_are_listed_once_and_in_order() {
        let readiness = Readiness::default();
        let traefik = readiness.latch("traefik-externals");
        let docker = readiness.latch("docker-cluster");
        let other_docker = readiness.latch("docker-cluster");

        assert_eq!(
            readiness.status(),
            unready(&["docker-cluster", "traefik-externals"])
        );
        traefik.release();
        docker.release();
        assert_eq!(readiness.status(), unready(&["docker-cluster"]));
        other_docker.release();
        assert_eq!(readiness.status(), Status::Ready);
    }

    #[test]
    fn readiness_that_is_lost_counts_only_when_monitored() {
        let readiness = Readiness::default();
        let latch = readiness.latch("docker-cluster");
        latch.release();
        latch.hold();

        assert_eq!(readiness.status(), Status::Ready);
        readiness.set_monitor(Monitor::Continuously);
        assert_eq!(readiness.status(), unready(&["docker-cluster"]));
        latch.release();
        assert_eq!(readiness.status(), Status::Ready);
    }

    #[test]
    fn a_latch_that_is_dropped_holds_nothing_up() {
        let readiness = Readiness::default();
        let latch = readiness.latch("docker-cluster");

        drop(latch);

        assert_eq!(readiness.status(), Status::Ready);
    }

    #[test]
    fn shutting_down_is_for_good() {
        let readiness = Readiness::default();
        let latch = readiness.latch("docker-cluster");

        readiness.shut_down();
        latch.release();

        assert_eq!(readiness.status(), Status::ShuttingDown);
    }

    /// The status with these names.
    fn unready(names: &[&str]) -> Status {
        Status::Unready(names.iter().map(|&name| name.to_owned()).collect())
    }
}
