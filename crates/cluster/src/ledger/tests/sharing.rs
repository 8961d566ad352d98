use super::*;

#[test]
fn the_first_change_is_told_at_once_and_what_follows_together() {
    let mut bench = Bench::new();
    bench.with_a();
    bench.pass(1_000);
    let actions = bench.local(vec![local(1)]);
    let told = delta(&id("me", 1), 1, vec![put(1)]);
    assert_eq!(sent(&actions), [("a".into(), told.clone())]);
    assert_eq!(actions.gossip, [told.encode()]);
    for key in 2..5 {
        assert!(bench.local(vec![local(key)]).gossip.is_empty());
    }
    assert_eq!(bench.pass(19).gossip.len(), 0);
    let together = delta(&id("me", 1), 2, vec![put(2), put(3), put(4)]);
    assert_eq!(bench.pass(1).gossip, [together.encode()]);
}

#[test]
fn what_changes_nothing_is_not_told() {
    let mut bench = Bench::new();
    bench.local(vec![local(1)]);
    assert!(
        bench.act(Ledger::complete).gossip.is_empty(),
        "within 20 ms"
    );
    bench.pass(100);
    assert_eq!(bench.ledger.version(), (1, 2));
    bench.local(vec![local(1), gone(2)]);
    bench.act(Ledger::complete);
    assert_eq!(bench.ledger.version(), (1, 2));
    assert!(bench.pass(100).gossip.is_empty());
    bench.local(vec![gone(1)]);
    assert_eq!(bench.ledger.version(), (1, 3));
}

#[test]
fn too_many_changes_and_one_that_is_too_large_are_announced_only() {
    let mut bench = Bench::new();
    bench.with_a();
    let actions = bench.local((0..301).map(local).collect());
    assert_eq!(actions.gossip, [delta(&id("me", 1), 302, vec![]).encode()]);
    bench.pass(100);
    let mut large = local(1);
    large.rows = (0..60)
        .map(|last| row("a-name-of-some-length.example.org", last + 1))
        .collect();
    let actions = bench.local(vec![large]);
    assert_eq!(actions.gossip, [delta(&id("me", 1), 303, vec![]).encode()]);
    bench.pass(100);
    let actions = bench.local((0..299).map(|key| local(key + 1_000)).collect());
    assert!(actions.gossip.len() > 3, "as deltas, in several datagrams");
}

#[test]
fn a_change_goes_to_some_directly_and_good_bye_to_all() {
    let mut bench = Bench::new();
    for number in 0..40 {
        bench.joined(&id(&format!("n{number}"), 1), 2);
    }
    assert_eq!(bench.local(vec![local(1)]).sends.len(), 10);
    let actions = bench.act(Ledger::leave);
    assert_eq!((actions.sends.len(), actions.gossip.len()), (50, 1));
    let everybody: BTreeSet<_> = actions.sends.iter().map(|send| &send.to).collect();
    assert_eq!(everybody.len(), 40);
    // Then there is silence.
    assert!(bench.local(vec![local(2)]).gossip.is_empty());
    assert!(bench.pass(5_000).sends.is_empty());
}

#[test]
fn no_more_is_shared_than_a_snapshot_can_have_whatever_the_rules_say() {
    let rules = Rules {
        max_records: 1_000_000,
        ..Rules::default()
    };
    let mut bench = Bench::with(rules);
    let most = crate::wire::MAX_ROWS;
    for (extra, shared) in [(1, 0), (0, most)] {
        let mut large = local(1);
        large.rows = vec![row("a", 1); most + extra];
        bench.local(vec![large]);
        assert_eq!(bench.ledger.views(bench.now)[0].records, shared);
    }
}

#[test]
fn what_goes_beyond_the_rules_waits_for_room() {
    let rules = Rules {
        max_records: 2,
        ..Rules::default()
    };
    let mut bench = Bench::with(rules.clone());
    let records = |bench: &Bench| bench.ledger.views(bench.now)[0].records;
    let actions = bench.local(vec![local(1), local(2), local(3), local(4)]);
    assert_eq!(told(&actions), [(2, 2, 2)]);
    assert_eq!(records(&bench), 2);
    let actions = bench.local(vec![gone(1)]);
    assert_eq!(told(&actions), [(1, 2, 2)]);
    assert_eq!(records(&bench), 2);
    let actions = bench.act(|ledger, now| ledger.set_rules(Rules::default(), now));
    assert_eq!(told(&actions), [(0, 3, 65_536)]);
    assert_eq!(records(&bench), 3);
    let actions = bench.act(|ledger, now| ledger.set_rules(rules, now));
    assert_eq!(told(&actions), [(1, 2, 2)]);
    assert_eq!(records(&bench), 2);
}

#[test]
fn a_source_that_is_too_large_alone_is_told_of_and_keeps_no_other_out() {
    let mut bench = Bench::new();
    let mut large = local(1);
    large.origin = "the large one".into();
    large.rows = vec![row("a", 1); 10];
    let actions = bench.local(vec![large, local(2), local(3)]);
    assert_eq!(told(&actions), []);
    let rules = |max_records| Rules {
        max_records,
        ..Rules::default()
    };
    let actions = bench.act(|ledger, now| ledger.set_rules(rules(5), now));
    assert_eq!(told(&actions), [(10, 2, 5)]);
    let named = actions.notices.iter().any(|notice| {
        matches!(notice, Notice::TooMany { source: Some(source), .. } if **source == *"the large one")
    });
    assert!(named, "{:?}", actions.notices);
    bench.pass(100);
    // What goes on fitting is not withdrawn for a moment.
    let actions = bench.act(|ledger, now| ledger.set_rules(rules(4), now));
    assert_eq!(told(&actions), [(10, 2, 4)]);
    assert!(actions.gossip.is_empty());
    // Another one that is smaller is shared, and none of it is told again.
    assert_eq!(told(&bench.local(vec![local(4)])), []);
    assert_eq!(bench.ledger.views(bench.now)[0].records, 3);
}

/// How many records are not shared, are, and may be, if that was told.
fn told(actions: &Actions) -> Vec<(usize, usize, usize)> {
    let told = |notice: &Notice| match notice {
        Notice::TooMany {
            unshared,
            shared,
            limit,
            ..
        } => Some((*unshared, *shared, *limit)),
        _ => None,
    };
    actions.notices.iter().filter_map(told).collect()
}

#[test]
fn sets_beyond_the_rules_are_refused_as_a_whole_and_what_there_is_stays() {
    let mut bench = Bench::with(Rules {
        max_records: 2,
        ..Rules::default()
    });
    let a = bench.with_a();
    let refused = |actions: &Actions| {
        actions
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::Refused { .. }))
    };
    assert!(refused(&bench.receive(&snapshot(&a, 1, 2, &[1, 2, 3]))));
    assert_eq!(bench.served(), ["a/7"]);
    assert!(refused(&bench.receive(&delta(&a, 2, vec![put(1), put(2)]))));
    assert_eq!(bench.served(), ["a/1", "a/7"]);
    // It is left alone for a while, and asked again after that.
    bench.receive(&digest(&a, &a, 9, 1));
    assert_eq!(pulls(&bench.pass(29_000)), []);
    bench.pass(2_000);
    bench.receive(&digest(&a, &a, 9, 2));
    assert_eq!(pulls(&bench.pass(300)).len(), 1);
    bench.receive(&snapshot(&a, 1, 9, &[1, 2]));
    assert_eq!(bench.served(), ["a/1", "a/2"]);
}

#[test]
fn sets_that_were_refused_are_asked_for_again_under_other_rules() {
    let rules = Rules {
        max_records: 2,
        ..Rules::default()
    };
    let mut bench = Bench::with(rules.clone());
    let a = bench.with_a();
    bench.receive(&snapshot(&a, 1, 2, &[1, 2, 3]));
    bench.act(|ledger, now| ledger.set_rules(rules, now));
    bench.receive(&digest(&a, &a, 2, 1));
    assert_eq!(pulls(&bench.pass(300)), []);
    bench.act(|ledger, now| ledger.set_rules(Rules::default(), now));
    bench.receive(&digest(&a, &a, 2, 2));
    assert_eq!(pulls(&bench.pass(300)).len(), 1);
    bench.receive(&snapshot(&a, 1, 2, &[1, 2, 3]));
    assert_eq!(bench.served(), ["a/1", "a/2", "a/3"]);
}

#[test]
fn bad_rows_are_left_out_one_by_one_and_kept_for_others() {
    let allowed_zones = vec!["lan".parse().unwrap()];
    let mut bench = Bench::with(Rules {
        allowed_zones,
        ..Rules::default()
    });
    let a = id("a", 1);
    bench.joined(&a, 2);
    let mut mixed = source(1);
    mixed.rows.push(row("bank.example", 1));
    mixed.rows.push(Row {
        rdata: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        ..row("x.lan", 1)
    });
    let message = Message::Snapshot(Snapshot {
        owner: a.clone(),
        stamp: Stamp {
            epoch: 1,
            version: 1,
        },
        complete: true,
        entries: vec![(1, mixed)],
    });
    let actions = bench.receive(&message);
    assert_eq!(bench.table.values().map(Vec::len).sum::<usize>(), 1);
    let refused: Vec<usize> = actions
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Refused { records, .. } => Some(*records),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [1, 1]);
    // Other rules, other rows.
    bench.act(|ledger, now| ledger.set_rules(Rules::default(), now));
    assert_eq!(bench.table.values().map(Vec::len).sum::<usize>(), 2);
    // Another member gets what the owner wrote.
    let b = id("b", 1);
    bench.joined(&b, 3);
    let pull = Pull {
        from: b,
        owner: a,
        have: Stamp::default(),
    };
    assert_eq!(
        sent(&bench.receive(&Message::Pull(pull))),
        [("b".into(), message)]
    );
}

#[test]
fn our_own_rows_are_held_to_the_rules_but_for_the_zones() {
    let allowed_zones = vec!["lan".parse().unwrap()];
    let mut bench = Bench::with(Rules {
        allowed_zones,
        ..Rules::default()
    });
    let mut mixed = local(1);
    mixed.rows = vec![row("web.example", 1), row("*", 1)];
    mixed.origin = "é".repeat(150).into();
    let actions = bench.local(vec![mixed]);
    assert!(matches!(
        &actions.notices[..],
        [Notice::Refused { records: 1, .. }]
    ));
    let Ok(Message::Delta(told)) = Message::decode(&actions.gossip[0]) else {
        panic!("{actions:?}");
    };
    let Op::Put(1, source) = &told.ops[0] else {
        panic!("{told:?}");
    };
    assert_eq!((source.rows.len(), source.origin.len()), (1, 200));
}

#[test]
fn an_exchange_tells_of_all_members_and_is_not_answered() {
    let mut bench = Bench::new();
    for number in 0..100 {
        let member = id(&format!("n{number}"), 1);
        bench.joined(&member, 2);
        bench.receive(&snapshot(&member, 1, number, &[]));
    }
    let Ok(Message::Digest(digest)) = Message::decode(&bench.ledger.exchange()) else {
        panic!("not a digest");
    };
    assert_eq!((digest.entries.len(), digest.reply), (101, true));
    // Digests in datagrams are parts that begin where the last one ended.
    let mut told = BTreeSet::new();
    for (_, message) in sent(&bench.pass(6_000)) {
        if let Message::Digest(digest) = message {
            told.extend(digest.entries.into_iter().map(|entry| entry.owner));
        }
    }
    assert_eq!(told.len(), 101);
}

#[test]
fn many_changes_of_a_large_set_are_cheap() {
    let mut bench = Bench::new();
    bench.local((0..10_000).map(local).collect());
    bench.pass(100);
    for round in 0..5_000u64 {
        let key = round % 10_000;
        let change = if round % 2 == 0 {
            gone(key)
        } else {
            local(key)
        };
        bench.ledger.local(vec![change], bench.now);
    }
    assert_eq!(bench.ledger.views(bench.now)[0].records, 7_500);
}
