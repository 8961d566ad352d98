//! docs/metrics.md beside the exposition of a server that has everything.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::wait_for;
use portolan_testkit::tls::Authority;
use portolan_testkit::upstream::FakeUpstream;

use super::exposition::Exposition;
use crate::cli::site::Site;
use crate::cli::site::choose_port;

/// Families, with their types and the names of their labels.
pub(crate) type Reference = BTreeMap<String, (String, Vec<String>)>;

/// A Corefile with everything that has metrics: a block that drops, a cluster
/// of one, upstreams in the clear and over TLS.
fn corefile(engine: &str, upstream: &str) -> String {
    let cluster_port = choose_port();
    let discovery_port = choose_port();
    format!(
        "dropped.example:@dns {{
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    hosts {{
        192.0.2.1 a.dropped.example
        unknown_action drop
    }}
}}
.:@dns {{
    bind 127.0.0.1
    log
    errors
    health 127.0.0.1:@health
    ready 127.0.0.1:@ready
    prometheus 127.0.0.1:@metrics
    reload
    hosts names {{
        fallthrough
    }}
    docker-cluster {{
        docker_socket unix://{engine}
        host_ip 192.0.2.5
        cluster_enabled true
        cluster_bind_addr 127.0.0.1
        cluster_port {cluster_port}
        discovery_port {discovery_port}
        cluster_seeds 127.0.0.1
        fallthrough
    }}
    traefik-externals {{
        directory .
        host_ip 192.0.2.5
        fallthrough
    }}
    forward tls.example tls://127.0.0.1%dns.example {{
        tls authority.pem
    }}
    forward . {upstream}
    cache 300
}}
"
    )
}

/// What docs/metrics.md says.
pub(crate) fn documented() -> anyhow::Result<Reference> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = fs::read_to_string(path)?;
    let mut reference = Reference::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells.as_slice() else {
            anyhow::bail!("not four cells: {line}");
        };
        ensure!(!meaning.is_empty(), "no meaning: {line}");
        let labels = labels.split(", ").filter(|label| *label != "-");
        let family = (kind.to_string(), labels.map(str::to_owned).collect());
        let again = reference.insert(name.trim_matches('`').to_owned(), family);
        ensure!(again.is_none(), "twice: {line}");
    }
    ensure!(!reference.is_empty(), "no tables in {path}");
    Ok(reference)
}

/// What a scrape has. Families without a series are not in it.
fn exposed(text: &str) -> anyhow::Result<Reference> {
    let found = Exposition::read(text)?;
    let mut reference = Reference::new();
    for (name, family) in &found.families {
        let labels = found.labels_of(name)?.into_iter().map(str::to_owned);
        reference.insert(name.clone(), (family.kind.clone(), labels.collect()));
    }
    Ok(reference)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_the_families_that_are_there_and_no_others() -> anyhow::Result<()> {
    let documented = documented()?;
    let upstream = FakeUpstream::answering().await?;
    let directory = tempfile::tempdir()?;
    let engine = FakeDocker::start(directory.path().join("docker.sock"))?;
    let authority = Authority::new()?;
    let corefile = corefile(
        &engine.path().display().to_string(),
        &upstream.addr().to_string(),
    );
    let site = Site::start_with(&corefile, |launch, _| {
        launch
            .file("names", "192.0.2.1 a.example\n")
            .file("authority.pem", authority.pem())
    })?;
    // What has to happen once for its series to be there.
    engine
        .control()
        .run(FakeContainer::new("c1", "joyride.host.name", "c.example"));
    site.ports.await_address("c.example", [192, 0, 2, 5])?;
    site.ports.client().query("b.example", RecordType::A)?;
    ensure!(
        site.ports.asked("b.dropped.example").is_none(),
        "not dropped"
    );
    let names = |reference: &Reference| reference.keys().cloned().collect::<BTreeSet<_>>();
    let wanted = names(&documented);
    let all = || {
        let found = exposed(&site.metrics().ok()?).ok()?;
        wanted.is_subset(&names(&found)).then_some(())
    };
    let is_complete = wait_for(all).is_some();
    let found = exposed(&site.metrics()?)?;
    let absent: Vec<_> = wanted.difference(&names(&found)).cloned().collect();
    ensure!(is_complete && absent.is_empty(), "not there: {absent:?}");
    let untold: Vec<_> = names(&found).difference(&wanted).cloned().collect();
    ensure!(untold.is_empty(), "not in docs/metrics.md: {untold:?}");
    for (name, family) in &documented {
        let real = found.get(name).context("looked for above")?;
        ensure!(real == family, "{name}: {real:?}, not {family:?}");
    }
    Ok(())
}
