//! What queries are counted as.

use anyhow::ensure;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::RecordType;
use portolan_proto::Rcode;
use portolan_testkit::client::Client;
use portolan_testkit::client::Query;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Reply;

use super::exposition::Exposition;
use crate::cli::site::Site;

/// The family that tells who answered, and how.
const RESPONSES: &str = "coredns_dns_responses_total";

#[tokio::test(flavor = "multi_thread")]
async fn responses_carry_their_code_and_the_directive_that_answered() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    docker
        .control()
        .put(FakeContainer::new("c1", "joyride.host.name", "app.example"));
    let upstream = FakeUpstream::start(|query| match query.qname.to_string().as_str() {
        "no.example." => Reply::to(query).rcode(Rcode::NXDOMAIN).soa(60, 60).send(),
        "fail.example." => Reply::to(query).rcode(Rcode::SERVFAIL).send(),
        _ => Reply::to(query).a([192, 0, 2, 9], 60).send(),
    })
    .await?;
    let site = Site::start(&format!(
        ".:@dns {{
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    hosts {{
        192.0.2.1 a.example
        fallthrough
    }}
    docker-cluster {{
        docker_socket unix://{}
        host_ip 192.0.2.5
        fallthrough
    }}
    forward example {}
    cache
    whoami
}}
",
        docker.path().display(),
        upstream.addr()
    ))?;
    site.ports.await_address("app.example", [192, 0, 2, 5])?;
    let before = Exposition::read(&site.metrics()?)?;
    let counted = before.sum(RESPONSES, &[("plugin", "docker-cluster")]);
    for (name, rtype) in [
        ("a.example", RecordType::A),
        ("A.Example", RecordType::TXT),
        ("app.example", RecordType::AAAA),
        ("up.example", RecordType::A),
        ("up.example", RecordType::A),
        ("no.example", RecordType::A),
        ("no.example", RecordType::A),
        ("fail.example", RecordType::A),
        ("elsewhere.test", RecordType::A),
        ("elsewhere.test", RecordType::AXFR),
    ] {
        site.ports.client().query(name, rtype)?;
    }

    let found = Exposition::read(&site.metrics()?)?;

    let server = format!("dns://127.0.0.1:{}", site.ports.dns);
    for (plugin, rcode, expected) in [
        ("hosts", "NOERROR", 2.0),
        ("docker-cluster", "NOERROR", counted + 1.0),
        ("forward", "NOERROR", 1.0),
        ("forward", "NXDOMAIN", 1.0),
        ("forward", "SERVFAIL", 1.0),
        ("cache", "NOERROR", 1.0),
        ("cache", "NXDOMAIN", 1.0),
        ("whoami", "NOERROR", 1.0),
        ("", "REFUSED", 1.0),
    ] {
        let labels = [
            ("plugin", plugin),
            ("rcode", rcode),
            ("server", &server),
            ("zone", "."),
            ("view", ""),
        ];
        let count = found.sum(RESPONSES, &labels);
        ensure!(
            count.total_cmp(&expected).is_eq(),
            "{plugin} {rcode}: {count}, not {expected}"
        );
    }
    Ok(())
}

#[test]
fn requests_carry_transport_family_and_type() -> anyhow::Result<()> {
    let site = Site::start(
        "example.org:@dns {\n bind 127.0.0.1 ::1\n prometheus 127.0.0.1:@metrics\n whoami\n}\n",
    )?;
    let v6 = std::net::SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], site.ports.dns));
    let types = [
        (RecordType::A, "A"),
        (RecordType::AAAA, "AAAA"),
        (RecordType::HTTPS, "HTTPS"),
        (RecordType::SVCB, "SVCB"),
        (RecordType::SRV, "SRV"),
        (RecordType::DS, "DS"),
        (RecordType::ANY, "ANY"),
        (RecordType::IXFR, "IXFR"),
        (RecordType::CAA, "other"),
        (RecordType::Unknown(65280), "other"),
    ];
    for (rtype, _) in types {
        site.ports.client().query("www.example.org", rtype)?;
        Client::tcp(site.ports.server()).query("www.example.org", rtype)?;
    }
    Client::udp(v6).query("www.example.org", RecordType::A)?;
    let asked = Query::new("www.example.org", RecordType::MX).dnssec_ok(true);
    site.ports.client().ask(&asked)?;

    let found = Exposition::read(&site.metrics()?)?;

    let family = "coredns_dns_requests_total";
    let here = format!("dns://127.0.0.1:{}", site.ports.dns);
    for (_, name) in types {
        for proto in ["udp", "tcp"] {
            let labels = [
                ("type", name),
                ("proto", proto),
                ("family", "1"),
                ("server", &here),
                ("zone", "example.org."),
            ];
            let expected = if name == "other" { 2.0 } else { 1.0 };
            let count = found.sum(family, &labels);
            ensure!(count.total_cmp(&expected).is_eq(), "{labels:?}: {count}");
        }
    }
    let there = format!("dns://[::1]:{}", site.ports.dns);
    let count = found.sum(
        family,
        &[("family", "2"), ("server", &there), ("type", "A")],
    );
    ensure!(count == 1.0, "{count}");
    let count = found.sum("coredns_dns_do_requests_total", &[("server", &here)]);
    ensure!(count == 1.0, "{count}");
    let timed = found.sum(
        "coredns_dns_request_duration_seconds_count",
        &[("server", &here)],
    );
    ensure!(timed == 21.0, "{timed}");
    let sizes = found.sum("coredns_dns_response_size_bytes_count", &[("proto", "tcp")]);
    ensure!(sizes == 10.0, "{sizes}");
    Ok(())
}

#[test]
fn queries_that_get_no_response_or_belong_to_no_zone_are_counted_apart() -> anyhow::Result<()> {
    let site = Site::start(
        "example.org:@dns {
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    docker-cluster {
        docker_socket unix:///nonexistent/docker.sock
        host_ip 192.0.2.5
    }
}
",
    )?;
    ensure!(
        site.ports.asked("unknown.example.org").is_none(),
        "an answer"
    );
    site.ports.client().query("elsewhere.test", RecordType::A)?;
    let chaos = Query::new("version.bind", RecordType::TXT).class(DNSClass::CH);
    site.ports.client().ask(&chaos)?;
    site.ports.client().exchange(&[0; 12])?;

    let found = Exposition::read(&site.metrics()?)?;

    let dropped = found.sum(
        "portolan_queries_dropped_total",
        &[("plugin", "docker-cluster"), ("zone", "example.org.")],
    );
    ensure!(dropped == 1.0, "{dropped}");
    let refused = found.sum(RESPONSES, &[("zone", "dropped"), ("rcode", "REFUSED")]);
    ensure!(refused == 2.0, "{refused}");
    let malformed = found.sum("portolan_queries_malformed_total", &[]);
    ensure!(malformed == 1.0, "{malformed}");
    let answered = found.sum(RESPONSES, &[("zone", "example.org.")]);
    ensure!(answered == 0.0, "{answered}");
    Ok(())
}
