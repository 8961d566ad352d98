use super::*;

#[test]
fn a_member_that_failed_is_withdrawn_at_once_and_served_again_when_it_is_back() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    assert_eq!(bench.served(), ["a/7"]);
    let actions = bench.act(|ledger, now| ledger.left(a.clone(), now));
    assert_eq!(withdrawals(&actions), [Withdrawal::Failed]);
    assert!(bench.served().is_empty());
    bench.pass(50_000);
    let actions = bench.joined(&a, 2);
    assert_eq!(bench.served(), ["a/7"]);
    assert_eq!(
        pulls(&actions),
        [("a".into(), "a".into())],
        "there may be something newer"
    );
}

#[test]
fn the_set_of_a_member_that_failed_is_forgotten_after_a_minute() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    bench.pass(62_000);
    bench.joined(&a, 2);
    assert!(bench.served().is_empty() && !bench.ledger.is_settled());
}

#[test]
fn records_of_a_member_that_failed_are_held_if_that_is_wanted() {
    let dead_hold = Duration::from_secs(3);
    let mut bench = Bench::with(Rules {
        dead_hold,
        ..Rules::default()
    });
    let a = bench.with_a();
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    bench.pass(2_999);
    assert_eq!(bench.served(), ["a/7"]);
    let actions = bench.pass(1);
    assert_eq!(withdrawals(&actions), [Withdrawal::Failed]);
    // Back within the hold: the table is told nothing.
    bench.joined(&a, 2);
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    bench.pass(1_000);
    assert!(bench.joined(&a, 2).changes.is_empty());
    assert!(bench.pass(10_000).changes.is_empty());
    assert_eq!(bench.served(), ["a/7"]);
}

#[test]
fn who_says_good_bye_is_served_for_its_hold_and_never_again() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let actions = bench.receive(&bye(&a, 400));
    assert!(actions.notices.contains(&Notice::Left(a.clone())));
    assert_eq!(actions.gossip.len(), 1);
    assert_eq!(
        bench.receive(&bye(&a, 400)).gossip.len(),
        0,
        "passed on once"
    );
    bench.receive(&delta(&a, 2, vec![put(8)]));
    bench.pass(399);
    assert_eq!(bench.served(), ["a/7"]);
    assert_eq!(withdrawals(&bench.pass(1)), [Withdrawal::Left]);
    // Whatever others still believe.
    bench.act(|ledger, now| ledger.roster(&[(a.clone(), at(2))], now));
    bench.joined(&a, 2);
    bench.receive(&snapshot(&a, 1, 9, &[7]));
    bench.pass(5_000);
    assert!(bench.served().is_empty());
    assert_eq!(bench.ledger.views(bench.now).len(), 1);
}

#[test]
fn a_good_bye_that_comes_first_or_last_counts_as_well() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("b", 1));
    bench.receive(&bye(&b, 60_000));
    bench.joined(&b, 3);
    bench.receive(&snapshot(&b, 1, 1, &[1]));
    assert_eq!(bench.served(), ["a/7"]);
    bench.act(|ledger, now| ledger.left(a.clone(), now));
    assert!(
        bench.receive(&bye(&a, 60_000)).changes.is_empty(),
        "not served again"
    );
    bench.joined(&a, 2);
    assert!(bench.served().is_empty());
}

#[test]
fn a_hold_is_no_longer_than_a_minute() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    bench.receive(&bye(&a, u64::MAX));
    bench.pass(59_999);
    assert_eq!(bench.served(), ["a/7"]);
    bench.pass(1);
    assert!(bench.served().is_empty());
}

#[test]
fn the_roster_tells_of_events_that_were_lost() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("b", 1));
    for _ in 0..5 {
        bench.act(|ledger, now| ledger.roster(&[(b.clone(), at(3))], now));
        assert_eq!(bench.served(), ["a/7"]);
        bench.pass(1_000);
    }
    let actions = bench.act(|ledger, now| ledger.roster(&[(b.clone(), at(3))], now));
    assert!(actions.notices.contains(&Notice::Failed(a)));
    assert!(bench.served().is_empty());
    let states: Vec<_> = bench
        .ledger
        .views(bench.now)
        .into_iter()
        .map(|view| view.state)
        .collect();
    assert_eq!(states, ["self", "failed", "alive"]);
}

#[test]
fn a_member_whose_heart_stands_still_is_not_served_until_it_beats() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("b", 1));
    bench.joined(&b, 3);
    bench.receive(&digest(&b, &a, 1, 10));
    bench.pass(20_000);
    bench.receive(&digest(&b, &a, 1, 10));
    bench.pass(9_000);
    assert_eq!(bench.served(), ["a/7"]);
    let actions = bench.pass(3_000);
    assert!(withdrawals(&actions).contains(&Withdrawal::Silent));
    assert!(bench.served().is_empty());
    bench.receive(&digest(&b, &a, 1, 10));
    assert!(bench.served().is_empty(), "an old beat");
    bench.receive(&digest(&b, &a, 1, 11));
    assert_eq!(bench.served(), ["a/7"]);
}

#[test]
fn who_was_stopped_does_not_take_the_others_for_silent() {
    let mut bench = Bench::new();
    bench.with_a();
    bench.pass(3_000);
    bench.now += Duration::from_secs(600);
    bench.pass(3_000);
    assert_eq!(bench.served(), ["a/7"]);
}

#[test]
fn a_restart_is_replaced_once_it_is_complete_and_says_so() {
    let mut bench = Bench::new();
    let (a, b) = (bench.with_a(), id("a", 2));
    bench.joined(&b, 2);
    let restarted = |owner: &MemberId, former: &MemberId| {
        Message::Restarted(Restarted {
            owner: owner.clone(),
            former: former.clone(),
        })
    };
    let incomplete = Message::Snapshot(Snapshot {
        owner: b.clone(),
        stamp: Stamp {
            epoch: 1,
            version: 1,
        },
        complete: false,
        entries: vec![(7, source(7))],
    });
    bench.receive(&incomplete);
    let actions = bench.receive(&restarted(&b, &a));
    assert_eq!(
        (actions.gossip.len(), bench.served().len()),
        (1, 2),
        "both, until it is complete"
    );
    let actions = bench.receive(&delta(&b, 2, vec![Op::Complete]));
    assert_eq!(withdrawals(&actions), [Withdrawal::Replaced]);
    bench.joined(&a, 2);
    bench.receive(&snapshot(&a, 1, 9, &[7]));
    assert_eq!(bench.table.keys().collect::<Vec<_>>(), [&(b.clone(), 7)]);
    // Nobody replaces who has another name, or another address.
    let (c, d) = (id("c", 1), id("a", 3));
    for (other, address) in [(&c, 2), (&d, 4)] {
        bench.joined(other, address);
        bench.receive(&snapshot(other, 1, 1, &[1]));
        bench.receive(&restarted(other, &b));
    }
    assert_eq!(bench.table.len(), 3);
}

#[test]
fn a_member_tells_of_its_former_instance_once_it_is_complete() {
    let mut bench = Bench::new();
    let former = id("me", 9);
    bench.joined(&former, 1);
    bench.receive(&snapshot(&former, 1, 1, &[7]));
    assert_eq!(bench.served(), ["me/7"]);
    let actions = bench.act(Ledger::complete);
    assert_eq!(withdrawals(&actions), [Withdrawal::Replaced]);
    let told = Message::Restarted(Restarted {
        owner: id("me", 1),
        former,
    });
    let last = Message::decode(actions.gossip.last().unwrap());
    assert_eq!(last, Ok(told));
    let again = bench.pass(30_000).gossip;
    assert!((10..20).contains(&again.len()), "for some time");
}

#[test]
fn two_members_of_one_name_are_told_of_once_they_stay() {
    let mut bench = Bench::new();
    bench.joined(&id("me", 2), 5);
    bench.joined(&id("a", 1), 6);
    bench.joined(&id("a-b", 1), 7);
    bench.joined(&id("a", 2), 8);
    let clash = |notice: &Notice| matches!(notice, Notice::NameClash(..));
    assert!(!bench.pass(9_000).notices.iter().any(clash));
    let notices = bench.pass(20_000).notices;
    let clashes: Vec<_> = notices.into_iter().filter(clash).collect();
    let (a, me) = ("a", "me");
    let pair = |name: &str| Notice::NameClash(id(name, 1), id(name, 2));
    assert_eq!(clashes, [pair(a), pair(me)]);
}

#[test]
fn so_many_members_and_no_more_are_followed() {
    let mut bench = Bench::new();
    for number in 0..MAX_MEMBERS {
        bench.joined(&id(&format!("n{number}"), 1), 2);
    }
    let actions = bench.joined(&id("one-more", 1), 2);
    assert!(matches!(&actions.notices[..], [Notice::BadMessage(_)]));
    bench.act(|ledger, now| ledger.left(id("n3", 1), now));
    let actions = bench.joined(&id("one-more", 1), 2);
    assert!(matches!(&actions.notices[..], [Notice::Joined(..)]));
}

#[test]
fn what_others_speak_of_is_awaited_before_all_is_at_hand() {
    let mut bench = Bench::new();
    let a = bench.with_a();
    let b = id("b", 1);
    assert!(bench.ledger.is_settled());
    bench.receive(&digest(&a, &b, 3, 1));
    assert!(!bench.ledger.is_settled(), "b may be on its way");
    bench.joined(&b, 3);
    assert!(!bench.ledger.is_settled(), "its records are not there");
    bench.receive(&snapshot(&b, 1, 3, &[7]));
    assert!(bench.ledger.is_settled());
    // A former life of ours is not on its way.
    bench.receive(&digest(&a, &id("me", 7), 3, 1));
    assert!(bench.ledger.is_settled());
    // Nobody is waited for in vain.
    bench.receive(&digest(&a, &id("c", 1), 3, 1));
    assert!(!bench.ledger.is_settled());
    bench.pass(4_000);
    assert!(bench.ledger.is_settled());
}

#[test]
fn a_restart_at_the_same_address_is_no_clash_of_names() {
    let mut bench = Bench::new();
    bench.with_a();
    // Killed and started again, before anybody noticed.
    bench.joined(&id("a", 2), 2);
    let actions = bench.pass(20_000);
    let clashes = |actions: &Actions| {
        let is_clash = |notice: &&Notice| matches!(notice, Notice::NameClash(..));
        actions.notices.iter().filter(is_clash).count()
    };
    assert_eq!(clashes(&actions), 0);
    bench.joined(&id("a", 3), 3);
    assert_eq!(clashes(&bench.pass(20_000)), 1);
}

#[test]
fn a_former_life_of_our_own_is_not_waited_for() {
    let mut bench = Bench::new();
    let me = bench.ledger.me.clone();
    bench.joined(&me, 1);
    // Killed a moment ago, and not yet missed.
    bench.joined(&id(me.name(), 77), 1);
    assert!(pulls(&bench.pass(5_000)).is_empty());
    assert!(bench.ledger.is_settled());
    bench.joined(&id(me.name(), 78), 2);
    assert!(!bench.ledger.is_settled(), "that is another host");
}
