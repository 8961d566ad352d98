//! Upstreams over TLS: proof of their name, failures, and never in the clear.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use portolan_forward::BuildError;
use portolan_forward::Config;
use portolan_forward::EncryptedTransport;
use portolan_forward::Forward;
use portolan_forward::Policy;
use portolan_forward::TlsConfig;
use portolan_forward::UpstreamConfig;
use portolan_proto::Ede;
use portolan_proto::Rcode;
use portolan_testkit::tls::Authority;
use portolan_testkit::tls::Identity;
use portolan_testkit::tls::TlsFront;
use portolan_testkit::tls::Validity;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::Setup;
use crate::support::context;
use crate::support::eventually;
use crate::support::pass;
use crate::support::question;

/// The name of the upstreams.
const NAME: &str = "dns.example";

/// Longest that a query may take when one upstream fails.
const FAILOVER: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn queries_share_one_handshake() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    let front = trust.front(&behind).await;
    let setup = trust.setup(&[front.addr()], |_| {}).await;
    for index in 0..20 {
        let answer = setup.ask(&question(&format!("n{index}.example"))).await;
        let answer = answer.unwrap();
        assert_eq!(answer.head().rcode, Rcode::NOERROR);
        assert_eq!(answer.upstream.as_deref(), Some(&*front.addr().to_string()));
    }
    let questions: Vec<_> = (0..8).map(|n| question(&format!("m{n}.example"))).collect();
    let asked = questions.iter().map(|question| setup.ask(question));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok));
    let seen = front.seen();
    assert_eq!((seen.full, seen.resumed, seen.datagrams), (1, 0, 0));
    assert_eq!(behind.count(), 28);
    assert_eq!(setup.counter("portolan_forward_tls_handshakes_total"), 1.0);
}

#[tokio::test]
async fn the_next_connection_resumes_the_session() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    let front = trust.front(&behind).await;
    let setup = trust
        .setup(&[front.addr()], |config| {
            config.expire = Duration::from_millis(100);
        })
        .await;
    for _ in 0..3 {
        setup.ask(&question("a.example")).await.unwrap();
        pass(200).await;
    }
    let seen = front.seen();
    assert_eq!((seen.full, seen.resumed), (1, 2));
}

#[tokio::test]
async fn who_does_not_prove_the_name_is_told_nothing() {
    let trust = Trust::new();
    let stranger = Authority::new().unwrap();
    let issue = |names: &[&str], validity| trust.authority.issue(names, validity).unwrap();
    for (what, identity) in [
        ("another name", issue(&["other.example"], Validity::Current)),
        ("expired", issue(&[NAME], Validity::Expired)),
        ("not yet valid", issue(&[NAME], Validity::Future)),
        ("self-signed", Identity::self_signed(&[NAME]).unwrap()),
        (
            "an authority unknown",
            stranger.issue(&[NAME], Validity::Current).unwrap(),
        ),
    ] {
        let behind = FakeUpstream::answering().await.unwrap();
        let front = TlsFront::start(&identity, behind.addr()).await.unwrap();
        let setup = trust.setup(&[front.addr()], |_| {}).await;
        let begun = Instant::now();
        let failure = setup.ask(&question("secret.example")).await.unwrap_err();
        assert_eq!(failure.rcode, Rcode::SERVFAIL, "{what}");
        assert_eq!(failure.ede, Some(Ede::NETWORK_ERROR), "{what}");
        assert!(failure.message.contains("tls: "), "{what}: {failure}");
        assert!(begun.elapsed() < FAILOVER, "{what}: {:?}", begun.elapsed());
        let seen = front.seen();
        assert!(!seen.first_octets.is_empty(), "{what}");
        assert!(seen.first_octets.iter().all(|&octet| octet == 22), "{what}");
        assert_eq!((seen.full, seen.resumed, seen.datagrams), (0, 0, 0));
        assert_eq!(behind.count(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_server_in_the_clear_is_told_nothing() {
    let trust = Trust::new();
    let clear = FakeUpstream::answering().await.unwrap();
    let setup = trust.setup(&[clear.addr()], |_| {}).await;
    let failure = setup.ask(&question("secret.example")).await.unwrap_err();
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    assert_eq!(clear.count(), 0);
    assert!(clear.connections() > 0);
}

#[tokio::test]
async fn the_name_is_that_of_the_upstream_or_of_the_stanza_or_the_address() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    for (certified, own, common, good) in [
        ("a.example", Some("a.example"), None, true),
        ("a.example", Some("b.example"), None, false),
        ("a.example", None, Some("a.example"), true),
        ("a.example", Some("a.example"), Some("b.example"), true),
        ("127.0.0.1", None, None, true),
        ("127.0.0.2", None, None, false),
        ("*.dns.example", Some("a.dns.example"), None, true),
    ] {
        let identity = trust
            .authority
            .issue(&[certified], Validity::Current)
            .unwrap();
        let front = TlsFront::start(&identity, behind.addr()).await.unwrap();
        let mut config = trust.config(&[]);
        config.tls.server_name = common.map(str::to_owned);
        config.upstreams = vec![UpstreamConfig::Encrypted {
            transport: EncryptedTransport::Tls,
            host: "127.0.0.1".into(),
            port: front.addr().port(),
            server_name: own.map(str::to_owned),
        }];
        let setup = Setup::with(None, &[config]).await;
        let answer = setup.ask(&question("a.example")).await;
        assert_eq!(answer.is_ok(), good, "{certified} {own:?} {common:?}");
    }
}

#[tokio::test]
async fn one_of_two_that_fails_costs_little() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    let good = trust.front(&behind).await;
    // Takes connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let expired = trust.authority.issue(&[NAME], Validity::Expired).unwrap();
    let expired = TlsFront::start(&expired, behind.addr()).await.unwrap();
    let refusing = TlsFront::start(&trust.identity, behind.addr())
        .await
        .unwrap();
    let refused = refusing.addr();
    refusing.stop().await;
    for bad in [mute.local_addr().unwrap(), expired.addr(), refused] {
        let setup = trust.setup(&[bad, good.addr()], |_| {}).await;
        for index in 0..5 {
            let begun = Instant::now();
            let answer = setup.ask(&question(&format!("n{index}.example"))).await;
            assert!(answer.is_ok(), "{bad}: {answer:?}");
            assert!(begun.elapsed() < FAILOVER, "{bad}: {:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn an_upstream_that_restarts_costs_no_query() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    let front = trust.front(&behind).await;
    let addr = front.addr();
    let setup = trust.setup(&[addr], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap();
    front.stop().await;
    let again = TlsFront::start_at(addr, &trust.identity, behind.addr())
        .await
        .unwrap();
    let begun = Instant::now();
    setup.ask(&question("b.example")).await.unwrap();
    assert!(begun.elapsed() < FAILOVER, "{:?}", begun.elapsed());
    assert_eq!(again.seen().datagrams, 0);
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_used_within_a_second() {
    let trust = Trust::new();
    let behind = FakeUpstream::answering().await.unwrap();
    let front = trust.front(&behind).await;
    let addr = front.addr();
    front.stop().await;
    let setup = trust.setup(&[addr], |_| {}).await;
    setup.ask(&question("a.example")).await.unwrap_err();
    pass(2500).await;
    let back = TlsFront::start_at(addr, &trust.identity, behind.addr())
        .await
        .unwrap();
    let begun = Instant::now();
    eventually("a handshake", || back.seen().full > 0).await;
    setup.ask(&question("b.example")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_longest_answer_passes() {
    let trust = Trust::new();
    let behind = FakeUpstream::start(|query| {
        let mut reply = Reply::to(query);
        for index in 0..4000_u16 {
            let [high, low] = index.to_be_bytes();
            reply = reply.a([10, 0, high, low], 60);
        }
        reply.send()
    })
    .await
    .unwrap();
    let front = trust.front(&behind).await;
    let setup = trust.setup(&[front.addr()], |_| {}).await;
    let answer = setup.ask(&question("a.example")).await.unwrap();
    assert_eq!(answer.message.records().count(), 4000);
}

#[tokio::test]
async fn a_slow_query_does_not_hold_up_the_others() {
    let trust = Trust::new();
    let behind = FakeUpstream::start(|query| {
        let reply = Reply::to(query).a([192, 0, 2, 1], 60).send();
        if query.question.starts_with(b"\x04slow") {
            return Action::Drop;
        }
        reply
    })
    .await
    .unwrap();
    let front = trust.front(&behind).await;
    let setup = trust
        .setup(&[front.addr()], |config| config.policy = Policy::Random)
        .await;
    let slow = question("slow.example");
    let others = async {
        pass(20).await;
        for index in 0..10 {
            let begun = Instant::now();
            setup
                .ask(&question(&format!("n{index}.example")))
                .await
                .unwrap();
            assert!(begun.elapsed() < Duration::from_millis(200));
        }
    };
    let (slow, ()) = tokio::join!(setup.ask(&slow), others);
    slow.unwrap_err();
}

#[tokio::test]
async fn what_tls_lacks_is_told_at_the_start() {
    let trust = Trust::new();
    let addr: SocketAddr = "127.0.0.1:853".parse().unwrap();
    let (context, _) = context();
    let mut config = trust.config(&[addr]);
    config.tls.authority = Some(PathBuf::from("/nowhere/ca.pem"));
    let error: BuildError = Forward::build(config, &context).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    let mut config = trust.config(&[addr]);
    for upstream in &mut config.upstreams {
        if let UpstreamConfig::Encrypted { server_name, .. } = upstream {
            *server_name = Some("not a name".into());
        }
    }
    let error = Forward::build(config, &context).await.unwrap_err();
    assert!(error.to_string().contains("not a name"), "{error}");
}

/// An authority, what it vouches for, and its certificate in a file.
struct Trust {
    /// The authority.
    authority: Authority,
    /// Who is [`NAME`].
    identity: Identity,
    /// Where the certificate is.
    directory: TempDir,
}

impl Trust {
    /// A new one.
    fn new() -> Self {
        let authority = Authority::new().unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            identity: authority.issue(&[NAME], Validity::Current).unwrap(),
            authority,
            directory,
        }
    }

    /// A good server.
    async fn front(&self, behind: &FakeUpstream) -> TlsFront {
        TlsFront::start(&self.identity, behind.addr())
            .await
            .unwrap()
    }

    /// Settings for upstreams that have to be [`NAME`], in order.
    fn config(&self, addrs: &[SocketAddr]) -> Config {
        let upstream = |addr: &SocketAddr| UpstreamConfig::Encrypted {
            transport: EncryptedTransport::Tls,
            host: addr.ip().to_string(),
            port: addr.port(),
            server_name: Some(NAME.into()),
        };
        Config {
            upstreams: addrs.iter().map(upstream).collect(),
            policy: Policy::Sequential,
            tls: TlsConfig {
                authority: Some(self.directory.path().join("ca.pem")),
                ..TlsConfig::default()
            },
            ..Config::default()
        }
    }

    /// A resolver over such upstreams, without a cache.
    async fn setup(&self, addrs: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Setup {
        let mut config = self.config(addrs);
        change(&mut config);
        Setup::with(None, &[config]).await
    }
}
