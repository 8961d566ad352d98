//! What clients feel when upstreams break, at 50 queries a second, and what
//! second queries cost when they do not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use portolan_forward::Policy;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::time::Instant;

use crate::support::Setup;
use crate::support::config;
use crate::support::eventually;
use crate::support::pass;
use crate::support::question;

#[tokio::test]
async fn a_black_hole_delays_few_queries_and_loses_none() {
    let mute = Arc::new(AtomicBool::new(false));
    let breaking = FakeUpstream::start(muted(&mute)).await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&breaking, &good], |config| config.policy = Policy::Random).await;
    fifty_a_second(&setup, 25).await;
    mute.store(true, Ordering::Relaxed);
    let took = fifty_a_second(&setup, 150).await;
    let slow = took.iter().filter(|took| took.as_millis() > 200).count();
    assert!(slow <= 5, "{slow} slow: {took:?}");
    assert!(took.iter().all(|took| took.as_millis() <= 400), "{took:?}");
    // Half a second on, all is as before.
    assert!(
        took[25..].iter().all(|took| took.as_millis() < 50),
        "{took:?}"
    );
}

#[tokio::test]
async fn an_upstream_that_was_never_there_delays_few_queries() {
    let dead = FakeUpstream::black_hole().await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    for policy in [Policy::Random, Policy::Sequential, Policy::Fastest] {
        let setup = Setup::new(&[&dead, &good], |config| config.policy = policy).await;
        let took = fifty_a_second(&setup, 100).await;
        // No round trip is known yet: the bound is that of the patience.
        let slow = took.iter().filter(|took| took.as_millis() > 200).count();
        assert!(slow <= 20, "{policy:?}: {slow} slow: {took:?}");
        assert!(
            took.iter().all(|took| took.as_millis() <= 400),
            "{policy:?}: {took:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_port_is_not_felt() {
    let breaking = FakeUpstream::answering().await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&breaking, &good], |config| config.policy = Policy::Random).await;
    fifty_a_second(&setup, 25).await;
    breaking.stop().await;
    let took = fifty_a_second(&setup, 100).await;
    assert!(took.iter().all(|took| took.as_millis() <= 50), "{took:?}");
}

#[tokio::test]
async fn a_query_that_an_upstream_took_before_it_ended_goes_on_when_another_is_refused() {
    let mute = Arc::new(AtomicBool::new(false));
    let breaking = FakeUpstream::start(late(100, &mute)).await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&breaking, &good], |_| {}).await;
    // The patience is 200 ms from now on, and no answer is overdue before.
    setup.ask(&question("known.example")).await.unwrap();
    mute.store(true, Ordering::Relaxed);
    let taken = timed(&setup, "taken.example");
    let refused = async {
        took(&breaking, "taken.example").await;
        breaking.stop().await;
        timed(&setup, "refused.example").await
    };
    let (taken, refused) = tokio::join!(taken, refused);
    assert!(taken.as_millis() < 150, "{taken:?}");
    assert!(refused.as_millis() < 100, "{refused:?}");
    assert_eq!(setup.counter("portolan_forward_hedges_total"), 1.0);
}

#[tokio::test]
async fn an_upstream_that_ended_is_found_out_by_a_probe_when_an_answer_is_overdue() {
    let mute = Arc::new(AtomicBool::new(false));
    let breaking = FakeUpstream::start(late(120, &mute)).await.unwrap();
    let good = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&breaking, &good], |_| {}).await;
    // So many of the same length are 120 ms and little more: what takes longer
    // is overdue, long before the patience of 240 ms ends.
    let known = (0..150).map(|index| {
        let setup = &setup;
        async move { timed(setup, &format!("n{index}.example")).await }
    });
    join_all(known).await;
    mute.store(true, Ordering::Relaxed);
    let taken = timed(&setup, "taken.example");
    let end = async {
        took(&breaking, "taken.example").await;
        breaking.stop().await;
    };
    let (taken, ()) = tokio::join!(taken, end);
    assert!((120..220).contains(&taken.as_millis()), "{taken:?}");
}

#[tokio::test]
async fn healthy_upstreams_are_asked_twice_for_one_query_in_twenty_at_most() {
    // Mostly known at once; some have to be looked up, as by any resolver.
    for (every, millis) in [(5, 120), (10, 300), (3, 300)] {
        let varying = move |query: &Received| {
            let name = query.qname.as_wire();
            let digits = name
                .iter()
                .skip(2)
                .take_while(|octet| octet.is_ascii_digit());
            let number = digits.fold(0, |sum, octet| 10 * sum + usize::from(octet - b'0'));
            let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
            if number % every == every - 1 && !query.is_probe() {
                return Action::After(Duration::from_millis(millis), Box::new(reply));
            }
            reply
        };
        let first = FakeUpstream::start(varying).await.unwrap();
        let second = FakeUpstream::start(varying).await.unwrap();
        let setup = Setup::new(&[&first, &second], |config| config.policy = Policy::Random).await;
        let took = fifty_a_second(&setup, 400).await;
        assert_eq!(took.len(), 400);
        // What takes longer than is ordinary is asked for again in any case.
        // It is before much is known of the upstreams, and where this machine
        // is slow: a few.
        let hedges = setup.counter("portolan_forward_hedges_total");
        assert!(hedges <= 400.0 / 20.0 + 2.0, "{every} {millis}: {hedges}");
        let sent = first.count_without_probes() + second.count_without_probes();
        assert_eq!(
            (400.0 + hedges).to_string(),
            sent.to_string(),
            "all are counted"
        );
    }
}

#[tokio::test]
async fn loss_of_a_quarter_costs_no_query() {
    let count = Arc::new(AtomicUsize::new(0));
    let lossy = || {
        let count = Arc::clone(&count);
        move |query: &Received| {
            // 28 of 100, in an order without a pattern that matters.
            let number = count.fetch_add(1, Ordering::Relaxed);
            if number * 7919 % 100 < 28 {
                return Action::Drop;
            }
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        }
    };
    let first = FakeUpstream::start(lossy()).await.unwrap();
    let second = FakeUpstream::start(lossy()).await.unwrap();
    let setup = Setup::new(&[&first, &second], |config| config.policy = Policy::Random).await;
    let mut took = fifty_a_second(&setup, 300).await;
    took.sort_unstable();
    assert!(took[296] <= Duration::from_millis(350), "{took:?}");
}

#[tokio::test]
async fn the_fastest_upstream_gets_the_queries() {
    let slow = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        Action::After(Duration::from_millis(30), Box::new(reply))
    })
    .await
    .unwrap();
    let fast = FakeUpstream::answering().await.unwrap();
    let setup = Setup::with(
        None,
        &[config(&[&slow, &fast], |config| {
            config.policy = Policy::Fastest;
        })],
    )
    .await;
    for index in 0..100 {
        setup
            .ask(&question(&format!("n{index}.example")))
            .await
            .unwrap();
    }
    let asked = slow.count_without_probes();
    assert!((1..=8).contains(&asked), "{asked} of 100 to the slow one");
}

#[tokio::test]
async fn a_total_outage_ends_with_it() {
    let mute = Arc::new(AtomicBool::new(false));
    let first = FakeUpstream::start(muted(&mute)).await.unwrap();
    let second = FakeUpstream::start(muted(&mute)).await.unwrap();
    let setup = Setup::new(&[&first, &second], |config| config.policy = Policy::Random).await;
    fifty_a_second(&setup, 10).await;
    mute.store(true, Ordering::Relaxed);
    let during = (0..4).map(|index| {
        let question = question(&format!("during{index}.example"));
        let setup = &setup;
        async move {
            let begun = Instant::now();
            let failure = setup.ask(&question).await.unwrap_err();
            assert_eq!(failure.rcode, Rcode::SERVFAIL);
            begun.elapsed()
        }
    });
    for took in join_all(during).await {
        assert!(took <= Duration::from_secs(3), "{took:?}");
    }
    mute.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    pass(20).await;
    setup.ask(&question("after.example")).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

/// An upstream that answers unless it is muted.
fn muted(mute: &Arc<AtomicBool>) -> impl Fn(&Received) -> Action + Send + Sync + 'static {
    let mute = Arc::clone(mute);
    move |query| {
        if mute.load(Ordering::Relaxed) {
            return Action::Drop;
        }
        Reply::to(query).a([192, 0, 2, 1], 60).send()
    }
}

/// An upstream that answers after some milliseconds unless it is muted.
fn late(
    millis: u64,
    mute: &Arc<AtomicBool>,
) -> impl Fn(&Received) -> Action + Send + Sync + 'static {
    let answer = muted(mute);
    move |query| Action::After(Duration::from_millis(millis), Box::new(answer(query)))
}

/// Waits until an upstream has been asked for a name.
async fn took(upstream: &FakeUpstream, name: &str) {
    let name: Name = name.parse().unwrap();
    let is_taken = |query: &Received| query.qname.as_wire() == name.as_wire();
    eventually("it is taken", || upstream.queries().iter().any(is_taken)).await;
}

/// Asks for a name and says how long that took. It has to be answered.
async fn timed(setup: &Setup, name: &str) -> Duration {
    let begun = Instant::now();
    let answer = setup.ask(&question(name)).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NOERROR);
    begun.elapsed()
}

/// Asks for as many names as told, fifty a second, and says how long each
/// took, in the order they were asked. Each has to be answered.
async fn fifty_a_second(setup: &Setup, count: usize) -> Vec<Duration> {
    let run: u32 = rand::random();
    let asked = (0..count).map(|index| async move {
        pass(20 * u64::try_from(index).unwrap()).await;
        timed(setup, &format!("n{index}-{run}.example")).await
    });
    join_all(asked).await
}
