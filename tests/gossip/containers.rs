//! Nodes that are containers themselves, on a network of the real engine,
//! which all of them watch, each for a label of its own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;
use portolan_testkit::cluster::Place;
use portolan_testkit::cluster::Probe;
use portolan_testkit::cluster::Reply;
use portolan_testkit::cluster::Truth;
use portolan_testkit::cluster::Verdict;
use portolan_testkit::netns::Namespace;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use serde_json::Value;
use tempfile::TempDir;

use super::site::DETECTION;
use super::site::PATIENCE;
use super::site::binary;
use crate::docker::engine::Engine;
use crate::docker::engine::IMAGE;
use crate::docker::joyride::COREFILE_CLUSTER;
use crate::support::needs_root;

/// What a node is told. Its seeds are a name with an address for each node.
const COREFILE: &str = "\
.:53 {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip HOST_IP
        label LABEL
        linger 0s
        unknown_action nxdomain
        cluster_enabled true
        cluster_seeds seed:7946
        node_name NAME
    }
    errors
}
";

/// How a node is started.
#[derive(Clone, Debug, Default)]
struct Setup {
    /// Its Corefile.
    corefile: String,
    /// Name of its own on the network; all are `seed` as well.
    alias: String,
    /// Its environment, as `NAME=VALUE`.
    environment: Vec<String>,
}

/// Nodes on a network of their own.
#[derive(Debug)]
struct Site {
    /// The engine of this machine.
    engine: Engine,
    /// The network.
    network: String,
    /// Names of the containers that are nodes.
    nodes: Vec<String>,
    /// Their Corefiles.
    directory: TempDir,
}

// === impl Site ===

impl Site {
    /// Starts three nodes; nothing if that cannot be done here, which is said.
    fn start() -> anyhow::Result<Option<Self>> {
        Self::with(|number| Setup {
            corefile: COREFILE
                .replace("HOST_IP", &host_ip(number).to_string())
                .replace("LABEL", &label(number))
                .replace("NAME", &format!("node{number}")),
            ..Setup::default()
        })
    }

    /// Starts three nodes, each in its way.
    fn with(setup: impl Fn(usize) -> Setup) -> anyhow::Result<Option<Self>> {
        if !needs_root() {
            return Ok(None);
        }
        let Some(engine) = Engine::of_this_machine()? else {
            return Ok(None);
        };
        let mut site = Self {
            engine,
            network: format!("portolan-test-{}", std::process::id()),
            nodes: Vec::new(),
            directory: TempDir::new()?,
        };
        // Nothing leads out of an internal network.
        let network = ["network", "create", "--internal", &site.network];
        site.engine.docker(&network)?;
        for number in 0..3 {
            site.add_node(number, &setup(number))?;
        }
        Ok(Some(site))
    }

    /// Starts one more node. The image has no system in it: the libraries are
    /// those of this machine.
    fn add_node(&mut self, number: usize, setup: &Setup) -> anyhow::Result<()> {
        // Whatever becomes of it, it is to be removed.
        self.nodes.push(format!("{}-node{number}", self.network));
        let name = self.nodes.last().context("no node")?;
        let path = self.directory.path().join(name);
        std::fs::write(&path, &setup.corefile)?;
        let binary = format!("{}:/portolan:ro", binary().display());
        let corefile = format!("{}:/Corefile:ro", path.display());
        let mut arguments = vec!["run", "--detach", "--name", name, "--workdir", "/"];
        arguments.extend(["--network", &self.network, "--network-alias", "seed"]);
        if !setup.alias.is_empty() {
            arguments.extend(["--network-alias", &setup.alias]);
        }
        for variable in &setup.environment {
            arguments.extend(["--env", variable]);
        }
        for volume in [
            "/lib:/lib:ro",
            "/lib64:/lib64:ro",
            "/usr/lib:/usr/lib:ro",
            "/var/run/docker.sock:/var/run/docker.sock",
            &binary,
            &corefile,
        ] {
            arguments.extend(["--volume", volume]);
        }
        arguments.extend(["--entrypoint", "/portolan", IMAGE]);
        self.engine.docker(&arguments)?;
        Ok(())
    }

    /// Does something to the container of a node.
    fn command(&self, command: &str, number: usize) -> anyhow::Result<()> {
        let name = self.nodes.get(number).context("no such node")?;
        self.engine.docker(&[command, name]).map(drop)
    }

    /// Judges what a node answers.
    fn judge(&self, number: usize, truth: &Truth, verdict: &mut Verdict) -> anyhow::Result<()> {
        let replies = self.sweep(number, 53, &truth.names())?;
        truth.judge(number, &replies, verdict);
        Ok(())
    }

    /// What a node answers at a port.
    fn sweep(
        &self,
        number: usize,
        port: u16,
        names: &[&str],
    ) -> anyhow::Result<BTreeMap<String, Reply>> {
        let name = self.nodes.get(number).context("no such node")?;
        let pid = self
            .engine
            .docker(&["inspect", "-f", "{{.State.Pid}}", name])?;
        let namespace = Namespace::of_process(pid.parse()?)?;
        let place = Place {
            ip: Ipv4Addr::LOCALHOST,
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            namespace: Some(namespace.into()),
        };
        Probe::open(&place)?.sweep(names, Duration::from_secs(1))
    }

    /// The members as a node tells them.
    fn members(&self, number: usize, admin: &str) -> anyhow::Result<Value> {
        let name = self.nodes.get(number).context("no such node")?;
        let members = ["exec", name, "/portolan", "members", "--json", admin];
        Ok(serde_json::from_str(&self.engine.docker(&members)?)?)
    }

    /// Waits until nodes answer names with the addresses of these nodes.
    fn settle(&self, at: &[usize], expected: &[(&str, &[usize])]) -> anyhow::Result<()> {
        let mut truth = Truth::default();
        for (name, owners) in expected {
            truth.forget(name);
            owners
                .iter()
                .for_each(|owner| truth.add(name, host_ip(*owner)));
        }
        let start = clock();
        loop {
            let mut verdict = Verdict::default();
            for number in at {
                self.judge(*number, &truth, &mut verdict)?;
            }
            if verdict.is_flawless() {
                return Ok(());
            }
            if start.elapsed() > DETECTION + PATIENCE {
                bail!("{verdict}\n{}", self.logs());
            }
            pause(Duration::from_millis(50));
        }
    }

    /// What the nodes wrote.
    fn logs(&self) -> String {
        let logs = |name: &String| self.engine.docker(&["logs", "--tail", "30", name]);
        let logs: Vec<String> = self.nodes.iter().flat_map(logs).collect();
        logs.join("\n\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for name in &self.nodes {
            drop(self.engine.docker(&["rm", "-f", name]));
        }
        drop(self.engine.docker(&["network", "rm", &self.network]));
    }
}

/// Where the names of a node point.
fn host_ip(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(192, 0, 2, last)
}

/// The label with the names that a node sees.
fn label(number: usize) -> String {
    format!("node{number}.portolan.test.{}", std::process::id())
}

#[test]
fn nodes_in_containers_share_what_each_of_them_sees() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let one = site
        .engine
        .run_labelled(&[(&label(0), "one.example.org")])?;
    let both = site.engine.run_labelled(&[
        (&label(1), "both.example.org two.example.org"),
        (&label(2), "both.example.org"),
    ])?;
    site.settle(
        &[0, 1, 2],
        &[
            ("one.example.org", &[0]),
            ("two.example.org", &[1]),
            ("both.example.org", &[1, 2]),
        ],
    )?;
    one.remove()?;
    both.remove()?;
    site.settle(
        &[0, 1, 2],
        &[("one.example.org", &[]), ("both.example.org", &[])],
    )
}

#[test]
fn a_node_in_a_paused_or_killed_container_is_withdrawn_until_it_is_back() -> anyhow::Result<()> {
    let Some(site) = Site::start()? else {
        return Ok(());
    };
    let _both = site.engine.run_labelled(&[
        (&label(1), "both.example.org"),
        (&label(2), "both.example.org two.example.org"),
    ])?;
    let together: [(&str, &[usize]); 2] =
        [("both.example.org", &[1, 2]), ("two.example.org", &[2])];
    let apart: [(&str, &[usize]); 2] = [("both.example.org", &[1]), ("two.example.org", &[])];
    site.settle(&[0, 1, 2], &together)?;
    for (end, resume) in [("pause", "unpause"), ("kill", "start"), ("stop", "start")] {
        site.command(end, 2)?;
        site.settle(&[0, 1], &apart).with_context(|| end)?;
        site.command(resume, 2)?;
        site.settle(&[0, 1, 2], &together).with_context(|| resume)?;
    }
    Ok(())
}

/// As Joyride's compose file starts its nodes: all of it in the environment,
/// the seeds by the names of the services, one address for all names.
fn as_joyride(number: usize) -> Setup {
    let environment = [
        format!("HOSTIP={}", host_ip(9)),
        "CLUSTER_ENABLED=true".to_owned(),
        "CLUSTER_PORT=7946".to_owned(),
        "CLUSTER_SEEDS=joyride-node1:7946,joyride-node2:7946,joyride-node3:7946".to_owned(),
        format!("NODE_NAME=node{}", number + 1),
    ];
    Setup {
        corefile: COREFILE_CLUSTER.to_owned(),
        alias: format!("joyride-node{}", number + 1),
        environment: environment.to_vec(),
    }
}

#[test]
fn the_cluster_that_joyride_ships_is_one() -> anyhow::Result<()> {
    let Some(site) = Site::with(as_joyride)? else {
        return Ok(());
    };
    let name = format!("joyride{}.example.org", std::process::id());
    let container = site.engine.run_labelled(&[("joyride.host.name", &name)])?;
    let says = |number: usize| site.sweep(number, 54, &[&name]).ok()?.remove(&name);
    let shared = BTreeSet::from([host_ip(9)]);
    for number in 0..3 {
        let has_all = || {
            let members = site.members(number, ":5454").ok()?;
            let members = members.as_array()?;
            let is_there = |state: &str| {
                members
                    .iter()
                    .filter(|member| member["state"] == state)
                    .count()
            };
            (is_there("self") == 1 && is_there("alive") == 2).then_some(())
        };
        wait_for(has_all).with_context(|| site.logs())?;
        // Every node has the same address for it.
        wait_for(|| says(number)?.says(&shared).then_some(())).with_context(|| site.logs())?;
    }
    // A node that stops takes nothing along.
    site.command("stop", 0)?;
    pause(Duration::from_secs(1));
    for number in [1, 2] {
        let reply = says(number).with_context(|| site.logs())?;
        ensure!(reply.says(&shared), "{reply:?}");
    }
    // Unknown names are left without an answer, as by Joyride.
    container.remove()?;
    for number in [1, 2] {
        let is_gone = || says(number).is_none().then_some(());
        wait_for(is_gone).with_context(|| site.logs())?;
    }
    Ok(())
}
