//! Several upstreams: order, failures, health, stanzas.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portolan_forward::BuildError;
use portolan_forward::Config;
use portolan_forward::Forward;
use portolan_forward::MAX_UPSTREAMS;
use portolan_forward::Policy;
use portolan_forward::TOTAL_BUDGET;
use portolan_forward::Transport;
use portolan_forward::UpstreamConfig;
use portolan_proto::Ede;
use portolan_proto::Flags;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;
use tokio::time::Instant;

use crate::support::CLIENT;
use crate::support::Setup;
use crate::support::config;
use crate::support::context;
use crate::support::eventually;
use crate::support::pass;
use crate::support::question;

#[tokio::test]
async fn a_black_hole_costs_its_patience_and_is_left_alone() {
    let dead = FakeUpstream::black_hole().await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&dead, &good], |config| config.policy = Policy::RoundRobin).await;
    let begun = Instant::now();
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.upstream.as_deref(), Some(&*good.addr().to_string()));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // The next ones know: half of them would begin there. A few may be asked
    // there too, where the good one has to wait for the processor.
    for index in 0..50 {
        let answer = setup
            .ask(&question(&format!("n{index}.example")))
            .await
            .unwrap();
        assert_eq!(answer.upstream.as_deref(), Some(&*good.addr().to_string()));
    }
    let asked = dead.count_without_probes();
    assert!((1..=10).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_refused_port_costs_nothing() {
    let dead = FakeUpstream::answering().await.unwrap();
    let addr = dead.addr();
    dead.stop().await;
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::with(
        None,
        &[config(&[&good], |config| {
            config.upstreams.insert(0, UpstreamConfig::Addr(addr));
        })],
    )
    .await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let begun = Instant::now();
        let mut question = question("a.example");
        question.transport = transport;
        setup.ask(&question).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(200),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn two_black_holes_end_in_servfail_within_the_budget() {
    let a = FakeUpstream::black_hole().await.unwrap();
    let b = FakeUpstream::black_hole().await.unwrap();
    let setup = Setup::new(&[&a, &b], |_| {}).await;
    let begun = Instant::now();
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_millis(3300), "{elapsed:?}");
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    assert_eq!(failure.ede, Some(Ede::NO_REACHABLE_AUTHORITY));
    assert!(failure.message.ends_with("i/o timeout"), "{failure}");
    assert!(
        failure.message.starts_with("read udp 127.0.0.1:"),
        "{failure}"
    );
    // RFC 9520 §3.1: at most three times each.
    assert!(a.count_without_probes() <= 3 && b.count_without_probes() <= 3);
}

#[tokio::test]
async fn a_slow_answer_is_heard_though_another_upstream_was_asked_meanwhile() {
    let slow = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        Action::After(Duration::from_millis(700), Box::new(reply))
    })
    .await
    .unwrap();
    let dead = FakeUpstream::black_hole().await.unwrap();
    let setup = Setup::new(&[&slow, &dead], |_| {}).await;
    let begun = Instant::now();
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.upstream.as_deref(), Some(&*slow.addr().to_string()));
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(dead.count_without_probes(), 1);
}

#[tokio::test]
async fn a_fixed_order_outlives_one_slow_answer() {
    let first = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        // The first answer is slow, and so is that to the probe.
        let slow = query.index == 0 || query.is_probe();
        Action::After(
            Duration::from_millis(u64::from(slow) * 700),
            Box::new(reply),
        )
    })
    .await
    .unwrap();
    let second = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&first, &second], |_| {}).await;
    setup.ask(&question("slow.example")).await.unwrap();
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.upstream.as_deref(), Some(&*first.addr().to_string()));
}

#[tokio::test]
async fn one_lost_datagram_does_not_fail_a_single_upstream() {
    let upstream = FakeUpstream::start(|query| {
        if query.index == 0 {
            Action::Drop
        } else {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let begun = Instant::now();
    setup.ask(&question("a.example")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1500));
}

#[tokio::test]
async fn an_upstream_that_drops_every_second_query_never_means_servfail() {
    let flaky = FakeUpstream::start(|query| {
        if query.index % 2 == 0 {
            Action::Drop
        } else {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        }
    })
    .await
    .unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let third = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&flaky, &good, &third], |config| {
        config.policy = Policy::Random;
        config.max_fails = 1;
    })
    .await;
    for index in 0..40 {
        let answer = setup.ask(&question(&format!("n{index}.example"))).await;
        assert_eq!(answer.unwrap().head().rcode, Rcode::NOERROR);
    }
}

#[tokio::test]
async fn bad_codes_do_not_surface_while_one_upstream_is_good() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let bad = FakeUpstream::start(move |query| Reply::to(query).rcode(rcode).send())
            .await
            .unwrap();
        let good = FakeUpstream::answering().await.unwrap();
        let setup = Setup::new(&[&bad, &good], |config| config.policy = Policy::Random).await;
        for index in 0..60 {
            let answer = setup
                .ask(&question(&format!("n{index}.example")))
                .await
                .unwrap();
            assert_eq!(answer.head().rcode, Rcode::NOERROR);
        }
        assert!(bad.count() > 0);
    }
}

#[tokio::test]
async fn the_last_bad_answer_is_given_when_all_were_asked() {
    let refuses = FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::REFUSED).send())
        .await
        .unwrap();
    let fails = FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send())
        .await
        .unwrap();
    let setup = Setup::new(&[&refuses, &fails], |_| {}).await;
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::SERVFAIL);
    assert_eq!((refuses.count(), fails.count()), (1, 1));
}

#[tokio::test]
async fn failover_codes_are_those_of_the_settings() {
    let denies =
        FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send())
            .await
            .unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    for (failover, expected) in [
        (vec![Rcode::NXDOMAIN], Rcode::NOERROR),
        (vec![], Rcode::NXDOMAIN),
    ] {
        let setup = Setup::new(&[&denies, &good], |config| config.failover = failover).await;
        let answer = setup.ask(&question("a.example")).await.unwrap();
        assert_eq!(answer.head().rcode, expected);
    }
}

#[tokio::test]
async fn attempts_end_at_max_connect_attempts() {
    let mut upstreams = Vec::new();
    for _ in 0..3 {
        upstreams.push(FakeUpstream::answering().await.unwrap());
    }
    let addrs: Vec<_> = upstreams.iter().map(FakeUpstream::addr).collect();
    for upstream in upstreams {
        upstream.stop().await;
    }
    for (setting, expected) in [(None, 6.0), (Some(1), 1.0), (Some(4), 4.0), (Some(0), 12.0)] {
        let setup = Setup::new(&[], |config| {
            config.upstreams = addrs.iter().copied().map(UpstreamConfig::Addr).collect();
            config.max_connect_attempts = setting;
        })
        .await
        .counter_after_failure("coredns_forward_requests_total")
        .await;
        assert_eq!(setup, expected, "{setting:?}");
    }
}

#[tokio::test]
async fn one_failure_is_one_probe() {
    let upstream = FakeUpstream::start(|query| {
        if query.index == 0 {
            Action::Drop
        } else {
            Reply::to(query).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    pass(700).await;
    let probes: Vec<_> = upstream
        .queries()
        .into_iter()
        .filter(|query| query.is_probe())
        .collect();
    assert_eq!(probes.len(), 1);
    assert!(probes[0].flags.has(Flags::RECURSION_DESIRED));
    assert!(!probes[0].tcp);
}

#[tokio::test]
async fn no_failure_is_no_probe() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    pass(600).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn max_fails_0_is_no_probe_at_all() {
    let upstream = FakeUpstream::start(|query| {
        if query.index < 2 {
            Action::Drop
        } else {
            Reply::to(query).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.max_fails = 0).await;
    setup.ask(&question("a.example")).await.ok();
    pass(700).await;
    assert!(upstream.queries().iter().all(|query| !query.is_probe()));
}

#[tokio::test]
async fn probes_are_as_the_settings_say() {
    let upstream = FakeUpstream::start(|query| match query.qtype {
        Rtype::NS => Reply::to(query).rcode(Rcode::REFUSED).send(),
        _ => Action::Drop,
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.health_check.no_rec = true;
        config.health_check.domain = "probe.example".parse().unwrap();
        config.read_timeout = Duration::from_millis(300);
        config.max_connect_attempts = Some(1);
    })
    .await;
    setup.ask(&question("a.example")).await.unwrap_err();
    eventually("a probe", || upstream.count() == 2).await;
    let probe = &upstream.queries()[1];
    assert_eq!(probe.qname.to_string(), "probe.example.");
    assert!(!probe.flags.has(Flags::RECURSION_DESIRED));
    pass(300).await;
    assert_eq!(upstream.count(), 2, "any response is a sign of life");
}

#[tokio::test]
async fn a_new_failure_is_probed_at_once_though_the_interval_is_long() {
    let mood = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&mood);
    let upstream = FakeUpstream::start(move |query| {
        // 0: says nothing. 1: answers queries alone. 2: answers probes alone.
        let answers = match now.load(Ordering::Relaxed) {
            0 => false,
            1 => !query.is_probe(),
            _ => query.is_probe(),
        };
        if answers {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        } else {
            Action::Drop
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.health_check.interval = Duration::from_secs(60);
        config.read_timeout = Duration::from_millis(300);
    })
    .await;
    let probes = || upstream.count() - upstream.count_without_probes();
    setup.ask(&question("a.example")).await.unwrap_err();
    eventually("the first probe", || probes() == 1).await;
    // It fails; the next one is due in a minute.
    pass(1100).await;
    mood.store(1, Ordering::Relaxed);
    setup.ask(&question("b.example")).await.unwrap();
    mood.store(2, Ordering::Relaxed);
    setup.ask(&question("c.example")).await.unwrap_err();
    eventually("the second probe", || probes() >= 2).await;
}

#[tokio::test]
async fn probes_go_over_tcp_where_queries_do() {
    let upstream = FakeUpstream::start(|query| {
        if query.index == 0 {
            Action::Close
        } else {
            Reply::to(query).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.force_tcp = true).await;
    setup.ask(&question("a.example")).await.unwrap();
    eventually("a probe", || {
        upstream.queries().iter().any(|q| q.is_probe())
    })
    .await;
    assert!(upstream.queries().iter().all(|query| query.tcp));
}

#[tokio::test]
async fn a_dead_upstream_is_down_after_its_probes_and_up_with_the_first_response() {
    let dead = FakeUpstream::answering().await.unwrap();
    let addr = dead.addr();
    dead.stop().await;
    let setup = Setup::new(&[], |config| {
        config.upstreams = vec![UpstreamConfig::Addr(addr)];
        config.failfast_all_unhealthy_upstreams = true;
        config.max_fails = 1;
        config.health_check.interval = Duration::from_millis(100);
    })
    .await;
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    assert!(failure.message.ends_with("connection refused"), "{failure}");
    eventually("two failed probes", || {
        setup.counter("coredns_proxy_healthcheck_failures_total") >= 2.0
    })
    .await;
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    assert_eq!(failure.message, "no healthy proxies");
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    assert_eq!(
        setup.counter("coredns_forward_healthcheck_broken_total"),
        1.0
    );
    let failures = setup.counter("coredns_proxy_healthcheck_failures_total");
    let old = setup.counter("coredns_forward_healthcheck_failures_total");
    assert!((old - failures).abs() <= 1.0);

    let back = FakeUpstream::start_at(addr, |query| Reply::to(query).a([192, 0, 2, 1], 60).send())
        .await
        .unwrap();
    eventually("a probe of the one that is back", || back.count() > 0).await;
    pass(20).await;
    setup.ask(&question("a.example")).await.unwrap();
}

#[tokio::test]
async fn a_refusing_upstream_is_probed_once_an_interval_however_many_fail() {
    let dead = FakeUpstream::answering().await.unwrap();
    let addr = dead.addr();
    dead.stop().await;
    let setup = Setup::new(&[], |config| {
        config.upstreams = vec![UpstreamConfig::Addr(addr)];
        config.force_tcp = true;
        config.health_check.interval = Duration::from_millis(200);
    })
    .await;
    let begun = Instant::now();
    for index in 0..200 {
        setup
            .ask(&question(&format!("n{index}.example")))
            .await
            .unwrap_err();
        pass(5).await;
    }
    let probes = setup.counter("coredns_proxy_healthcheck_failures_total");
    let most = 1.0 + begun.elapsed().as_secs_f64() / 0.2;
    assert!((1.0..=most).contains(&probes), "{probes} of {most}");
}

#[tokio::test]
async fn servfail_is_no_sign_of_life_where_that_is_strict() {
    let broken = FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send())
        .await
        .unwrap();
    for (strict, expected) in [(false, 0.0), (true, 1.0)] {
        let setup = Setup::new(&[&broken], |config| {
            config.health_check.strict = strict;
            config.health_check.interval = Duration::from_millis(50);
        })
        .await;
        setup.ask(&question("a.example")).await.unwrap();
        if strict {
            eventually("a failed probe", || {
                setup.counter("coredns_proxy_healthcheck_failures_total") >= expected
            })
            .await;
        } else {
            pass(200).await;
            let failed = setup.counter("coredns_proxy_healthcheck_failures_total");
            assert_eq!(failed, expected);
        }
    }
}

#[tokio::test]
async fn all_down_is_tried_all_the_same_without_failfast() {
    let dead = FakeUpstream::answering().await.unwrap();
    let addr = dead.addr();
    dead.stop().await;
    let setup = Setup::new(&[], |config| {
        config.upstreams = vec![UpstreamConfig::Addr(addr)];
        config.max_fails = 1;
        // Only queries can find out in the time of this test.
        config.health_check.interval = Duration::from_millis(50);
    })
    .await;
    setup.ask(&question("a.example")).await.unwrap_err();
    eventually("down", || {
        setup.counter("coredns_proxy_healthcheck_failures_total") >= 2.0
    })
    .await;
    let _back = FakeUpstream::start_at(addr, |query| {
        if query.is_probe() {
            Action::Drop
        } else {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        }
    })
    .await
    .unwrap();
    setup.ask(&question("a.example")).await.unwrap();
}

#[tokio::test]
async fn max_concurrent_is_refused() {
    let slow = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        Action::After(Duration::from_millis(150), Box::new(reply))
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&slow], |config| config.max_concurrent = 2).await;
    let (a, b, c) = (
        question("a.example"),
        question("b.example"),
        question("c.example"),
    );
    let asked = tokio::join!(setup.ask(&a), setup.ask(&b), setup.ask(&c));
    let asked = [asked.0, asked.1, asked.2];
    assert_eq!(asked.iter().filter(|result| result.is_ok()).count(), 2);
    let failure = asked.into_iter().find_map(Result::err).unwrap();
    assert_eq!(failure.rcode, Rcode::REFUSED);
    assert_eq!(failure.message, "concurrent queries exceeded maximum 2");
    assert_eq!(
        setup.counter("coredns_forward_max_concurrent_rejects_total"),
        1.0
    );
    setup.ask(&question("d.example")).await.unwrap();
}

#[tokio::test]
async fn the_process_has_a_bound_too() {
    let dead = FakeUpstream::black_hole().await.unwrap();
    let (context, _registry) = context();
    let context = context.with_max_in_flight(1);
    let forward = Forward::build(config(&[&dead], |_| {}), &context)
        .await
        .unwrap();
    let resolver = portolan_forward::Resolver::new(None, vec![forward], &context);
    let questions = ["a.example", "b.example"].map(|name| Arc::new(question(name)));
    let (_, second) = tokio::join!(
        tokio::time::timeout(
            Duration::from_millis(50),
            resolver.resolve(&questions[0], CLIENT)
        ),
        resolver.resolve(&questions[1], CLIENT),
    );
    let failure = second.unwrap_err();
    assert_eq!(failure.rcode, Rcode::REFUSED);
    assert_eq!(failure.message, "concurrent queries exceeded maximum 1");
}

#[tokio::test]
async fn names_are_claimed_by_from_and_except() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.from = vec!["example".parse().unwrap(), "org".parse().unwrap()];
        config.except = vec!["b.example".parse().unwrap(), "org".parse().unwrap()];
    })
    .await;
    for (name, expected) in [
        ("example", true),
        ("a.example", true),
        ("b.example", false),
        ("a.b.example", false),
        ("org", true),
        ("a.org", false),
        ("com", false),
    ] {
        let qname = Qname::from(&name.parse().unwrap());
        assert_eq!(setup.resolver.claims(&qname), expected, "{name}");
    }
    let failure = setup.ask(&question("a.com")).await.unwrap_err();
    assert_eq!(failure.message, "no next plugin found");
}

#[tokio::test]
async fn clients_are_those_of_private_networks_unless_told_otherwise() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let qname = Qname::from(&"a.example".parse().unwrap());
    for (client, expected) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("10.1.2.3", true),
        ("172.31.0.1", true),
        ("172.32.0.1", false),
        ("192.168.1.1", true),
        ("169.254.1.1", true),
        ("fe80::1", true),
        ("fd00::1", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
        ("::ffff:10.0.0.1", true),
        ("::ffff:192.0.2.1", false),
    ] {
        let allowed = setup.resolver.allows(&qname, client.parse().unwrap());
        assert_eq!(allowed, expected, "{client}");
    }
    let setup = Setup::new(&[&upstream], |config| {
        config.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    assert!(setup.resolver.allows(&qname, "192.0.2.1".parse().unwrap()));
    assert!(!setup.resolver.allows(&qname, "127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn stanzas_share_the_time_that_a_client_waits() {
    let slow = Duration::from_millis(1500);
    let first = FakeUpstream::start(move |query| {
        let denied = Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send();
        Action::After(slow, Box::new(denied))
    })
    .await
    .unwrap();
    let silent = FakeUpstream::start(|_| Action::Drop).await.unwrap();
    let next = |config: &mut Config| config.next = vec![Rcode::NXDOMAIN];
    let setup = Setup::with(None, &[config(&[&first], next), config(&[&silent], |_| {})]).await;
    let begun = Instant::now();
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    let elapsed = begun.elapsed();
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    assert!(silent.count() > 0);
    let longest = TOTAL_BUDGET + slow / 2;
    assert!(elapsed >= slow && elapsed < longest, "{elapsed:?}");
}

#[tokio::test]
async fn next_leaves_an_answer_to_the_following_stanza() {
    let first = FakeUpstream::start(|query| {
        if query.qname.to_string().starts_with("nodata") {
            Reply::to(query).soa(60, 60).send()
        } else {
            Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send()
        }
    })
    .await
    .unwrap();
    let second = FakeUpstream::answering().await.unwrap();
    let next = |config: &mut Config| {
        config.next = vec![Rcode::NXDOMAIN];
        config.next_on_nodata = true;
    };
    let setup = Setup::with(None, &[config(&[&first], next), config(&[&second], |_| {})]).await;
    for name in ["a.example", "nodata.example"] {
        let answer = setup.ask(&question(name)).await.unwrap();
        assert_eq!(
            answer.upstream.as_deref(),
            Some(&*second.addr().to_string())
        );
    }
    // Nobody follows: the answer stands.
    let setup = Setup::with(None, &[config(&[&first], next)]).await;
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NXDOMAIN);
    // Without the setting, nobody else is asked.
    let before = second.count();
    let setup = Setup::with(
        None,
        &[config(&[&first], |_| {}), config(&[&second], |_| {})],
    )
    .await;
    setup.ask(&question("nodata.example")).await.unwrap();
    assert_eq!(second.count(), before);
}

#[tokio::test]
async fn stanzas_are_tried_in_order() {
    let first = FakeUpstream::answering().await.unwrap();
    let second = FakeUpstream::answering().await.unwrap();
    let setup = Setup::with(
        None,
        &[
            config(&[&first], |config| {
                config.from = vec!["example".parse().unwrap()];
            }),
            config(&[&second], |_| {}),
        ],
    )
    .await;
    setup.ask(&question("a.example")).await.unwrap();
    setup.ask(&question("a.org")).await.unwrap();
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn upstreams_come_from_a_file_that_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
    let (context, _registry) = context();
    let config = Config {
        upstreams: vec![
            UpstreamConfig::File(path.clone()),
            UpstreamConfig::Addr("192.0.2.9:54".parse().unwrap()),
        ],
        ..Config::default()
    };
    let forward = Forward::build(config, &context).await.unwrap();
    let now = || -> Vec<String> {
        let upstreams = forward.upstreams();
        upstreams.iter().map(ToString::to_string).collect()
    };
    assert_eq!(now(), ["192.0.2.1:53", "192.0.2.9:54"]);
    std::fs::write(&path, "nameserver 192.0.2.2\nnameserver 2001:db8::1\n").unwrap();
    wait_for_check().await;
    assert_eq!(now(), ["192.0.2.2:53", "[2001:db8::1]:53", "192.0.2.9:54"]);
    // Neither an empty file nor none at all takes the upstreams away.
    std::fs::write(&path, "# nothing\n").unwrap();
    wait_for_check().await;
    assert_eq!(now().len(), 3);
    std::fs::remove_file(&path).unwrap();
    wait_for_check().await;
    assert_eq!(now().len(), 3);
}

#[tokio::test]
async fn host_names_are_resolved_through_the_resolver() {
    let resolver = FakeUpstream::start(|query| match query.qtype {
        Rtype::A => Reply::to(query).a([127, 0, 0, 1], 60).send(),
        _ => Reply::to(query).soa(60, 60).send(),
    })
    .await
    .unwrap();
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[], |config| {
        config.upstreams = vec![UpstreamConfig::Hostname {
            host: "dns.example".into(),
            port: upstream.addr().port(),
        }];
        config.resolver = vec![resolver.addr()];
    })
    .await;
    setup.ask(&question("a.example")).await.unwrap();
    setup.ask(&question("b.example")).await.unwrap();
    assert_eq!(resolver.count(), 2, "one A and one AAAA");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn zone_transfers_are_refused() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    for qtype in [Rtype::AXFR, Rtype::IXFR] {
        let question = question("a.example").with_type(qtype);
        let failure = setup.ask(&question).await.unwrap_err();
        assert_eq!(failure.rcode, Rcode::REFUSED);
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn what_cannot_be_built_says_why() {
    let nobody =
        FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send())
            .await
            .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("resolv.conf");
    std::fs::write(&empty, "").unwrap();
    let many = vec![UpstreamConfig::Addr("192.0.2.1:53".parse().unwrap()); MAX_UPSTREAMS + 1];
    for (upstreams, expected) in [
        (vec![], "no valid upstream addresses found"),
        (
            vec![UpstreamConfig::File(empty)],
            "no valid upstream addresses found",
        ),
        (
            vec![UpstreamConfig::File(directory.path().join("none"))],
            "unable to read",
        ),
        (many, "more than 15 TOs configured: 16"),
        (
            vec![UpstreamConfig::Hostname {
                host: "a27.0.0.1".into(),
                port: 53,
            }],
            "failed to resolve a27.0.0.1",
        ),
    ] {
        let (context, _registry) = context();
        let config = Config {
            upstreams,
            resolver: vec![nobody.addr()],
            ..Config::default()
        };
        let error: BuildError = Forward::build(config, &context).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn dropping_a_stanza_ends_its_tasks() {
    let dead = FakeUpstream::black_hole().await.unwrap();
    let setup = Setup::new(&[&dead], |config| {
        config.read_timeout = Duration::from_millis(50);
        config.max_connect_attempts = Some(1);
    })
    .await;
    setup.ask(&question("a.example")).await.unwrap_err();
    let tracker = setup.context.tracker.clone();
    drop(setup);
    tracker.close();
    tokio::time::timeout(Duration::from_secs(2), tracker.wait())
        .await
        .expect("all tasks end");
}

/// Lets the next look at the files pass.
async fn wait_for_check() {
    pass(5200).await;
}

impl Setup {
    /// The value of a counter after one query that fails.
    async fn counter_after_failure(self, name: &str) -> f64 {
        self.ask(&question("a.example")).await.unwrap_err();
        self.counter(name)
    }
}
