//! Names from the rules of Traefik: in labels, and counted beside files.

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::docker::FakeContainer;
use tempfile::TempDir;

use super::fake::FakeEngine;
use super::server::Server;
use crate::support::portolan;

/// Labels, and files behind them.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        host_ip 192.168.16.61
        unknown_action nxdomain
        PROPERTY
    }
    traefik-externals {
        directory external-enabled
        host_ip 192.168.16.62
        fallthrough
    }
    prometheus :METRICS_PORT
}
";

#[test]
fn rules_in_labels_name_containers_if_they_may() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let control = engine.control();
    let rule = "traefik.http.routers.app.rule";
    control.run(
        FakeContainer::new(
            "c1",
            rule,
            "Host(`rule.example.com`) && !Host(`not.example.com`)",
        )
        .with("joyride.host.name", "label.example.com, rule.example.com"),
    );
    control.run(
        FakeContainer::new(
            "c2",
            "traefik.tcp.routers.db.rule",
            "HostSNI(`db.example.com`)",
        )
        .with("traefik.enable", "true"),
    );
    control.run(
        FakeContainer::new("c3", rule, "Host(`off.example.com`)").with("traefik.enable", "false"),
    );
    for (property, expected) in [("traefik_labels", true), ("", false)] {
        let launch = portolan().env("DOCKER_SOCKET", &engine.host());
        let server = Server::launch(launch, &COREFILE.replace("PROPERTY", property))?;
        server.await_host("label.example.com")?;
        server.await_host("rule.example.com")?;
        if expected {
            server.await_host("db.example.com")?;
        } else {
            server.await_rcode("db.example.com", ResponseCode::NXDomain)?;
        }
        for name in ["not.example.com", "off.example.com"] {
            server.await_rcode(name, ResponseCode::NXDomain)?;
        }
    }
    // A container that starts later, and one that stops.
    let launch = portolan().env("DOCKER_SOCKET", &engine.host());
    let server = Server::launch(
        launch,
        &COREFILE.replace("PROPERTY", "traefik_labels\nlinger 0"),
    )?;
    control.run(FakeContainer::new("c4", rule, "Host(`late.example.com`)"));
    server.await_host("late.example.com")?;
    control.stop("c4");
    server.await_rcode("late.example.com", ResponseCode::NXDomain)?;
    Ok(())
}

#[test]
fn files_are_counted_as_joyride_counts_them() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let engine = FakeEngine::start(&directory)?;
    let container = FakeContainer::new("c1", "joyride.host.name", "app.example.com");
    engine.control().run(container);
    let file = "http: { routers: { a: { rule: 'Host(`a.example.com`, `b.example.com`)' } } }\n";
    let launch = portolan()
        .env("DOCKER_SOCKET", &engine.host())
        .file("external-enabled/a.yml", file)
        .file("external-enabled/b.yml", "http: [\n");
    let corefile = COREFILE.replace("PROPERTY", "");
    let server = Server::launch(launch, &corefile)?;
    server.await_host("app.example.com")?;
    for qtype in [
        RecordType::A,
        RecordType::A,
        RecordType::AAAA,
        RecordType::TXT,
    ] {
        server.udp().query("a.example.com", qtype)?;
    }
    server.udp().query("none.example.com", RecordType::AAAA)?;
    let queries = "coredns_traefik_externals_queries_total";
    for (name, labels, expected) in [
        ("coredns_traefik_externals_records_total", &[][..], 2.0),
        ("coredns_traefik_externals_reloads_total", &[], 1.0),
        ("coredns_traefik_externals_parse_errors_total", &[], 1.0),
        (queries, &["result=\"success\"", "type=\"A\""], 2.0),
        (queries, &["result=\"success\"", "type=\"AAAA\""], 1.0),
        (queries, &["result=\"miss\"", "type=\"AAAA\""], 1.0),
    ] {
        let found = server.metric(name, labels)?;
        ensure!((found - expected).abs() < 0.5, "{name} {labels:?}: {found}");
    }
    Ok(())
}
