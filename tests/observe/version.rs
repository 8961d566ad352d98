//! `/version`: what the process is, as Joyride says it.

use std::net::Ipv4Addr;
use std::net::TcpListener;

use anyhow::ensure;
use portolan_testkit::process::Process;
use portolan_testkit::process::Signal;
use portolan_testkit::process::free_port;

use super::http;
use crate::support::portolan;

/// Two server blocks with names of containers, and one endpoint of health.
const COREFILE: &str = ".:DNS {
    bind 127.0.0.1
    docker-cluster
    health 127.0.0.1:HEALTH
}
example.org:OTHER {
    bind 127.0.0.1
    docker-cluster
}
";

#[test]
fn one_endpoint_tells_the_version_for_all_blocks() -> anyhow::Result<()> {
    for form in ["PORT", ":PORT", "127.0.0.1:PORT"] {
        let port = free_port();
        let process = start(COREFILE, &form.replace("PORT", &port.to_string()))?;
        process.wait_for_line("version endpoint listening on")?;

        let answer = http::request(port, "GET", "/version", &[])?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(
            answer.field("content-type") == Some("application/json"),
            "{answer:?}"
        );
        let body = String::from_utf8(answer.body)?;
        let start = format!(
            "{{\"version\":\"{}\",\"git_commit\":\"",
            env!("CARGO_PKG_VERSION")
        );
        ensure!(
            body.starts_with(&start) && body.ends_with("\"}\n"),
            "{body}"
        );
        let told: serde_json::Value = serde_json::from_str(&body)?;
        ensure!(told["build_time"].is_string(), "{body}");

        for method in ["POST", "PUT", "DELETE"] {
            let refused = http::request(port, method, "/version", &[])?;
            ensure!(refused.status == 405, "{method}: {refused:?}");
            ensure!(refused.body == b"Method not allowed\n", "{refused:?}");
        }
        ensure!(http::request(port, "GET", "/", &[])?.status == 404);
        ensure!(errors(&process).is_empty(), "{:?}", process.lines());
    }
    Ok(())
}

#[test]
fn a_port_that_another_program_has_is_an_error_in_the_log_and_no_more() -> anyhow::Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = taken.local_addr()?.to_string();
    let mut process = start(COREFILE, &address)?;
    process.wait_for_line("Portolan-")?;
    let errors = errors(&process);
    ensure!(errors.len() == 1, "{errors:?}");
    ensure!(
        errors.iter().all(|line| line.contains(&address)),
        "{errors:?}"
    );

    // A reload finds it free.
    drop(taken);
    process.signal(Signal::SIGUSR1)?;
    process.wait_for_line("Reloading complete")?;
    let port = address.rsplit(':').next().unwrap_or_default().parse()?;
    ensure!(http::get(port, "/version")?.0 == 200);
    process.signal(Signal::SIGTERM)?;
    ensure!(process.wait()?.success());
    Ok(())
}

#[test]
fn without_names_of_containers_there_is_no_such_endpoint() -> anyhow::Result<()> {
    let port = free_port();
    let process = start(
        ".:DNS {\n bind 127.0.0.1\n whoami\n}\n",
        &format!("127.0.0.1:{port}"),
    )?;
    process.wait_for_line("Portolan-")?;
    ensure!(http::get(port, "/version").is_err());
    Ok(())
}

/// Starts a server whose version endpoint is to be at `address`.
fn start(corefile: &str, address: &str) -> anyhow::Result<Process> {
    let corefile = corefile
        .replace("DNS", &free_port().to_string())
        .replace("OTHER", &free_port().to_string())
        .replace("HEALTH", &free_port().to_string());
    portolan()
        .env("COREDNS_VERSION_PORT", address)
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("HOSTIP", "192.0.2.1")
        .corefile(&corefile)
        .start()
}

/// The errors of its log.
fn errors(process: &Process) -> Vec<String> {
    let mut lines = process.lines();
    lines.retain(|line| line.contains("\"level\":\"ERROR\""));
    lines
}
