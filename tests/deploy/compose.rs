//! Compose files, as docker-compose reads them.

use std::process::Command;

use anyhow::ensure;

use super::files::succeed;
use super::files::with_extension;
use crate::support::needs;

/// What people set, one for all files.
const VARIABLES: [(&str, &str); 5] = [
    ("HOSTIP", "192.0.2.10"),
    ("DOCKER_GID", "999"),
    ("NODE_NAME", "host-a"),
    ("CLUSTER_SEEDS", "192.0.2.10,192.0.2.11"),
    ("CLUSTER_SECRET", "0123456789abcdef"),
];

/// A docker-compose with nothing in its environment but the variables.
fn compose(file: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("docker-compose");
    command
        .args(["-f", file, "config"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(variables.iter().copied());
    command
}

#[test]
fn compose_files_are_read_and_ask_for_no_more_rights_than_needed() -> anyhow::Result<()> {
    if !needs(&["docker-compose"]) {
        return Ok(());
    }
    for file in with_extension("compose", "yml")? {
        let text = succeed(&mut compose(&file.display().to_string(), &VARIABLES))?;
        for line in [
            "image: ghcr.io/portolan-dns/portolan:latest",
            "read_only: true",
            "- no-new-privileges:true",
            "- ALL",
        ] {
            ensure!(text.contains(line), "no {line} in {}", file.display());
        }
        let is_root = !text.contains("user: 1000:1000");
        ensure!(
            is_root == text.contains("SETUID") && is_root == text.contains("network_mode: host"),
            "{}",
            file.display()
        );
    }
    Ok(())
}

#[test]
fn what_has_to_be_set_is_asked_for() -> anyhow::Result<()> {
    if !needs(&["docker-compose"]) {
        return Ok(());
    }
    for file in with_extension("compose", "yml")? {
        let asks = !file.ends_with("host.yml");
        let output = compose(&file.display().to_string(), &[]).output()?;
        ensure!(output.status.success() != asks, "{}", file.display());
        let said = String::from_utf8_lossy(&output.stderr);
        let names_one = VARIABLES.iter().any(|(name, _)| said.contains(name));
        ensure!(!asks || names_one, "{said}");
    }
    Ok(())
}
