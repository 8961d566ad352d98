//! Queries that end at an upstream.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use portolan_forward::Cache;
use portolan_forward::CacheConfig;
use portolan_forward::CacheLabels;
use portolan_forward::Config;
use portolan_forward::Context;
use portolan_forward::Forward;
use portolan_forward::UpstreamConfig;
use portolan_proto::HEADER_LEN;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::LookupLog;
use crate::fast::Batch;
use crate::fast::Desk;
use crate::fast::Fate;

/// A resolver that asks one upstream, for clients of some networks.
async fn resolver(upstream: &FakeUpstream, allow_from: &[&str], cached: bool) -> Resolver {
    let families = portolan_forward::Families::register(&Registry::new()).unwrap();
    let context = Context::new(TaskTracker::new(), CancellationToken::new(), families);
    let config = Config {
        upstreams: vec![UpstreamConfig::Addr(upstream.addr())],
        allow_from: allow_from.iter().map(|net| net.parse().unwrap()).collect(),
        ..Config::default()
    };
    let stanza = Forward::build(config, &context).await.unwrap();
    let labels = CacheLabels::default();
    let cache = cached.then(|| Cache::new(CacheConfig::default(), &labels, &context));
    Resolver::new(cache, vec![stanza], &context)
}

/// A block that forwards what its layers let pass.
fn forwarding(local: Vec<LocalLayer>, resolver: Resolver, hooks: Hooks) -> Routing {
    routing(Block {
        resolver: Some(resolver),
        hooks,
        ..block(local)
    })
}

/// The response to a query for an address, and whether it had to wait.
async fn respond(shared: &Shared, routing: &Routing, message: &[u8]) -> (Message, bool) {
    let mut out = Vec::new();
    let received = received(message, Transport::Udp);
    let waited = match handle(
        shared,
        routing,
        &shared.table.load(),
        &received,
        &mut out,
        &mut None,
        None,
    ) {
        Step::Respond => false,
        Step::Silent => panic!("no response"),
        Step::Resolve(pending) => {
            pending.finish(shared, None, &mut out).await;
            true
        }
    };
    (Message::parse(out).unwrap(), waited)
}

/// What becomes of a query by the short way, which leads to upstreams.
fn shortly(
    shared: &Shared,
    routing: &Routing,
    received: &Received<'_>,
    out: &mut Vec<u8>,
    missed: &mut Option<Question>,
) -> Step {
    let snapshot = shared.table.load();
    let batch = Batch {
        shared,
        routing,
        snapshot: &snapshot,
    };
    let Desk {
        mut qnames,
        mut tallies,
        ..
    } = Desk::default();
    let (message, client) = (received.message, received.client.ip());
    let ahead = batch.read(std::iter::once(message), &mut qnames);
    let read = ahead.queries(&qnames).next().flatten().unwrap();
    let fate = batch.answer(read, message.len(), client, &mut tallies, out);
    let Fate::Upstreams(block) = fate else {
        panic!("it leads elsewhere: {fate:?}");
    };
    assert!(out.is_empty() && !tallies.has_any());
    forward(
        shared,
        &snapshot,
        block,
        received,
        out,
        missed,
        &mut tallies,
    )
}

/// Counts what was looked up.
#[derive(Default)]
struct Lookups(AtomicUsize);

impl LookupLog for Lookups {
    fn looked_up(&self, _: Rtype, plugin: Option<&'static str>) {
        assert_eq!(plugin, None);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Codes, types and owners of a response, in order.
fn told(message: &Message) -> (Rcode, Vec<(Rtype, String)>) {
    let records = message.records();
    let records = records.map(|record| (record.rtype, record.owner().unwrap().to_string()));
    (message.rcode(), records.collect())
}

#[tokio::test]
async fn what_is_not_local_is_asked_for_and_remembered() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let shared = shared(table(&[]));
    let log = Arc::new(Log::default());
    let hooks = Hooks {
        log: Some(Arc::clone(&log) as Arc<_>),
        ..Hooks::default()
    };
    let resolver = resolver(&upstream, &["127.0.0.0/8"], true).await;
    let routing = forwarding(Vec::new(), resolver, hooks);
    for expected in [true, false, false] {
        let message = query("X.test", Rtype::A);
        let (response, waited) = respond(&shared, &routing, &message).await;
        assert_eq!(waited, expected);
        assert_eq!(response.rcode(), Rcode::NOERROR);
        assert!(response.flags().has(Flags::RECURSION_AVAILABLE));
        assert!(!response.flags().has(Flags::AUTHORITATIVE));
    }
    assert_eq!(upstream.count(), 1);
    let log = log.0.lock().unwrap();
    let plugins: Vec<&str> = log.iter().map(|entry| entry.0.as_str()).collect();
    assert_eq!(plugins, ["forward", "cache", "cache"]);
}

#[tokio::test]
async fn the_short_way_to_upstreams_leads_to_the_same_responses() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let shared = shared(table(&[]));
    let lookups = Arc::new(Lookups::default());
    let mut responses = Vec::new();
    for is_short in [false, true] {
        let hooks = Hooks {
            lookups: Some(Arc::clone(&lookups) as Arc<_>),
            ..Hooks::default()
        };
        let resolver = resolver(&upstream, &["127.0.0.0/8"], true).await;
        let routing = forwarding(Vec::new(), resolver, hooks);
        let mut said = Vec::new();
        for (qname, client) in [
            // From the upstream, from the cache, to a client that may not ask,
            // and about a name that is for no upstream.
            ("X.test", [127, 0, 0, 1]),
            ("x.TEST", [127, 0, 0, 1]),
            ("x.test", [192, 0, 2, 1]),
            ("a.localhost", [127, 0, 0, 1]),
        ] {
            let message = query(qname, Rtype::A);
            let received = Received {
                client: SocketAddr::from((client, 4000)),
                ..received(&message, Transport::Udp)
            };
            let (mut out, mut missed) = (Vec::new(), None);
            let step = if is_short {
                shortly(&shared, &routing, &received, &mut out, &mut missed)
            } else {
                let snapshot = shared.table.load();
                handle(
                    &shared,
                    &routing,
                    &snapshot,
                    &received,
                    &mut out,
                    &mut missed,
                    None,
                )
            };
            if let Step::Resolve(pending) = &step {
                assert!(missed.is_some());
                assert_eq!(pending.octets(), &message[HEADER_LEN..]);
                pending.finish(&shared, None, &mut out).await;
            }
            said.push((matches!(step, Step::Resolve(_)), out));
        }
        assert_eq!(lookups.0.swap(0, Ordering::Relaxed), 4, "one for each");
        responses.push(said);
    }
    assert_eq!(responses[0], responses[1]);
    let waited: Vec<bool> = responses[0].iter().map(|(waited, _)| *waited).collect();
    assert_eq!(waited, [true, false, false, false]);
    assert_eq!(upstream.count(), 2, "each cache was empty once");
}

#[tokio::test]
async fn an_alias_that_leads_outside_is_followed_there() {
    let upstream = FakeUpstream::start(|query| match query.qname.to_string().as_str() {
        "gone.example." => Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send(),
        _ => Reply::to(query).a([192, 0, 2, 9], 60).send(),
    })
    .await
    .unwrap();
    let rows = [
        (0, "www.test", cname("edge.example")),
        (0, "late.test", cname("gone.example")),
        (0, "hop.test", cname("www.test")),
    ];
    let shared = shared(table(&rows));
    let resolver = resolver(&upstream, &["0.0.0.0/0"], true).await;
    let routing = forwarding(vec![layer(0)], resolver, Hooks::default());
    let alias = |owner: &str| (Rtype::CNAME, owner.to_owned());
    let address = (Rtype::A, "edge.example.".to_owned());
    let soa = (Rtype::SOA, "gone.example.".to_owned());
    for (qname, rcode, records) in [
        (
            "www.test",
            Rcode::NOERROR,
            vec![alias("www.test."), address.clone()],
        ),
        ("late.test", Rcode::NXDOMAIN, vec![alias("late.test."), soa]),
        (
            "hop.test",
            Rcode::NOERROR,
            vec![alias("hop.test."), alias("www.test."), address],
        ),
    ] {
        // From the upstream, and from the cache.
        for _ in 0..2 {
            let (response, _) = respond(&shared, &routing, &query(qname, Rtype::A)).await;
            assert_eq!(told(&response), (rcode, records.clone()), "{qname}");
        }
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn a_client_that_may_not_ask_hears_local_names_alone() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let shared = shared(table(&[
        (0, "www.test", cname("edge.example")),
        (0, "x.test", a(1)),
    ]));
    let passing = LocalLayer {
        fallthrough: Fallthrough::Within(vec![Name::root()]),
        ..layer(0)
    };
    let resolver = resolver(&upstream, &["10.0.0.0/8"], true).await;
    let routing = forwarding(vec![passing], resolver, Hooks::default());
    for (qname, rcode, records, ede) in [
        ("x.test", Rcode::NOERROR, 1, None),
        ("www.test", Rcode::NOERROR, 1, None),
        ("y.test", Rcode::REFUSED, 0, Some(Ede::PROHIBITED)),
    ] {
        let message = query_of(qname, Rtype::A, Class::IN, &opt(0));
        let (response, waited) = respond(&shared, &routing, &message).await;
        assert!(!waited);
        assert_eq!(told(&response).1.len(), records, "{qname}");
        assert_eq!((response.rcode(), response.ede()), (rcode, ede), "{qname}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_failure_is_told_to_the_client_and_to_the_error_log() {
    let upstream = FakeUpstream::start(|_| Action::Drop).await.unwrap();
    let errors = Arc::new(Errors::default());
    let hooks = Hooks {
        errors: Some(Arc::clone(&errors) as Arc<_>),
        ..Hooks::default()
    };
    let resolver = resolver(&upstream, &["0.0.0.0/0"], false).await;
    // Nobody listens there any more.
    upstream.stop().await;
    let shared = shared(table(&[]));
    let routing = forwarding(Vec::new(), resolver, hooks);
    let message = query_of("x.test", Rtype::A, Class::IN, &opt(0));
    let (response, _) = respond(&shared, &routing, &message).await;
    assert_eq!(response.rcode(), Rcode::SERVFAIL);
    assert_eq!(response.ede(), Some(Ede::NO_REACHABLE_AUTHORITY));
    let [line] = errors.lines().try_into().unwrap();
    assert!(
        line.starts_with("x.test. A: SERVFAIL: read udp 127.0.0.1:"),
        "{line}"
    );
    assert!(line.contains("connection refused"), "{line}");
}

#[tokio::test]
async fn a_query_that_may_not_wait_fails_at_once() {
    let upstream = FakeUpstream::start(|_| Action::Drop).await.unwrap();
    let errors = Arc::new(Errors::default());
    let hooks = Hooks {
        errors: Some(Arc::clone(&errors) as Arc<_>),
        ..Hooks::default()
    };
    let resolver = resolver(&upstream, &["0.0.0.0/0"], false).await;
    let shared = shared(table(&[]));
    let routing = forwarding(Vec::new(), resolver, hooks);
    let message = query("X.test", Rtype::A);
    let mut out = Vec::new();
    let step = handle(
        &shared,
        &routing,
        &shared.table.load(),
        &received(&message, Transport::Udp),
        &mut out,
        &mut None,
        None,
    );
    let Step::Resolve(pending) = step else {
        panic!("it waits: {step:?}");
    };
    pending.reject("too many queries wait", &mut out);
    assert_eq!(out[12..], message[12..]);
    assert_eq!(Message::parse(out).unwrap().rcode(), Rcode::SERVFAIL);
    assert_eq!(errors.lines().len(), 1);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn other_classes_are_forwarded_past_local_names() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let shared = shared(table(&[(0, "x.test", a(1))]));
    let resolver = resolver(&upstream, &["0.0.0.0/0"], false).await;
    let routing = forwarding(vec![layer(0)], resolver, Hooks::default());
    let message = query_of("x.test", Rtype::TXT, Class(3), &[]);
    let (response, waited) = respond(&shared, &routing, &message).await;
    assert!(waited);
    assert_eq!(response.rcode(), Rcode::NOERROR);
    assert_eq!(upstream.count(), 1);
}
