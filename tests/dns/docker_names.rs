//! Names of containers beside the other stages of a block.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::client::Query;
use portolan_testkit::docker::EngineControl;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::Reply;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::answer::soa;
use super::answer::types;
use super::server::Server;
use super::upstream::Upstream;

/// A fake engine, what it runs on, and where its socket is.
pub(super) struct Engine {
    /// The engine; dropped first.
    engine: FakeDocker,
    /// Its runtime.
    _runtime: Runtime,
    /// The directory of its socket.
    directory: TempDir,
}

// === impl Engine ===

impl Engine {
    /// Starts an engine without containers.
    pub(super) fn start() -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let socket = directory.path().join("docker.sock");
        let engine = runtime.block_on(async { FakeDocker::start(&socket) })?;
        Ok(Self {
            engine,
            _runtime: runtime,
            directory,
        })
    }

    /// Does things to its containers.
    pub(super) fn control(&self) -> EngineControl {
        self.engine.control()
    }

    /// The line of the configuration that names its socket.
    pub(super) fn property(&self) -> String {
        format!(
            "docker_socket unix://{}/docker.sock",
            self.directory.path().display()
        )
    }
}

/// A container with names.
pub(super) fn container(id: &str, names: &str) -> FakeContainer {
    FakeContainer::new(id, "joyride.host.name", names)
}

/// Waits until a name is known, or is no longer.
pub(super) fn await_name(server: &Server, name: &str, known: bool) {
    let is = || {
        let response = server.udp().query(name, RecordType::A).ok()?;
        (rcode(&response) == ResponseCode::NoError && response.metadata.authoritative == known)
            .then_some(())
    };
    wait_for(is).unwrap_or_else(|| panic!("{name} does not become {known}:\n{}", server.output()));
}

/// A server with all stages.
fn server(engine: &Engine, upstream: &Upstream) -> anyhow::Result<Server> {
    let corefile = format!(
        "\
.:PORT {{
    hosts hosts {{
        fallthrough
    }}
    docker-cluster {{
        {}
        host_ip 192.168.16.61
        fallthrough
    }}
    forward . {}
    cache
}}
",
        engine.property(),
        upstream.addr()
    );
    Server::with_hosts(&corefile, "10.0.0.1 both.test\n")
}

#[test]
fn hosts_come_before_containers_and_containers_before_upstreams() -> anyhow::Result<()> {
    let (engine, upstream) = (Engine::start()?, Upstream::answering(60)?);
    let server = server(&engine, &upstream)?;
    engine
        .control()
        .run(container("c1", "both.test, app.test, *.apps.test"));
    await_name(&server, "app.test", true);
    let before = upstream.count();
    for client in server.both() {
        for (name, expected) in [
            ("both.test", "10.0.0.1"),
            ("App.test", "192.168.16.61"),
            ("x.y.apps.test", "192.168.16.61"),
        ] {
            let response = client.query(name, RecordType::A)?;
            assert_eq!(addresses(&response), ips(&[expected]), "{name}");
            assert!(response.metadata.authoritative && response.metadata.recursion_available);
            // Known for every type, and NODATA can be cached.
            let response = client.query(name, RecordType::AAAA)?;
            assert_eq!(rcode(&response), ResponseCode::NoError, "{name}");
            assert_eq!(soa(&response), Some((format!("{name}."), 30, 30)));
        }
    }
    assert_eq!(upstream.count(), before);
    let response = server.udp().query("other.test", RecordType::A)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
    Ok(())
}

#[test]
fn a_target_outside_is_resolved_outside() -> anyhow::Result<()> {
    let upstream = Upstream::start(|query| match query.qname.to_string().as_str() {
        "gone.example." => Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send(),
        "large.example." if !query.tcp => Reply::to(query).truncated().send(),
        _ if query.qtype == Rtype::A => Reply::to(query).a([203, 0, 113, 9], 120).send(),
        _ => Reply::to(query).soa(60, 60).send(),
    })?;
    let engine = Engine::start()?;
    let server = server(&engine, &upstream)?;
    for (id, name, target) in [
        ("c1", "cdn.test", "edge.example"),
        ("c2", "late.test", "gone.example"),
        ("c3", "near.test", "both.test"),
        ("c4", "huge.test", "large.example"),
    ] {
        engine
            .control()
            .run(container(id, name).with("portolan.target", target));
    }
    for name in ["cdn.test", "late.test", "near.test", "huge.test"] {
        let known = || {
            let response = server.udp().query(name, RecordType::CNAME).ok()?;
            (types(&response.answers) == [RecordType::CNAME]).then_some(())
        };
        wait_for(known).unwrap_or_else(|| panic!("{name}:\n{}", server.output()));
    }
    // Twice, so that the cache answers as well.
    for client in [server.both(), server.both()].into_iter().flatten() {
        let response = client.query("cdn.test", RecordType::A)?;
        assert_eq!(types(&response.answers), [RecordType::CNAME, RecordType::A]);
        assert_eq!(addresses(&response), ips(&["203.0.113.9"]));
        let owner = response.answers[1].name.to_ascii();
        assert_eq!(owner, "edge.example.");
        assert!(matches!(&response.answers[0].data, RData::CNAME(to) if to.0.to_ascii() == owner));

        let response = client.query("cdn.test", RecordType::AAAA)?;
        assert_eq!(rcode(&response), ResponseCode::NoError);
        assert_eq!(types(&response.answers), [RecordType::CNAME]);
        assert_eq!(
            soa(&response).map(|soa| soa.0),
            Some("edge.example.".to_owned())
        );

        let response = client.query("late.test", RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NXDomain);
        assert_eq!(types(&response.answers), [RecordType::CNAME]);

        let response = client.query("near.test", RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["10.0.0.1"]));
    }
    // Half an answer says that it is half an answer.
    let large = Query::new("huge.test", RecordType::A);
    assert!(server.udp().ask(&large)?.metadata.truncation);
    assert_eq!(addresses(&server.tcp().ask(&large)?), ips(&["203.0.113.9"]));
    Ok(())
}

#[test]
fn a_container_that_stops_uncovers_what_the_upstream_says() -> anyhow::Result<()> {
    let (engine, upstream) = (Engine::start()?, Upstream::answering(60)?);
    let corefile = format!(
        ".:PORT {{\n docker-cluster {{\n {}\n host_ip 192.168.16.61\n linger 50ms\n fallthrough\n \
         }}\n forward . {}\n cache\n}}\n",
        engine.property(),
        upstream.addr()
    );
    let server = Server::start(&corefile)?;
    engine.control().run(container("c1", "app.test"));
    await_name(&server, "app.test", true);
    engine.control().stop("c1");
    await_name(&server, "app.test", false);
    let response = server.udp().query("app.test", RecordType::A)?;
    assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
    // What the cache holds now is not in the way when it starts again.
    engine.control().start("c1");
    await_name(&server, "app.test", true);
    Ok(())
}
