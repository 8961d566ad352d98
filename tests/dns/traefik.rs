//! `traefik-externals`: names from the rules of Traefik's files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::process::Launch;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::answer::addresses;
use super::answer::ips;
use super::answer::soa;
use super::server::Server;
use super::upstream::Upstream;
use crate::support::portolan;

/// The file that Joyride ships, but for ports and paths: `docker-cluster`
/// does not let unknown names pass, and no engine is at its socket. The ports
/// of `health` and `prometheus` are left out; `docker::image` has all of it.
const JOYRIDE: &str = "\
.:PORT {
    hosts hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///nonexistent/docker.sock
        host_ip 0.0.0.0
        label coredns.host.name
        label joyride.host.name
        ttl 60
    }
    traefik-externals {
        directory external-enabled
        host_ip 0.0.0.0
        ttl 60
        fallthrough
    }
    errors
}
";

/// How soon a change has to be served, where nothing else runs.
const SOON: Duration = Duration::from_secs(1);

/// How soon it has to be served beside other tests.
const LATE: Duration = Duration::from_secs(10);

/// How long silence has to last.
const SILENCE: Duration = Duration::from_millis(300);

/// Where names point.
const HOST_IP: &str = "192.0.2.10";

#[test]
fn a_literal_host_is_answered_with_the_corefile_of_joyride() -> anyhow::Result<()> {
    let site = Site::start(|| joyride().file("external-enabled/a.yml", &rule("nas")))?;
    site.serves_soon("nas")?;
    for client in site.server.both() {
        let response = client.query("NAS.example.org", RecordType::A)?;
        ensure!(addresses(&response) == ips(&[HOST_IP]), "{response:?}");
        ensure!(response.metadata.authoritative, "{response:?}");
        ensure!(response.answers[0].ttl == 60, "{response:?}");
        for qtype in [RecordType::AAAA, RecordType::HTTPS, RecordType::TXT] {
            let response = client.query("nas.example.org", qtype)?;
            ensure!(response.answers.is_empty(), "{response:?}");
            let expected = Some(("nas.example.org.".to_owned(), 30, 30));
            ensure!(soa(&response) == expected, "{response:?}");
        }
    }
    ensure!(site.is_silent("unknown.example.org")?, "nobody knows it");
    ensure!(
        !site.server.output().contains("has no effect"),
        "{}",
        site.server.output()
    );
    Ok(())
}

#[test]
fn yaml_and_toml_are_read_and_what_is_excluded_is_not_served() -> anyhow::Result<()> {
    let yaml = "\
http:
  routers:
    v2: { rule: 'Host(`one.example.org`, `two.example.org`) && PathPrefix(`/`)' }
    not: { rule: '!Host(`no.example.org`) && Host(`three.example.org`)' }
    # gone: { rule: Host(`comment.example.org`) }
    wide: { rule: 'Host(`*.apps.example.org`)' }
    regexp: { rule: 'HostRegexp(`.+`)' }
tcp:
  routers:
    any: { rule: 'HostSNI(`*`)' }
    db: { rule: 'HostSNI(`db.example.org`)' }
";
    let toml = "[http.routers.t]\nrule = \"Host(\\\"toml.example.org\\\")\"\n";
    let launch = || {
        joyride()
            .file("external-enabled/a.yaml", yaml)
            .file("external-enabled/b.toml", toml)
            .file("external-enabled/middleware.yml", &rule("middleware"))
    };
    let site = Site::start(launch)?;
    for label in ["one", "two", "three", "x.y.apps", "db", "toml"] {
        site.serves_soon(label)?;
    }
    for label in ["no", "comment", "middleware"] {
        ensure!(site.is_silent(&format!("{label}.example.org"))?, "{label}");
    }
    let lines = site.server.process().lines();
    let told = lines.iter().filter(|line| line.contains("HostRegexp"));
    ensure!(told.count() == 1, "{}", site.server.output());
    Ok(())
}

#[test]
fn a_rewrite_is_served_within_a_second_timing() -> anyhow::Result<()> {
    let site = Site::start(|| joyride().file("external-enabled/a.yml", &rule("first")))?;
    site.serves_soon("first")?;
    // In place, by rename, and as a file that was not there.
    fs::write(site.file("a.yml"), rule("second"))?;
    site.serves_within(SOON, "second")?;
    ensure!(site.is_silent("first.example.org")?, "it is gone");
    fs::write(site.file(".new"), rule("third"))?;
    fs::rename(site.file(".new"), site.file("a.yml"))?;
    site.serves_within(SOON, "third")?;
    fs::write(
        site.file("b.toml"),
        "[tcp.routers.r]\nrule = 'HostSNI(`fourth.example.org`)'\n",
    )?;
    site.serves_within(SOON, "fourth")
}

#[test]
fn a_file_that_is_broken_or_half_written_keeps_its_names() -> anyhow::Result<()> {
    let launch = || {
        joyride()
            .file("external-enabled/a.yml", &rule("kept"))
            .file("external-enabled/b.yml", &rule("other"))
    };
    let site = Site::start(launch)?;
    site.serves_soon("kept")?;
    let half = "http:\n  routers:\n    r:\n      rule: \"Host(`kep";
    for text in [half, "http:\n\trouters:\n", "http: {{ range .X }}\n"] {
        fs::write(site.file("a.yml"), text)?;
        let start = clock();
        while start.elapsed() < SOON + SOON {
            site.serves("kept")?;
            pause(Duration::from_millis(50));
        }
        let told = |line: &String| line.contains("a.yml") && line.contains("cannot be read");
        let lines = site.server.process().lines();
        ensure!(lines.iter().any(told), "{text}: {}", site.server.output());
    }
    fs::write(site.file("b.yml"), rule("changed"))?;
    site.serves_soon("changed")?;
    fs::write(site.file("a.yml"), rule("mended"))?;
    site.serves_soon("mended")
}

#[test]
fn links_are_followed_when_a_config_map_is_swapped() -> anyhow::Result<()> {
    let site = Site::start(joyride)?;
    let directory = site.server.process().directory().join("external-enabled");
    for (version, label) in [("..v1", "first"), ("..v2", "second")] {
        fs::create_dir_all(directory.join(version))?;
        fs::write(directory.join(version).join("a.yml"), rule(label))?;
    }
    symlink("..v1", directory.join("..data"))?;
    symlink("..data/a.yml", directory.join("a.yml"))?;
    site.serves_soon("first")?;
    symlink("..v2", directory.join("..tmp"))?;
    fs::rename(directory.join("..tmp"), directory.join("..data"))?;
    site.serves_soon("second")?;
    ensure!(site.is_silent("first.example.org")?, "it is gone");
    Ok(())
}

#[test]
fn a_directory_that_appears_late_is_served() -> anyhow::Result<()> {
    let site = Site::start(|| portolan().env("HOSTIP", HOST_IP))?;
    site.server
        .process()
        .wait_for_line("directory does not exist yet: external-enabled")?;
    fs::create_dir(site.server.process().directory().join("external-enabled"))?;
    fs::write(site.file("a.yml"), rule("late"))?;
    site.serves_soon("late")
}

#[test]
fn variables_come_from_the_process_and_from_a_file() -> anyhow::Result<()> {
    let yaml = "\
http:
  routers:
    plain: { rule: 'Host(`{{env \"APP\"}}.{{ env \"DOMAIN\" }}`)' }
    escaped: { rule: \"Host(`escaped.{{ env \\\"DOMAIN\\\" }}`)\" }
    missing: { rule: 'Host(`missing.{{ env \"NONE\" }}`) || Host(`either.example.org`)' }
    good: { rule: 'Host(`good.example.org`)' }
";
    let launch = || {
        joyride()
            .file("external-enabled/a.yml", yaml)
            .file("env", "export DOMAIN='example.org' # ours\nAPP=file\n")
            .env("APP", "app")
            .env("TRAEFIK_EXTERNALS_ENV_FILE", "env")
    };
    let site = Site::start(launch)?;
    for label in ["app", "escaped", "good"] {
        site.serves_soon(label)?;
    }
    for label in ["missing", "either", "file"] {
        ensure!(site.is_silent(&format!("{label}.example.org"))?, "{label}");
    }
    let told = site.server.process().lines();
    let told = told.iter().filter(|line| line.contains("NONE"));
    ensure!(told.count() == 1, "{}", site.server.output());
    let env = site.server.process().directory().join("env");
    fs::write(env, "DOMAIN=example.org\nNONE=example.org\n")?;
    site.serves_soon("missing")?;
    site.serves("either")
}

#[test]
fn unknown_names_go_on_where_every_stage_lets_them() -> anyhow::Result<()> {
    let upstream = Upstream::answering(60)?;
    for (fallthrough, expected) in [("fallthrough", true), ("", false)] {
        let corefile = format!(
            ".:PORT {{\n traefik-externals {{\n directory external-enabled\n host_ip {HOST_IP} \
             2001:db8::10\n ttl 7\n {fallthrough}\n }}\n forward . {}\n}}\n",
            upstream.addr()
        );
        let launch = || portolan().file("external-enabled/a.yml", &rule("nas"));
        let site = Site {
            server: Server::launch(launch, &corefile)?,
        };
        site.serves_soon("nas")?;
        for (qtype, address) in [(RecordType::A, HOST_IP), (RecordType::AAAA, "2001:db8::10")] {
            let response = site.server.udp().query("nas.example.org", qtype)?;
            ensure!(addresses(&response) == ips(&[address]), "{response:?}");
            ensure!(response.answers[0].ttl == 7, "{response:?}");
        }
        ensure!(site.is_silent("elsewhere.example.org")? != expected);
    }
    Ok(())
}

#[test]
fn it_can_be_switched_off() -> anyhow::Result<()> {
    let launch = || {
        joyride()
            .file("external-enabled/a.yml", &rule("nas"))
            .env("TRAEFIK_EXTERNALS_ENABLED", "false")
    };
    let site = Site::start(launch)?;
    ensure!(site.is_silent("nas.example.org")?, "it is off");
    Ok(())
}

/// A server with Joyride's Corefile.
struct Site {
    /// The server.
    server: Server,
}

// === impl Site ===

impl Site {
    /// Starts the server.
    fn start(launch: impl Fn() -> Launch) -> anyhow::Result<Self> {
        Ok(Self {
            server: Server::launch(launch, JOYRIDE)?,
        })
    }

    /// A file of Traefik's.
    fn file(&self, name: &str) -> PathBuf {
        let directory = self.server.process().directory();
        directory.join("external-enabled").join(name)
    }

    /// Makes sure that a name below `example.org` is served.
    fn serves(&self, label: &str) -> anyhow::Result<()> {
        let name = format!("{label}.example.org");
        let served = self.has(&name, LATE)?;
        ensure!(served, "{name}:\n{}", self.server.output());
        Ok(())
    }

    /// Makes sure that a name below `example.org` is served before long.
    fn serves_soon(&self, label: &str) -> anyhow::Result<()> {
        self.serves_within(LATE, label)
    }

    /// Makes sure that a name below `example.org` is served in this time.
    fn serves_within(&self, time: Duration, label: &str) -> anyhow::Result<()> {
        let name = format!("{label}.example.org");
        let start = clock();
        while !self.has(&name, Duration::from_millis(50))? {
            let output = self.server.output();
            ensure!(start.elapsed() < time, "{name} comes late:\n{output}");
        }
        Ok(())
    }

    /// Whether a name points to the host, if there is an answer in time.
    fn has(&self, name: &str, time: Duration) -> anyhow::Result<bool> {
        let query = Query::new(name, RecordType::A).encode()?;
        let client = self.server.udp().timeout(time);
        if client.exchange(&query)?.is_none() {
            return Ok(false);
        }
        let response = self.server.udp().query(name, RecordType::A)?;
        Ok(addresses(&response) == ips(&[HOST_IP]))
    }

    /// Whether nobody answers for a name.
    fn is_silent(&self, name: &str) -> anyhow::Result<bool> {
        let query = Query::new(name, RecordType::A).encode()?;
        let client = self.server.udp().timeout(SILENCE);
        Ok(client.exchange(&query)?.is_none())
    }
}

/// The binary as Joyride's image starts it, with a directory of files.
fn joyride() -> Launch {
    portolan()
        .env("HOSTIP", HOST_IP)
        .file("external-enabled/none.txt", "")
}

/// A file with one router for a name below `example.org`.
fn rule(label: &str) -> String {
    format!("http:\n  routers:\n    r:\n      rule: Host(`{label}.example.org`)\n")
}
