//! Cache and upstreams together.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_forward::Cache;
use portolan_forward::CacheConfig;
use portolan_forward::Names;
use portolan_forward::Prefetch;
use portolan_forward::Question;
use portolan_forward::Resolver;
use portolan_forward::ServeStale;
use portolan_forward::StaleMode;
use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;
use tokio::time::Instant;

use crate::support::Setup;
use crate::support::config;
use crate::support::eventually;
use crate::support::question;

#[tokio::test]
async fn the_second_question_is_answered_from_the_cache() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    let first = setup.ask(&question("a.example")).await.unwrap();
    let second = setup.ask(&question("A.Example")).await.unwrap();
    assert!(!first.from_cache && second.from_cache);
    assert_eq!(second.upstream, None);
    assert_eq!(upstream.count(), 1);
    assert_eq!(setup.counter("coredns_cache_requests_total"), 2.0);
    assert_eq!(setup.counter("coredns_cache_hits_total"), 1.0);
    assert_eq!(setup.counter("coredns_cache_misses_total"), 1.0);
}

#[tokio::test]
async fn the_first_reply_has_the_ttl_of_the_cache() {
    let upstream = FakeUpstream::start(|query| Reply::to(query).a([192, 0, 2, 1], 4000).send())
        .await
        .unwrap();
    let setup = with_cache(&upstream, |config| config.success.max_ttl = 30).await;
    assert_eq!(ttl(&setup, &question("a.example")).await, 30);
}

#[tokio::test]
async fn servfail_is_kept_and_0_keeps_none() {
    for (servfail, expected) in [(5, 1), (0, 2)] {
        let upstream = FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send())
            .await
            .unwrap();
        let setup = with_cache(&upstream, |config| {
            config.servfail = Duration::from_secs(servfail);
        })
        .await;
        for _ in 0..2 {
            let answer = setup.ask(&question("a.example")).await.unwrap();
            assert_eq!(answer.head().rcode, Rcode::SERVFAIL);
        }
        assert_eq!(upstream.count(), expected, "servfail {servfail}");
    }
}

#[tokio::test]
async fn an_outage_is_not_asked_about_again_within_a_second() {
    let dead = FakeUpstream::answering().await.unwrap();
    let addr = dead.addr();
    dead.stop().await;
    let config = config(&[], |config| {
        config.upstreams = vec![portolan_forward::UpstreamConfig::Addr(addr)];
    });
    let setup = Setup::with(Some(CacheConfig::default()), &[config]).await;
    setup.ask(&question("a.example")).await.unwrap_err();
    let sent = setup.counter("coredns_forward_requests_total");
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::SERVFAIL);
    assert_eq!(answer.ede, Some(Ede::CACHED_ERROR));
    assert_eq!(setup.counter("coredns_forward_requests_total"), sent);
}

#[tokio::test]
async fn stale_answers_are_immediate_and_refreshed_once() {
    let upstream = FakeUpstream::start(|query| {
        let octet = u8::try_from(query.index).unwrap();
        let reply = Reply::to(query).a([192, 0, 2, octet], 60).send();
        Action::After(Duration::from_millis(30), Box::new(reply))
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |config| {
        config.serve_stale = Some(ServeStale::default());
    })
    .await;
    let question = question("a.example");
    setup.ask(&question).await.unwrap();
    for _ in 0..10 {
        let stale = setup.resolver.cached(&question, in_seconds(61)).unwrap();
        assert_eq!(stale.ede, Some(Ede::STALE_ANSWER));
        let record = stale.message.records().next().unwrap();
        assert_eq!((record.ttl, record.rdata()), (0, &[192, 0, 2, 0][..]));
    }
    eventually("refreshed", || {
        setup
            .resolver
            .cached(&question, in_seconds(1))
            .is_some_and(|answer| answer.message.records().next().unwrap().rdata()[3] == 1)
    })
    .await;
    assert_eq!(upstream.count(), 2);
    assert_eq!(setup.counter("coredns_cache_served_stale_total"), 10.0);
}

#[tokio::test]
async fn verify_prefers_what_upstreams_say() {
    let upstream = FakeUpstream::start(|query| {
        let octet = u8::try_from(query.index).unwrap();
        Reply::to(query).a([192, 0, 2, octet], 1).send()
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |config| {
        config.success.min_ttl = 1;
        config.serve_stale = Some(verify(Duration::ZERO));
    })
    .await;
    let question = question("a.example");
    setup.ask(&question).await.unwrap();
    crate::support::pass(1100).await;
    let answer = setup.ask(&question).await.unwrap();
    assert!(!answer.from_cache);
    assert_eq!(answer.message.records().next().unwrap().rdata()[3], 1);
}

#[tokio::test]
async fn verify_falls_back_when_upstreams_fail_or_are_slow() {
    for (what, timeout) in [("servfail", 1000), ("slow", 100), ("silent", 100)] {
        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = Arc::clone(&broken);
        let upstream = FakeUpstream::start(move |query| {
            let reply = Reply::to(query);
            if !is_broken.load(Ordering::Relaxed) {
                return reply.a([192, 0, 2, 1], 1).send();
            }
            match what {
                "servfail" => reply.rcode(Rcode::SERVFAIL).send(),
                "slow" => Action::After(
                    Duration::from_millis(1200),
                    Box::new(reply.a([192, 0, 2, 2], 60).send()),
                ),
                _ => Action::Drop,
            }
        })
        .await
        .unwrap();
        let setup = with_cache(&upstream, |config| {
            config.success.min_ttl = 1;
            config.serve_stale = Some(verify(Duration::from_millis(timeout)));
        })
        .await;
        let question = question("a.example");
        setup.ask(&question).await.unwrap();
        broken.store(true, Ordering::Relaxed);
        crate::support::pass(1100).await;
        let begun = Instant::now();
        let answer = setup.ask(&question).await.unwrap();
        assert_eq!(answer.ede, Some(Ede::STALE_ANSWER), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}");
        if what == "slow" {
            eventually("the late answer is kept", || {
                setup
                    .resolver
                    .cached(&question, in_seconds(1))
                    .is_some_and(|answer| answer.ede.is_none())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn popular_entries_are_fetched_again_before_they_expire() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = with_cache(&upstream, |config| config.prefetch = Some(Prefetch::new(3))).await;
    let question = question("a.example");
    setup.ask(&question).await.unwrap();
    for second in [10, 20, 55, 56] {
        let answer = setup
            .resolver
            .cached(&question, in_seconds(second))
            .unwrap();
        assert!(answer.ede.is_none());
    }
    eventually("one background fetch", || upstream.count() == 2).await;
    assert_eq!(setup.counter("coredns_cache_prefetch_total"), 1.0);
    crate::support::pass(50).await;
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_refresh_gets_over_truncation() {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60);
        // The first answer fits, later ones do not.
        if query.tcp || query.index == 0 {
            reply.send()
        } else {
            reply.flags(Flags::TRUNCATED).send()
        }
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |config| {
        config.serve_stale = Some(ServeStale::default());
    })
    .await;
    let question = question("a.example");
    setup.ask(&question).await.unwrap();
    setup.resolver.cached(&question, in_seconds(61)).unwrap();
    eventually("a refresh over TCP", || upstream.count() == 3).await;
    assert!(upstream.queries()[2].tcp);
}

#[tokio::test]
async fn a_cache_outlives_a_reload() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    let cache = setup.resolver.cache().map(Arc::clone);
    let reloaded = Resolver::new(cache, setup.resolver.stanzas().to_vec(), &setup.context);
    let answer = reloaded
        .cached(&question("a.example"), in_seconds(1))
        .unwrap();
    assert!(answer.from_cache);
}

#[tokio::test]
async fn a_refresh_that_a_reload_breaks_off_is_begun_again() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let upstream = FakeUpstream::start(move |query| {
        if is_silent.load(Ordering::Relaxed) {
            return Action::Drop;
        }
        Reply::to(query).a([192, 0, 2, 1], 60).send()
    })
    .await
    .unwrap();
    let before = with_cache(&upstream, |config| {
        config.serve_stale = Some(ServeStale::default());
    })
    .await;
    let question = question("a.example");
    before.ask(&question).await.unwrap();
    silent.store(true, Ordering::Relaxed);
    before.resolver.cached(&question, in_seconds(61)).unwrap();
    eventually("a refresh is under way", || upstream.count() == 2).await;
    before.context.token.cancel();
    before.context.tracker.close();
    before.context.tracker.wait().await;

    silent.store(false, Ordering::Relaxed);
    let after = Setup::with(None, &[config(&[&upstream], |_| {})]).await;
    let cache = before.resolver.cache().map(Arc::clone);
    let resolver = Resolver::new(cache, after.resolver.stanzas().to_vec(), &after.context);
    resolver.cached(&question, in_seconds(61)).unwrap();
    eventually("another refresh", || upstream.count() == 3).await;
}

#[tokio::test]
async fn fifty_clients_with_one_question_are_one_query() {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query)
            .flags(Flags::AUTHENTIC_DATA)
            .a([192, 0, 2, 1], 60);
        Action::After(Duration::from_millis(100), Box::new(reply.send()))
    })
    .await
    .unwrap();
    for has_cache in [true, false] {
        let asked = upstream.count();
        let cache = has_cache.then(CacheConfig::default);
        let setup = Setup::with(cache, &[config(&[&upstream], |_| {})]).await;
        let plain = question("a.example");
        let mut wanting = question("A.Example");
        wanting.authentic_data = true;
        let clients = (0..50).map(|n| setup.ask(if n % 2 == 0 { &plain } else { &wanting }));
        for (n, answer) in (0..50).zip(futures_util::future::join_all(clients).await) {
            let answer = answer.unwrap();
            assert_eq!(answer.authentic_data, n % 2 == 1, "AD is for those who ask");
            assert_eq!(answer.message.records().count(), 1);
        }
        assert_eq!(upstream.count() - asked, 1, "cache: {has_cache}");
    }
}

#[tokio::test]
async fn a_thread_without_a_runtime_may_look_up() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = with_cache(&upstream, |config| {
        config.serve_stale = Some(ServeStale::default());
    })
    .await;
    setup.ask(&question("a.example")).await.unwrap();
    let resolver = setup.resolver.clone();
    let worker = std::thread::spawn(move || {
        resolver
            .cached(&question("a.example"), in_seconds(61))
            .is_some()
    });
    eventually("a refresh", || upstream.count() == 2).await;
    assert!(worker.join().unwrap());
}

#[tokio::test]
async fn shutdown_ends_refreshes() {
    let upstream = FakeUpstream::start(|query| {
        if query.index == 0 {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        } else {
            Action::Drop
        }
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |config| {
        config.serve_stale = Some(ServeStale::default());
    })
    .await;
    let question = question("a.example");
    setup.ask(&question).await.unwrap();
    setup.resolver.cached(&question, in_seconds(61)).unwrap();
    setup.context.token.cancel();
    setup.context.tracker.close();
    tokio::time::timeout(Duration::from_millis(500), setup.context.tracker.wait())
        .await
        .expect("all tasks end");
}

/// One upstream and a cache.
async fn with_cache(upstream: &FakeUpstream, change: impl FnOnce(&mut CacheConfig)) -> Setup {
    let mut cache = CacheConfig::default();
    change(&mut cache);
    Setup::with(Some(cache), &[config(&[upstream], |_| {})]).await
}

/// Stale answers after upstreams had their chance.
fn verify(timeout: Duration) -> ServeStale {
    ServeStale {
        mode: StaleMode::Verify { timeout },
        ..ServeStale::default()
    }
}

/// The TTL that an answer has.
async fn ttl(setup: &Setup, question: &Question) -> u32 {
    let answer = setup.ask(question).await.unwrap();
    answer.message.records().next().unwrap().ttl
}

/// A time to come.
fn in_seconds(seconds: u64) -> std::time::Instant {
    (Instant::now() + Duration::from_secs(seconds)).into_std()
}

#[tokio::test]
async fn nothing_is_below_a_name_that_was_proved_not_to_exist() {
    for (verified, expected) in [(true, 1), (false, 4)] {
        let upstream = FakeUpstream::start(move |query| {
            let reply = Reply::to(query).soa(60, 60).rcode(Rcode::NXDOMAIN);
            let flags = if verified { 0x81a0 } else { 0x8180 };
            reply.flags(flags).send()
        })
        .await
        .unwrap();
        let setup = with_cache(&upstream, |_| {}).await;
        for name in ["gone.example", "a.gone.example", "b.a.gone.example"] {
            let answer = setup.ask(&question(name)).await.unwrap();
            assert_eq!(answer.head().rcode, Rcode::NXDOMAIN, "{name}");
            let record = answer.message.records().next().unwrap();
            assert_eq!((record.rtype, record.ttl), (Rtype::SOA, 60), "{name}");
            let asked = answer.message.question().unwrap().0;
            assert_eq!(asked, question(name).qname);
        }
        let other = question("gone.example").with_type(Rtype::AAAA);
        setup.ask(&other).await.unwrap();
        assert_eq!(upstream.count(), expected, "verified: {verified}");
        setup.ask(&question("b.example")).await.unwrap();
        let mut signed = question("c.gone.example");
        signed.dnssec_ok = true;
        setup.ask(&signed).await.unwrap();
        assert_eq!(upstream.count(), expected + 2, "verified: {verified}");
    }
}

#[tokio::test]
async fn type_0_has_nothing_to_do_with_other_types() {
    let upstream = FakeUpstream::start(|query| match query.qtype {
        Rtype::A => Reply::to(query).a([192, 0, 2, 1], 60).send(),
        _ => Reply::to(query).soa(60, 60).send(),
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    // No data, and not that there is no such name.
    let zero = question("a.example").with_type(Rtype(0));
    let answer = setup.ask(&zero).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NOERROR);
    for name in ["a.example", "b.a.example"] {
        let answer = setup.ask(&question(name)).await.unwrap();
        assert_eq!(answer.head().rcode, Rcode::NOERROR, "{name}");
        assert_eq!(answer.message.records().count(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_is_heard_of_a_name_opens_what_is_above_it() {
    let upstream = FakeUpstream::start(|query| {
        if query.dnssec_ok {
            return Reply::to(query).a([192, 0, 2, 1], 60).send();
        }
        let reply = Reply::to(query).soa(60, 60).rcode(Rcode::NXDOMAIN);
        reply.flags(0x81a0).send()
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    setup.ask(&question("gone.example")).await.unwrap();
    let mut signed = question("a.gone.example");
    signed.dnssec_ok = true;
    setup.ask(&signed).await.unwrap();
    setup.ask(&question("b.gone.example")).await.unwrap();
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn a_cut_ends_where_other_upstreams_begin() {
    let denying = FakeUpstream::start(|query| {
        let reply = Reply::to(query).soa(60, 60).rcode(Rcode::NXDOMAIN);
        reply.flags(0x81a0).send()
    })
    .await
    .unwrap();
    let other = FakeUpstream::answering().await.unwrap();
    let setup = Setup::with(
        Some(CacheConfig::default()),
        &[
            config(&[&other], |config| {
                config.from = vec!["lan.gone.example".parse().unwrap()];
            }),
            config(&[&denying], |_| {}),
        ],
    )
    .await;
    setup.ask(&question("gone.example")).await.unwrap();
    let answer = setup.ask(&question("a.lan.gone.example")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NOERROR);
}

#[tokio::test]
async fn what_is_on_its_way_when_names_are_forgotten_is_not_kept() {
    let cache: Arc<OnceLock<Arc<Cache>>> = Arc::default();
    let flushed = Arc::clone(&cache);
    let upstream = FakeUpstream::start(move |query| {
        let all = Names {
            name: Name::root(),
            qtype: None,
            below: true,
        };
        if let Some(cache) = flushed.get() {
            cache.forget(&all);
        }
        Reply::to(query).a([192, 0, 2, 1], 60).send()
    })
    .await
    .unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    let kept = setup.resolver.cache().unwrap();
    cache.set(Arc::clone(kept)).unwrap();
    for count in 1..=2 {
        setup.ask(&question("a.example")).await.unwrap();
        assert_eq!(upstream.count(), count);
        assert!(kept.is_empty());
    }
}

#[tokio::test]
async fn what_is_at_or_below_a_name_can_be_forgotten() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = with_cache(&upstream, |_| {}).await;
    let names = [
        "example.org",
        "a.example.org",
        "b.a.example.org",
        "a.example",
    ];
    for name in names {
        setup.ask(&question(name)).await.unwrap();
    }
    let cache = setup.resolver.cache().unwrap();
    let below = Names {
        name: "a.example.org".parse().unwrap(),
        qtype: None,
        below: true,
    };
    assert_eq!(cache.forget(&below), 2);
    assert_eq!(cache.len(), 2);
    for name in names {
        setup.ask(&question(name)).await.unwrap();
    }
    assert_eq!(upstream.count(), 6);
    assert_eq!(cache.forget(&below), 2);
}
