//! Joyride's own compose files, with another `image:` and no other change, on
//! machines of their own: its ports, its names, its addresses.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::process::clock;
use portolan_testkit::process::wait_for;
use tempfile::TempDir;

use super::super::engine::Container;
use super::super::joyride::COREFILE_CLUSTER;
use super::super::machine::Machine;
use super::super::machine::ensure_silence;
use super::build::Image;

/// The compose file of one host. The mount of Traefik's files is what it has as
/// a comment, to be uncommented.
const SINGLE: &str = "\
services:
  coredns:
    image: IMAGE
    container_name: coredns-docker-cluster
    restart: unless-stopped
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, CHOWN, SETUID, SETGID]
    security_opt: ['no-new-privileges:true']
    ports: ['54:54/udp', '54:54/tcp', '5454:5454', '9153:9153']
    environment: ['HOSTIP=${HOSTIP:?}']
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - ./Corefile:/etc/coredns/Corefile:ro
      - ./etc/joyride/hosts.d:/etc/hosts.d:ro
      - ./external-enabled:/etc/traefik/external-enabled:ro
    deploy: {resources: {limits: {memory: 128M, cpus: '0.5'}}}
    healthcheck:
      test: [CMD, wget, -q, -O-, 'http://localhost:5454/health']
      interval: 10s
      timeout: 5s
      retries: 3
    logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}
";

/// That of the network of the host, and of a cluster: the address of the host
/// is found out, members are found by broadcast, and all hosts have one name
/// unless somebody gives them others.
const HOST: &str = "\
services:
  coredns:
    image: IMAGE
    container_name: coredns-docker-cluster
    restart: unless-stopped
    network_mode: host
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, CHOWN, SETUID, SETGID]
    security_opt: ['no-new-privileges:true']
    environment: [CLUSTER_ENABLED=true, 'NODE_NAME=${NODE_NAME:-node1}']
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - ./Corefile.cluster:/etc/coredns/Corefile:ro
      - ./etc/joyride/hosts.d:/etc/hosts.d:ro
    deploy: {resources: {limits: {memory: 128M, cpus: '0.5'}}}
    logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}
";

/// Its test of a cluster: three nodes with one engine. What a node has to be
/// healthy by is asked at a port that its Corefile does not have.
const CLUSTER: &str = "\
services:
  coredns-node1:
    image: IMAGE
    container_name: coredns-node1
    user: root
    ports: ['54:54/udp']
    environment:
      - HOSTIP=10.10.0.11
      - NODE_NAME=node1
      - CLUSTER_ENABLED=true
      - CLUSTER_PORT=7946
      - CLUSTER_BIND_ADDR=0.0.0.0
      - CLUSTER_SEEDS=
    volumes: &volumes
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - ./Corefile.cluster:/etc/coredns/Corefile:ro
    networks: {cluster-net: {ipv4_address: 10.10.0.11}}
    healthcheck: &healthcheck
      test: [CMD, wget, -q, -O-, 'http://localhost:8080/health']
      interval: 5s
      timeout: 3s
      retries: 10
      start_period: 10s
  coredns-node2:
    image: IMAGE
    container_name: coredns-node2
    user: root
    environment:
      - HOSTIP=10.10.0.12
      - NODE_NAME=node2
      - CLUSTER_ENABLED=true
      - CLUSTER_PORT=7946
      - CLUSTER_BIND_ADDR=0.0.0.0
      - CLUSTER_SEEDS=10.10.0.11:7946
    volumes: *volumes
    networks: {cluster-net: {ipv4_address: 10.10.0.12}}
    healthcheck: *healthcheck
    depends_on: {coredns-node1: {condition: service_healthy}}
  coredns-node3:
    image: IMAGE
    container_name: coredns-node3
    user: root
    environment:
      - HOSTIP=10.10.0.13
      - NODE_NAME=node3
      - CLUSTER_ENABLED=true
      - CLUSTER_PORT=7946
      - CLUSTER_BIND_ADDR=0.0.0.0
      - CLUSTER_SEEDS=10.10.0.11:7946,10.10.0.12:7946
    volumes: *volumes
    networks: {cluster-net: {ipv4_address: 10.10.0.13}}
    healthcheck: *healthcheck
    depends_on: {coredns-node2: {condition: service_healthy}}
networks:
  cluster-net:
    driver: bridge
    ipam: {driver: default, config: [{subnet: 10.10.0.0/24, gateway: 10.10.0.1}]}
";

/// The Corefile of one host.
const COREFILE: &str = "\
.:54 {
    hosts /etc/hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 0.0.0.0
        label coredns.host.name
        label joyride.host.name
        ttl 60
    }
    traefik-externals {
        directory /etc/traefik/external-enabled
        host_ip 0.0.0.0
        ttl 60
        fallthrough
    }
    errors
    health :5454
    prometheus :9153
}
";

#[test]
fn the_compose_file_of_one_host_runs_with_another_image() -> anyhow::Result<()> {
    let Some((site, image)) = super::machines(1)? else {
        return Ok(());
    };
    let (machine, host) = (&site.machines[0], site.machines[0].address());
    let files = Files::new(&image, SINGLE)?;
    machine.compose(files.path(), &[("HOSTIP", host)], &["up", "--detach"])?;
    let _new = named(machine, "coredns.host.name", "test-coredns.example.com")?;
    let _old = named(machine, "joyride.host.name", "test-joyride.example.com")?;
    let three = "app1.example.com,app2.example.com,app3.example.com";
    let _three = named(machine, "coredns.host.name", three)?;

    for (name, address) in [
        ("test-coredns.example.com", host),
        ("test-joyride.example.com", host),
        ("app1.example.com", host),
        ("app2.example.com", host),
        ("app3.example.com", host),
        ("static-host.example.com", "10.99.99.1"),
        ("nas.example.com", "10.99.99.2"),
        ("nas-alias", "10.99.99.2"),
        ("multi-alias.example.com", "10.99.99.3"),
        ("alias1", "10.99.99.3"),
        ("alias2", "10.99.99.3"),
        // Traefik's file comes after the containers, which do not hide it.
        ("first.example.com", host),
    ] {
        site.await_answer(host, name, address)?;
    }
    for name in ["nonexistent.example.com", "www.google.com"] {
        for transport in ["+notcp", "+tcp"] {
            ensure_silence(&site.dig(&unknown(host, name, transport))?)?;
        }
    }
    files.write("external-enabled/new", &rule("second"))?;
    fs::rename(
        files.path().join("external-enabled/new"),
        files.path().join("external-enabled/a.yml"),
    )?;
    site.await_answer(host, "second.example.com", host)?;

    ensure!(site.fetch(&format!("http://{host}:5454/health"))? == "OK");
    let metrics = site.fetch(&format!("http://{host}:9153/metrics"))?;
    ensure!(metrics.contains("coredns_dns_requests_total"), "{metrics}");
    // The engine asks for the first time after the file's ten seconds.
    machine.await_healthy("coredns-docker-cluster")?;
    let failed = "{{range .State.Health.Log}}{{if .ExitCode}}{{.Output}}{{end}}{{end}}";
    let failed = machine.inspect("coredns-docker-cluster", failed)?;
    ensure!(failed.is_empty(), "{failed}");
    machine.compose(files.path(), &[("HOSTIP", host)], &["down"])
}

#[test]
fn the_compose_file_of_the_host_s_network_makes_a_cluster_with_another_image() -> anyhow::Result<()>
{
    let Some((site, image)) = super::machines(2)? else {
        return Ok(());
    };
    let files = Files::new(&image, HOST)?;
    let mut apps = Vec::new();
    for (machine, label) in site.machines.iter().zip(["one", "two"]) {
        machine.compose(files.path(), &[], &["up", "--detach"])?;
        let start = clock();
        machine.await_healthy("coredns-docker-cluster")?;
        let healthy = start.elapsed();
        ensure!(healthy < Duration::from_secs(10), "after {healthy:?}");
        let names = format!("{label}.example.com, both.example.com");
        apps.push(named(machine, "joyride.host.name", &names)?);
    }
    let [one, two] = [&site.machines[0], &site.machines[1]].map(Machine::address);
    for at in [one, two] {
        // The same name on both hosts is no obstacle, as it was for Joyride.
        site.await_answer(at, "one.example.com", one)?;
        site.await_answer(at, "two.example.com", two)?;
        site.await_answer(at, "nas-alias", "10.99.99.2")?;
        let both = || (site.short(at, "both.example.com").ok()?.lines().count() == 2).then_some(());
        wait_for(both).context("a name of both hosts")?;
        ensure_silence(&site.dig(&unknown(at, "nonexistent.example.com", "+notcp"))?)?;
        ensure!(site.fetch(&format!("http://{at}:5454/health"))? == "OK");
        let version = site.fetch(&format!("http://{at}:8081/version"))?;
        ensure!(version.contains("\"git_commit\":\""), "{version}");
    }
    // What was at a host that is shut down is gone, the rest stays.
    site.machines[0].compose(files.path(), &[], &["down"])?;
    site.await_answer(two, "both.example.com", two)?;
    site.await_answer(two, "two.example.com", two)?;
    let is_silent = || {
        let output = site.dig(&unknown(two, "one.example.com", "+notcp")).ok()?;
        ensure_silence(&output).ok()
    };
    wait_for(is_silent).context("a name of a host that is gone")?;
    site.machines[1].compose(files.path(), &[], &["down"])
}

#[test]
fn the_cluster_test_passes_its_five_checks_with_another_image() -> anyhow::Result<()> {
    let Some((site, image)) = super::machines(1)? else {
        return Ok(());
    };
    let machine = &site.machines[0];
    let files = Files::new(&image, CLUSTER)?;
    let nodes = ["coredns-node1", "coredns-node2", "coredns-node3"];
    for node in nodes {
        // By itself: the condition that it waits for can never be met.
        let up = ["up", "--detach", "--no-deps", node];
        machine.compose(files.path(), &[], &up)?;
    }
    let _app = named(machine, "coredns.host.name", "app-from-node1.example.com")?;
    // Started later: where it is known from everywhere, so is the other.
    let _later = named(machine, "coredns.host.name", "later.example.com")?;
    let servers = ["10.10.0.11", "10.10.0.12", "10.10.0.13"];
    let ask = |server: &str, name: &str| -> anyhow::Result<String> {
        let server = format!("@{server}");
        let output = machine.dig(&[&server, "-p", "54", name, "+short", "+time=1", "+tries=1"])?;
        Ok(String::from_utf8(output.stdout)?)
    };
    for server in servers {
        let knows_all = || {
            let said = ask(server, "later.example.com").ok()?;
            (said.lines().count() == servers.len()).then_some(())
        };
        wait_for(knows_all).with_context(|| format!("{server}: {:?}", logs(machine, &nodes)))?;
    }
    let mut said = Vec::new();
    for server in servers {
        let answer = ask(server, "app-from-node1.example.com")?;
        ensure!(!answer.is_empty(), "{server} does not have the record");
        said.push(answer);
    }
    ensure!(said.iter().all(|answer| *answer == said[0]), "{said:?}");
    for server in servers {
        let query = unknown(server, "unknown.example.com", "+notcp");
        ensure_silence(&machine.dig(&query)?)?;
    }
    machine.compose(files.path(), &[], &["down"])
}

/// A directory of Joyride's.
struct Files {
    /// Where it is.
    directory: TempDir,
}

// === impl Files ===

impl Files {
    /// Writes what a compose file needs beside it.
    fn new(image: &Image, compose: &str) -> anyhow::Result<Self> {
        let files = Self {
            directory: TempDir::new()?,
        };
        let compose = compose.replace("IMAGE", image.name());
        for (path, text) in [
            ("docker-compose.yml", compose.as_str()),
            ("Corefile", COREFILE),
            ("Corefile.cluster", COREFILE_CLUSTER),
            ("etc/joyride/hosts.d/hosts", super::HOSTS),
            ("external-enabled/a.yml", &rule("first")),
        ] {
            files.write(path, text)?;
        }
        Ok(files)
    }

    /// Where they are.
    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file that everybody may read.
    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        super::project::write_open(self.path(), path, text)
    }
}

/// Runs a container with a label on a machine.
fn named(machine: &Machine, label: &str, names: &str) -> anyhow::Result<Container> {
    machine.engine().run_labelled(&[(label, names)])
}

/// What dig is told to ask for a name that nobody has.
fn unknown(server: &str, name: &str, transport: &str) -> [String; 7] {
    let server = format!("@{server}");
    let server: &str = &server;
    [server, "-p", "54", "+tries=1", "+time=2", transport, name].map(str::to_owned)
}

/// A file of Traefik's with one name below `example.com`.
fn rule(label: &str) -> String {
    format!("http:\n  routers:\n    r:\n      rule: Host(`{label}.example.com`)\n")
}

/// What containers wrote.
fn logs(machine: &Machine, containers: &[&str]) -> Vec<String> {
    let logs = |name: &&str| machine.engine().docker(&["logs", "--tail", "20", name]);
    containers.iter().flat_map(logs).collect()
}
