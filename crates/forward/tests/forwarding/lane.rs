//! What is particular to lanes. The other tests ask by one wherever that can be.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use portolan_forward::Answer;
use portolan_forward::Arrival;
use portolan_forward::CacheConfig;
use portolan_forward::Policy;
use portolan_forward::Question;
use portolan_forward::Transport;
use portolan_proto::Rcode;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::time::Instant;

use crate::support::CLIENT;
use crate::support::Setup;
use crate::support::config;
use crate::support::eventually;
use crate::support::question;

#[tokio::test]
async fn an_ordinary_question_ends_in_its_lane() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(in_lane(&setup), 1);
    let mut over_tcp = question("b.example");
    over_tcp.transport = Transport::Tcp;
    setup.ask(&over_tcp).await.unwrap();
    assert_eq!(in_lane(&setup), 1);
    assert_eq!(setup.counter("coredns_proxy_conn_cache_misses_total"), 2.0);
}

#[tokio::test]
async fn what_is_not_ordinary_goes_the_long_way() {
    let upstream = FakeUpstream::answering().await.unwrap();
    type Change = fn(&mut portolan_forward::Config);
    let changes: [Change; 6] = [
        |config| config.force_tcp = true,
        |config| config.prefer_udp = true,
        |config| config.case_randomization = true,
        |config| config.max_concurrent = 5,
        |config| config.next = vec![Rcode::NXDOMAIN],
        |config| config.next_on_nodata = true,
    ];
    for change in changes {
        let setup = Setup::new(&[&upstream], change).await;
        setup.ask(&question("a.example")).await.unwrap();
        assert_eq!(in_lane(&setup), 0);
    }
}

#[tokio::test]
async fn turns_are_kept_whatever_way_questions_go() {
    type Change = fn(&mut portolan_forward::Config);
    let changes: [Change; 2] = [|_| {}, |config| config.force_tcp = true];
    for change in changes {
        let (one, other) = (FakeUpstream::answering(), FakeUpstream::answering());
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        let setup = Setup::new(&[&one, &other], |config| {
            config.policy = Policy::RoundRobin;
            change(config);
        })
        .await;
        for number in 0..10 {
            let question = question(&format!("n{number}.example"));
            setup.ask(&question).await.unwrap();
        }
        assert_eq!((one.count(), other.count()), (5, 5));
    }
}

#[tokio::test]
async fn a_lane_that_ends_leaves_its_questions_to_others() {
    let upstream = FakeUpstream::start(|query| late(query, 100)).await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let asked = question("a.example");
    let first = setup.ask(&asked);
    let end = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        setup.lane.leave_all();
    };
    let (first, others, ()) = tokio::join!(first, others(&setup, &asked), end);
    first.unwrap();
    assert_eq!(others.len(), 5);
    assert_eq!(in_lane(&setup), 0);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_question_that_a_lane_gives_up_is_asked_by_those_who_listen() {
    let upstream = FakeUpstream::start(|query| late(query, 700)).await.unwrap();
    let setup = Setup::new(&[&upstream], |config| config.max_connect_attempts = Some(1)).await;
    let asked = question("a.example");
    let given_up = async {
        // Nobody goes on with it.
        let arrival = setup.lane.ask(&setup.resolver, &asked).await;
        assert!(matches!(arrival, Some(Arrival::Unfinished(_))));
    };
    let ((), others) = tokio::join!(given_up, others(&setup, &asked));
    assert_eq!(others.len(), 5);
    assert_eq!(upstream.count_without_probes(), 2);
}

#[tokio::test]
async fn sockets_that_failed_elsewhere_are_not_used_in_lanes() {
    let upstream = FakeUpstream::start(|query| {
        if query.qname.to_string().starts_with("mute") {
            Action::Drop
        } else {
            Reply::to(query).a([192, 0, 2, 1], 60).send()
        }
    });
    let upstream = upstream.await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.max_connect_attempts = Some(1);
        config.read_timeout = Duration::from_millis(300);
    })
    .await;
    let first = ports(&setup, &upstream, "first", 1_100).await;
    let second = ports(&setup, &upstream, "second", 20).await;
    assert!(second.is_subset(&first), "they are used again");
    setup.ask(&question("mute.example")).await.unwrap_err();
    eventually("well again", || {
        setup.counter("coredns_forward_requests_total") > 1_120.0
    })
    .await;
    tokio::time::sleep(PAUSE).await;
    let third = ports(&setup, &upstream, "third", 20).await;
    assert!(third.is_disjoint(&first), "these are not");
}

#[tokio::test]
async fn who_asks_the_same_hears_the_same_answer() {
    let upstream = FakeUpstream::start(|query| late(query, 50)).await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let asked = question("a.example");
    let (first, others) = tokio::join!(setup.ask(&asked), others(&setup, &asked));
    first.unwrap();
    assert!(
        others
            .iter()
            .all(|answer| answer.message.records().count() == 1)
    );
    assert_eq!(in_lane(&setup), 1);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn who_asks_the_same_hears_the_answer_that_comes_late() {
    // The patience with one that was never heard is 500 ms.
    let upstream = FakeUpstream::start(|query| late(query, 700)).await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.max_connect_attempts = Some(1);
    })
    .await;
    let asked = question("a.example");
    let (first, others) = tokio::join!(setup.ask(&asked), others(&setup, &asked));
    first.unwrap();
    assert_eq!(others.len(), 5);
    assert_eq!(in_lane(&setup), 0);
    assert_eq!(upstream.count_without_probes(), 1);
}

#[tokio::test]
async fn a_late_answer_is_read_from_the_socket_that_asked() {
    let slow = FakeUpstream::start(|query| late(query, 700)).await.unwrap();
    let setup = Setup::new(&[&slow], |config| config.max_connect_attempts = Some(1)).await;
    let begun = Instant::now();
    setup.ask(&question("a.example")).await.unwrap();
    let took = begun.elapsed();
    assert!((700..900).contains(&took.as_millis()), "{took:?}");
    assert_eq!(slow.count_without_probes(), 1);
}

#[tokio::test]
async fn those_behind_slow_ones_are_not_held_up() {
    // A lane waits for 250 ms at most.
    const SLOW: u64 = 125;
    for is_busy in [false, true] {
        let upstream = FakeUpstream::start(|query| {
            let is_slow = query.qname.to_string().starts_with("slow");
            late(query, if is_slow { SLOW } else { 0 })
        });
        let upstream = upstream.await.unwrap();
        let setup = Setup::new(&[&upstream], |_| {}).await;
        setup.lane.keep_busy(is_busy);
        let ask = |kind: &'static str| {
            let setup = &setup;
            (0..40).map(move |number| async move {
                let begun = Instant::now();
                let asked = question(&format!("{kind}{number}.example"));
                setup.ask(&asked).await.unwrap();
                begun.elapsed()
            })
        };
        let (slow, prompt) = tokio::join!(join_all(ask("slow")), join_all(ask("prompt")));
        let least = slow.iter().min().unwrap();
        assert!(least.as_millis() >= u128::from(SLOW), "{least:?}");
        let most = prompt.iter().max().unwrap();
        assert!(most.as_millis() < u128::from(SLOW), "{most:?}");
        assert_eq!(in_lane(&setup), 80);
    }
}

#[tokio::test]
async fn forged_answers_are_passed_over() {
    let upstream = FakeUpstream::start(|query| {
        let reply = || Reply::to(query).a([192, 0, 2, 1], 60);
        let other = "b.example".parse().unwrap();
        Action::Each(vec![
            reply().id(query.id ^ 1).send(),
            reply().about(&other).send(),
            Action::Octets(b"noise".to_vec()),
            Reply::to(query).a([192, 0, 2, 9], 60).send(),
        ])
    })
    .await
    .unwrap();
    for is_busy in [false, true] {
        let setup = Setup::new(&[&upstream], |_| {}).await;
        setup.lane.keep_busy(is_busy);
        let answer = setup.ask(&question("a.example")).await.unwrap();
        let record = answer.message.records().next().unwrap();
        assert_eq!(record.rdata(), [192, 0, 2, 9]);
        assert_eq!(in_lane(&setup), 1);
    }
}

#[tokio::test]
async fn a_port_comes_back_after_many_others_and_so_often() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let total = 6_000;
    // Some of them where nothing is waited for.
    for (name, is_busy) in [("a", false), ("b", true), ("c", false)] {
        setup.lane.keep_busy(is_busy);
        ports(&setup, &upstream, name, total / 3).await;
    }
    let queries = upstream.queries();
    let ports: Vec<u16> = queries.iter().map(|it| it.source.port()).collect();
    let mut last = HashMap::new();
    for (number, port) in ports.iter().enumerate() {
        if let Some(before) = last.insert(port, number) {
            // 20 at a time are under way.
            assert!(number - before >= 448 - 20, "{port}: {before}, {number}");
        }
    }
    let different = ports.iter().collect::<HashSet<_>>().len();
    assert!(different < total / 2, "{different} ports");
    for window in ports.windows(400) {
        assert_eq!(window.iter().collect::<HashSet<_>>().len(), 400);
    }
}

#[tokio::test]
async fn a_socket_that_was_reached_while_idle_is_not_used() {
    for is_busy in [false, true] {
        reach_while_idle(is_busy).await;
    }
}

/// Lays in guesses.
async fn reach_while_idle(is_busy: bool) {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        if !query.qname.to_string().starts_with("guess") {
            return reply;
        }
        let guess = Action::Octets(b"laid in".to_vec());
        Action::Each(vec![reply, Action::After(PAUSE / 2, Box::new(guess))])
    });
    let upstream = upstream.await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    setup.lane.keep_busy(is_busy);
    let first = ports(&setup, &upstream, "first", 1_100).await;
    let second = ports(&setup, &upstream, "guess", 5).await;
    assert!(second.is_subset(&first), "they are used again");
    tokio::time::sleep(PAUSE).await;
    let third = ports(&setup, &upstream, "third", 1_100).await;
    assert!(third.is_disjoint(&second), "these are not");
    assert!(!third.is_disjoint(&first), "all others are");
}

#[tokio::test]
async fn answers_are_kept() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let configs = [config(&[&upstream], |_| {})];
    let setup = Setup::with(Some(CacheConfig::default()), &configs).await;
    setup.ask(&question("a.example")).await.unwrap();
    let again = setup.ask(&question("a.example")).await.unwrap();
    assert!(again.from_cache);
    assert_eq!(in_lane(&setup), 1);
    assert_eq!(upstream.count(), 1);
    assert_eq!(setup.counter("coredns_cache_misses_total"), 1.0);
}

#[tokio::test]
async fn an_answer_that_is_no_end_goes_on_elsewhere() {
    let ill = FakeUpstream::start(|query| Reply::to(query).rcode(Rcode::SERVFAIL).send());
    let old = FakeUpstream::start(|query| {
        let is_plain = query.edns_payload.is_none();
        let reply = Reply::to(query);
        if is_plain {
            reply.a([192, 0, 2, 1], 60).without_edns().send()
        } else {
            reply.rcode(Rcode::FORMERR).without_edns().send()
        }
    });
    let (ill, old) = (ill.await.unwrap(), old.await.unwrap());
    let setup = Setup::new(&[&ill, &old], |_| {}).await;
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.message.rcode(), Rcode::NOERROR);
    assert_eq!(in_lane(&setup), 0);
    assert_eq!(ill.count_without_probes(), 1);
    assert_eq!(setup.counter("coredns_forward_requests_total"), 2.0);
}

/// How long a guess may take.
const PAUSE: Duration = Duration::from_millis(200);

/// Has questions answered, 20 at a time. Gives the ports that they came from.
async fn ports(setup: &Setup, upstream: &FakeUpstream, name: &str, count: usize) -> HashSet<u16> {
    let before = upstream.count();
    let questions: Vec<_> = (0..count)
        .map(|number| question(&format!("{name}{number}.example")))
        .collect();
    for some in questions.chunks(20) {
        for answer in join_all(some.iter().map(|question| setup.ask(question))).await {
            answer.unwrap();
        }
    }
    let queries = upstream.queries();
    let since = queries.iter().skip(before);
    since.map(|query| query.source.port()).collect()
}

/// Questions that ended in the lane.
fn in_lane(setup: &Setup) -> usize {
    setup.lane.answered.load(Ordering::Relaxed)
}

/// An answer that comes after so many milliseconds.
fn late(query: &Received, millis: u64) -> Action {
    let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
    Action::After(Duration::from_millis(millis), Box::new(reply))
}

/// Has others ask the same a moment later, on the query runtime.
async fn others(setup: &Setup, question: &Question) -> Vec<Answer> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let question = Arc::new(question.clone());
    let asked = (0..5).map(|_| setup.resolver.resolve(&question, CLIENT));
    let answers = join_all(asked).await;
    answers.into_iter().map(Result::unwrap).collect()
}
