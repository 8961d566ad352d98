//! The files of a cluster as people write them first, on two hosts with the
//! addresses that are in them. The first host has them as they stand, but for
//! `build: .`, which is the image here; the second has its own address and
//! name, and the first as its seed.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::super::engine::Container;
use super::super::machine::Machine;
use super::super::machine::Site;
use super::super::upstream::OUTSIDE;
use super::super::upstream::Upstream;
use super::build::Image;
use super::project::write_open;

/// The compose file.
const COMPOSE: &str = "\
services:
  coredns-node1:
    build: .
    environment:
      - NODE_NAME=node1
      - HOSTIP=192.168.16.61
      - CLUSTER_SEEDS=192.168.16.62:7946
    ports:
      - \"54:54/udp\"
      - \"54:54/tcp\"
      - \"192.168.16.61:7946:7946/udp\"  # Bind memberlist to internal IP
      - \"192.168.16.61:7946:7946/tcp\"
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - ./Corefile:/etc/coredns/Corefile:ro
";

/// The Corefile beside it. The third host is not there.
const COREFILE: &str = "\
.:54 {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label coredns.host.name
        label joyride.host.name
        ttl 60

        # Clustering via memberlist (SWIM protocol)
        cluster_enabled true
        cluster_port 7946
        cluster_seeds 192.168.16.62:7946,192.168.16.63:7946
        node_name coredns-node-1

        fallthrough
    }

    forward . 8.8.8.8 1.1.1.1
    errors
    health :8080
    prometheus :9153
    cache 300
}
";

/// The hosts.
const HOSTS: [&str; 2] = ["192.168.16.61", "192.168.16.62"];

/// The router; it has the upstreams behind it.
const ROUTER: &str = "192.168.16.1";

/// The upstreams.
const UPSTREAMS: [&str; 2] = ["8.8.8.8", "1.1.1.1"];

#[test]
fn the_brief_s_files_of_a_cluster_share_the_names_of_two_hosts() -> anyhow::Result<()> {
    let Some(home) = Home::start()? else {
        return Ok(());
    };
    let [one, two] = home.up(|text| text.to_owned())?;
    home.ensure_shared()?;
    for host in HOSTS {
        // A name that nobody has is asked for upstream, over TCP too.
        home.site
            .await_answer(host, "www.example.org", &outside())?;
        let server = format!("@{host}");
        let query = [
            &server,
            "-p",
            "54",
            "+tcp",
            "+short",
            "elsewhere.example.org",
        ];
        let output = String::from_utf8(home.site.dig(&query)?.stdout)?;
        ensure!(output.trim() == outside(), "{host}: {output}");
    }
    // A host that is shut down takes its names along, and no others.
    let _first = home.named(0, "first.example.org")?;
    let _second = home.named(1, "second.example.org")?;
    home.await_everywhere("first.example.org", HOSTS[0])?;
    home.await_everywhere("second.example.org", HOSTS[1])?;
    two.down()?;
    home.await_answer(HOSTS[0], "second.example.org", &outside())?;
    home.await_answer(HOSTS[0], "first.example.org", HOSTS[0])?;
    one.down()
}

#[test]
fn two_hosts_that_were_given_no_node_name_share_names() -> anyhow::Result<()> {
    let Some(home) = Home::start()? else {
        return Ok(());
    };
    let projects = home.up(without_name)?;
    home.ensure_shared()?;
    projects.iter().try_for_each(Project::down)
}

/// The default is the name of the host then, which these two have in common.
/// They are fresh hosts: where a container had the port before, the kernel goes
/// on sending it what comes from a member that never falls silent.
#[test]
fn two_hosts_of_one_name_share_names_in_the_network_of_the_host() -> anyhow::Result<()> {
    let Some(home) = Home::start()? else {
        return Ok(());
    };
    let projects = home.up(|text| in_host_network(&without_name(text)))?;
    home.ensure_shared()?;
    for project in &projects {
        let told = || {
            let said = logs(project.machine).ok()?;
            said.contains("two members have the same name")
                .then_some(())
        };
        // Only after both have been there for ten seconds.
        let found = (0..3).find_map(|_| wait_for(told));
        found.with_context(|| format!("{:?}", logs(project.machine)))?;
        project.down()?;
    }
    Ok(())
}

/// The hosts, and what is around them.
struct Home {
    /// Servers of the outside.
    _upstreams: Vec<Upstream>,
    /// The hosts, and a client, which is the router too.
    site: Site,
    /// What they run.
    image: Image,
}

/// A compose file at work.
struct Project<'a> {
    /// Where it runs.
    machine: &'a Machine,
    /// Where the file is, and the Corefile.
    directory: TempDir,
}

// === impl Home ===

impl Home {
    /// Starts it; nothing where something is missing, which is said.
    fn start() -> anyhow::Result<Option<Self>> {
        let Some((site, image)) = super::machines(HOSTS.len())? else {
            return Ok(None);
        };
        for (machine, host) in site.machines.iter().zip(HOSTS) {
            machine.enter(|| {
                ip(&format!("addr add {host}/24 brd + dev eth0"))?;
                ip(&format!("route replace default via {ROUTER}"))
            })?;
        }
        let upstreams = site.enter(|| {
            ip(&format!("addr add {ROUTER}/24 brd + dev eth0"))?;
            let upstream = |address: &str| {
                ip(&format!("addr add {address}/32 dev lo"))?;
                Upstream::start_at(SocketAddr::new(address.parse()?, 53))
            };
            UPSTREAMS.into_iter().map(upstream).collect()
        })?;
        Ok(Some(Self {
            _upstreams: upstreams,
            site,
            image,
        }))
    }

    /// Brings both hosts' files up, changed like this, and waits until the
    /// servers are healthy.
    fn up(&self, change: impl Fn(&str) -> String) -> anyhow::Result<[Project<'_>; 2]> {
        let [one, two] = [0, 1].map(|number| {
            let fill = |text: &str| {
                let text = change(text);
                if number == 0 { text } else { of_second(&text) }
            };
            let project = Project {
                machine: &self.site.machines[number],
                directory: TempDir::new()?,
            };
            let image = format!("image: {}", self.image.name());
            let compose = fill(COMPOSE).replace("build: .", &image);
            write_open(project.directory.path(), "docker-compose.yml", &compose)?;
            write_open(project.directory.path(), "Corefile", &fill(COREFILE))?;
            project.compose(&["up", "--detach"])?;
            anyhow::Ok(project)
        });
        let projects = [one?, two?];
        for project in &projects {
            project.machine.await_healthy(&server(project.machine)?)?;
        }
        Ok(projects)
    }

    /// Runs a container with a name on a host.
    fn named(&self, host: usize, name: &str) -> anyhow::Result<Container> {
        self.site.machines[host]
            .engine()
            .run_labelled(&[("coredns.host.name", name)])
    }

    /// Waits until a host answers a name with this; else shows what both
    /// servers wrote.
    fn await_answer(&self, host: &str, name: &str, expected: &str) -> anyhow::Result<()> {
        let answer = self.site.await_answer(host, name, expected);
        answer.with_context(|| {
            let logs: Vec<_> = self.site.machines.iter().map(logs).collect();
            format!("{logs:#?}")
        })
    }

    /// Waits until both hosts answer a name with this.
    fn await_everywhere(&self, name: &str, expected: &str) -> anyhow::Result<()> {
        HOSTS
            .into_iter()
            .try_for_each(|host| self.await_answer(host, name, expected))
    }

    /// Makes sure that the names of either host come and go at both.
    fn ensure_shared(&self) -> anyhow::Result<()> {
        for (number, host) in HOSTS.into_iter().enumerate() {
            let name = format!("app{number}.example.org");
            let app = self.named(number, &name)?;
            self.await_everywhere(&name, host)?;
            app.stop()?;
            // Then it is a name like any other of the outside.
            self.await_everywhere(&name, &outside())?;
        }
        Ok(())
    }
}

// === impl Project ===

impl Project<'_> {
    /// Takes it down.
    fn down(&self) -> anyhow::Result<()> {
        self.compose(&["down"])
    }

    /// Runs a command of compose.
    fn compose(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.machine.compose(self.directory.path(), &[], arguments)
    }
}

/// The container of the compose file on a machine.
fn server(machine: &Machine) -> anyhow::Result<String> {
    let filter = "label=com.docker.compose.service";
    let arguments = ["ps", "--all", "--quiet", "--filter", filter];
    let ids = machine.engine().docker(&arguments)?;
    ensure!(ids.lines().count() == 1, "not one container: {ids:?}");
    Ok(ids)
}

/// What it wrote.
fn logs(machine: &Machine) -> anyhow::Result<String> {
    machine.engine().docker(&["logs", &server(machine)?])
}

/// A file of the first host, made one of the second.
fn of_second(text: &str) -> String {
    let [one, two] = HOSTS;
    text.replace(one, "FIRST")
        .replace(two, one)
        .replace("FIRST", two)
        .replace("node1", "node2")
        .replace("node-1", "node-2")
}

/// A file without the name of the node.
fn without_name(text: &str) -> String {
    without(text, &["NODE_NAME", "node_name"])
}

/// A compose file in the network of the host, which publishes nothing; a
/// Corefile as it is.
fn in_host_network(text: &str) -> String {
    let text = without(text, &["/udp\"", "/tcp\""]);
    text.replace("ports:", "network_mode: host")
}

/// A text without the lines that have one of these in them.
fn without(text: &str, words: &[&str]) -> String {
    text.lines()
        .filter(|line| !words.iter().any(|word| line.contains(word)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// What the upstreams say about every name.
fn outside() -> String {
    OUTSIDE.to_string()
}

/// Runs `ip` in the network that the thread is in.
fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {complaint}");
    Ok(())
}
