//! One upstream: matching, ports, transports, connections.

use std::collections::HashSet;
use std::time::Duration;

use portolan_forward::Question;
use portolan_forward::Transport;
use portolan_proto::Flags;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;
use tokio::time::Instant;

use crate::support::Setup;
use crate::support::eventually;
use crate::support::pass;
use crate::support::question;

#[tokio::test]
async fn an_answer_passes_through_with_its_flags() {
    let upstream = FakeUpstream::start(|query| {
        Reply::to(query)
            .a([192, 0, 2, 7], 60)
            .flags(Flags::AUTHORITATIVE | Flags::AUTHENTIC_DATA)
            .send()
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let mut question = question("a.example");
    let answer = setup.ask(&question).await.unwrap();
    assert_eq!(
        answer.message.records().next().unwrap().rdata(),
        [192, 0, 2, 7]
    );
    assert_eq!(
        answer.upstream.as_deref(),
        Some(&*upstream.addr().to_string())
    );
    assert!(!answer.from_cache && answer.head().authoritative);
    assert!(!answer.head().authentic_data, "neither DO nor AD");
    question.dnssec_ok = true;
    assert!(setup.ask(&question).await.unwrap().head().authentic_data);
}

#[tokio::test]
async fn do_cd_rd_and_spelling_are_the_clients_and_1232_is_offered() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let wire = b"\0\x07\x01\x10\0\x01\0\0\0\0\0\x01\x03WwW\x07eXample\0\0\x01\0\x01\
                 \0\0\x29\x10\0\0\0\x80\0\0\0";
    let query = Query::read(wire).unwrap();
    setup
        .ask(&Question::from_query(&query, Transport::Udp))
        .await
        .unwrap();
    let seen = &upstream.queries()[0];
    assert_eq!(seen.question, b"\x03WwW\x07eXample\0\0\x01\0\x01");
    assert!(seen.dnssec_ok);
    assert_eq!(seen.edns_payload, Some(1232));
    let expected = Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED | Flags::AUTHENTIC_DATA;
    assert_eq!(seen.flags.0, expected);
    let mut question = question("b.example");
    question.recursion_desired = false;
    setup.ask(&question).await.unwrap();
    assert!(!upstream.queries()[1].flags.has(Flags::RECURSION_DESIRED));
}

#[tokio::test]
async fn source_ports_and_ids_are_fresh_for_each_query() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    for index in 0..400 {
        setup
            .ask(&question(&format!("n{index}.example")))
            .await
            .unwrap();
    }
    let queries = upstream.queries();
    let ports: HashSet<u16> = queries.iter().map(|query| query.source.port()).collect();
    let ids: HashSet<u16> = queries.iter().map(|query| query.id).collect();
    // A busy machine may be slow enough for one that is repeated.
    assert!(queries.len() >= 400);
    assert!(ports.len() >= 390, "{} ports", ports.len());
    assert!(ids.len() >= 390, "{} ids", ids.len());
}

#[tokio::test]
async fn twenty_wrong_answers_do_not_hide_the_right_one() {
    let upstream = FakeUpstream::start(|query| {
        let right = Reply::to(query).a([192, 0, 2, 1], 60);
        let wrong = [
            right.clone().id(query.id ^ 1).send(),
            right.clone().about(&"b.example".parse().unwrap()).send(),
            Action::Send(right.build()[..17].to_vec()),
            Action::Send({
                // The record says that it is longer than the message.
                let mut malformed = right.clone().without_edns().build();
                malformed.truncate(malformed.len() - 2);
                malformed
            }),
            Action::Send(vec![0xff; 3]),
        ];
        let mut all: Vec<Action> = wrong.iter().cycle().take(20).cloned().collect();
        all.push(Action::After(
            Duration::from_millis(20),
            Box::new(right.send()),
        ));
        Action::Each(all)
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let begun = Instant::now();
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NOERROR);
    assert_eq!(answer.message.records().count(), 1);
    assert!(
        begun.elapsed() < Duration::from_millis(350),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_upstream_without_edns_is_asked_without() {
    for bare in [false, true] {
        let upstream = FakeUpstream::start(move |query| {
            let reply = Reply::to(query).without_edns();
            match query.edns_payload {
                Some(_) if bare => reply.rcode(Rcode::FORMERR).without_question().send(),
                Some(_) => reply.rcode(Rcode::FORMERR).send(),
                None => reply.a([192, 0, 2, 1], 60).send(),
            }
        })
        .await
        .unwrap();
        let setup = Setup::new(&[&upstream], |_| {}).await;
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut question = question("a.example");
            question.transport = transport;
            let answer = setup.ask(&question).await.unwrap();
            assert_eq!(
                answer.head().rcode,
                Rcode::NOERROR,
                "bare {bare}, {transport:?}"
            );
        }
    }
}

#[tokio::test]
async fn truncation_is_the_clients_to_see() {
    let upstream = FakeUpstream::start(|query| Reply::to(query).truncated().send())
        .await
        .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert!(answer.message.flags().has(Flags::TRUNCATED));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn transports_follow_client_and_settings() {
    // Settings, client, transports seen upstream; UDP answers are truncated.
    let cases: [(&str, Transport, &[bool]); 5] = [
        ("", Transport::Udp, &[false]),
        ("", Transport::Tcp, &[true]),
        ("force_tcp", Transport::Udp, &[true]),
        ("prefer_udp", Transport::Udp, &[false, true]),
        ("prefer_udp", Transport::Tcp, &[false, true]),
    ];
    for (setting, transport, expected) in cases {
        let upstream = FakeUpstream::start(|query| {
            let reply = Reply::to(query).a([192, 0, 2, 1], 60);
            if query.tcp { reply } else { reply.truncated() }.send()
        })
        .await
        .unwrap();
        let setup = Setup::new(&[&upstream], |config| {
            config.force_tcp = setting == "force_tcp";
            config.prefer_udp = setting == "prefer_udp";
        })
        .await;
        let mut question = question("a.example");
        question.transport = transport;
        setup.ask(&question).await.unwrap();
        let seen: Vec<bool> = upstream.queries().iter().map(|query| query.tcp).collect();
        assert_eq!(seen, expected, "{setting} {transport:?}");
    }
}

#[tokio::test]
async fn connections_are_reused_and_expire() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.force_tcp = true;
        config.expire = Duration::from_millis(200);
    })
    .await;
    for _ in 0..5 {
        setup.ask(&question("a.example")).await.unwrap();
    }
    assert_eq!(upstream.connections(), 1);
    pass(250).await;
    setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(upstream.connections(), 2);
    let (hits, misses) = (
        setup.counter("coredns_proxy_conn_cache_hits_total"),
        setup.counter("coredns_proxy_conn_cache_misses_total"),
    );
    assert_eq!((hits, misses), (4.0, 2.0));
}

#[tokio::test]
async fn max_age_ends_a_connection_in_use() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.force_tcp = true;
        config.max_age = Some(Duration::from_millis(150));
    })
    .await;
    for _ in 0..4 {
        setup.ask(&question("a.example")).await.unwrap();
        pass(60).await;
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn queries_at_once_share_a_connection() {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        Action::After(Duration::from_millis(20), Box::new(reply))
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.force_tcp = true).await;
    for _ in 0..2 {
        let questions: Vec<_> = (0..24)
            .map(|n| question(&format!("n{n}.example")))
            .collect();
        let asked = questions.iter().map(|question| setup.ask(question));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok));
        // Eight on each.
        assert_eq!(upstream.connections(), 3);
    }
    assert_eq!(upstream.count(), 48);
}

#[tokio::test]
async fn an_upstream_that_takes_one_query_a_connection_answers_all_the_same() {
    let upstream = FakeUpstream::start(|query| {
        Action::Each(vec![
            Reply::to(query).a([192, 0, 2, 1], 60).send(),
            Action::Close,
        ])
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.force_tcp = true).await;
    for round in 0..3 {
        let questions: Vec<_> = (0..6).map(|n| question(&format!("n{n}.example"))).collect();
        let asked = questions.iter().map(|question| setup.ask(question));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok), "{round}: {answers:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_meanwhile_costs_no_query() {
    // Every connection takes one query more than it answers.
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        if query.index == 1 {
            Action::Close
        } else {
            reply
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.force_tcp = true).await;
    setup.ask(&question("a.example")).await.unwrap();
    setup.ask(&question("b.example")).await.unwrap();
    assert_eq!(upstream.connections(), 2);
    assert_eq!(upstream.count_without_probes(), 3);
}

#[tokio::test]
async fn a_wrong_answer_on_a_connection_is_a_failure() {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60);
        if query.is_probe() {
            reply.send()
        } else {
            reply.about(&"b.example".parse().unwrap()).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |config| config.force_tcp = true).await;
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    assert!(failure.message.contains("does not match"), "{failure}");
}

#[tokio::test]
async fn an_upstream_that_refuses_tcp_is_not_flooded() {
    let upstream =
        FakeUpstream::start_udp_only(|query| Reply::to(query).a([192, 0, 2, 1], 60).send())
            .await
            .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < Duration::from_millis(1200) {
        let mut question = question("a.example");
        question.transport = Transport::Tcp;
        let failure = setup.ask(&question).await.unwrap_err();
        assert!(failure.message.ends_with("connection refused"), "{failure}");
        asked += 1;
        pass(5).await;
    }
    assert!(asked > 50, "{asked}");
    let probes = upstream.queries().iter().filter(|q| q.is_probe()).count();
    assert!(
        (1..=3).contains(&probes),
        "{probes} probes for {asked} failures"
    );
}

#[tokio::test]
async fn queries_leave_from_the_source_address() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.source_address = Some("127.0.0.9".parse().unwrap());
    })
    .await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut question = question("a.example");
        question.transport = transport;
        setup.ask(&question).await.unwrap();
    }
    for query in upstream.queries() {
        assert_eq!(query.source.ip().to_string(), "127.0.0.9");
    }
}

#[tokio::test]
async fn codes_of_this_hop_do_not_reach_the_client() {
    let upstream = FakeUpstream::start(|query| {
        // BADVERS: the upper bits stand in the OPT.
        let mut message = Reply::to(query).build();
        let ttl = message.len() - 6;
        message[ttl] = 1;
        Action::Send(message)
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let failure = setup.ask(&question("a.example")).await.unwrap_err();
    assert!(
        failure.message.ends_with("upstream answered BADVERS"),
        "{failure}"
    );
}

#[tokio::test]
async fn answers_are_counted_under_both_names() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(setup.counter("coredns_forward_requests_total"), 1.0);
    assert_eq!(setup.counter("coredns_forward_responses_total"), 1.0);
    for name in [
        "coredns_proxy_request_duration_seconds",
        "coredns_forward_request_duration_seconds",
    ] {
        let families = setup.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .unwrap();
        let metric = &family.get_metric()[0];
        assert_eq!(metric.get_histogram().get_sample_count(), 1);
        assert_eq!(metric.get_histogram().get_bucket().len(), 16);
        let labels: Vec<(&str, &str)> = metric
            .get_label()
            .iter()
            .map(|label| (label.name(), label.value()))
            .collect();
        assert!(labels.contains(&("rcode", "NOERROR")));
        assert!(labels.contains(&("to", &upstream.addr().to_string())));
    }
}

#[tokio::test]
async fn unknown_types_pass_through() {
    let upstream = FakeUpstream::start(|query| {
        Reply::to(query)
            .answer(query.qtype, 60, &[0xde, 0xad, 0xbe, 0xef])
            .send()
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    let question = question("weird.example").with_type(Rtype(65280));
    let answer = setup.ask(&question).await.unwrap();
    let record = answer.message.records().next().unwrap();
    assert_eq!(record.rtype, Rtype(65280));
    assert_eq!(record.rdata(), [0xde, 0xad, 0xbe, 0xef]);
    eventually("counted", || upstream.count() == 1).await;
}

#[tokio::test]
async fn an_upstream_without_edns_is_remembered() {
    let upstream = FakeUpstream::start(|query| {
        let reply = Reply::to(query).without_edns();
        if query.edns_payload.is_some() {
            reply.rcode(Rcode::FORMERR).send()
        } else {
            reply.a([192, 0, 2, 1], 60).send()
        }
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&upstream], |_| {}).await;
    for transport in [Transport::Udp, Transport::Udp, Transport::Tcp] {
        let mut question = question("a.example");
        question.transport = transport;
        let answer = setup.ask(&question).await.unwrap();
        assert_eq!(answer.head().rcode, Rcode::NOERROR);
    }
    // Once with EDNS, and three times without.
    assert_eq!(upstream.count_without_probes(), 4);
}

#[tokio::test]
async fn names_go_out_in_random_case_and_have_to_come_back_so() {
    let name = "a-long-name-with-many-letters.example";
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| config.case_randomization = true).await;
    for _ in 0..5 {
        setup.ask(&question(name)).await.unwrap();
    }
    let mut spellings: Vec<_> = upstream
        .queries()
        .into_iter()
        .map(|query| query.question)
        .collect();
    spellings.sort();
    spellings.dedup();
    assert_eq!(spellings.len(), 5);

    // What comes in another spelling is asked for over TCP, where nobody can
    // forge it; and who spells so is remembered.
    let lowering = FakeUpstream::start(|query| {
        let mut query = query.clone();
        query.question.make_ascii_lowercase();
        Reply::to(&query).a([192, 0, 2, 1], 60).send()
    })
    .await
    .unwrap();
    let setup = Setup::new(&[&lowering], |config| config.case_randomization = true).await;
    for _ in 0..3 {
        setup.ask(&question(name)).await.unwrap();
    }
    let tcp: Vec<bool> = lowering.queries().iter().map(|query| query.tcp).collect();
    assert_eq!(tcp, [false, true, false, false]);
}
