//! The Corefile of a single node as people write it first.

use std::net::IpAddr;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::clock;
use std::time::Duration;

use super::engine::Container;
use super::engine::Engine;
use super::server::HOST_IP;
use super::server::Server;
use super::server::addresses;
use super::server::ensure_no_data;
use super::upstream::OUTSIDE;
use super::upstream::Upstream;
use super::upstream::WWW;

/// The file, but for ports and the address of the upstream.
const COREFILE: &str = "\
.:DNS_PORT {
    # Custom docker-cluster plugin
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label coredns.host.name
        label joyride.host.name
        ttl 60
        fallthrough
    }

    # Forward unknown queries to upstream DNS
    forward . UPSTREAM {
        health_check 30s
    }

    # Optional: Query logging (trade-off: volume vs debugging)
    # log

    # Error logging
    errors

    # Health check endpoint
    health :HEALTH_PORT

    # Prometheus metrics
    prometheus :METRICS_PORT

    # Cache responses
    cache 300
}
";

/// A container, the server and its upstream.
struct Site {
    /// Has the names `app.ilude.com` and `api.ilude.com`.
    app: Container,
    /// The server.
    server: Server,
    /// Its upstream.
    upstream: Upstream,
}

// === impl Site ===

impl Site {
    /// Starts everything, and waits until the names are there.
    fn start() -> anyhow::Result<Option<Self>> {
        let Some(engine) = Engine::of_this_machine()? else {
            return Ok(None);
        };
        let app = engine.run_labelled(&[("joyride.host.name", "app.ilude.com,api.ilude.com")])?;
        let upstream = Upstream::start()?;
        let corefile = COREFILE.replace("UPSTREAM", &upstream.addr().to_string());
        let server = Server::start(&corefile)?;
        server.await_host("app.ilude.com")?;
        Ok(Some(Self {
            app,
            server,
            upstream,
        }))
    }
}

#[test]
fn names_in_labels_have_the_address_of_the_host() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let server = &site.server;
    for client in [server.udp(), server.tcp()] {
        for name in ["app.ilude.com", "api.ilude.com", "ApP.iLuDe.CoM"] {
            let response = client.query(name, RecordType::A)?;
            ensure!(
                addresses(&response) == [IpAddr::V4(HOST_IP)],
                "{response:?}"
            );
            ensure!(response.metadata.authoritative, "no AA: {response:?}");
            let answer = &response.answers[0];
            ensure!(answer.ttl == 60, "{answer:?}");
            let owner = answer.name.to_ascii();
            ensure!(owner == format!("{name}."), "owner {owner} for {name}");
        }
    }
    Ok(())
}

#[test]
fn a_known_name_is_known_for_every_type() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    for client in [site.server.udp(), site.server.tcp()] {
        for qtype in [
            RecordType::AAAA,
            RecordType::HTTPS,
            RecordType::SVCB,
            RecordType::MX,
            RecordType::TXT,
            RecordType::SRV,
            RecordType::CNAME,
        ] {
            ensure_no_data(&client.query("app.ilude.com", qtype)?)?;
        }
    }
    ensure!(site.upstream.count() == 0, "the upstream was asked");
    Ok(())
}

#[test]
fn other_names_of_the_zone_come_from_the_upstream() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let server = &site.server;
    let mut asked = 0;
    for client in [server.udp(), server.tcp()] {
        let response = client.query("www.ilude.com", RecordType::A)?;
        ensure!(addresses(&response) == [IpAddr::V4(WWW)], "{response:?}");
        ensure!(!response.metadata.authoritative, "AA: {response:?}");
        asked = site.upstream.count();
    }
    ensure!(asked == 1, "the upstream was asked {asked} times, not once");
    let (status, body) = server.health()?;
    ensure!((status, body.as_str()) == (200, "OK"), "{status} {body}");
    let hits = server.metric("coredns_cache_hits_total", &["type=\"success\""])?;
    ensure!(hits >= 1.0, "{hits} cache hits");
    Ok(())
}

#[test]
fn a_removed_container_lingers_and_then_is_forwarded_timing() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let start = clock();
    site.app.remove()?;
    let removed = start.elapsed();
    site.server
        .await_addresses("app.ilude.com", &[&OUTSIDE.to_string()])?;
    let gone = start.elapsed();
    let linger = Duration::from_secs(5);
    ensure!(gone >= linger, "gone after {gone:?}");
    ensure!(
        gone < removed + linger + Duration::from_secs(1),
        "gone after {gone:?}"
    );
    site.server
        .await_addresses("api.ilude.com", &[&OUTSIDE.to_string()])?;
    Ok(())
}
