use std::io;
use std::time::SystemTime;

use super::*;
use crate::paths::Found;

#[test]
fn a_file_is_read_once_per_change() {
    let mut files = Model::new();
    assert_eq!(files.look(0, &[("hosts", 10)]).reads.len(), 1);
    files.load(0, "hosts", 10);
    assert_eq!(files.look(10, &[("hosts", 10)]).reads.len(), 0);
    assert_eq!(files.look(20, &[("hosts", 11)]).reads.len(), 1);
    files.load(20, "hosts", 11);
    assert_eq!(files.look(30, &[("hosts", 11)]).reads.len(), 0);
    assert_eq!(files.state.deadline(), None);
}

#[test]
fn the_first_look_takes_files_as_they_are() {
    let mut files = Model::new();
    let plan = files.look(0, &[("hosts", 10)]);
    let order = plan.reads.first().unwrap();
    assert!(order.settled);
    assert!(order.may_be_empty);
}

#[test]
fn a_file_is_settled_half_a_second_after_its_size_changed() {
    let mut files = Model::loaded("hosts", 10);
    let order = files.look(1000, &[("hosts", 20)]).reads.remove(0);
    assert!(!order.settled);
    files.unsettled(1000, &order);
    assert_eq!(files.state.deadline(), Some(files.at(1250)));
    assert_eq!(
        files.look(1100, &[("hosts", 20)]).reads.len(),
        0,
        "not before it is due"
    );
    let order = files.look(1250, &[("hosts", 20)]).reads.remove(0);
    assert!(!order.settled);
    files.unsettled(1250, &order);
    let order = files.look(1500, &[("hosts", 20)]).reads.remove(0);
    assert!(order.settled);
}

#[test]
fn a_file_that_grows_while_it_is_waited_for_is_read_at_once() {
    let mut files = Model::loaded("hosts", 10);
    let order = files.look(1000, &[("hosts", 20)]).reads.remove(0);
    files.unsettled(1000, &order);
    assert_eq!(files.look(1050, &[("hosts", 30)]).reads.len(), 1);
}

#[test]
fn an_emptied_file_is_held_for_two_seconds() {
    let mut files = Model::loaded("hosts", 10);
    assert_eq!(files.look(1000, &[("hosts", 0)]).reads.len(), 0);
    assert_eq!(files.state.deadline(), Some(files.at(3000)));
    assert_eq!(files.look(2999, &[("hosts", 0)]).reads.len(), 0);
    let order = files.look(3000, &[("hosts", 0)]).reads.remove(0);
    assert!(order.may_be_empty);
    files.load(3000, "hosts", 0);
    assert_eq!(files.state.deadline(), None);
    assert_eq!(files.look(9000, &[("hosts", 0)]).reads.len(), 0);
}

#[test]
fn a_file_that_is_filled_in_time_was_never_empty() {
    let mut files = Model::loaded("hosts", 10);
    files.look(1000, &[("hosts", 0)]);
    let order = files.look(1500, &[("hosts", 12)]).reads.remove(0);
    assert!(!order.may_be_empty);
    files.load(1500, "hosts", 12);
    assert_eq!(files.state.deadline(), None);
}

#[test]
fn a_new_file_may_be_empty() {
    let mut files = Model::loaded("hosts", 10);
    let plan = files.look(1000, &[("hosts", 10), ("other", 0)]);
    assert!(plan.reads.first().unwrap().may_be_empty);
}

#[test]
fn a_removed_member_is_withdrawn_after_its_grace() {
    let mut files = Model::loaded("hosts", 10);
    assert!(files.look(1000, &[]).withdrawn.is_empty());
    assert_eq!(files.state.deadline(), Some(files.at(3000)));
    assert!(files.look(2999, &[]).withdrawn.is_empty());
    assert_eq!(files.look(3000, &[]).withdrawn, ["hosts".into()]);
    assert!(files.look(9000, &[]).withdrawn.is_empty());
    assert_eq!(files.state.deadline(), None);
}

#[test]
fn a_member_that_comes_back_in_time_is_not_withdrawn() {
    let mut files = Model::loaded("hosts", 10);
    files.look(1000, &[]);
    files.look(1500, &[("hosts", 10)]);
    assert!(files.look(2999, &[]).withdrawn.is_empty());
    assert!(files.look(3500, &[]).withdrawn.is_empty(), "a new grace");
}

#[test]
fn a_missing_path_keeps_its_files_for_ever_and_is_told_once() {
    let mut files = Model::loaded("hosts", 10);
    let plan = files.see(1000, Listing::Missing);
    assert_eq!(plan.notices, [Notice::Missing("root".into())]);
    let plan = files.see(900_000, Listing::Missing);
    assert!(plan.notices.is_empty());
    assert!(plan.withdrawn.is_empty());
    assert_eq!(files.state.deadline(), None);
    files.look(901_000, &[("hosts", 10)]);
    assert_eq!(files.see(902_000, Listing::Missing).notices.len(), 1);
}

#[test]
fn an_incomplete_listing_withdraws_nothing() {
    let mut files = Model::loaded("hosts", 10);
    for at in [1000, 9000] {
        let plan = files.see(
            at,
            Listing::Files {
                found: Vec::new(),
                complete: false,
                truncated: false,
            },
        );
        assert!(plan.withdrawn.is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_once_and_kept() {
    let mut files = Model::loaded("hosts", 10);
    let unreadable = || {
        vec![Found {
            path: "hosts".into(),
            stamp: Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        }]
    };
    for (at, notices) in [(1000, 1), (9000, 0)] {
        let plan = files.see(
            at,
            Listing::Files {
                found: unreadable(),
                complete: true,
                truncated: false,
            },
        );
        assert_eq!(plan.notices.len(), notices);
        assert!(plan.withdrawn.is_empty());
    }
    let order = files.look(10_000, &[("hosts", 11)]).reads.remove(0);
    let now = files.at(10_000);
    let failed = || Outcome::Failed("denied".to_owned());
    assert_eq!(
        files.state.complete(&order, failed(), now),
        None,
        "the trouble goes on"
    );
    files.load(10_000, "hosts", 11);
    assert!(files.state.complete(&order, failed(), now).is_some());
}

#[test]
fn a_file_modified_just_now_is_read_once_more() {
    let mut files = Model::new();
    let order = files.look(0, &[("hosts", 10)]).reads.remove(0);
    let mut seen = seen(10);
    seen.recent = true;
    let now = files.at(0);
    files.state.complete(&order, Outcome::Read(seen), now);
    assert_eq!(files.state.deadline(), Some(files.at(100)));
    assert_eq!(files.look(100, &[("hosts", 10)]).reads.len(), 1);
    files.load(100, "hosts", 10);
    assert_eq!(files.state.deadline(), None);
}

#[test]
fn a_file_that_two_paths_list_is_read_once() {
    let mut files = Files::new(&["a".to_owned(), "b".to_owned()]);
    let listing = || Listing::Files {
        found: vec![found("same", 10)],
        complete: true,
        truncated: false,
    };
    let plan = files.observe(vec![listing(), listing()], epoch());
    assert_eq!(plan.reads.len(), 1);
}

#[test]
fn more_files_than_are_read_are_told_of_once() {
    let mut model = Model::loaded("d/a", 10);
    let listing = |truncated: bool| Listing::Files {
        found: vec![found("d/a", 10)],
        complete: !truncated,
        truncated,
    };
    for (at, truncated, notices) in [
        (1000, true, 1),
        (2000, true, 0),
        (3000, false, 0),
        (4000, true, 1),
    ] {
        let plan = model.see(at, listing(truncated));
        assert_eq!(plan.notices.len(), notices, "{at}");
    }
}

#[test]
fn what_is_forgotten_is_read_anew_once() {
    let mut model = Model::loaded("a", 10);
    assert!(model.look(1000, &[("a", 10)]).reads.is_empty());
    model.state.forget();
    let order = model.look(2000, &[("a", 10)]).reads.remove(0);
    assert_eq!(order.digest, None);
    model.load(2000, "a", 10);
    assert!(model.look(3000, &[("a", 10)]).reads.is_empty());
}

/// A state with one configured path, and a clock that starts at 0 ms.
struct Model {
    state: Files,
    epoch: Instant,
}

impl Model {
    fn new() -> Self {
        Self {
            state: Files::new(&["root".to_owned()]),
            epoch: epoch(),
        }
    }

    /// A state in which a file was loaded at 0 ms.
    fn loaded(path: &str, size: u64) -> Self {
        let mut model = Self::new();
        model.look(0, &[(path, size)]);
        model.load(0, path, size);
        model
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.epoch + Duration::from_millis(milliseconds)
    }

    /// Observes a complete listing of files with their sizes.
    fn look(&mut self, at: u64, files: &[(&str, u64)]) -> Plan {
        let found = files.iter().map(|&(path, size)| found(path, size));
        self.see(
            at,
            Listing::Files {
                found: found.collect(),
                complete: true,
                truncated: false,
            },
        )
    }

    fn see(&mut self, at: u64, listing: Listing) -> Plan {
        let now = self.at(at);
        self.state.observe(vec![listing], now)
    }

    fn load(&mut self, at: u64, path: &str, size: u64) {
        let now = self.at(at);
        let order = ReadOrder {
            path: path.into(),
            digest: None,
            settled: true,
            may_be_empty: true,
        };
        let notice = self.state.complete(&order, Outcome::Read(seen(size)), now);
        assert_eq!(notice, None);
    }

    fn unsettled(&mut self, at: u64, order: &ReadOrder) {
        let now = self.at(at);
        self.state.complete(order, Outcome::Unsettled, now);
    }
}

fn found(path: &str, size: u64) -> Found {
    Found {
        path: path.into(),
        stamp: Ok(stamp(size)),
    }
}

fn seen(size: u64) -> Seen {
    Seen {
        stamp: stamp(size),
        digest: size,
        has_content: size > 0,
        recent: false,
    }
}

fn stamp(size: u64) -> Stamp {
    Stamp {
        device: 1,
        inode: 1,
        size,
        modified: SystemTime::UNIX_EPOCH,
    }
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn epoch() -> Instant {
    Instant::now()
}
