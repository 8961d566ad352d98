//! Decides which files to read, what to keep although it is gone, and when to
//! look again. Knows neither clock nor disk.
//!
//! ```text
//!             listed            read: Changed
//!   (none) ----------> Found ------------------> Loaded
//!                       ^ |                       |  ^
//!         read: failed, | | stamp differs, due    |  | listed again, or the
//!         Unsettled     +-+                       v  | listing is not to be had
//!                                                Gone
//!                                                 |
//!                                                 | GONE_GRACE
//!                                                 v
//!                                             withdrawn
//! ```
//!
//! Whatever happens to a file, the rows that were last read from it stay in
//! effect until it was read again or, as a member of a directory or of a
//! pattern, is known to have been removed:
//!
//! - A configured path that is missing says nothing about its files. A single
//!   file that vanished, like a directory that was unmounted, keeps its rows.
//! - A directory that can be listed and no longer holds a file has lost it. A
//!   grace covers writers that remove and create.
//! - A file that became empty may be in the middle of truncate and write.
//! - A file that ends within a line may be half written.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::paths::Listing;
use crate::paths::Stamp;
use crate::read::ReadOrder;
use crate::read::Seen;

/// What is known of the files of one directive.
#[derive(Debug)]
pub(crate) struct Files {
    /// Configured paths, in their order.
    roots: Vec<Root>,
    /// Files by path.
    entries: BTreeMap<Arc<str>, Entry>,
    /// Whether there was a look already: what the first one finds has no past
    /// and is taken as it is, so that the start waits for nobody.
    started: bool,
}

/// What follows from a look at the configured paths.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Files to read.
    pub(crate) reads: Vec<ReadOrder>,
    /// Files whose rows are to be withdrawn.
    pub(crate) withdrawn: Vec<Arc<str>>,
    /// What the operator should know; each is told once until it ends.
    pub(crate) notices: Vec<Notice>,
}

/// Something that an operator should know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A configured path does not exist.
    Missing(Arc<str>),
    /// A path cannot be read; what was last read from it stays in effect.
    Unreadable(Arc<str>, String),
    /// A path stands for more files than are read.
    TooMany(Arc<str>),
}

/// What reading a file came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is being written.
    Unsettled,
    /// It was read, and is in effect from now on.
    Read(Seen),
    /// It cannot be read.
    Failed(String),
}

/// A configured path.
#[derive(Debug)]
struct Root {
    /// The path.
    path: Arc<str>,
    /// Whether the operator was told of its present trouble.
    reported: bool,
}

/// One file.
#[derive(Debug, Default)]
struct Entry {
    /// Index of the configured path that lists it.
    root: usize,
    /// Its stamp when last looked at.
    stamp: Option<Stamp>,
    /// When its size was first seen to differ.
    size_changed: Option<Instant>,
    /// Since when it is empty although the content in effect is not.
    emptied: Option<Instant>,
    /// Since when it is missing from the listing.
    gone: Option<Instant>,
    /// When to read it although its stamp is the same.
    due: Option<Instant>,
    /// Content in effect.
    loaded: Option<Seen>,
    /// Whether the content in effect is to be read anew.
    forgotten: bool,
    /// Whether the operator was told of its present trouble.
    reported: bool,
}

// === impl Files ===

impl Files {
    /// Knows the configured paths and has not looked yet.
    pub(crate) fn new(paths: &[String]) -> Self {
        let roots = paths.iter().map(|path| Root {
            path: path.as_str().into(),
            reported: false,
        });
        Self {
            roots: roots.collect(),
            entries: BTreeMap::new(),
            started: false,
        }
    }

    /// Takes what the configured paths stand for, in their order.
    pub(crate) fn observe(&mut self, listings: Vec<Listing>, now: Instant) -> Plan {
        let mut plan = Plan::default();
        let mut listed = BTreeSet::new();
        let mut lossless = vec![false; self.roots.len()];
        for (index, listing) in listings.into_iter().enumerate() {
            match listing {
                Listing::Files {
                    found,
                    complete,
                    truncated,
                } => {
                    if truncated {
                        self.report(index, Notice::TooMany, &mut plan);
                    } else if let Some(root) = self.roots.get_mut(index) {
                        root.reported = false;
                    }
                    if let Some(lossless) = lossless.get_mut(index) {
                        *lossless = complete;
                    }
                    for file in found {
                        if listed.insert(Arc::clone(&file.path)) {
                            self.observe_file(index, file.path, file.stamp, now, &mut plan);
                        }
                    }
                }
                Listing::Missing => self.report(index, Notice::Missing, &mut plan),
                Listing::Unreadable(error) => {
                    let notice = |path| Notice::Unreadable(path, error.to_string());
                    self.report(index, notice, &mut plan);
                }
            }
        }
        self.retire(&listed, &lossless, now, &mut plan);
        self.started = true;
        plan
    }

    /// Takes what an order came to.
    pub(crate) fn complete(
        &mut self,
        order: &ReadOrder,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Notice> {
        let entry = self.entries.get_mut(&order.path)?;
        match outcome {
            Outcome::Unsettled => {
                entry.due = Some(now + RETRY_AFTER);
                None
            }
            Outcome::Read(seen) => {
                entry.due = seen.recent.then(|| now + VERIFY_AFTER);
                entry.loaded = Some(seen);
                entry.forgotten = false;
                entry.reported = false;
                None
            }
            Outcome::Failed(cause) => {
                let first = !std::mem::replace(&mut entry.reported, true);
                first.then(|| Notice::Unreadable(Arc::clone(&order.path), cause))
            }
        }
    }

    /// Makes the next look order every file read, and every content count as
    /// new.
    pub(crate) fn forget(&mut self) {
        for entry in self.entries.values_mut() {
            entry.forgotten = true;
        }
    }

    /// When to look again at the latest, if at all.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.entries
            .values()
            .flat_map(|entry| {
                [
                    entry.due,
                    entry.emptied.map(|since| since + EMPTY_GRACE),
                    entry.gone.map(|since| since + GONE_GRACE),
                ]
            })
            .flatten()
            .min()
    }

    /// How many files are in effect.
    pub(crate) fn loaded_count(&self) -> usize {
        let entries = self.entries.values();
        entries.filter(|entry| entry.loaded.is_some()).count()
    }

    /// Takes a file that a configured path lists.
    fn observe_file(
        &mut self,
        root: usize,
        path: Arc<str>,
        stamp: std::io::Result<Stamp>,
        now: Instant,
        plan: &mut Plan,
    ) {
        let started = self.started;
        let entry = self.entries.entry(Arc::clone(&path)).or_default();
        entry.root = root;
        entry.gone = None;
        match stamp {
            Ok(stamp) => {
                if entry.observe(stamp, started, now) {
                    plan.reads.push(entry.order(path, now));
                }
            }
            Err(error) => {
                entry.due = None;
                entry.emptied = None;
                if !std::mem::replace(&mut entry.reported, true) {
                    let notice = Notice::Unreadable(path, error.to_string());
                    plan.notices.push(notice);
                }
            }
        }
    }

    /// Tells of a configured path's trouble, once.
    fn report(&mut self, index: usize, notice: impl FnOnce(Arc<str>) -> Notice, plan: &mut Plan) {
        if let Some(root) = self.roots.get_mut(index)
            && !std::mem::replace(&mut root.reported, true)
        {
            plan.notices.push(notice(Arc::clone(&root.path)));
        }
    }

    /// Withdraws the files that a listing has been without for long enough.
    fn retire(
        &mut self,
        listed: &BTreeSet<Arc<str>>,
        lossless: &[bool],
        now: Instant,
        plan: &mut Plan,
    ) {
        self.entries.retain(|path, entry| {
            if listed.contains(path) {
                return true;
            }
            entry.due = None;
            entry.emptied = None;
            if !lossless.get(entry.root).copied().unwrap_or(false) {
                entry.gone = None;
                return true;
            }
            let since = *entry.gone.get_or_insert(now);
            if now.saturating_duration_since(since) < GONE_GRACE {
                return true;
            }
            if entry.loaded.is_some() {
                plan.withdrawn.push(Arc::clone(path));
            }
            false
        });
    }
}

// === impl Entry ===

impl Entry {
    /// Takes a stamp; whether the file is to be read.
    fn observe(&mut self, stamp: Stamp, started: bool, now: Instant) -> bool {
        let known = self.stamp.replace(stamp);
        if started && known.is_none_or(|known| known.size != stamp.size) {
            self.size_changed = Some(now);
        }
        let had_content = self.loaded.is_some_and(|seen| seen.has_content);
        if stamp.size == 0 && had_content {
            let since = *self.emptied.get_or_insert(now);
            if now.saturating_duration_since(since) < EMPTY_GRACE {
                return false;
            }
        } else {
            self.emptied = None;
        }
        let due = self.due.is_some_and(|due| due <= now);
        let differs = self.loaded.is_none_or(|seen| seen.stamp != stamp);
        // A file that is waited for is left alone until then, unless it
        // changes meanwhile.
        let waited_for = self.due.is_some() && !due && known == Some(stamp);
        (differs && !waited_for) || due || self.forgotten
    }

    /// The order to read the file.
    fn order(&mut self, path: Arc<str>, now: Instant) -> ReadOrder {
        self.due = None;
        let settled = self
            .size_changed
            .is_none_or(|since| now.saturating_duration_since(since) >= SETTLED_AFTER);
        let had_content = self.loaded.is_some_and(|seen| seen.has_content);
        ReadOrder {
            path,
            digest: self
                .loaded
                .map(|seen| seen.digest)
                .filter(|_| !self.forgotten),
            settled,
            may_be_empty: !had_content || self.emptied.take().is_some(),
        }
    }
}

/// How long a member of a directory or of a pattern has to be gone before its
/// rows are withdrawn. Covers a writer that removes the file and creates it.
pub(crate) const GONE_GRACE: Duration = Duration::from_secs(2);

/// How long a file has to be empty before that counts. Covers a writer that
/// truncates the file and then takes its time.
pub(crate) const EMPTY_GRACE: Duration = Duration::from_secs(2);

/// How long a file that ends within a line has to keep its size before it
/// counts as complete.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// When to read a file again that was being written.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// When to read a file again that was modified just before it was read.
const VERIFY_AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
