//! The Docker source against a fake engine.

#![expect(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Once;
use std::time::Duration;

use portolan_docker::Config;
use portolan_docker::DockerHandle;
use portolan_docker::DockerTask;
use portolan_docker::Endpoint;
use portolan_docker::Families;
use portolan_docker::SyncState;
use portolan_table::Batch;
use portolan_table::LayerId;
use portolan_table::Row;
use portolan_table::Source;
use portolan_testkit::docker::EngineControl;
use portolan_testkit::docker::FakeContainer;
use portolan_testkit::docker::FakeDocker;
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::test]
async fn containers_that_run_already_are_served_once_synced() {
    let fixture = Fixture::start(
        |_| {},
        |control| {
            control.put(container("c1", "a.example, b.example"));
            control.put(FakeContainer::new("c2", "joyride.host.name", "c.example"));
            control.put(FakeContainer::new("c3", "other.label", "d.example"));
            let mut stopped = container("c4", "e.example");
            stopped.state = "exited".to_owned();
            control.put(stopped);
            let mut restarting = container("c5", "f.example");
            restarting.state = "restarting".to_owned();
            control.put(restarting);
        },
    )
    .await;
    fixture.synced().await;
    assert_eq!(
        fixture.names(),
        ["a.example. c1", "b.example. c1", "c.example. c2"]
    );
    let row = fixture.rows("a.example.").remove(0);
    assert_eq!(
        (row.ttl, format!("{:?}", row.rdata)),
        (60, "A(192.0.2.1)".to_owned())
    );
}

#[tokio::test]
async fn a_name_lives_until_its_last_container_stops() {
    let fixture = Fixture::start(|config| config.linger = Duration::from_millis(50), |_| {}).await;
    fixture.synced().await;
    fixture.control.run(container("c1", "web.example"));
    fixture.control.run(container("c2", "web.example"));
    fixture.until(&["web.example. c1", "web.example. c2"]).await;
    fixture.control.stop("c1");
    fixture.until(&["web.example. c2"]).await;
    fixture.control.destroy("c2");
    fixture.until(&[]).await;
}

#[tokio::test]
async fn a_restart_withdraws_nothing() {
    let fixture = Fixture::start(|config| config.linger = Duration::from_millis(500), |_| {}).await;
    fixture.synced().await;
    fixture.control.run(container("c1", "web.example"));
    fixture.until(&["web.example. c1"]).await;
    let batches = fixture.batches();
    fixture.control.stop("c1");
    tokio::time::sleep(Duration::from_millis(200)).await;
    fixture.control.start("c1");
    fixture.control.restart("c1");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(fixture.names(), ["web.example. c1"]);
    assert_eq!(fixture.batches(), batches);
}

#[tokio::test]
async fn a_container_started_behind_the_list_is_not_missed() {
    for delay in [0, 100] {
        let fixture = Fixture::start(
            |config| config.linger = Duration::ZERO,
            |control| {
                control.put(container("gone", "gone.example"));
                control.delay_subscriptions(Duration::from_millis(delay));
                control.delay_lists(Duration::from_millis(200));
                control.after_list(|control| {
                    control.run(container("late", "late.example"));
                    control.stop("gone");
                });
            },
        )
        .await;
        fixture.until(&["late.example. late"]).await;
        fixture.synced().await;
        assert_eq!(fixture.names(), ["late.example. late"], "{delay}");
        fixture.docker.subscribed(1).await;
        assert_eq!(fixture.names(), ["late.example. late"], "{delay}");
    }
}

#[tokio::test]
async fn the_subscription_stands_before_the_list_is_asked_for() {
    let fixture = Fixture::start(|_| {}, |_| {}).await;
    fixture.synced().await;
    let targets: Vec<String> = fixture
        .docker
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    let position = |part: &str| {
        targets
            .iter()
            .position(|target| target.contains(part))
            .unwrap()
    };
    assert!(
        position("/events") < position("/containers/json"),
        "{targets:?}"
    );
}

#[tokio::test]
async fn a_container_paused_over_a_lost_stream_stays() {
    let fixture = Fixture::start(
        |config| config.linger = Duration::from_millis(50),
        |control| {
            control.put(container("c1", "web.example"));
        },
    )
    .await;
    fixture.synced().await;
    fixture.control.pause("c1");
    fixture.docker.subscribed(1).await;
    fixture.control.cut_events("");
    fixture.docker.subscribed(0).await;
    fixture.docker.subscribed(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.names(), ["web.example. c1"]);
    fixture.control.unpause("c1");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.names(), ["web.example. c1"]);
    assert_eq!(fixture.metric("portolan_docker_reconnects_total"), 1.0);
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_of_a_line_is_replaced() {
    let fixture = Fixture::start(|_| {}, |_| {}).await;
    fixture.synced().await;
    fixture.docker.subscribed(1).await;
    fixture
        .control
        .cut_events("{\"Type\":\"container\",\"Action\":\"sta");
    fixture.docker.subscribed(0).await;
    fixture.control.put(container("c1", "web.example"));
    fixture.until(&["web.example. c1"]).await;
}

#[tokio::test]
async fn failed_inspections_are_tried_again() {
    let fixture = Fixture::start(|_| {}, |control| control.omit_labels()).await;
    fixture.synced().await;
    fixture.control.fail_inspections(3);
    fixture.control.run(container("c1", "web.example"));
    fixture.until(&["web.example. c1"]).await;
    assert_eq!(fixture.metric("portolan_docker_sync_errors_total"), 3.0);
}

#[tokio::test]
async fn a_failed_first_list_is_reported_and_tried_again() {
    let mut fixture = Fixture::start(
        |_| {},
        |control| {
            control.put(container("c1", "web.example"));
            control.fail_lists(2);
        },
    )
    .await;
    fixture.reached(SyncState::Failed).await;
    fixture.reached(SyncState::Synced).await;
    assert_eq!(fixture.names(), ["web.example. c1"]);
}

#[tokio::test]
async fn what_is_known_stays_during_an_outage_and_changes_show_at_once_after_it() {
    let mut fixture = Fixture::start(
        |config| config.linger = Duration::from_millis(100),
        |control| {
            control.put(container("c1", "one.example"));
            control.put(container("c2", "two.example"));
        },
    )
    .await;
    fixture.synced().await;
    fixture.docker.stop();
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    assert_eq!(fixture.names(), ["one.example. c1", "two.example. c2"]);
    assert_eq!(fixture.metric("portolan_docker_connected"), 0.0);
    fixture.control.put(container("c3", "three.example"));
    fixture.control.forget("c1");
    let back = Instant::now();
    fixture.docker.resume().unwrap();
    fixture
        .until(&["three.example. c3", "two.example. c2"])
        .await;
    assert!(
        back.elapsed() < Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(fixture.metric("portolan_docker_connected"), 1.0);
}

#[tokio::test]
async fn an_engine_that_left_its_socket_behind_is_found_again_at_once() {
    let mut fixture = Fixture::start(|_| {}, |_| {}).await;
    fixture.synced().await;
    fixture.docker.kill();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    fixture.control.put(container("c1", "web.example"));
    let back = Instant::now();
    fixture.docker.resume().unwrap();
    fixture.until(&["web.example. c1"]).await;
    assert!(
        back.elapsed() < Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test]
async fn an_engine_that_is_not_there_yet_is_awaited() {
    let mut fixture = Fixture::absent().await;
    fixture.reached(SyncState::Failed).await;
    fixture.control.put(container("c1", "web.example"));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let start = Instant::now();
    fixture.docker.resume().unwrap();
    fixture.until(&["web.example. c1"]).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    fixture.synced().await;
}

#[tokio::test]
async fn a_list_now_and_then_mends_what_events_did_not_tell() {
    let fixture = Fixture::start(
        |config| {
            config.reconcile = Duration::from_millis(100);
            config.linger = Duration::from_millis(50);
        },
        |control| control.put(container("c1", "one.example")),
    )
    .await;
    fixture.synced().await;
    fixture.control.forget("c1");
    fixture.control.put(container("c2", "two.example"));
    fixture.until(&["two.example. c2"]).await;
}

#[tokio::test]
async fn events_are_obeyed_while_a_list_is_slow() {
    let fixture = Fixture::start(
        |_| {},
        |control| {
            control.delay_lists(Duration::from_secs(3));
        },
    )
    .await;
    fixture.docker.subscribed(1).await;
    fixture.control.run(container("c1", "web.example"));
    let start = Instant::now();
    fixture.until(&["web.example. c1"]).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(*fixture.handle.ready.borrow(), SyncState::Starting);
}

#[tokio::test]
async fn healthy_only_waits_for_the_health_check() {
    let fixture = Fixture::start(
        |config| {
            config.healthy_only = true;
            config.linger = Duration::from_millis(50);
        },
        |_| {},
    )
    .await;
    fixture.synced().await;
    fixture
        .control
        .run(container("c1", "checked.example").with_health_check());
    fixture.control.run(container("c2", "unchecked.example"));
    fixture.until(&["unchecked.example. c2"]).await;
    fixture.control.set_health("c1", "healthy");
    fixture
        .until(&["checked.example. c1", "unchecked.example. c2"])
        .await;
    fixture.control.set_health("c1", "unhealthy");
    fixture.until(&["unchecked.example. c2"]).await;
}

#[tokio::test]
async fn with_healthy_only_the_first_sync_waits_for_inspections() {
    let fixture = Fixture::start(
        |config| config.healthy_only = true,
        |control| {
            for n in 0..20 {
                control.put(container(&format!("c{n}"), &format!("n{n}.example")));
            }
        },
    )
    .await;
    fixture.synced().await;
    assert_eq!(fixture.names().len(), 20);
}

#[tokio::test]
async fn a_renamed_container_is_known_by_its_new_name() {
    let fixture = Fixture::start(
        |_| {},
        |control| {
            control.put(container("c1", "web.example"));
        },
    )
    .await;
    fixture.synced().await;
    fixture.docker.subscribed(1).await;
    fixture.control.rename("c1", "other");
    fixture
        .wait(|table| table.keys().map(container_name).collect::<Vec<_>>() == ["other"])
        .await;
    assert_eq!(fixture.names(), ["web.example. c1"]);
}

#[tokio::test]
async fn labels_are_normalized_and_give_target_ttl_and_reverse_records() {
    let fixture = Fixture::start(
        |config| config.reverse = true,
        |control| {
            control.put(
                container("c1", "Dot.Example. *.apps.example\nmy_app.example")
                    .with("portolan.target", "192.0.2.7 2001:db8::7")
                    .with("portolan.ttl", "5"),
            );
            control.put(container("c2", "alias.example").with("portolan.target", "proxy.example"));
        },
    )
    .await;
    fixture.synced().await;
    let lines = |owner| -> Vec<String> {
        let line = |row: Row| format!("{} {:?}", row.ttl, row.rdata);
        fixture.rows(owner).into_iter().map(line).collect()
    };
    for owner in ["dot.example.", "*.apps.example.", "my_app.example."] {
        assert_eq!(
            lines(owner),
            ["5 A(192.0.2.7)", "5 Aaaa(2001:db8::7)"],
            "{owner}"
        );
    }
    assert_eq!(lines("7.2.0.192.in-addr.arpa."), ["5 Ptr(dot.example.)"]);
    assert_eq!(lines("alias.example."), ["60 Cname(proxy.example.)"]);
}

#[tokio::test]
async fn hostile_labels_are_bounded_counted_and_reported_once() {
    let logs = Logs::capture();
    let many: Vec<String> = (0..10_000).map(|n| format!("n{n}.example")).collect();
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    let fixture = Fixture::start(
        |config| {
            config.max_names = 100;
            config.reconcile = Duration::from_millis(100);
        },
        |control| {
            control.put(container("c1", &many.join(",")));
            control.put(container(
                "c2",
                &format!("good.example,{long},a..b,\u{1b}[2J,nul\0,*"),
            ));
            control.put(container("c3", &"x".repeat(10_000)));
        },
    )
    .await;
    fixture.synced().await;
    fixture.docker.subscribed(1).await;
    fixture.control.restart("c2");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let names = fixture.names();
    assert_eq!(names.len(), 101);
    assert!(names.contains(&"good.example. c2".to_owned()));
    assert!(fixture.metric("portolan_docker_invalid_names_total") > 5.0);
    assert_eq!(fixture.metric("portolan_docker_names"), 101.0);
    let warnings = logs.lines("WARN");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    assert!(
        warnings
            .iter()
            .all(|line| line.len() < 1_000 && !line.contains('\u{1b}'))
    );
}

#[tokio::test]
async fn an_outage_is_logged_once_and_its_end_once() {
    let logs = Logs::capture();
    let mut fixture = Fixture::start(|_| {}, |_| {}).await;
    fixture.synced().await;
    fixture.docker.stop();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    fixture.docker.resume().unwrap();
    fixture.connected().await;
    fixture.control.run(container("c1", "web.example"));
    fixture.until(&["web.example. c1"]).await;
    // Words come after the batch.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(logs.lines("WARN").len(), 1, "{:#?}", logs.lines("WARN"));
    let info = logs.lines("INFO");
    let count = |part: &str| info.iter().filter(|line| line.contains(part)).count();
    assert_eq!(count("connected to Docker daemon"), 2, "{info:#?}");
    assert_eq!(
        count("synced 0 containers with DNS records"),
        2,
        "{info:#?}"
    );
    assert_eq!(
        count("container name-c1 started with hostnames: [web.example]"),
        1,
        "{info:#?}"
    );
    assert!(
        info.iter().all(|line| line.contains("docker-cluster")),
        "{info:#?}"
    );
}

#[tokio::test]
async fn only_harmless_requests_are_made() {
    let fixture = Fixture::start(
        |config| config.healthy_only = true,
        |control| {
            control.put(container("c1", "web.example"));
            control.omit_labels();
        },
    )
    .await;
    fixture.synced().await;
    fixture.docker.subscribed(1).await;
    fixture.control.run(container("c2", "two.example"));
    fixture.until(&["two.example. c2", "web.example. c1"]).await;
    fixture.control.destroy("c2");
    let requests = fixture.docker.requests();
    assert!(requests.len() >= 5, "{requests:?}");
    for request in requests {
        let path = request.target.split('?').next().unwrap().to_owned();
        let is_known = matches!(path.as_str(), "/_ping" | "/version" | "/events")
            || path == "/containers/json"
            || (path.starts_with("/containers/c") && path.ends_with("/json"));
        assert!(request.method == "GET" && is_known, "{request:?}");
    }
}

#[tokio::test]
async fn a_start_event_becomes_a_batch_without_delay() {
    let fixture = Fixture::start(|_| {}, |_| {}).await;
    fixture.synced().await;
    fixture.docker.subscribed(1).await;
    let mut delays = Vec::new();
    for n in 0..21 {
        let start = Instant::now();
        fixture
            .control
            .run(container(&format!("c{n}"), &format!("n{n}.example")));
        fixture.wait(|table| table.len() == n + 1).await;
        delays.push(start.elapsed());
    }
    delays.sort();
    println!(
        "start event to batch: median {:?}, longest {:?}",
        delays[10], delays[20]
    );
    assert!(delays[10] < Duration::from_millis(20), "{delays:?}");
}

#[tokio::test]
async fn shutdown_ends_all_tasks_and_gauges() {
    let fixture = Fixture::start(
        |_| {},
        |control| {
            control.put(container("c1", "web.example"));
        },
    )
    .await;
    fixture.synced().await;
    assert_eq!(fixture.metric("portolan_docker_containers"), 1.0);
    fixture.cancel.cancel();
    fixture.tracker.close();
    timeout(Duration::from_secs(2), fixture.tracker.wait())
        .await
        .unwrap();
    assert_eq!(fixture.metric("portolan_docker_containers"), 0.0);
    assert_eq!(fixture.names(), ["web.example. c1"]);
}

/// Rows by source, as the table would have them.
type Table = BTreeMap<Source, Vec<Row>>;

/// A Docker source, its engine, and a table.
struct Fixture {
    docker: FakeDocker,
    control: EngineControl,
    handle: DockerHandle,
    table: watch::Receiver<(usize, Table)>,
    registry: Registry,
    tracker: TaskTracker,
    cancel: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// Starts an engine, prepared by `prepare`, and a source.
    async fn start(adjust: impl FnOnce(&mut Config), prepare: impl FnOnce(&EngineControl)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let docker = FakeDocker::start(directory.path().join("docker.sock")).unwrap();
        prepare(&docker.control());
        Self::spawn(directory, docker, adjust).await
    }

    /// Starts a source whose engine is not there.
    async fn absent() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut docker = FakeDocker::start(directory.path().join("docker.sock")).unwrap();
        docker.stop();
        Self::spawn(directory, docker, |_| {}).await
    }

    async fn spawn(
        directory: tempfile::TempDir,
        docker: FakeDocker,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        enable_logs();
        let endpoint = Endpoint::Unix(docker.path().to_owned());
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        let mut config = Config::new(LayerId(1), Arc::from("m"), endpoint, addresses);
        adjust(&mut config);
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
        let (changes, batches) = mpsc::channel(16);
        let handle = DockerTask::spawn(config, changes, families, &tracker, cancel.clone());
        let (sender, table) = watch::channel((0, Table::new()));
        tracker.spawn(collect(batches, sender));
        tokio::task::yield_now().await;
        let control = docker.control();
        Self {
            docker,
            control,
            handle,
            table,
            registry,
            tracker,
            cancel,
            _directory: directory,
        }
    }

    /// Waits for the first sync.
    async fn synced(&self) {
        let mut ready = self.handle.ready.clone();
        let synced = ready.wait_for(|state| *state == SyncState::Synced);
        timeout(Duration::from_secs(5), synced)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until the engine is connected and in step.
    async fn connected(&self) {
        let connected = async {
            while self.metric("portolan_docker_connected") < 1.0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), connected).await.unwrap();
    }

    /// Waits for a state.
    async fn reached(&mut self, wanted: SyncState) {
        let reached = self.handle.ready.wait_for(|state| *state == wanted);
        timeout(Duration::from_secs(5), reached)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until the table is as it should be.
    async fn wait(&self, mut is_right: impl FnMut(&Table) -> bool) {
        let mut table = self.table.clone();
        let right = table.wait_for(|(_, table)| is_right(table));
        if timeout(Duration::from_secs(5), right).await.is_err() {
            panic!("table: {:?}", self.names());
        }
    }

    /// Waits until the names are the ones expected.
    async fn until(&self, expected: &[&str]) {
        self.wait(|table| names(table) == expected).await;
    }

    /// Names with the id of their container.
    fn names(&self) -> Vec<String> {
        names(&self.table.borrow().1)
    }

    /// The rows of an owner.
    fn rows(&self, owner: &str) -> Vec<Row> {
        let table = self.table.borrow();
        let rows = table
            .1
            .values()
            .flatten()
            .filter(|row| row.owner.to_string() == owner);
        rows.cloned().collect()
    }

    /// How many batches came.
    fn batches(&self) -> usize {
        self.table.borrow().0
    }

    /// The first value of a metric.
    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .unwrap();
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Applies batches as the table does.
async fn collect(mut batches: mpsc::Receiver<Batch>, table: watch::Sender<(usize, Table)>) {
    while let Some(batch) = batches.recv().await {
        table.send_modify(|(count, table)| {
            *count += 1;
            for change in batch.changes {
                if change.rows.is_empty() {
                    table.remove(&change.source);
                } else {
                    table.insert(change.source, change.rows);
                }
            }
        });
        if let Some(published) = batch.published {
            published();
        }
    }
}

fn names(table: &Table) -> Vec<String> {
    let mut lines = BTreeSet::new();
    for (source, rows) in table {
        let Source::Container { id, .. } = source else {
            panic!("{source:?}");
        };
        lines.extend(rows.iter().map(|row| format!("{} {id}", row.owner)));
    }
    lines.into_iter().collect()
}

fn container_name(source: &Source) -> String {
    match source {
        Source::Container { name, .. } => name.to_string(),
        other => other.to_string(),
    }
}

fn container(id: &str, names: &str) -> FakeContainer {
    FakeContainer::new(id, "coredns.host.name", names)
}

/// Lets every thread have a subscriber: a line that is first reached without
/// one is switched off for all.
fn enable_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// What was logged on this thread.
struct Logs {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

/// Where log lines go.
#[derive(Clone)]
struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Captures from now on, until it is dropped.
    fn capture() -> Self {
        enable_logs();
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = LogWriter(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The lines of a level.
    fn lines(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        text.lines()
            .filter(|line| line.contains(level))
            .map(str::to_owned)
            .collect()
    }
}

impl std::io::Write for LogWriter {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let mut text = self
            .0
            .lock()
            .map_err(|_| std::io::Error::other("poisoned"))?;
        text.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
