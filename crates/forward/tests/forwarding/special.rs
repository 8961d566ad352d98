//! Names that are not for upstreams, and TTLs that are none.

use std::net::SocketAddr;

use portolan_forward::UpstreamConfig;
use portolan_proto::Name;
use portolan_proto::Rcode;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;

use crate::support::Setup;
use crate::support::config;
use crate::support::question;

/// Names that no upstream has.
const NEVER: [&str; 4] = [
    "x.onion",
    "x.invalid",
    "1.0.0.127.in-addr.arpa",
    "x.localhost",
];

/// Names that a router may have.
const PRIVATE: [&str; 4] = [
    "x.local",
    "x.home.arpa",
    "1.1.168.192.in-addr.arpa",
    "1.0.0.10.in-addr.arpa",
];

#[tokio::test]
async fn special_names_do_not_leave_the_house() {
    let upstream = FakeUpstream::answering().await.unwrap();
    // The public one is not there, and is not asked.
    let public: SocketAddr = "203.0.113.53:53".parse().unwrap();
    let setup = Setup::new(&[&upstream], |config| {
        config.upstreams.push(UpstreamConfig::Addr(public));
        config.max_connect_attempts = Some(1);
    })
    .await;
    for name in NEVER.iter().chain(&PRIVATE) {
        let answer = setup.ask(&question(name)).await.unwrap();
        assert_eq!(answer.upstream, None, "{name}");
        assert!(answer.head().authoritative, "{name}");
    }
    assert_eq!(upstream.count(), 0);
    setup.ask(&question("x.test")).await.unwrap();
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_router_is_asked_for_the_names_it_may_have() {
    let router = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&router], |_| {}).await;
    for name in NEVER {
        setup.ask(&question(name)).await.unwrap();
    }
    assert_eq!(router.count(), 0);
    for name in PRIVATE {
        setup.ask(&question(name)).await.unwrap();
    }
    assert_eq!(router.count(), PRIVATE.len());
}

#[tokio::test]
async fn a_zone_that_is_forwarded_by_name_is_forwarded() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let zone: Name = "onion".parse().unwrap();
    let setup = Setup::with(
        None,
        &[
            config(&[&upstream], |config| config.from = vec![zone]),
            config(&[&upstream], |_| {}),
        ],
    )
    .await;
    let answer = setup.ask(&question("x.onion")).await.unwrap();
    assert!(answer.upstream.is_some());
    let answer = setup.ask(&question("x.invalid")).await.unwrap();
    assert_eq!(answer.head().rcode, Rcode::NXDOMAIN);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn who_wants_to_forward_special_names_may() {
    let upstream = FakeUpstream::answering().await.unwrap();
    let setup = Setup::new(&[&upstream], |config| config.forward_special_names = true).await;
    for name in NEVER {
        setup.ask(&question(name)).await.unwrap();
    }
    assert_eq!(upstream.count(), NEVER.len());
}

#[tokio::test]
async fn a_ttl_beyond_31_bits_is_0() {
    let upstream = FakeUpstream::start(|query| {
        Reply::to(query)
            .a([192, 0, 2, 1], 0x8000_0000)
            .a([192, 0, 2, 2], 60)
            .send()
    })
    .await
    .unwrap();
    let setup = Setup::with(Some(Default::default()), &[config(&[&upstream], |_| {})]).await;
    for _ in 0..2 {
        let answer = setup.ask(&question("a.example")).await.unwrap();
        let ttls: Vec<u32> = answer.message.records().map(|record| record.ttl).collect();
        assert_eq!(ttls, [0, 60]);
    }
    assert_eq!(upstream.count(), 2, "TTL 0 is not kept");
}
