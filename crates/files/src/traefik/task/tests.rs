use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use portolan_table::LayerId;

use super::*;
use crate::fixture;
use crate::fixture::Running;

/// Files of one test, and what is counted.
type World = fixture::World<Families>;

#[tokio::test]
async fn all_files_come_in_the_first_batch() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    world.write("d/b.yaml", &rule("b"));
    world.write(
        "d/c.toml",
        "[http.routers.r]\nrule = \"Host(`c.example`)\"\n",
    );
    for passed_over in [
        "d/x.json",
        "d/.x.yml",
        "d/x.yml~",
        "d/middleware.yml",
        "d/sub/x.yml",
    ] {
        world.write(passed_over, &rule("x"));
    }
    let mut traefik = world.start(world.config());
    let batch = traefik.batch().await.expect("the first batch");
    assert!(
        !*traefik.handle.ready.borrow(),
        "not before it is published"
    );
    batch.published.expect("wants to know")();
    assert!(*traefik.handle.ready.borrow());
    let rows: Vec<String> = batch
        .changes
        .iter()
        .flat_map(|change| &change.rows)
        .map(|row| format!("{} {} {:?}", row.owner, row.ttl, row.rdata))
        .collect();
    assert_eq!(
        rows,
        [
            "a.example. 60 A(192.0.2.1)",
            "a.example. 60 Aaaa(2001:db8::1)",
            "b.example. 60 A(192.0.2.1)",
            "b.example. 60 Aaaa(2001:db8::1)",
            "c.example. 60 A(192.0.2.1)",
            "c.example. 60 Aaaa(2001:db8::1)",
        ]
    );
    assert_eq!(world.value("coredns_traefik_externals_records_total"), 3.0);
    assert_eq!(world.value("coredns_traefik_externals_reloads_total"), 1.0);
}

#[tokio::test]
async fn a_directory_that_appears_late_is_read() {
    let mut world = World::new();
    let mut traefik = world.start(world.config());
    assert_eq!(traefik.first().await, []);
    world.write("d/a.yml", &rule("a"));
    assert_eq!(traefik.next().await, [("a.yml", "a.example.")]);
}

#[tokio::test]
async fn a_rewrite_is_seen_within_a_second_by_rename_and_in_place() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    world.write("d/a.yml", &rule("b"));
    assert_eq!(traefik.next().await, [("a.yml", "b.example.")]);
    world.write("d/.new", &rule("c"));
    fs::rename(world.path("d/.new"), world.path("d/a.yml")).unwrap();
    assert_eq!(traefik.next().await, [("a.yml", "c.example.")]);
}

#[tokio::test]
async fn a_file_that_cannot_be_parsed_keeps_its_names_alone() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    world.write("d/b.yml", &rule("b"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    world.write("d/a.yml", "http:\n  routers: [\n");
    world.write("d/b.yml", &rule("c"));
    assert_eq!(traefik.next().await, [("b.yml", "c.example.")]);
    traefik.silent(Duration::from_millis(600)).await;
    assert_eq!(
        world.value("coredns_traefik_externals_parse_errors_total"),
        1.0
    );
    assert_eq!(world.value("coredns_traefik_externals_records_total"), 2.0);
    world.write("d/a.yml", &rule("d"));
    assert_eq!(traefik.next().await, [("a.yml", "d.example.")]);
}

#[tokio::test]
async fn a_file_that_is_half_written_keeps_its_names() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    world.write(
        "d/a.yml",
        "http:\n  routers:\n    r:\n      rule: \"Host(`b.ex",
    );
    traefik.silent(Duration::from_millis(1000)).await;
    world.write("d/a.yml", &rule("b"));
    assert_eq!(traefik.next().await, [("a.yml", "b.example.")]);
}

#[tokio::test]
async fn a_file_beyond_the_bound_keeps_its_names() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    world.write("d/a.yml", &format!("{}{}", rule("b"), "#".repeat(1 << 20)));
    traefik.silent(Duration::from_millis(600)).await;
    assert_eq!(
        world.value("coredns_traefik_externals_parse_errors_total"),
        1.0
    );
}

#[tokio::test]
async fn a_removed_file_loses_its_names_after_a_grace() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    world.write("d/b.yml", &rule("b"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    fs::remove_file(world.path("d/a.yml")).unwrap();
    traefik.silent(Duration::from_millis(1500)).await;
    assert_eq!(traefik.next().await, [("a.yml", "")]);
    assert_eq!(world.value("coredns_traefik_externals_records_total"), 1.0);
}

#[tokio::test]
async fn a_config_map_is_followed_from_version_to_version() {
    let mut world = World::new();
    world.write("d/..v1/a.yml", &rule("a"));
    symlink("..v1", world.path("d/..data")).unwrap();
    symlink("..data/a.yml", world.path("d/a.yml")).unwrap();
    let mut traefik = world.start(world.config());
    assert_eq!(traefik.first().await, [("a.yml", "a.example.")]);
    world.write("d/..v2/a.yml", &rule("b"));
    symlink("..v2", world.path("d/..data_tmp")).unwrap();
    fs::rename(world.path("d/..data_tmp"), world.path("d/..data")).unwrap();
    assert_eq!(traefik.next().await, [("a.yml", "b.example.")]);
}

#[tokio::test]
async fn variables_come_from_the_process_and_from_a_file() {
    let mut world = World::new();
    world.write("d/a.yml", &templated(&["OWN", "BOTH", "FILE"]));
    world.write("env", "FILE=file\nBOTH=file\nUNSET=file\n");
    let mut config = world.config();
    config.env_file = Some(world.text("env"));
    config.variables = variables(&[("OWN", "own"), ("BOTH", "own"), ("FILE", "")]);
    let mut traefik = world.start(config);
    assert_eq!(
        traefik.first().await,
        [("a.yml", "own.example. file.example.")]
    );
}

#[tokio::test]
async fn a_change_of_the_file_of_variables_is_seen_within_a_second() {
    let mut world = World::new();
    world.write("d/a.yml", &templated(&["A"]));
    world.write("d/b.yml", &rule("b"));
    let mut config = world.config();
    config.env_file = Some(world.text("env"));
    let mut traefik = world.start(config);
    assert_eq!(traefik.first().await, [("b.yml", "b.example.")]);
    assert_eq!(world.value("portolan_traefik_externals_bad_routers"), 1.0);
    world.write("env", "A=one\n");
    assert_eq!(traefik.next().await, [("a.yml", "one.example.")]);
    assert_eq!(world.value("portolan_traefik_externals_bad_routers"), 0.0);
    world.write("env", "A=two # now\n");
    assert_eq!(traefik.next().await, [("a.yml", "two.example.")]);
    fs::remove_file(world.path("env")).unwrap();
    traefik.silent(Duration::from_millis(1000)).await;
}

#[tokio::test]
async fn a_touched_file_changes_nothing() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    let mut traefik = world.start(world.config());
    traefik.first().await;
    world.write("d/a.yml", &rule("a"));
    traefik.silent(Duration::from_millis(600)).await;
    world.write(
        "d/a.yml",
        &format!("# other text, same names\n{}", rule("a")),
    );
    traefik.silent(Duration::from_millis(600)).await;
}

#[tokio::test]
async fn no_more_files_are_read_than_the_bound() {
    let mut world = World::new();
    for n in 0..=MAX_FILES {
        world.write(&format!("d/{n:04}.yml"), &rule(&format!("n{n}")));
    }
    let mut traefik = world.start(world.config());
    let batch = traefik.batch().await.expect("the first batch");
    assert_eq!(batch.changes.len(), MAX_FILES);
}

#[tokio::test]
async fn the_figures_of_a_task_go_with_it() {
    let mut world = World::new();
    world.write("d/a.yml", &rule("a"));
    let mut one = world.start(world.config());
    let mut two = world.start(world.config());
    one.first().await;
    two.first().await;
    assert_eq!(world.value("coredns_traefik_externals_records_total"), 2.0);
    one.cancel.cancel();
    one.tracker.close();
    one.tracker.wait().await;
    assert_eq!(world.value("coredns_traefik_externals_records_total"), 1.0);
}

impl World {
    fn new() -> Self {
        Self::with(Families::register)
    }

    /// A directive that would find a change by polling after a minute only.
    fn config(&self) -> Config {
        let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        Config {
            reload: Duration::from_secs(60),
            ..Config::new(LayerId(1), self.text("d"), addresses)
        }
    }

    fn start(&self, config: Config) -> Running {
        self.spawn("d", |changes, tracker, cancel| {
            TraefikTask::spawn(config, changes, self.families.clone(), tracker, cancel)
        })
    }

    /// Value of a family that has no labels.
    fn value(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metric = family.unwrap().get_metric().first().unwrap();
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }
}

/// A file with one router for a name below `example`.
fn rule(label: &str) -> String {
    format!("http:\n  routers:\n    r:\n      rule: Host(`{label}.example`)\n")
}

/// A file with a router for each variable.
fn templated(variables: &[&str]) -> String {
    let routers: String = variables
        .iter()
        .map(|name| format!("    {name}: {{ rule: 'Host(`{{{{env \"{name}\"}}}}.example`)' }}\n"))
        .collect();
    format!("http:\n  routers:\n{routers}")
}

fn variables(pairs: &[(&str, &str)]) -> Arc<Variables> {
    let pairs = pairs.iter();
    Arc::new(
        pairs
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}
