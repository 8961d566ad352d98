//! An engine that is reached over TLS, as the Docker client would.

use std::fs;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::tls::Authority;
use portolan_testkit::tls::Validity;
use tempfile::TempDir;

use super::machine::Site;
use crate::support::portolan;

/// No engine is named: the environment has it.
const COREFILE: &str = "\
.:54 {
    docker-cluster {
        host_ip 192.168.16.61
        label names
    }
}
";

#[test]
fn the_variables_of_docker_lead_to_an_engine_over_tls() -> anyhow::Result<()> {
    let (ours, theirs) = (TempDir::new()?, TempDir::new()?);
    write(&ours)?;
    write(&theirs)?;
    let path = |name: &str| ours.path().join(name).display().to_string();
    let arguments = [
        "--host=tcp://127.0.0.1:2376".to_owned(),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", path("ca.pem")),
        format!("--tlscert={}", path("server.pem")),
        format!("--tlskey={}", path("server-key.pem")),
    ];
    let Some(site) = Site::with(1, &arguments)? else {
        return Ok(());
    };
    let machine = &site.machines[0];
    let _app = machine
        .engine()
        .run_labelled(&[("names", "app.example.org")])?;
    let start = |certificates: &TempDir, corefile: &str| {
        let launch = portolan()
            .env("DOCKER_HOST", "tcp://127.0.0.1:2376")
            .env("DOCKER_TLS_VERIFY", "1")
            .env(
                "DOCKER_CERT_PATH",
                certificates.path().to_str().unwrap_or_default(),
            )
            .corefile(corefile);
        machine.enter(|| launch.start())
    };
    let process = start(&ours, COREFILE)?;
    let server = machine.address();
    let told = || process.lines().join("\n");
    site.await_answer(server, "app.example.org", "192.168.16.61")
        .with_context(told)?;
    // By an event, as the first by the list.
    let _late = machine
        .engine()
        .run_labelled(&[("names", "late.example.org")])?;
    site.await_answer(server, "late.example.org", "192.168.16.61")
        .with_context(told)?;

    // An engine that nobody vouches for is not spoken to.
    let stranger = start(&theirs, &COREFILE.replace(":54", ":55"))?;
    let line = stranger.wait_for_line("cannot connect to Docker daemon")?;
    ensure!(line.contains("certificate"), "{line}");
    Ok(())
}

/// Writes the certificates of an engine and of its client.
fn write(directory: &TempDir) -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let server = authority.issue(&["127.0.0.1"], Validity::Current)?;
    let client = authority.issue(&["client.example.org"], Validity::Current)?;
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", &server.certificate),
        ("server-key.pem", &server.key),
        ("cert.pem", &client.certificate),
        ("key.pem", &client.key),
    ] {
        fs::write(directory.path().join(name), text)?;
    }
    Ok(())
}
