use portolan_proto::Class;
use portolan_proto::Message;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::Families;
use crate::question::Hop;

#[test]
fn ttls_are_clamped_in_the_first_reply_and_count_down() {
    // Upstream TTL, `cache` TTL, TTL of the first reply, TTL 4 s later.
    for (upstream, max, first, later) in [
        (60, 3600, 60, Some(56)),
        (3600, 10, 10, Some(6)),
        (2, 3600, 5, Some(1)),
        (1, 3600, 5, Some(1)),
        (4000, 30, 30, Some(26)),
    ] {
        let cache = Fixture::new(|config| config.success.max_ttl = max);
        let question = question("a.example");
        let kept = cache.keep(&question, reply(&question).a([192, 0, 2, 1], upstream), 0.0);
        assert_eq!(ttl(&kept), first, "TTL {upstream}, at most {max}");
        let hit = cache.hit(&question, 4.0);
        assert_eq!(
            hit.map(|answer| ttl(&answer.message)),
            later,
            "TTL {upstream}"
        );
    }
}

#[test]
fn a_ttl_of_0_is_passed_on_and_not_kept() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let kept = cache.keep(&question, reply(&question).a([192, 0, 2, 1], 0), 0.0);
    assert_eq!(ttl(&kept), 0);
    assert!(cache.hit(&question, 0.0).is_none());
}

#[test]
fn a_minimum_of_0_raises_nothing() {
    let cache = Fixture::new(|config| config.success.min_ttl = 0);
    let question = question("a.example");
    let kept = cache.keep(&question, reply(&question).a([192, 0, 2, 1], 2), 0.0);
    assert_eq!(ttl(&kept), 2);
}

#[test]
fn an_entry_ends_with_its_ttl() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert_eq!(ttl(&cache.hit(&question, 59.9).unwrap().message), 1);
    assert!(cache.hit(&question, 60.0).is_none());
}

#[test]
fn keepttl_does_not_count_down() {
    let cache = Fixture::new(|config| config.keepttl = true);
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert_eq!(ttl(&cache.hit(&question, 50.0).unwrap().message), 60);
    assert!(cache.hit(&question, 60.0).is_none());
}

#[test]
fn the_least_ttl_ends_an_answer_whose_records_have_their_own() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let other = "b.example".parse().unwrap();
    let reply =
        reply(&question)
            .a([192, 0, 2, 1], 300)
            .additional(&other, Rtype::A, 20, &[192, 0, 2, 2]);
    cache.keep(&question, reply, 0.0);
    let hit = cache.hit(&question, 7.5).unwrap();
    let ttls: Vec<u32> = hit.message.records().map(|record| record.ttl).collect();
    assert_eq!(ttls, [293, 13]);
    assert!(cache.hit(&question, 20.0).is_none());
    let other = question.with_name(&other);
    assert!(
        cache.hit(&other, 0.0).is_none(),
        "additional data answers nothing"
    );
}

#[test]
fn a_name_in_any_case_is_one_name() {
    let cache = Fixture::new(|_| {});
    let question = question("WwW.ExAmple");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert!(cache.hit(&self::question("wWw.example"), 1.0).is_some());
}

#[test]
fn do_and_cd_are_apart() {
    let cache = Fixture::new(|_| {});
    let plain = question("a.example");
    cache.keep(&plain, reply(&plain).a([192, 0, 2, 1], 60), 0.0);
    let mut other = plain.clone();
    other.dnssec_ok = true;
    assert!(cache.hit(&other, 0.0).is_none());
    let mut other = plain;
    other.checking_disabled = true;
    assert!(cache.hit(&other, 0.0).is_none());
}

#[test]
fn what_was_said_to_cd_before_it_was_verified_is_asked_again() {
    let cache = Fixture::new(|_| {});
    let mut disabled = question("a.example");
    disabled.checking_disabled = true;
    let unverified = || reply(&disabled).a([192, 0, 2, 1], 60);
    let kept = cache.keep(&disabled, unverified(), 0.0);
    assert_eq!(ttl(&kept), 60);
    assert!(cache.hit(&disabled, 0.0).is_none());
    assert!(cache.0.is_empty());
    let denied = reply(&disabled).rcode(Rcode::NXDOMAIN).soa(60, 60);
    cache.keep(&disabled, denied, 0.0);
    assert!(cache.hit(&disabled, 0.0).is_none());

    let verified = || unverified().flags(Flags::AUTHENTIC_DATA);
    cache.keep(&disabled, verified(), 1.0);
    assert!(cache.hit(&disabled, 1.0).is_some());
    // That the upstream fails does not depend on that.
    let failing = disabled.with_name(&"b.example".parse().unwrap());
    cache.keep(&failing, reply(&failing).rcode(Rcode::SERVFAIL), 1.0);
    assert!(cache.hit(&failing, 1.0).is_some());
}

#[test]
fn what_was_said_to_cd_is_there_for_an_outage() {
    for mode in [
        StaleMode::Immediate,
        StaleMode::Verify {
            timeout: Duration::ZERO,
        },
    ] {
        let cache = Fixture::new(|config| {
            config.serve_stale = Some(ServeStale {
                mode,
                recheck: Duration::from_secs(30),
                ..ServeStale::default()
            });
        });
        let mut disabled = question("a.example");
        disabled.checking_disabled = true;
        cache.keep(&disabled, reply(&disabled).a([192, 0, 2, 1], 60), 0.0);
        let lookup = cache.lookup(&disabled, 1.0);
        assert!(matches!(lookup, Lookup::Verify), "{mode:?}: {lookup:?}");
        let entry = cache.0.stale(&disabled, cache.at(1.0)).unwrap();
        let answer = cache.0.stale_answer(&disabled, &entry);
        assert_eq!(answer.ede, Some(Ede::STALE_ANSWER));
        assert_eq!(answer.message.records().count(), 1);
        // RFC 8767 §5: after a failure, no other attempt for a while.
        entry.end_refresh(false, cache.at(1.0), Duration::from_secs(30));
        assert!(cache.hit(&disabled, 2.0).is_some());
    }
}

#[test]
fn who_sets_cd_neither_learns_nor_tells_that_nothing_is_below() {
    let cache = Fixture::new(|_| {});
    let denied = |question: &Question| {
        let reply = reply(question).rcode(Rcode::NXDOMAIN).soa(60, 60);
        reply.flags(Flags::AUTHENTIC_DATA)
    };
    let above = question("gone.example");
    let mut disabled = above.clone();
    disabled.checking_disabled = true;
    let below = |question: &Question| question.with_name(&"www.gone.example".parse().unwrap());
    let cut = |question: &Question| cache.0.cut(&below(question), cache.at(1.0), |_| true);
    cache.keep(&disabled, denied(&disabled), 0.0);
    assert!(cut(&above).is_none() && cut(&disabled).is_none());
    cache.keep(&above, denied(&above), 0.0);
    assert!(cut(&above).is_some() && cut(&disabled).is_none());
    // What may be forged opens nothing.
    let forged = below(&disabled);
    cache.keep(&forged, reply(&forged).a([192, 0, 2, 1], 60), 0.0);
    assert!(cut(&above).is_some());
}

#[test]
fn ad_is_for_those_who_ask_and_aa_is_replayed() {
    let cache = Fixture::new(|_| {});
    let mut question = question("a.example");
    let flags = Flags::AUTHENTIC_DATA | Flags::AUTHORITATIVE;
    cache.keep(
        &question,
        reply(&question).a([192, 0, 2, 1], 60).flags(flags),
        0.0,
    );
    let head = cache.hit(&question, 0.0).unwrap().head();
    assert!(!head.authentic_data && head.authoritative && head.recursion_available);
    question.authentic_data = true;
    assert!(cache.hit(&question, 0.0).unwrap().head().authentic_data);
}

#[test]
fn absence_is_kept_for_the_least_of_soa_ttl_and_minimum() {
    for (rcode, soa_ttl, minimum, expected) in [
        (Rcode::NXDOMAIN, 300, 60, Some(60)),
        (Rcode::NXDOMAIN, 30, 600, Some(30)),
        (Rcode::NOERROR, 300, 60, Some(60)),
        (Rcode::NXDOMAIN, 9000, 9000, Some(1800)),
        (Rcode::NOERROR, 300, 2, Some(5)),
        (Rcode::NXDOMAIN, 300, 0, None),
    ] {
        let cache = Fixture::new(|_| {});
        let question = question("a.example");
        let reply = reply(&question).rcode(rcode).soa(soa_ttl, minimum);
        cache.keep(&question, reply, 0.0);
        let hit = cache.hit(&question, 0.0);
        assert_eq!(
            hit.map(|answer| ttl(&answer.message)),
            expected,
            "{rcode} {soa_ttl} {minimum}"
        );
    }
}

#[test]
fn what_must_not_be_kept_is_not() {
    type Make = fn(Reply) -> Reply;
    let alias = |reply: Reply| reply.answer(Rtype::CNAME, 60, b"\x01b\x07example\0");
    let cases: [(&str, Make); 7] = [
        ("NXDOMAIN without SOA", |r| r.rcode(Rcode::NXDOMAIN)),
        ("NODATA without SOA", |r| r),
        ("truncated", |r| r.a([192, 0, 2, 1], 60).truncated()),
        ("REFUSED", |r| r.rcode(Rcode::REFUSED)),
        ("FORMERR", |r| r.rcode(Rcode::FORMERR)),
        ("an alias to nowhere", alias),
        ("an address of another name", |r| {
            r.answer_of(&"x.example".parse().unwrap(), Rtype::A, 60, &[192, 0, 2, 1])
        }),
    ];
    for (what, make) in cases {
        let cache = Fixture::new(|_| {});
        let question = question("a.example");
        cache.keep(&question, make(reply(&question)), 0.0);
        assert!(cache.hit(&question, 0.0).is_none(), "{what}");
    }
}

#[test]
fn an_alias_is_kept_with_what_it_leads_to() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let reply = reply(&question)
        .answer(Rtype::CNAME, 60, b"\x01b\x07example\0")
        .answer_of(&"b.example".parse().unwrap(), Rtype::A, 30, &[192, 0, 2, 1]);
    cache.keep(&question, reply, 0.0);
    assert_eq!(
        cache.hit(&question, 0.0).unwrap().message.records().count(),
        2
    );
}

#[test]
fn an_alias_to_a_name_without_the_type_is_absence() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let reply = reply(&question)
        .answer(Rtype::CNAME, 60, b"\x01b\x07example\0")
        .soa(60, 60);
    cache.keep(&question, reply, 0.0);
    assert!(cache.hit(&question, 0.0).is_some());
    assert_eq!(cache.0.denial.len(), 1);
}

#[test]
fn answers_about_another_name_are_dropped_and_counted() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let other = reply(&question)
        .about(&"b.example".parse().unwrap())
        .a([192, 0, 2, 1], 60);
    cache.keep(&question, other, 0.0);
    assert!(cache.hit(&question, 0.0).is_none());
    assert_eq!(cache.0.metrics.drops.get(), 1);
}

#[test]
fn answers_without_recursion_are_not_kept() {
    let cache = Fixture::new(|_| {});
    let mut question = question("a.example");
    question.recursion_desired = false;
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert!(cache.0.is_empty());
}

#[test]
fn expired_signatures_are_not_kept_for_those_who_validate() {
    for (dnssec_ok, expiration, kept) in [
        (true, EPOCH - 1, false),
        (true, EPOCH + 60, true),
        (false, EPOCH - 1, true),
    ] {
        let cache = Fixture::new(|_| {});
        let mut question = question("a.example");
        question.dnssec_ok = dnssec_ok;
        let mut signature = vec![0, 1, 8, 2, 0, 0, 0, 60];
        signature.extend_from_slice(&expiration.to_be_bytes());
        signature.extend_from_slice(&[0; 7]);
        let reply = reply(&question)
            .a([192, 0, 2, 1], 60)
            .answer(Rtype::RRSIG, 60, &signature);
        cache.keep(&question, reply, 0.0);
        assert_eq!(cache.hit(&question, 0.0).is_some(), kept, "DO {dnssec_ok}");
    }
}

#[test]
fn servfail_is_kept_for_its_own_time() {
    for (servfail, at, expected) in [(5, 4.9, true), (5, 5.0, false), (0, 0.0, false)] {
        let cache = Fixture::new(|config| config.servfail = Duration::from_secs(servfail));
        let question = question("a.example");
        cache.keep(&question, reply(&question).rcode(Rcode::SERVFAIL), 0.0);
        let hit = cache.hit(&question, at);
        assert_eq!(hit.is_some(), expected, "servfail {servfail}s at {at}");
        if let Some(answer) = hit {
            assert_eq!(answer.head().rcode, Rcode::SERVFAIL);
            assert_eq!(answer.ede, Some(Ede::CACHED_ERROR));
        }
    }
}

#[test]
fn servfail_is_kept_with_its_extended_error() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    let reply = reply(&question).rcode(Rcode::SERVFAIL).ede(6);
    cache.keep(&question, reply, 0.0);
    let answer = cache.hit(&question, 1.0).unwrap();
    assert_eq!(answer.ede, Some(Ede(6)));
}

#[test]
fn servfail_does_not_shadow_what_exists() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    cache.keep(&question, reply(&question).rcode(Rcode::SERVFAIL), 1.0);
    assert_eq!(
        cache.hit(&question, 2.0).unwrap().head().rcode,
        Rcode::NOERROR
    );
}

#[test]
fn a_failure_does_not_take_the_place_of_absence() {
    let absent = |question: &Question| reply(question).rcode(Rcode::NXDOMAIN).soa(60, 60);
    for (serve_stale, at, expected) in [
        (false, 59.0, Rcode::NXDOMAIN),
        (false, 61.0, Rcode::SERVFAIL),
        (true, 61.0, Rcode::NXDOMAIN),
        (true, 3661.0, Rcode::SERVFAIL),
    ] {
        for is_ours in [false, true] {
            let cache = Fixture::new(|config| {
                config.serve_stale = serve_stale.then(ServeStale::default);
            });
            let question = question("a.example");
            cache.keep(&question, absent(&question), 0.0);
            if is_ours {
                cache.0.keep_failure(&question, cache.at(at));
            } else {
                cache.keep(&question, reply(&question).rcode(Rcode::SERVFAIL), at);
            }
            let rcode = cache.hit(&question, at).unwrap().head().rcode;
            assert_eq!(rcode, expected, "{serve_stale} {at} {is_ours}");
        }
    }
}

#[test]
fn absence_and_existence_replace_one_another() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    cache.keep(
        &question,
        reply(&question).rcode(Rcode::NXDOMAIN).soa(60, 60),
        1.0,
    );
    assert_eq!(
        cache.hit(&question, 2.0).unwrap().head().rcode,
        Rcode::NXDOMAIN
    );
    cache.keep(&question, reply(&question).a([192, 0, 2, 2], 60), 3.0);
    assert_eq!(
        cache.hit(&question, 4.0).unwrap().head().rcode,
        Rcode::NOERROR
    );
    assert_eq!(cache.0.len(), 1);
}

#[test]
fn our_own_failure_is_kept_for_a_second() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    cache.0.keep_failure(&question, cache.at(0.0));
    assert_eq!(
        cache.hit(&question, 0.9).unwrap().head().rcode,
        Rcode::SERVFAIL
    );
    assert!(cache.hit(&question, 1.0).is_none());
    let cache = Fixture::new(|config| config.servfail = Duration::ZERO);
    cache.0.keep_failure(&question, cache.at(0.0));
    assert!(cache.hit(&question, 0.0).is_none());
}

#[test]
fn only_the_zones_are_kept_and_disabled_ones_are_not() {
    let cache = Fixture::new(|config| {
        config.zones = vec!["example".parse().unwrap()];
        config.disable_success = vec!["s.example".parse().unwrap()];
        config.disable_denial = vec!["d.example".parse().unwrap()];
    });
    for (name, success, denial) in [
        ("a.example", true, true),
        ("a.s.example", false, true),
        ("a.d.example", true, false),
        ("a.org", false, false),
    ] {
        let question = question(name);
        cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
        assert_eq!(cache.hit(&question, 0.0).is_some(), success, "{name}");
        cache.0.clear();
        cache.keep(
            &question,
            reply(&question).rcode(Rcode::NXDOMAIN).soa(60, 60),
            0.0,
        );
        assert_eq!(cache.hit(&question, 0.0).is_some(), denial, "{name}");
        cache.0.clear();
        cache.0.keep_failure(&question, cache.at(0.0));
        assert_eq!(cache.hit(&question, 0.0).is_some(), denial, "{name}");
    }
}

#[test]
fn stale_answers_come_at_once_within_their_window() {
    let cache = Fixture::new(|config| config.serve_stale = Some(ServeStale::default()));
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    let Lookup::Hit { kept, refresh } = cache.lookup(&question, 61.0) else {
        panic!("a stale answer");
    };
    let answer = kept.to_answer(&question);
    assert_eq!(ttl(&answer.message), 0);
    assert_eq!(answer.ede, Some(Ede::STALE_ANSWER));
    let entry = refresh.expect("a refresh begins");
    let Lookup::Hit { refresh: None, .. } = cache.lookup(&question, 61.5) else {
        panic!("one refresh at a time");
    };
    entry.end_refresh(false, cache.at(62.0), Duration::ZERO);
    assert!(matches!(
        cache.lookup(&question, 62.0),
        Lookup::Hit {
            refresh: Some(_),
            ..
        }
    ));
    assert!(matches!(
        cache.lookup(&question, 60.0 + 3600.0),
        Lookup::Miss
    ));
    assert_eq!(cache.0.metrics.stale.get(), 3);
}

#[test]
fn stale_answers_have_the_ttl_of_the_settings() {
    let cache = Fixture::new(|config| {
        config.serve_stale = Some(ServeStale {
            reply_ttl: 30,
            ..ServeStale::default()
        });
    });
    let question = question("a.example");
    cache.keep(
        &question,
        reply(&question).rcode(Rcode::NXDOMAIN).soa(60, 60),
        0.0,
    );
    let answer = cache.hit(&question, 61.0).unwrap();
    assert_eq!(ttl(&answer.message), 30);
    assert_eq!(answer.ede, Some(STALE_NXDOMAIN));
}

#[test]
fn a_failed_refresh_is_not_repeated_before_recheck() {
    let cache = Fixture::new(|config| {
        config.serve_stale = Some(ServeStale {
            recheck: Duration::from_secs(30),
            ..ServeStale::default()
        });
    });
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    let Lookup::Hit {
        refresh: Some(entry),
        ..
    } = cache.lookup(&question, 61.0)
    else {
        panic!("a refresh begins");
    };
    entry.end_refresh(false, cache.at(62.0), Duration::from_secs(30));
    for (at, begins) in [(63.0, false), (91.9, false), (92.0, true)] {
        let Lookup::Hit { refresh, .. } = cache.lookup(&question, at) else {
            panic!("a stale answer");
        };
        assert_eq!(refresh.is_some(), begins, "at {at}");
    }
}

#[test]
fn verify_asks_first_and_not_again_right_after_a_failure() {
    let cache = Fixture::new(|config| {
        config.serve_stale = Some(ServeStale {
            mode: StaleMode::Verify {
                timeout: Duration::ZERO,
            },
            ..ServeStale::default()
        });
    });
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert!(matches!(cache.lookup(&question, 61.0), Lookup::Verify));
    let entry = cache.0.stale(&question, cache.at(61.0)).unwrap();
    entry.end_refresh(false, cache.at(62.0), Duration::from_secs(5));
    assert!(matches!(
        cache.lookup(&question, 63.0),
        Lookup::Hit { refresh: None, .. }
    ));
    assert!(matches!(cache.lookup(&question, 67.0), Lookup::Verify));
}

#[test]
fn a_failure_does_not_hide_a_stale_answer() {
    let cache = Fixture::new(|config| config.serve_stale = Some(ServeStale::default()));
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    cache.keep(&question, reply(&question).rcode(Rcode::SERVFAIL), 61.0);
    let answer = cache.hit(&question, 62.0).unwrap();
    assert_eq!(answer.head().rcode, Rcode::NOERROR);
    assert_eq!(answer.ede, Some(Ede::STALE_ANSWER));
}

#[test]
fn expired_failures_are_never_served() {
    let cache = Fixture::new(|config| config.serve_stale = Some(ServeStale::default()));
    let question = question("a.example");
    cache.keep(&question, reply(&question).rcode(Rcode::SERVFAIL), 0.0);
    assert!(matches!(cache.lookup(&question, 6.0), Lookup::Miss));
}

#[test]
fn prefer_positive_goes_before_expired_absence() {
    for (prefer_positive, expected) in [(false, Rcode::NXDOMAIN), (true, Rcode::NOERROR)] {
        let cache = Fixture::new(|config| {
            config.serve_stale = Some(ServeStale {
                prefer_positive,
                ..ServeStale::default()
            });
        });
        let question = question("a.example");
        cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
        cache.keep(
            &question,
            reply(&question).rcode(Rcode::NXDOMAIN).soa(60, 60),
            60.0,
        );
        assert_eq!(
            cache.hit(&question, 61.0).unwrap().head().rcode,
            Rcode::NXDOMAIN
        );
        assert_eq!(cache.hit(&question, 130.0).unwrap().head().rcode, expected);
    }
}

#[test]
fn popular_entries_are_refreshed_near_their_end_once() {
    let cache = Fixture::new(|config| config.prefetch = Some(Prefetch::new(3)));
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 100), 0.0);
    let begins = |at| {
        matches!(
            cache.lookup(&question, at),
            Lookup::Hit {
                refresh: Some(_),
                ..
            }
        )
    };
    assert!(!begins(1.0), "first hit");
    assert!(!begins(50.0), "second hit");
    assert!(!begins(80.0), "popular, with 20 % left");
    assert!(begins(90.0), "popular, with 10 % left");
    assert!(!begins(91.0), "one at a time");
    assert_eq!(cache.0.metrics.prefetches.get(), 1);
}

#[test]
fn a_long_gap_ends_popularity() {
    let cache = Fixture::new(|config| config.prefetch = Some(Prefetch::new(2)));
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 100), 0.0);
    let begins = |at| {
        matches!(
            cache.lookup(&question, at),
            Lookup::Hit {
                refresh: Some(_),
                ..
            }
        )
    };
    assert!(!begins(35.0));
    assert!(!begins(95.0), "a minute later");
    assert!(begins(96.0));
}

#[test]
fn popularity_outlives_a_refresh() {
    let cache = Fixture::new(|config| config.prefetch = Some(Prefetch::new(3)));
    let question = question("a.example");
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 10), 0.0);
    for at in [1.0, 2.0] {
        cache.hit(&question, at);
    }
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 10), 3.0);
    assert!(matches!(
        cache.lookup(&question, 12.5),
        Lookup::Hit {
            refresh: Some(_),
            ..
        }
    ));
}

#[test]
fn entries_are_bounded_and_evictions_counted() {
    let cache = Fixture::new(|config| config.success.capacity = 100);
    for index in 0..1000 {
        let question = question(&format!("n{index}.example"));
        cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    }
    let metrics = cache.0.success.metrics();
    assert!(cache.0.len() <= 128, "{}", cache.0.len());
    assert!(metrics.evictions.get() >= 872);
    assert_eq!(metrics.entries.get(), i64::try_from(cache.0.len()).unwrap());
}

#[test]
fn octets_are_bounded_with_those_around_the_message() {
    for (capacity, max_size, most) in [
        // 840 octets for each entry of both halves, one of them not used.
        (1_024, None, 1_024 * 840),
        (9_984, Some(1 << 20), 1 << 19),
        (1_000_000, Some(1 << 20), 1 << 20),
    ] {
        let cache = Fixture::new(|config| {
            config.success.capacity = capacity;
            config.max_size = max_size;
        });
        for index in 0..2000 {
            let question = question(&format!("n{index}.example")).with_type(Rtype::TXT);
            cache.keep(&question, txt(&question, 20), 0.0);
        }
        let metrics = cache.0.success.metrics();
        let messages = cache.0.len() * 20 * 256;
        let size = usize::try_from(metrics.size.get()).unwrap();
        assert!(size <= most, "{size} octets of {most}");
        assert!(size > most * 3 / 4, "{size} octets of {most} are used");
        assert!(size > messages, "{size} for messages of {messages}");
        assert!(cache.0.len() > 20 && metrics.evictions.get() > 0);
        cache.0.clear();
        assert_eq!((metrics.size.get(), metrics.entries.get()), (0, 0));
    }
}

#[test]
fn the_largest_answer_is_kept_wherever_there_are_many_cores() {
    let cache = Fixture::new(|config| config.max_size = Some(2 << 20));
    for index in 0..16 {
        let question = question(&format!("n{index}.example")).with_type(Rtype::TXT);
        cache.keep(&question, txt(&question, 240), 0.0);
        assert!(cache.hit(&question, 1.0).is_some(), "{index}");
    }
}

#[test]
fn names_asked_for_once_do_not_drive_out_popular_ones() {
    let cache = Fixture::new(|config| config.max_size = Some(1 << 20));
    let popular: Vec<Question> = (0..50)
        .map(|index| question(&format!("popular{index}.example")))
        .collect();
    for question in &popular {
        cache.keep(question, reply(question).a([192, 0, 2, 1], 3600), 0.0);
        assert!(cache.hit(question, 1.0).is_some());
    }
    let mut missed = 0;
    for index in 0..50_000 {
        let once = question(&format!("n{index}.example"));
        cache.keep(&once, reply(&once).a([192, 0, 2, 1], 3600), 1.0);
        // Every popular name is asked for once while 1,000 others are.
        if index % 20 == 0 {
            let question = &popular[index / 20 % popular.len()];
            missed += u32::from(cache.hit(question, 1.0).is_none());
        }
    }
    assert_eq!(missed, 0, "of 2,500");
}

#[test]
fn an_entry_that_is_renewed_makes_no_room() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    for second in [0.0, 60.0, 120.0] {
        cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), second);
    }
    let metrics = cache.0.success.metrics();
    assert_eq!((metrics.evictions.get(), metrics.entries.get()), (0, 1));
}

#[test]
fn names_are_forgotten_by_name_and_type_or_with_all_below() {
    let names = ["example", "a.example", "b.a.example", "ba.example"];
    let kept = |flush: Option<(&str, Option<Rtype>, bool)>| {
        let cache = Fixture::new(|_| {});
        for name in names {
            let a = question(name);
            cache.keep(&a, reply(&a).a([192, 0, 2, 1], 60), 0.0);
            let txt = a.with_type(Rtype::TXT);
            cache.keep(&txt, reply(&txt).soa(60, 60), 0.0);
        }
        let dropped = flush.map_or(0, |(name, qtype, below)| {
            let name = name.parse().unwrap();
            cache.0.forget(&Names { name, qtype, below })
        });
        let left: Vec<String> = names
            .iter()
            .flat_map(|name| [(name, Rtype::A), (name, Rtype::TXT)])
            .filter(|(name, qtype)| {
                let question = question(name).with_type(*qtype);
                cache.hit(&question, 1.0).is_some()
            })
            .map(|(name, qtype)| format!("{name} {qtype}"))
            .collect();
        assert_eq!(left.len() + dropped, 8);
        left
    };
    assert_eq!(kept(None).len(), 8);
    let left = kept(Some(("A.Example", None, false)));
    assert!(!left.iter().any(|entry| entry.starts_with("a.example")));
    assert_eq!(left.len(), 6);
    let left = kept(Some(("a.example", Some(Rtype::A), false)));
    assert!(!left.contains(&"a.example A".to_owned()));
    assert_eq!(left.len(), 7);
    let left = kept(Some(("a.example", None, true)));
    assert_eq!(
        left,
        ["example A", "example TXT", "ba.example A", "ba.example TXT"]
    );
    assert_eq!(kept(Some((".", Some(Rtype::TXT), true))).len(), 4);
    assert_eq!(kept(Some((".", None, true))).len(), 0);
    assert_eq!(kept(Some((".", None, false))).len(), 8);
}

#[test]
fn a_name_is_forgotten_with_the_denial_of_all_above() {
    let cache = Fixture::new(|_| {});
    let above = question("gone.example");
    let denied = reply(&above)
        .rcode(Rcode::NXDOMAIN)
        .flags(Flags::AUTHENTIC_DATA)
        .soa(60, 60);
    cache.keep(&above, denied, 0.0);
    let below = question("www.gone.example");
    let cut = || cache.0.cut(&below, cache.at(1.0), |_| true);
    assert!(cut().is_some());
    let names = |name: &str| Names {
        name: name.parse().unwrap(),
        qtype: Some(Rtype::A),
        below: false,
    };
    assert_eq!(cache.0.forget(&names("other.example")), 0);
    assert!(cut().is_some());
    assert_eq!(cache.0.forget(&names("www.gone.example")), 1);
    assert!(cut().is_none());
    assert!(cache.hit(&above, 1.0).is_some(), "it is another name");
}

#[test]
fn questions_hits_and_misses_are_counted() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example");
    assert!(cache.hit(&question, 0.0).is_none());
    assert!(cache.hit(&question, 0.0).is_none(), "looked up again");
    cache.0.missed(&question);
    cache.keep(&question, reply(&question).a([192, 0, 2, 1], 60), 0.0);
    assert!(cache.hit(&question, 1.0).is_some());
    let metrics = &cache.0.metrics;
    assert_eq!(metrics.requests.get(), 2);
    assert_eq!(metrics.misses.get(), 1);
    assert_eq!(metrics.success.hits.get(), 1);
    assert_eq!(metrics.denial.hits.get(), 0);
}

#[test]
fn unknown_types_are_kept_as_they_are() {
    let cache = Fixture::new(|_| {});
    let question = question("a.example").with_type(Rtype(65280));
    let reply = reply(&question).answer(Rtype(65280), 60, &[0xde, 0xad, 0xbe, 0xef]);
    cache.keep(&question, reply, 0.0);
    let answer = cache.hit(&question, 1.0).unwrap();
    assert_eq!(
        answer.message.records().next().unwrap().rdata(),
        [0xde, 0xad, 0xbe, 0xef]
    );
}

/// A cache and a time from which seconds count.
struct Fixture(Arc<Cache>, Instant);

impl Fixture {
    /// An empty cache with the defaults, changed by `change`.
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn new(change: impl FnOnce(&mut CacheConfig)) -> Self {
        let mut config = CacheConfig::default();
        change(&mut config);
        let families = Families::register(&Registry::new()).unwrap();
        let context = Context::new(TaskTracker::new(), CancellationToken::new(), families);
        Self(
            Cache::new(config, &CacheLabels::default(), &context),
            Instant::now(),
        )
    }

    /// A time.
    fn at(&self, seconds: f64) -> Instant {
        self.1 + Duration::from_secs_f64(seconds)
    }

    /// Offers a response to the cache; gives it as the client sees it.
    fn keep(&self, question: &Question, reply: Reply, at: f64) -> Message {
        let mut message = Message::parse(reply.build()).unwrap();
        self.0.keep(question, &mut message, self.at(at), EPOCH);
        message
    }

    /// Looks up.
    fn lookup(&self, question: &Question, at: f64) -> Lookup {
        self.0.lookup(question, self.at(at))
    }

    /// The answer, if there is one.
    fn hit(&self, question: &Question, at: f64) -> Option<Answer> {
        match self.lookup(question, at) {
            Lookup::Hit { kept, .. } => Some(kept.to_answer(question)),
            Lookup::Miss | Lookup::Verify => None,
        }
    }
}

/// A question for an address.
fn question(name: &str) -> Question {
    Question::new(&name.parse().unwrap(), Rtype::A, Class::IN)
}

/// An empty NOERROR to a question.
fn reply(question: &Question) -> Reply {
    let mut wire = Vec::new();
    question.write_query(&mut wire, 7, Some(1232), Hop::Udp);
    let query = Query::read(&wire).unwrap();
    Reply::to(&Received {
        id: query.id,
        flags: query.flags,
        qname: query.qname,
        qtype: query.qtype,
        question: query.question.to_vec(),
        edns_payload: Some(1232),
        dnssec_ok: query.dnssec_ok(),
        keepalive: None,
        tcp: false,
        source: "127.0.0.1:1".parse().unwrap(),
        index: 0,
    })
}

/// An answer of `count` strings of 255 octets.
fn txt(question: &Question, count: usize) -> Reply {
    (0..count).fold(reply(question), |reply, _| {
        reply.answer(Rtype::TXT, 60, &[255; 256])
    })
}

/// The TTL of the first record.
fn ttl(message: &Message) -> u32 {
    message.records().next().unwrap().ttl
}

/// Some time in 2023, in seconds since 1970.
const EPOCH: u32 = 1_700_000_000;
