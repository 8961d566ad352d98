//! What a reload keeps: sources that did not change, and the cache.

use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use portolan_testkit::process::Signal;
use portolan_testkit::process::pause;
use portolan_testkit::process::wait_for;
use portolan_testkit::upstream::FakeUpstream;

use super::site::Ports;
use super::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_kept_without_asking_docker_again() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    docker
        .control()
        .put(FakeContainer::new("c1", "joyride.host.name", "app.example"));
    let corefile = format!(
        ".:@dns {{
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    ready 127.0.0.1:@ready
    docker-cluster {{
        docker_socket unix://{}
        host_ip 192.0.2.5
        ttl 60
        fallthrough
    }}
}}
",
        docker.path().display()
    );
    let site = Site::start(&corefile)?;
    site.ports.await_address("app.example", [192, 0, 2, 5])?;
    let subscriptions = || {
        let requests = docker.requests();
        requests
            .iter()
            .filter(|request| request.target.contains("/events"))
            .count()
    };
    ensure!(subscriptions() == 1, "{:?}", docker.requests());

    // Another directive changes, then nothing at all.
    site.rewrite(&corefile.replace("bind", "log\n    bind"))?;
    for number in 1..=3 {
        site.process.signal(Signal::SIGHUP)?;
        site.await_count("Reloading complete", number)?;
        site.ports.await_address("app.example", [192, 0, 2, 5])?;
        ensure!(site.ready()?.0 == 200, "{:?}", site.ready());
    }
    pause(Duration::from_millis(200));
    ensure!(subscriptions() == 1, "{:?}", docker.requests());

    // One that is about the source starts another; no answer is lost meanwhile.
    docker.control().delay_lists(Duration::from_millis(500));
    site.rewrite(&corefile.replace("192.0.2.5", "192.0.2.6"))?;
    site.process.signal(Signal::SIGHUP)?;
    while site.count("Reloading complete") < 4 {
        let address = site.ports.address("app.example")?;
        ensure!(address.is_some(), "no address during a reload");
        ensure!(site.ready()?.0 == 200, "{:?}", site.ready());
    }
    site.ports.await_address("app.example", [192, 0, 2, 6])?;
    ensure!(subscriptions() == 2, "{:?}", docker.requests());
    docker.subscribed(1).await;
    Ok(())
}

#[test]
fn hosts_files_are_kept() -> anyhow::Result<()> {
    let corefile = ".:@dns {
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    hosts names {
        reload 0
        fallthrough
    }
}
";
    let site = Site::start_with(corefile, |launch, _| {
        launch
            .args(["-log-format", "text"])
            .file("names", "192.0.2.1 a.example\n")
    })?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    // Read once and never again: what is kept is what was read.
    std::fs::remove_file(site.process.directory().join("names"))?;
    site.rewrite(&corefile.replace("bind", "log\n    bind"))?;
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("Reloading complete", 1)?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    let entries = site.metric("coredns_hosts_entries")?;
    ensure!(entries == 2.0, "{entries}");
    Ok(())
}

#[test]
fn files_of_traefik_are_kept() -> anyhow::Result<()> {
    let corefile = ".:@dns {
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    traefik-externals {
        directory rules
        host_ip 192.0.2.5
        fallthrough
    }
}
";
    let rule = "http: { routers: { r: { rule: 'Host(`a.example`)' } } }\n";
    let site = Site::start_with(corefile, |launch, _| {
        launch
            .args(["-log-format", "text"])
            .file("rules/a.yml", rule)
    })?;
    site.ports.await_address("a.example", [192, 0, 2, 5])?;
    site.rewrite(&corefile.replace("bind", "log\n    bind"))?;
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("Reloading complete", 1)?;
    site.ports.await_address("a.example", [192, 0, 2, 5])?;
    let reloads = site.metric("coredns_traefik_externals_reloads_total")?;
    ensure!(reloads == 1.0, "{reloads}");

    // Another address is another source, and the one before is withdrawn.
    site.rewrite(&corefile.replace("192.0.2.5", "192.0.2.6"))?;
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("Reloading complete", 2)?;
    site.ports.await_address("a.example", [192, 0, 2, 6])?;
    let records = || site.metric("coredns_traefik_externals_records_total");
    let settled = wait_for(|| (records().ok()? == 1.0).then_some(()));
    ensure!(settled.is_some(), "{:?}", records());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_kept_unless_what_it_depends_on_changed() -> anyhow::Result<()> {
    let upstream = FakeUpstream::answering().await?;
    let corefile = format!(
        ".:@dns {{\n bind 127.0.0.1\n prometheus 127.0.0.1:@metrics\n forward . {}\n cache 30\n}}\n",
        upstream.addr()
    );
    let site = Site::start(&corefile)?;
    let ask = || site.ports.client().query("a.example", RecordType::A);
    ask()?;
    ensure!(
        upstream.count_without_probes() == 1,
        "{:?}",
        upstream.queries()
    );

    site.rewrite(&corefile.replace("bind", "log\n bind"))?;
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("Reloading complete", 1)?;
    ask()?;
    ensure!(
        upstream.count_without_probes() == 1,
        "{:?}",
        upstream.queries()
    );
    let hits = site.metric("coredns_cache_hits_total")?;
    ensure!(hits == 1.0, "{hits}");
    // Idle sockets of the configuration before do not pile up.
    site.rewrite(&corefile.replace("cache 30", "cache 20"))?;
    site.process.signal(Signal::SIGHUP)?;
    site.await_count("Reloading complete", 2)?;
    let response = ask()?;
    ensure!(response.answers[0].ttl <= 20, "{response:?}");
    ensure!(
        upstream.count_without_probes() == 2,
        "{:?}",
        upstream.queries()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_dropped_is_withdrawn() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    docker
        .control()
        .put(FakeContainer::new("c1", "joyride.host.name", "app.example"));
    let with = format!(
        ".:@dns {{\n bind 127.0.0.1\n prometheus 127.0.0.1:@metrics\n docker-cluster {{\n \
         docker_socket {}\n host_ip 192.0.2.5\n unknown_action nxdomain\n fallthrough\n }}\n \
         whoami\n}}\n",
        docker.path().display()
    );
    let without = ".:@dns {\n bind 127.0.0.1\n prometheus 127.0.0.1:@metrics\n whoami\n}\n";
    let site = Site::start(&with)?;
    site.ports.await_address("app.example", [192, 0, 2, 5])?;
    for number in 0..2 {
        site.rewrite(without)?;
        site.process.signal(Signal::SIGHUP)?;
        site.await_count("Reloading complete", 2 * number + 1)?;
        ensure!(site.ports.address("app.example")?.is_none(), "still there");
        tokio::time::timeout(Duration::from_secs(5), docker.subscribed(0))
            .await
            .context("the engine is still followed")?;
        wait_for(|| (site.metric("portolan_table_names").ok()? == 0.0).then_some(()))
            .with_context(|| format!("names are left:\n{:?}", site.metrics()))?;
        site.rewrite(&with)?;
        site.process.signal(Signal::SIGHUP)?;
        site.await_count("Reloading complete", 2 * number + 2)?;
        site.ports.await_address("app.example", [192, 0, 2, 5])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_leave_no_sockets_threads_or_series_behind() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let docker = FakeDocker::start(directory.path().join("docker.sock"))?;
    let upstream = FakeUpstream::answering().await?;
    let corefile = format!(
        ".:@dns {{
    bind 127.0.0.1
    health 127.0.0.1:@health
    prometheus 127.0.0.1:@metrics
    log
    errors {{
        consolidate 1h x
    }}
    hosts names {{
        ttl TTL
        fallthrough
    }}
    docker-cluster {{
        docker_socket {}
        host_ip 192.0.2.5
        ttl TTL
        fallthrough
    }}
    forward . {} {{
        expire TTLs
    }}
    cache TTL
}}
",
        docker.path().display(),
        upstream.addr()
    );
    let site = Site::start_with(&corefile.replace("TTL", "60"), |launch, _| {
        launch
            .args(["-log-format", "text"])
            .file("names", "192.0.2.1 a.example\n")
    })?;
    let count = |what: &str| -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/{what}", site.process.pid()))?.count())
    };
    let series = || anyhow::Ok(site.metrics()?.lines().count());
    // By the second reload both ports were served; what is first counted later
    // may still add a few series.
    let mut first = None;
    for number in 1..=16 {
        let other = Ports {
            dns: if number % 2 == 0 {
                site.ports.dns
            } else {
                site.ports.ready
            },
            ..site.ports
        };
        site.rewrite(&other.fill(&corefile.replace("TTL", &(60 + number).to_string())))?;
        site.process.signal(Signal::SIGHUP)?;
        site.await_count("Reloading complete", number)?;
        other.client().query("up.example", RecordType::A)?;
        other.await_address("a.example", [192, 0, 2, 1])?;
        if number == 2 {
            pause(Duration::from_millis(600));
            first = Some((count("fd")?, count("task")?, series()?));
        }
    }
    let (files, threads, lines) = first.context("no second reload")?;
    let settled = wait_for(|| {
        let now = (count("fd").ok()?, count("task").ok()?, series().ok()?);
        (now.0 <= files + 2 && now.1 <= threads + 1 && now.2 <= lines + 10).then_some(())
    });
    settled.with_context(|| {
        let now = (count("fd"), count("task"), series());
        format!("{files} files, {threads} threads, {lines} lines at first; now {now:?}")
    })
}
