//! Upstreams that take connections and say nothing, or half of something.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Query;
use portolan_testkit::process::clock;
use portolan_testkit::tls::TlsFront;
use portolan_testkit::tls::Validity;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::runtime::Runtime;

use super::answer::NETWORK_ERROR;
use super::answer::NO_REACHABLE_AUTHORITY;
use super::answer::ede;
use super::answer::rcode;
use super::encrypted::NAME;
use super::encrypted::Trust;
use super::faults::good;
use super::faults::told;
use super::server::Server;
use super::upstream::Upstream;

/// The bar for upstreams on connections.
const SLOWEST: Duration = Duration::from_millis(1500);

/// Takes connections and queries, and never says a word.
fn silent(_: &Received) -> Action {
    Action::Drop
}

/// Says half of a message and hangs up.
fn half(query: &Received) -> Action {
    let message = Reply::to(query).a([192, 0, 2, 1], 60).build();
    let length = u16::try_from(message.len()).expect("a short message");
    let half = [&length.to_be_bytes(), &message[..message.len() / 2]].concat();
    Action::Each(vec![Action::Octets(half), Action::Close])
}

/// Says half of a message, and nothing more.
fn stuck(query: &Received) -> Action {
    match half(query) {
        Action::Each(mut steps) => {
            steps.truncate(1);
            Action::Each(steps)
        }
        other => other,
    }
}

/// Says one octet of a length and hangs up.
fn octet(_: &Received) -> Action {
    Action::Each(vec![Action::Octets(vec![0]), Action::Close])
}

/// A name, and what an upstream does.
type Way = (&'static str, fn(&Received) -> Action);

/// The ways to break off.
const WAYS: [Way; 4] = [
    ("silent", silent),
    ("half", half),
    ("stuck", stuck),
    ("octet", octet),
];

#[test]
fn timing_fault_one_upstream_over_tcp_breaks_off() -> anyhow::Result<()> {
    for (way, script) in WAYS {
        let (broken, sound) = (Upstream::start(script)?, Upstream::answering(60)?);
        let server = Server::start(&format!(
            ".:PORT {{\n forward . {} {} {{\n force_tcp\n }}\n}}\n",
            broken.addr(),
            sound.addr()
        ))?;
        not_noticed(&server, &format!("TCP, one of two: {way}"))?;
        assert!(broken.connections() > 0, "{way}: nobody asked it");
    }
    Ok(())
}

#[test]
fn timing_fault_one_upstream_over_tls_breaks_off() -> anyhow::Result<()> {
    let (trust, runtime) = (Trust::new()?, Runtime::new()?);
    let identity = trust.identity(NAME, Validity::Current)?;
    let sound = Upstream::answering(60)?;
    let good = runtime.block_on(TlsFront::start(&identity, sound.addr()))?;
    let serve = |broken: SocketAddr| {
        Server::start(&format!(
            ".:PORT {{\n forward . tls://127.0.0.1%{NAME}:{} tls://127.0.0.1%{NAME}:{} {{\n  \
             tls {}\n }}\n}}\n",
            broken.port(),
            good.addr().port(),
            trust.path().display()
        ))
    };
    for (way, script) in WAYS {
        let broken = Upstream::start(script)?;
        let front = runtime.block_on(TlsFront::start(&identity, broken.addr()))?;
        not_noticed(&serve(front.addr())?, &format!("TLS, one of two: {way}"))?;
        assert!(broken.connections() > 0, "{way}: nobody asked it");
    }
    // And before there is TLS: no handshake, or its beginning.
    for (way, first) in [
        ("no handshake", None),
        ("cut handshake", Some(&b"\x16\x03\x03"[..])),
    ] {
        let addr = mute(first)?;
        not_noticed(&serve(addr)?, &format!("TLS, one of two: {way}"))?;
    }
    Ok(())
}

#[test]
fn timing_fault_the_only_upstream_breaks_off() -> anyhow::Result<()> {
    for (way, script) in WAYS {
        let broken = Upstream::start(script)?;
        let server = Server::start(&format!(
            ".:PORT {{\n hosts {{\n  192.0.2.7 local.test\n  fallthrough\n }}\n \
             forward . {} {{\n force_tcp\n }}\n}}\n",
            broken.addr()
        ))?;
        let start = clock();
        let query = Query::new("n.outside", RecordType::A).edns(1232);
        let response = server.udp().ask(&query)?;
        assert_eq!(rcode(&response), ResponseCode::ServFail, "{way}");
        let said = ede(&response);
        assert!(
            [Some(NO_REACHABLE_AUTHORITY), Some(NETWORK_ERROR)].contains(&said),
            "{way}: {said:?}"
        );
        assert!(start.elapsed() <= Duration::from_secs(3), "{way}");
        let local = server.udp().query("local.test", RecordType::A)?;
        assert_eq!(rcode(&local), ResponseCode::NoError, "{way}");
        // A bound on how often one is asked who never answers.
        assert!(
            broken.connections() <= 12,
            "{way}: {}",
            broken.connections()
        );
    }
    Ok(())
}

/// Asks 50 times a second for a while: every query has its answer, in time.
fn not_noticed(server: &Server, what: &str) -> anyhow::Result<()> {
    let plan = Plan {
        names: (0..100).map(|n| format!("n{n}.outside")).collect(),
        patience: Duration::from_secs(4),
        ..Plan::new("", 50, Duration::from_secs(2))
    };
    let report = Load::start(server.addr(), &plan, |_, answer| good(answer))?.wait();
    told(what, &report);
    assert_eq!(
        (report.lost, report.wrong.len()),
        (0, 0),
        "{what}: {:?}",
        report.wrong
    );
    assert!(report.max <= SLOWEST, "{what}: {:?}", report.max);
    Ok(())
}

/// Takes connections and reads what comes. Says nothing, or this and hangs up.
fn mute(first: Option<&'static [u8]>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    // They end with the test, or when it hangs up.
    thread::Builder::new().spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if let Some(first) = first {
                let _ = stream.write_all(first);
                continue;
            }
            let read = move || while matches!(stream.read(&mut [0; 512]), Ok(1..)) {};
            if thread::Builder::new().spawn(read).is_err() {
                return;
            }
        }
    })?;
    Ok(addr)
}
