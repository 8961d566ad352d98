//! `/health`, `/ready` and `/metrics`: which answer when.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;

use super::http;
use crate::cli::site::BINARY;
use crate::cli::site::Site;
use crate::cli::site::finish;
use crate::support::needs;

/// A server with all endpoints.
const ALL: &str = ".:@dns {
    bind 127.0.0.1
    health 127.0.0.1:@health
    ready 127.0.0.1:@ready
    prometheus 127.0.0.1:@metrics
    whoami
}
";

#[test]
fn each_endpoint_has_its_page_and_no_other() -> anyhow::Result<()> {
    let site = Site::start(ALL)?;
    let ports = site.ports;
    for (port, page) in [
        (ports.health, "/health"),
        (ports.ready, "/ready"),
        (ports.metrics, "/metrics"),
    ] {
        for (path, expected) in [
            (page, 200),
            ("/", 404),
            ("/healthz", 404),
            ("/metrics/x", 404),
            (
                if page == "/health" {
                    "/ready"
                } else {
                    "/health"
                },
                404,
            ),
        ] {
            let answer = http::request(port, "GET", path, &[])?;
            ensure!(answer.status == expected, "{port}{path}: {answer:?}");
        }
        let head = http::request(port, "HEAD", page, &[])?;
        ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
        let post = http::request(port, "POST", page, &["Content-Length: 0"])?;
        ensure!(post.status == 405, "{post:?}");
    }
    ensure!(
        site.health()? == (200, "OK".to_owned()),
        "{:?}",
        site.health()
    );
    ensure!(
        site.ready()? == (200, "OK".to_owned()),
        "{:?}",
        site.ready()
    );
    Ok(())
}

#[test]
fn endpoints_may_share_a_port() -> anyhow::Result<()> {
    let shared = ALL
        .replace("@ready", "@health")
        .replace("@metrics", "@health");
    let site = Site::start(&shared)?;
    for page in ["/health", "/ready", "/metrics"] {
        let (status, _) = http::get(site.ports.health, page)?;
        ensure!(status == 200, "{page}: {status}");
    }
    Ok(())
}

#[test]
fn clients_that_misbehave_do_not_hinder_others() -> anyhow::Result<()> {
    let site = Site::start(ALL)?;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.ports.health))?;
        // Half a request, never finished.
        drop(stream.write_all(b"GET /health HT"));
        held.push(stream);
    }
    for octets in [
        &b"\0\x01\x02\xff\r\n\r\n"[..],
        b"GET\r\n\r\n",
        &[b'a'; 100_000],
    ] {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.ports.health))?;
        drop(stream.write_all(octets));
    }
    ensure!(
        site.health()? == (200, "OK".to_owned()),
        "{:?}",
        site.health()
    );
    ensure!(
        site.metric("coredns_panics_total")? == 0.0,
        "{}",
        site.output()
    );
    Ok(())
}

#[test]
fn the_health_command_asks_the_server() -> anyhow::Result<()> {
    let mut site = Site::start(ALL)?;
    let ask = |site: &Site, arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command
            .arg("health")
            .args(arguments)
            .current_dir(site.process.directory());
        finish(command, "")
    };
    // From the Corefile, and by address.
    ask(&site, &[])?.ensure_code(0)?;
    ask(&site, &[&format!(":{}", site.ports.health)])?.ensure_code(0)?;
    ask(&site, &[&format!("localhost:{}", site.ports.health)])?.ensure_code(0)?;
    let wrong = ask(&site, &[&format!(":{}", site.ports.metrics)])?;
    wrong.ensure_code(1)?;
    ensure!(wrong.stderr.contains("404"), "{wrong:?}");
    site.end()?;
    ask(&site, &[])?.ensure_code(1)
}

#[test]
fn the_server_asks_for_its_own_health() -> anyhow::Result<()> {
    let site = Site::start(ALL)?;
    let count = "coredns_health_request_duration_seconds_count";
    wait_for(|| (site.metric(count).ok()? >= 2.0).then_some(())).context("no probes")?;
    ensure!(
        site.metric("coredns_health_request_failures_total")? == 0.0,
        "{}",
        site.output()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_the_first_list_of_containers() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    docker
        .control()
        .put(FakeContainer::new("c1", "joyride.host.name", "app.example"));
    docker.control().delay_lists(Duration::from_millis(1500));
    let site = Site::start(&with_docker(docker.path()))?;

    let (status, waits_for) = site.ready()?;

    ensure!(
        status == 503 && waits_for == "docker-cluster",
        "{status} {waits_for}"
    );
    ensure!(site.health()?.0 == 200, "{:?}", site.health());
    wait_for(|| (site.ready().ok()?.0 == 200).then_some(())).context("never ready")?;
    // Whoever is told "ready" is answered.
    let address = site.ports.address("app.example")?;
    ensure!(address == Some([192, 0, 2, 5].into()), "{address:?}");
    Ok(())
}

#[test]
fn readiness_comes_after_a_failure_was_reported() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let site = Site::start(&with_docker(&directory.path().join("nowhere.sock")))?;
    wait_for(|| (site.ready().ok()?.0 == 200).then_some(())).context("never ready")?;
    let told = site.line("docker-cluster: ");
    ensure!(
        told.is_some_and(|line| line.contains("nowhere.sock")),
        "{}",
        site.output()
    );
    pause(Duration::from_millis(1500));
    let lines: Vec<_> = site.process.lines();
    let count = lines
        .iter()
        .filter(|line| line.contains("nowhere.sock"))
        .count();
    ensure!(
        count <= 2,
        "one outage is told {count} times:\n{}",
        site.output()
    );
    Ok(())
}

#[test]
fn metrics_are_compressed_for_those_who_ask() -> anyhow::Result<()> {
    let site = Site::start(ALL)?;
    let plain = http::request(site.ports.metrics, "GET", "/metrics", &[])?;
    ensure!(
        plain.field("content-encoding").is_none(),
        "{:?}",
        plain.fields
    );
    let content_type = plain.field("content-type");
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    ensure!(content_type == Some(expected), "{content_type:?}");

    let gzip = &["Accept-Encoding: gzip"];
    let packed = http::request(site.ports.metrics, "GET", "/metrics", gzip)?;

    ensure!(
        packed.field("content-encoding") == Some("gzip"),
        "{:?}",
        packed.fields
    );
    ensure!(
        packed.field("content-type") == Some(expected),
        "{:?}",
        packed.fields
    );
    ensure!(
        packed.body.len() * 2 < plain.body.len(),
        "{} octets",
        packed.body.len()
    );
    if !needs(&["gzip"]) {
        return Ok(());
    }
    let text = unpack(&packed.body)?;
    ensure!(text.contains("# TYPE coredns_build_info gauge\n"), "{text}");
    Ok(())
}

/// A server that follows a Docker Engine.
fn with_docker(socket: &std::path::Path) -> String {
    let docker = format!(
        "docker-cluster {{\n docker_socket unix://{}\n host_ip 192.0.2.5\n fallthrough\n }}\n whoami",
        socket.display()
    );
    ALL.replace("whoami", &docker)
}

/// Unpacks a body.
fn unpack(body: &[u8]) -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("body.gz");
    std::fs::write(&path, body)?;
    let output = Command::new("gzip")
        .arg("-dc")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "gzip: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
