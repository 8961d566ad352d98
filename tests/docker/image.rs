//! The image: built from the Dockerfile with stand-ins for its base images, and
//! run by the compose files that people have.

mod build;
mod cluster;
mod joyride;
mod limit;
mod project;
mod quota;
mod shipped;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;

use super::engine::Engine;
use super::machine::Site;
use super::server::HOST_IP;

use self::build::Image;
use self::project::Project;

/// As stacks have Joyride that rely on what its image brings along: there is no
/// `user`, no health check beside the image's, and no Corefile.
const JOYRIDE: &str = "\
services:
  joyride:
    image: IMAGE
    container_name: PROJECT
    restart: unless-stopped
    environment:
      - HOSTIP=192.168.16.61
    ports:
      - '127.0.0.1::54/udp'
      - '127.0.0.1::54/tcp'
      - '127.0.0.1::5454'
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - ./hosts.d:/etc/hosts.d:ro
    cap_drop:
      - ALL
    cap_add:
      - NET_BIND_SERVICE
      - SETUID
      - SETGID
    security_opt:
      - no-new-privileges:true
    deploy:
      resources:
        limits:
          memory: 128M
";

/// The compose file of the brief: no root at any time, nothing to write to.
const BRIEF: &str = "\
services:
  coredns:
    image: IMAGE
    container_name: PROJECT
    restart: unless-stopped
    user: '1000:1000'
    group_add: ['SOCKET_GROUP']
    cap_drop:
      - ALL
    cap_add:
      - NET_BIND_SERVICE
    read_only: true
    security_opt:
      - no-new-privileges:true
    ports:
      - '127.0.0.1::54/udp'
      - '127.0.0.1::54/tcp'
      - '127.0.0.1::8080'
      - '127.0.0.1::9153'
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - ./Corefile:/etc/coredns/Corefile:ro
    deploy:
      resources:
        limits:
          memory: 128M
    healthcheck:
      test: ['CMD', 'wget', '-q', '-O-', 'http://localhost:8080/health']
      interval: 2s
      timeout: 5s
      retries: 3
";

/// Its Corefile. The upstream is nobody: nothing here asks others.
const BRIEF_COREFILE: &str = "\
.:54 {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label coredns.host.name
        label joyride.host.name
        ttl 60
        fallthrough
    }
    forward . 127.0.0.1:9 {
        health_check 30s
    }
    errors
    health :8080
    prometheus :9153
    cache 300
}
";

/// In the network of the host, where port 54 takes a privilege.
const HOST: &str = "\
services:
  joyride:
    image: IMAGE
    container_name: PROJECT
    network_mode: host
    environment:
      - HOSTIP=192.168.16.61
      - COREDNS_VERSION_PORT=127.86.2.1:8081
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - .:/etc/coredns:ro
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE, SETUID, SETGID]
    read_only: true
    security_opt: ['no-new-privileges:true']
";

/// Its Corefile: one address that nobody else has.
const HOST_COREFILE: &str = "\
.:54 {
    bind 127.86.2.1
    docker-cluster
    health 127.86.2.1:5454
}
";

/// A forwarder over TLS, to nobody.
const ENCRYPTED: &str = "\
services:
  portolan:
    image: IMAGE
    container_name: PROJECT
    user: '1000:1000'
    cap_drop: [ALL]
    read_only: true
    volumes: ['./Corefile:/etc/coredns/Corefile:ro']
";

/// Its Corefile. No file of authorities is named.
const ENCRYPTED_COREFILE: &str = "\
.:54 {
    forward . tls://127.0.0.1:9 {
        tls_servername dns.example.org
    }
    health :5454
}
";

/// Static names, as in the image of Joyride.
const HOSTS: &str = "\
10.99.99.1 static-host.example.com
10.99.99.2 nas.example.com nas-alias
10.99.99.3 multi-alias.example.com alias1 alias2
";

/// The most that the image may take, in octets.
const MAX_IMAGE: u64 = 15_000_000;

/// The most that a server with a handful of names may take, in KiB.
const MAX_RESIDENT: u64 = 50 * 1024;

/// How long silence has to last.
const SILENCE: Duration = Duration::from_millis(700);

#[test]
fn the_image_alone_does_what_joyride_s_did() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let prefix = format!("image-{}", std::process::id());
    let name = |label: &str| format!("{label}.{prefix}.example.com");
    let three = format!("{}, {},{}", name("one"), name("two"), name("three"));
    let _new = engine.run_labelled(&[("coredns.host.name", &name("new"))])?;
    let _old = engine.run_labelled(&[("joyride.host.name", &three)])?;
    let files = [("hosts.d/hosts", HOSTS)];
    let project = Project::up(&engine, &image, JOYRIDE, &files)?;

    let healthy = project.await_healthy()?;
    ensure!(
        healthy < Duration::from_secs(10),
        "healthy after {healthy:?}"
    );
    for label in ["new", "one", "two", "three"] {
        project.await_addresses(&name(label), &[&HOST_IP.to_string()])?;
    }
    for (name, address) in [
        ("static-host.example.com", "10.99.99.1"),
        ("nas.example.com", "10.99.99.2"),
        ("nas-alias", "10.99.99.2"),
        ("multi-alias.example.com", "10.99.99.3"),
        ("alias1", "10.99.99.3"),
        ("alias2", "10.99.99.3"),
    ] {
        project.await_addresses(name, &[address])?;
    }
    let unknown = Query::new(&name("unknown"), RecordType::A).encode()?;
    for client in [project.udp()?, project.tcp()?] {
        let answer = client.timeout(SILENCE).exchange(&unknown)?;
        ensure!(answer.is_none(), "{answer:02x?}");
    }
    // As OnRamp asks, and as Joyride answered.
    let health = project.exec(&["wget", "-q", "-O-", "http://localhost:5454/health"])?;
    ensure!(health == "OK", "{health}");
    let version = project.exec(&["wget", "-q", "-O-", "http://localhost:8081/version"])?;
    ensure!(version.contains("\"git_commit\":\""), "{version}");

    let (started, resident) = (project.start_time()?, project.resident_kib()?);
    report(&format!(
        "image {} octets; banner {started:?} after the container's start; {resident} KiB resident",
        image.size()?
    ));
    ensure!(resident < MAX_RESIDENT, "{resident} KiB resident");
    project.ensure_ordinary()?;
    project.stop()
}

#[test]
fn the_brief_s_compose_file_runs_read_only_and_unprivileged() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let name = format!("brief.image-{}.example.com", std::process::id());
    let _app = engine.run_labelled(&[("joyride.host.name", &name)])?;
    let group = fs::metadata("/var/run/docker.sock")?.gid().to_string();
    let compose = BRIEF.replace("SOCKET_GROUP", &group);
    let project = Project::up(&engine, &image, &compose, &[("Corefile", BRIEF_COREFILE)])?;

    let healthy = project.await_healthy()?;
    ensure!(
        healthy < Duration::from_secs(10),
        "healthy after {healthy:?}"
    );
    project.await_addresses(&name, &[&HOST_IP.to_string()])?;
    for client in [project.udp()?, project.tcp()?] {
        let response = client.query("www.example.org", RecordType::A)?;
        let code = response.metadata.response_code;
        ensure!(code == ResponseCode::ServFail, "{response:?}");
    }
    let output = project.logs()?;
    ensure!(!output.contains("no longer root"), "{output}");
    project.ensure_ordinary()?;
    project.stop()
}

#[test]
fn in_the_network_of_the_host_a_reload_opens_another_low_port() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let name = format!("host.image-{}.example.com", std::process::id());
    let _app = engine.run_labelled(&[("joyride.host.name", &name)])?;
    let files = [("Corefile", HOST_COREFILE)];
    let project = Project::up(&engine, &image, HOST, &files)?.at("127.86.2.1:54")?;

    let healthy = project.await_healthy()?;
    ensure!(
        healthy < Duration::from_secs(10),
        "healthy after {healthy:?}"
    );
    project.await_addresses(&name, &[&HOST_IP.to_string()])?;
    project.ensure_ordinary()?;

    let both = HOST_COREFILE.to_owned() + &HOST_COREFILE.replace(".:54", ".:55");
    project.write("Corefile", &both)?;
    project.docker(&["kill", "--signal", "USR1", project.name()])?;
    let project = project.at("127.86.2.1:55")?;
    project.await_addresses(&name, &[&HOST_IP.to_string()])?;
    project.stop()
}

#[test]
fn upstreams_over_tls_have_the_authorities_of_the_image() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let files = [("Corefile", ENCRYPTED_COREFILE)];
    let project = Project::up(&engine, &image, ENCRYPTED, &files)?;
    project.await_healthy()?;
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let count = ["busybox", "grep", "-c", "BEGIN CERTIFICATE", bundle];
    let count: usize = project.exec(&count)?.trim().parse()?;
    ensure!(count > 50, "{count} authorities");
    // Without them it would not have started.
    let without = "SSL_CERT_FILE=/nonexistent exec portolan -conf /etc/coredns/Corefile";
    let refused = project.exec(&["sh", "-c", without]);
    let refused = refused.err().context("it started")?.to_string();
    ensure!(refused.contains("/nonexistent"), "{refused}");
    project.stop()
}

#[test]
fn the_image_is_small_and_says_what_it_is() -> anyhow::Result<()> {
    let Some((_engine, image)) = ready()? else {
        return Ok(());
    };
    let size = image.size()?;
    ensure!(size < MAX_IMAGE, "{size} octets");
    for label in [
        "title", "source", "licenses", "version", "revision", "created",
    ] {
        let format = format!("{{{{index .Config.Labels \"org.opencontainers.image.{label}\"}}}}");
        let value = image.inspect(&format)?;
        ensure!(
            !value.is_empty() && value != "<no value>",
            "{label}: {value}"
        );
    }
    let check = image.inspect("{{json .Config.Healthcheck.Test}}")?;
    ensure!(check.contains("portolan"), "{check}");
    let notice = image.read("/usr/share/doc/portolan/NOTICE")?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("NOTICE");
    ensure!(
        notice.trim_end() == fs::read_to_string(shipped)?.trim_end(),
        "{notice}"
    );
    Ok(())
}

/// The engine and the image; nothing where something is missing, which is said.
fn ready() -> anyhow::Result<Option<(Engine, Image)>> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(None);
    };
    if !crate::support::needs(&["docker-compose"]) {
        return Ok(None);
    }
    let image = Image::build(&engine).context("the image")?;
    Ok(image.map(|image| (engine, image)))
}

/// So many machines, all with the image; nothing where something is missing,
/// which is said.
fn machines(count: usize) -> anyhow::Result<Option<(Site, Image)>> {
    let Some((_engine, image)) = ready()? else {
        return Ok(None);
    };
    let Some(site) = Site::start(count)? else {
        return Ok(None);
    };
    for machine in &site.machines {
        image.copy_to(&machine.engine())?;
    }
    Ok(Some((site, image)))
}

/// Shows figures; they are in the output of a test that is asked for it.
#[expect(clippy::print_stderr, reason = "figures for whoever runs the test")]
fn report(figures: &str) {
    eprintln!("{figures}");
}
