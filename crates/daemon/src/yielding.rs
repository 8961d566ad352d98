//! Threads that read labels and files yield to those that answer, where they
//! share a core: a name may come a moment later, an answer may not.
//!
//! Not before anybody is answered, though: the start waits for names a moment
//! only, and a core may be busy with something else.

use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, getpriority_process, setpriority_process};
use rustix::thread::gettid;

/// By how much they are nicer than others (nice(2)).
const NICER: i32 = 10;

/// The threads of a runtime, which yield from some time on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Yielding(Arc<Mutex<Threads>>);

/// The threads.
#[derive(Debug, Default)]
struct Threads {
    /// Those that run.
    running: Vec<Pid>,
    /// How nice they are; nothing as long as they do not yield.
    niceness: Option<i32>,
}

// === impl Yielding ===

impl Yielding {
    /// What each thread calls first.
    pub(crate) fn started(&self) -> impl Fn() + Send + Sync + 'static {
        let threads = self.clone();
        move || {
            threads.with(|threads| {
                threads.running.push(gettid());
                if let Some(niceness) = threads.niceness {
                    yields(gettid(), niceness);
                }
            });
        }
    }

    /// What each thread calls last.
    pub(crate) fn stopped(&self) -> impl Fn() + Send + Sync + 'static {
        let threads = self.clone();
        move || {
            threads.with(|threads| threads.running.retain(|it| *it != gettid()));
        }
    }

    /// They yield from now on to threads that are as nice as this one.
    pub(crate) fn begin(&self) {
        let niceness = getpriority_process(None).unwrap_or(0) + NICER;
        self.with(|threads| {
            threads.niceness = Some(niceness);
            for thread in &threads.running {
                yields(*thread, niceness);
            }
        });
    }

    /// Looks at the threads, alone.
    fn with(&self, look: impl FnOnce(&mut Threads)) {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Makes a thread yield.
fn yields(thread: Pid, niceness: i32) {
    // A sandbox may forbid it, and then they share as equals.
    let _: Result<_, _> = setpriority_process(Some(thread), niceness);
}
