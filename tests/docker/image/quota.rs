//! The image on a part of the cores of its host.

use std::fs;

use anyhow::ensure;
use portolan_testkit::process::free_port;

use super::project::Project;
use super::ready;

/// In the network of the host, with a quota of the scheduler's, which is not a
/// set of cores.
const COMPOSE: &str = "\
services:
  portolan:
    image: IMAGE
    container_name: PROJECT
    network_mode: host
    cpus: QUOTA
    environment:
      - COREDNS_VERSION_PORT=127.86.4.1:8081
    volumes:
      - .:/etc/coredns:ro
    healthcheck:
      disable: true
";

/// Its Corefile.
const COREFILE: &str = "\
.:PORT {
    bind 127.86.4.1
    hosts {
        192.0.2.7 local.test
    }
}
";

#[test]
fn a_quota_of_cores_decides_the_number_of_sockets() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let cores = std::thread::available_parallelism()?.get();
    // Parts of a core are none, but for the first.
    for (quota, expected) in [("0.5", 1), ("1", 1), ("1.9", 1), ("2", 2)] {
        if expected > cores {
            continue;
        }
        let port = free_port();
        let corefile = COREFILE.replace("PORT", &port.to_string());
        let compose = COMPOSE.replace("QUOTA", quota);
        let project = Project::up(&engine, &image, &compose, &[("Corefile", &corefile)])?
            .at(&format!("127.86.4.1:{port}"))?;
        project.await_addresses("local.test", &["192.0.2.7"])?;
        let readers = readers(&project)?;
        ensure!(
            readers == expected,
            "{quota} of {cores} cores: {readers} threads read sockets"
        );
        project.stop()?;
    }
    Ok(())
}

/// How many threads read UDP sockets.
fn readers(project: &Project) -> anyhow::Result<usize> {
    let pid = project.inspect("{{.State.Pid}}")?;
    let mut readers = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that ends meanwhile reads none.
        let name = fs::read_to_string(thread?.path().join("comm")).unwrap_or_default();
        readers += usize::from(name.starts_with("udp"));
    }
    Ok(readers)
}
