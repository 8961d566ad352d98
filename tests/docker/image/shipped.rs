//! The compose files of deploy/, on machines of their own.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;
use tempfile::TempDir;

use super::super::engine::Container;
use super::super::machine::Machine;
use super::super::machine::Site;

/// The image that the files name.
const NAME: &str = "ghcr.io/portolan-dns/portolan:latest";

#[test]
fn each_compose_file_of_one_host_answers_for_its_containers() -> anyhow::Result<()> {
    let Some((site, directory)) = ready(1)? else {
        return Ok(());
    };
    let machine = &site.machines[0];
    let host = machine.address();
    let _app = named(machine, "app.example.org")?;
    for (file, variables) in [
        ("single.yml", &[][..]),
        ("host.yml", &[("HOSTIP", "")]),
        (
            "socket-directory.yml",
            &[("DOCKER_SOCKET_DIRECTORY", "/run")],
        ),
    ] {
        let variables = [&settings(machine)?[..], &owned(variables)].concat();
        up(machine, directory.path(), file, &variables)?;
        let answer = site.await_answer(host, "app.example.org", host);
        answer.with_context(|| format!("{file}\n{}", logs(machine)))?;
        // As the runbook looks at a server that was started.
        let health = site.fetch(&format!("http://{host}:8080/health"))?;
        ensure!(health == "OK", "{file}: {health}");
        down(machine, directory.path(), file, &variables)?;
    }
    Ok(())
}

#[test]
fn the_compose_file_of_a_cluster_joins_hosts_by_their_own_addresses() -> anyhow::Result<()> {
    let Some((site, directory)) = ready(2)? else {
        return Ok(());
    };
    let [one, two] = [&site.machines[0], &site.machines[1]];
    let seeds = format!("{},{}", one.address(), two.address());
    let settings = |machine: &Machine, name: &str| -> anyhow::Result<Vec<(String, String)>> {
        let cluster = [
            ("NODE_NAME", name),
            ("CLUSTER_SEEDS", seeds.as_str()),
            ("CLUSTER_SECRET", "0123456789abcdef"),
        ];
        Ok([&settings(machine)?[..], &owned(&cluster)].concat())
    };
    let machines = [(one, "host-a"), (two, "host-b")];
    for (machine, name) in machines {
        let variables = settings(machine, name)?;
        up(machine, directory.path(), "cluster.yml", &variables)?;
    }
    let _one = named(one, "one.example.org")?;
    let _two = named(two, "two.example.org")?;
    for (machine, _) in machines {
        for (name, owner) in [("one.example.org", one), ("two.example.org", two)] {
            let answer = site.await_answer(machine.address(), name, owner.address());
            answer.with_context(|| logs(one) + &logs(two))?;
        }
    }
    for (machine, name) in machines {
        let variables = settings(machine, name)?;
        down(machine, directory.path(), "cluster.yml", &variables)?;
    }
    Ok(())
}

/// Machines with the image, and the files; nothing where something is missing,
/// which is said.
fn ready(count: usize) -> anyhow::Result<Option<(Site, TempDir)>> {
    let Some((site, image)) = super::machines(count)? else {
        return Ok(None);
    };
    for machine in &site.machines {
        machine.engine().docker(&["tag", image.name(), NAME])?;
    }
    let directory = TempDir::new()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose");
    let copied = Command::new("cp")
        .args(["-r", "--no-preserve=mode"])
        .arg(source.join("."))
        .arg(directory.path())
        .status()?;
    ensure!(copied.success(), "cp: {copied}");
    let open = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(directory.path())
        .status()?;
    ensure!(open.success(), "chmod: {open}");
    Ok(Some((site, directory)))
}

/// What every file asks for.
fn settings(machine: &Machine) -> anyhow::Result<Vec<(String, String)>> {
    let host = machine.engine().host().to_owned();
    let socket = host.strip_prefix("unix://").map(PathBuf::from);
    let group = std::fs::metadata(socket.context("no socket")?)?.gid();
    Ok(owned(&[
        ("HOSTIP", machine.address()),
        ("DOCKER_GID", &group.to_string()),
    ]))
}

/// Variables of one's own.
fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Brings a file up and waits until the server is healthy.
fn up(
    machine: &Machine,
    directory: &Path,
    file: &str,
    variables: &[(String, String)],
) -> anyhow::Result<()> {
    let arguments = ["-f", file, "up", "--detach", "--no-build"];
    compose(machine, directory, variables, &arguments)?;
    machine
        .await_healthy("portolan")
        .with_context(|| file.to_owned())
}

/// Takes it down again.
fn down(
    machine: &Machine,
    directory: &Path,
    file: &str,
    variables: &[(String, String)],
) -> anyhow::Result<()> {
    compose(machine, directory, variables, &["-f", file, "down"])
}

/// Runs docker-compose.
fn compose(
    machine: &Machine,
    directory: &Path,
    variables: &[(String, String)],
    arguments: &[&str],
) -> anyhow::Result<()> {
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    machine.compose(directory, &variables, arguments)
}

/// Runs a container with a name.
fn named(machine: &Machine, name: &str) -> anyhow::Result<Container> {
    machine
        .engine()
        .run_labelled(&[("joyride.host.name", name)])
}

/// What the server wrote last.
fn logs(machine: &Machine) -> String {
    let logs = machine
        .engine()
        .docker(&["logs", "--tail", "20", "portolan"]);
    logs.unwrap_or_default()
}
