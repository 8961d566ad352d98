//! A real dnsmasq in front, as the home router that asks the server.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::free_port;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::docker_names::Engine;
use super::docker_names::await_name;
use super::docker_names::container;
use super::knot::Knot;
use super::server::Server;
use super::upstream::Upstream;
use crate::support::needs;

/// The ways in which routers are set up.
const VARIANTS: [&[&str]; 4] = [
    &[],
    &["--all-servers"],
    &["--cache-size=0"],
    &["--all-servers", "--cache-size=0"],
];

/// Where containers are.
const HOST: &str = "192.168.16.61";

/// A router that asks `inner` for ilude.com and `outer` for all else.
#[derive(Debug)]
pub(crate) struct Router {
    /// dnsmasq.
    process: Process,
    /// Where it answers.
    addr: SocketAddr,
}

// === impl Router ===

impl Router {
    /// Starts it and waits until it answers.
    pub(crate) fn start(
        inner: SocketAddr,
        outer: SocketAddr,
        further: &[&str],
    ) -> anyhow::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let arguments = [
            "-k".to_owned(),
            "-C".to_owned(),
            "/dev/null".to_owned(),
            "--no-resolv".to_owned(),
            "--no-hosts".to_owned(),
            "--log-facility=-".to_owned(),
            "--pid-file".to_owned(),
            format!("--server=/ilude.com/127.0.0.1#{}", inner.port()),
            format!("--server=127.0.0.1#{}", outer.port()),
            "-p".to_owned(),
            addr.port().to_string(),
            "--listen-address=127.0.0.1".to_owned(),
            "--bind-interfaces".to_owned(),
            "--user=root".to_owned(),
        ];
        let process = Launch::new("/usr/sbin/dnsmasq")
            .args(
                arguments
                    .iter()
                    .map(String::as_str)
                    .chain(further.iter().copied()),
            )
            .start()?;
        let router = Self { process, addr };
        let version = || router.udp().timeout(Duration::from_millis(500));
        let answers = || version().query("ready.invalid", RecordType::A).ok();
        wait_for(answers).with_context(|| router.output())?;
        Ok(router)
    }

    /// Where it answers.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Everything it wrote.
    pub(crate) fn output(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Asks over UDP.
    fn udp(&self) -> Client {
        Client::udp(self.addr)
    }

    /// Asks over either.
    pub(super) fn both(&self) -> [Client; 2] {
        [self.udp(), Client::tcp(self.addr)]
    }
}

/// A server for containers, whatever else is asked being forwarded.
fn server(engine: &Engine, upstream: SocketAddr) -> anyhow::Result<Server> {
    Server::start(&format!(
        "\
.:PORT {{
    docker-cluster {{
        {}
        host_ip {HOST}
        ttl 60
        fallthrough
    }}
    forward . {upstream}
    cache 300
    errors
    log
}}
",
        engine.property()
    ))
}

/// How many queries for a name and type the server has logged.
fn asked(server: &Server, name: &str, qtype: &str) -> usize {
    let lines = server.process().lines();
    let about = format!("{qtype} IN {name}. ");
    lines.iter().filter(|line| line.contains(&about)).count()
}

#[test]
fn a_router_resolves_containers_and_the_world() -> anyhow::Result<()> {
    if !needs(&["dnsmasq", "knotd"]) {
        return Ok(());
    }
    let (knot, engine) = (Knot::start()?, Engine::start()?);
    let server = server(&engine, knot.addr())?;
    engine
        .control()
        .run(container("c1", "app.ilude.com,api.ilude.com"));
    await_name(&server, "api.ilude.com", true);
    for further in VARIANTS {
        let router = Router::start(server.addr(), knot.addr(), further)?;
        for client in [router.both(), router.both()].into_iter().flatten() {
            for (name, qtype, expected) in [
                ("app.ilude.com", RecordType::A, &[HOST][..]),
                ("API.ilude.com", RecordType::A, &[HOST]),
                ("app.ilude.com", RecordType::AAAA, &[]),
                (
                    "www.ilude.com",
                    RecordType::A,
                    &["203.0.113.80", "203.0.113.81"],
                ),
                ("www.ilude.com", RecordType::AAAA, &["2001:db8::80"]),
                (
                    "alias.ilude.com",
                    RecordType::A,
                    &["203.0.113.80", "203.0.113.81"],
                ),
                ("www.signed.test", RecordType::A, &["203.0.113.82"]),
            ] {
                let response = client.query(name, qtype)?;
                assert_eq!(
                    rcode(&response),
                    ResponseCode::NoError,
                    "{further:?} {name}"
                );
                let mut found = addresses(&response);
                found.sort_unstable();
                assert_eq!(found, ips(expected), "{further:?} {name} {qtype}");
            }
            let response = client.query("gone.ilude.com", RecordType::A)?;
            assert_eq!(rcode(&response), ResponseCode::NXDomain, "{further:?}");
        }
        // A long answer: TC over UDP, all of it over TCP.
        let response = router.udp().query("large.ilude.com", RecordType::TXT)?;
        assert!(response.metadata.truncation);
        let response = Client::tcp(router.addr).query("large.ilude.com", RecordType::TXT)?;
        assert_eq!(response.answers.len(), 1);
    }
    Ok(())
}

#[test]
fn a_router_remembers_that_a_container_has_no_ipv6() -> anyhow::Result<()> {
    if !needs(&["dnsmasq"]) {
        return Ok(());
    }
    let (upstream, engine) = (Upstream::answering(60)?, Engine::start()?);
    let server = server(&engine, upstream.addr())?;
    engine
        .control()
        .run(container("c1", "app.ilude.com,host.ilude.com"));
    let alias = container("c2", "alias.ilude.com").with("portolan.target", "host.ilude.com");
    engine.control().run(alias);
    await_name(&server, "alias.ilude.com", true);
    let before = upstream.count();
    let router = Router::start(server.addr(), upstream.addr(), &[])?;
    for name in ["app.ilude.com", "alias.ilude.com"] {
        for _ in 0..5 {
            for qtype in [RecordType::AAAA, RecordType::A] {
                let response = router.udp().query(name, qtype)?;
                assert_eq!(rcode(&response), ResponseCode::NoError, "{name}");
            }
        }
        // The log is written by a thread of its own.
        let logged = || (asked(&server, name, "AAAA") > 0).then_some(());
        wait_for(logged).with_context(|| server.output())?;
        pause(Duration::from_millis(100));
        assert_eq!(
            asked(&server, name, "AAAA"),
            1,
            "{name}\n{}",
            server.output()
        );
    }
    let names: Vec<String> = upstream
        .asked()
        .iter()
        .skip(before)
        .map(|query| query.qname.to_string())
        .collect();
    assert!(
        !names.iter().any(|name| name.ends_with("ilude.com.")),
        "{names:?}"
    );
    Ok(())
}

#[test]
fn two_hundred_of_two_hundred_while_containers_come_and_go() -> anyhow::Result<()> {
    if !needs(&["dnsmasq"]) {
        return Ok(());
    }
    for further in [&[][..], &["--cache-size=0"]] {
        let (upstream, engine) = (Upstream::answering(60)?, Engine::start()?);
        let server = server(&engine, upstream.addr())?;
        let control = engine.control();
        for number in 0..5 {
            control.run(container(
                &format!("s{number}"),
                &format!("s{number}.ilude.com"),
            ));
        }
        await_name(&server, "s4.ilude.com", true);
        let router = Router::start(server.addr(), upstream.addr(), further)?;
        for round in 0..200 {
            // One that restarts keeps its name; others come and go.
            control.restart("s0");
            let passing = format!("p{}", round % 7);
            match round % 2 {
                0 => control.run(container(&passing, &format!("{passing}.ilude.com"))),
                _ => control.destroy(&passing),
            }
            let [udp, tcp] = router.both();
            let client = if round % 4 == 0 { tcp } else { udp };
            let name = format!("s{}.ilude.com", round % 5);
            let response = client.query(&name, RecordType::A)?;
            assert_eq!(
                addresses(&response),
                ips(&[HOST]),
                "{round} {name} {further:?}"
            );
        }
    }
    Ok(())
}
