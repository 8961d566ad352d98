use super::*;

#[test]
fn a_member_that_joins_is_asked_for_its_set() {
    let mut bench = Bench::new();
    let a = id("a", 1);
    bench.joined(&a, 2);
    assert!(!bench.ledger.is_settled());
    assert_eq!(pulls(&bench.pass(50)), [("a".into(), "a".into())]);
    assert_eq!(pulls(&bench.pass(600)), []);
    assert_eq!(pulls(&bench.pass(200)).len(), 1, "again, without an answer");
    let actions = bench.receive(&snapshot(&a, 1, 0, &[]));
    assert!(
        actions
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::Converged { .. }))
    );
    assert!(bench.ledger.is_settled());
    assert_eq!(pulls(&bench.pass(10_000)), []);
}

#[test]
fn deltas_are_applied_in_order_and_passed_on_once() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let second = delta(&a, 2, vec![put(8), Op::Remove(7)]);
    assert_eq!(bench.receive(&second).gossip, [second.encode()]);
    assert_eq!(bench.served(), ["a/8"]);
    let again = bench.receive(&second);
    assert!(again.gossip.is_empty() && again.changes.is_empty());
    // One that overlaps what is known.
    bench.receive(&delta(&a, 2, vec![put(8), Op::Remove(7), put(9)]));
    assert_eq!(bench.served(), ["a/8", "a/9"]);
    assert!(bench.pass(300).sends.iter().all(|send| !send.reliable));
}

#[test]
fn a_gap_is_filled_by_what_comes_late() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let third = delta(&a, 3, vec![put(9)]);
    let actions = bench.receive(&third);
    assert!(actions.notices.contains(&Notice::Gap) && actions.gossip.len() == 1);
    assert!(bench.receive(&third).gossip.is_empty());
    assert_eq!(
        (bench.served(), bench.ledger.is_settled()),
        (vec!["a/7".to_owned()], false)
    );
    bench.pass(100);
    bench.receive(&delta(&a, 2, vec![put(8)]));
    assert_eq!(bench.served(), ["a/7", "a/8", "a/9"]);
    assert!(bench.ledger.is_settled());
    assert_eq!(pulls(&bench.pass(5_000)), []);
}

#[test]
fn a_gap_that_stays_is_filled_by_a_pull_and_what_was_held() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.receive(&delta(&a, 4, vec![put(10)]));
    assert_eq!(pulls(&bench.pass(149)), []);
    assert_eq!(pulls(&bench.pass(60)).len(), 1);
    bench.receive(&snapshot(&a, 1, 3, &[7, 8, 9]));
    assert_eq!(
        bench.served(),
        ["a/10", "a/7", "a/8", "a/9"]
            .map(String::from)
            .to_vec()
            .sorted()
    );
    assert!(bench.ledger.is_settled());
}

#[test]
fn no_more_than_so_many_deltas_are_held() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    for first in 3..300 {
        bench.receive(&delta(&a, first, vec![put(first)]));
    }
    bench.receive(&delta(&a, 2, vec![put(2)]));
    // The one that was there is among them.
    assert_eq!(bench.served().len(), 1 + 64);
    assert_eq!(pulls(&bench.pass(300)).len(), 1, "for the rest");
}

#[test]
fn an_announcement_is_passed_on_once_and_answered_by_a_pull_at_once() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let announcement = delta(&a, 500, vec![]);
    assert_eq!(bench.receive(&announcement).gossip.len(), 1);
    assert_eq!(bench.receive(&announcement).gossip.len(), 0);
    assert_eq!(pulls(&bench.pass(50)).len(), 1);
    bench.receive(&snapshot(&a, 1, 499, &[1]));
    assert!(bench.ledger.is_settled());
    assert_eq!(bench.receive(&announcement).gossip.len(), 0);
}

#[test]
fn a_digest_that_is_ahead_brings_a_pull_of_the_owner_and_then_of_who_told() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("b", 1));
    bench.joined(&b, 3);
    bench.receive(&snapshot(&b, 1, 0, &[]));
    bench.receive(&digest(&b, &a, 5, 1));
    assert_eq!(pulls(&bench.pass(149)), []);
    let asked = pulls(&bench.pass(10_000));
    let whom: Vec<&str> = asked.iter().map(|(to, _)| &**to).collect();
    assert_eq!(
        whom,
        ["a", "b", "a", "b", "a", "b", "a", "b"],
        "and then waits for a digest"
    );
    assert!(asked.iter().all(|(_, owner)| owner == "a"));
}

#[test]
fn a_digest_that_is_behind_is_answered_once() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.local(vec![local(1)]);
    let me = id("me", 1);
    let actions = bench.receive(&digest(&a, &me, 0, 0));
    let answer = &sent(&actions)[..];
    let [(to, Message::Digest(digest))] = answer else {
        panic!("{answer:?}");
    };
    assert!(to == "a" && digest.reply && digest.entries[0].stamp.version == 1);
    let reply = Message::Digest(Digest {
        reply: true,
        ..digest.clone()
    });
    assert!(bench.receive(&reply).sends.is_empty());
}

#[test]
fn a_pull_is_answered_by_whoever_has_something_newer() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.local(vec![local(1)]);
    let pull = |from: &MemberId, owner: &MemberId, version: u64| {
        let (from, owner) = (from.clone(), owner.clone());
        Message::Pull(Pull {
            from,
            owner,
            have: Stamp { epoch: 1, version },
        })
    };
    let (b, me) = (id("b", 1), id("me", 1));
    bench.joined(&b, 3);
    let actions = bench.receive(&pull(&b, &a, 0));
    assert_eq!(sent(&actions), [("b".into(), snapshot(&a, 1, 1, &[7]))]);
    assert!(actions.sends[0].reliable);
    assert_eq!(sent(&bench.receive(&pull(&b, &me, 0))).len(), 1);
    assert_eq!(sent(&bench.receive(&pull(&b, &a, 1))), []);
    assert_eq!(sent(&bench.receive(&pull(&b, &me, 1))), []);
    // Nothing is told of who is not there.
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    assert_eq!(sent(&bench.receive(&pull(&b, &a, 0))), []);
    // Who asks before it is known is answered when it is.
    let c = id("c", 1);
    assert_eq!(sent(&bench.receive(&pull(&c, &me, 0))), []);
    assert_eq!(sent(&bench.joined(&c, 4)).len(), 1);
}

#[test]
fn what_is_said_of_who_is_not_there_is_ignored() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("b", 1));
    for message in [
        snapshot(&b, 1, 1, &[1]),
        delta(&b, 1, vec![put(1)]),
        delta(&b, 9, vec![]),
        digest(&a, &b, 4, 4),
    ] {
        let actions = bench.receive(&message);
        assert!(
            actions.changes.is_empty() && actions.gossip.is_empty(),
            "{message:?}"
        );
    }
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    bench.receive(&snapshot(&a, 1, 9, &[1, 2]));
    bench.receive(&delta(&a, 2, vec![put(8)]));
    bench.joined(&a, 2);
    assert_eq!(bench.served(), ["a/7"]);
}

#[test]
fn a_later_version_of_ours_that_we_never_wrote_begins_a_new_epoch() {
    let mut bench = Bench::new();
    let (a, me) = (bench.with_a(), id("me", 1));
    bench.local(vec![local(1)]);
    bench.pass(100);
    let actions = bench.receive(&digest(&a, &me, 7, 100));
    assert!(actions.notices.contains(&Notice::Outrun));
    assert_eq!(bench.ledger.version(), (2, 1));
    let Ok(Message::Delta(told)) = Message::decode(&actions.gossip[0]) else {
        panic!("{actions:?}");
    };
    assert_eq!((told.epoch, told.first, told.ops.len()), (2, 2, 0));
    // The beat goes on from where it was.
    let digests = sent(&bench.pass(1_100));
    let beat = digests.iter().find_map(|(_, message)| match message {
        Message::Digest(digest) => Some(digest.entries[0].beat),
        _ => None,
    });
    assert_eq!(beat, Some(102));
}

#[test]
fn a_higher_epoch_replaces_whatever_there_was() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.receive(&snapshot(&a, 1, 50, &[1, 2, 3]));
    let next = Message::Delta(Delta {
        owner: a.clone(),
        epoch: 2,
        first: 5,
        ops: vec![put(9)],
    });
    bench.receive(&next);
    assert_eq!(bench.served().len(), 3);
    bench.receive(&snapshot(&a, 2, 4, &[1]));
    assert_eq!(bench.served(), ["a/1", "a/9"]);
    bench.receive(&snapshot(&a, 1, 60, &[1, 2, 3]));
    bench.receive(&delta(&a, 6, vec![put(4)]));
    assert_eq!(bench.served(), ["a/1", "a/9"]);
}

/// In order.
trait Sorted {
    /// The same, in order.
    fn sorted(self) -> Self;
}

// === impl Vec ===

impl Sorted for Vec<String> {
    fn sorted(mut self) -> Self {
        self.sort_by_key(|text| {
            text.rsplit('/')
                .next()
                .and_then(|key| key.parse::<u64>().ok())
        });
        self
    }
}

#[test]
fn a_delta_longer_than_any_member_sends_is_not_held() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let longest = (0..30).map(put).collect();
    let actions = bench.receive(&delta(&a, 5, longest));
    assert_eq!(actions.notices, [Notice::Gap]);
    let longer = (0..60).map(put).collect();
    let actions = bench.receive(&delta(&a, 100, longer));
    assert!(matches!(actions.notices[..], [Notice::BadMessage(_)]));
}

#[test]
fn what_is_asked_for_in_the_name_of_a_member_is_sent_within_bounds() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let sources = (0..200).map(|key| LocalChange {
        rows: (0..100)
            .map(|n| row(&format!("n{n}.s{key}.lan"), 1))
            .collect(),
        ..local(key)
    });
    bench.local(sources.collect());
    let pull = Message::Pull(Pull {
        from: a,
        owner: id("me", 1),
        have: Stamp {
            epoch: 0,
            version: 0,
        },
    });
    let ask = |bench: &mut Bench, times: usize| {
        let (mut octets, mut refused) = (0, 0);
        for _ in 0..times {
            let actions = bench.receive(&pull);
            octets += actions
                .sends
                .iter()
                .map(|send| send.octets.len())
                .sum::<usize>();
            refused += actions
                .notices
                .iter()
                .filter(|notice| **notice == Notice::PullRefused)
                .count();
        }
        (octets, refused)
    };
    let (octets, refused) = ask(&mut bench, 10_000);
    assert!(octets > 8 << 20 && octets <= 17 << 20, "{octets}");
    assert!(refused > 9_000, "{refused}");
    assert_eq!(ask(&mut bench, 100).0, 0);
    // Whoever asks in earnest is answered again soon.
    bench.pass(2_000);
    let (octets, _) = ask(&mut bench, 1);
    assert!(octets > 0);
    let (octets, _) = ask(&mut bench, 1_000);
    assert!(octets <= 2 << 20, "{octets}");
    // Another member is not held up by that.
    let b = id("b", 1);
    bench.joined(&b, 3);
    let pull = Message::Pull(Pull {
        from: b,
        owner: id("me", 1),
        have: Stamp {
            epoch: 0,
            version: 0,
        },
    });
    assert_eq!(bench.receive(&pull).sends.len(), 1);
}
