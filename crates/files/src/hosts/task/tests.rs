use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use portolan_table::LayerId;

use super::*;
use crate::fixture;
use crate::fixture::PATIENCE;
use crate::fixture::Running;
use crate::hosts::InlineLine;

/// Files of one test, and what is counted.
type World = fixture::World<Families>;

#[tokio::test]
async fn all_files_and_lines_come_in_the_first_batch() {
    let mut world = World::new();
    world.write("a", "192.0.2.1 a.example.org\n");
    world.write("b", "192.0.2.2 b.example.org\n");
    let mut config = world.config(&["a", "b", "none"]);
    config.inline = vec![InlineLine {
        text: "192.0.2.3 c.example.org".to_owned(),
        position: "Corefile:3".to_owned(),
    }];
    let mut hosts = world.start(config);
    let batch = hosts.batch().await.expect("the first batch");
    assert_eq!(batch.changes.len(), 3);
    assert_eq!(
        batch.changes.last().map(|change| &change.source),
        Some(&Source::Inline)
    );
    assert!(!*hosts.handle.ready.borrow(), "not before it is published");
    batch.published.expect("wants to know")();
    assert!(*hosts.handle.ready.borrow());
}

#[tokio::test]
async fn without_any_file_it_is_ready_all_the_same() {
    let world = World::new();
    let mut hosts = world.start(world.config(&["none"]));
    hosts.first().await;
    assert!(*hosts.handle.ready.borrow());
}

#[tokio::test]
async fn a_change_is_seen_within_a_second() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "192.0.2.1 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn a_change_right_after_the_first_batch_is_not_missed() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.batch().await.expect("the first batch");
    world.write("hosts", "192.0.2.1 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn polling_alone_finds_a_change() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut config = world.config(&["hosts"]);
    config.notify = false;
    config.reload = Some(Duration::from_millis(100));
    let mut hosts = world.start(config);
    hosts.first().await;
    world.write("hosts", "192.0.2.1 bb.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "bb.example.org.")]);
}

#[tokio::test]
async fn without_reload_nothing_is_followed() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut config = world.config(&["hosts"]);
    config.reload = None;
    let mut hosts = world.start(config);
    hosts.first().await;
    world.write("hosts", "192.0.2.1 bb.example.org\n");
    hosts.silent(Duration::from_millis(700)).await;
}

#[tokio::test]
async fn a_file_replaced_by_rename_is_followed_again_and_again() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    for name in ["b", "c", "d"] {
        world.write("next", &format!("192.0.2.1 {name}.example.org\n"));
        world.rename("next", "hosts");
        let owner = format!("{name}.example.org.");
        assert_eq!(hosts.next().await, [("hosts", owner.as_str())]);
    }
}

#[tokio::test]
async fn a_truncated_file_keeps_its_rows_until_it_is_written() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "");
    hosts.silent(Duration::from_millis(1000)).await;
    world.write("hosts", "192.0.2.1 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn a_file_that_stays_empty_loses_its_rows() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "");
    hosts.silent(Duration::from_millis(1500)).await;
    assert_eq!(hosts.next().await, [("hosts", "")]);
}

#[tokio::test]
async fn a_half_written_file_keeps_its_rows_until_it_is_whole() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "192.0.2.1 a.example.org\n192.0.2.2 b.exa");
    hosts.silent(Duration::from_millis(300)).await;
    world.write("hosts", "192.0.2.2 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn a_file_without_a_final_line_feed_is_taken_within_a_second() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "192.0.2.2 bb.example.org");
    assert_eq!(hosts.next().await, [("hosts", "bb.example.org.")]);
}

#[tokio::test]
async fn a_vanished_file_keeps_its_rows_and_is_followed_when_it_returns() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.remove("hosts");
    hosts.silent(Duration::from_millis(2600)).await;
    world.write("hosts", "192.0.2.1 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn an_unreadable_file_keeps_its_rows() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.remove("hosts");
    // A link to itself is an error to every user, also to root.
    symlink("hosts", world.path("hosts")).unwrap();
    hosts.silent(Duration::from_millis(2600)).await;
}

#[tokio::test]
async fn members_of_a_directory_come_and_go() {
    let mut world = World::new();
    world.write("d/one", "192.0.2.1 one.example.org\n");
    let mut hosts = world.start(world.config(&["d"]));
    hosts.first().await;
    world.write("d/two", "192.0.2.2 two.example.org\n");
    assert_eq!(hosts.next().await, [("d/two", "two.example.org.")]);
    world.write("d/.hidden", "192.0.2.3 no.example.org\n");
    world.write("d/two~", "192.0.2.3 no.example.org\n");
    hosts.silent(Duration::from_millis(500)).await;
    world.remove("d/one");
    hosts.silent(Duration::from_millis(1500)).await;
    assert_eq!(hosts.next().await, [("d/one", "")]);
    assert_eq!(world.labels(), [world.text("d/two")]);
}

#[tokio::test]
async fn matches_of_a_pattern_come_and_go() {
    let mut world = World::new();
    world.write("d/one.hosts", "192.0.2.1 one.example.org\n");
    world.write("d/one.txt", "192.0.2.1 no.example.org\n");
    let mut hosts = world.start(world.config(&["d/*.hosts"]));
    assert_eq!(hosts.first().await, [("d/one.hosts", "one.example.org.")]);
    world.write("d/two.hosts", "192.0.2.2 two.example.org\n");
    assert_eq!(hosts.next().await, [("d/two.hosts", "two.example.org.")]);
}

#[tokio::test]
async fn a_removed_directory_keeps_its_rows() {
    let mut world = World::new();
    world.write("d/one", "192.0.2.1 one.example.org\n");
    let mut hosts = world.start(world.config(&["d"]));
    hosts.first().await;
    fs::remove_dir_all(world.path("d")).unwrap();
    hosts.silent(Duration::from_millis(2600)).await;
    world.write("d/one", "192.0.2.1 uno.example.org\n");
    assert_eq!(hosts.next().await, [("d/one", "uno.example.org.")]);
}

#[tokio::test]
async fn a_config_map_is_swapped_as_one() {
    let mut world = World::new();
    world.write("c/..v1/a", "192.0.2.1 a1.example.org\n");
    world.write("c/..v1/b", "192.0.2.2 b1.example.org\n");
    symlink("..v1", world.path("c/..data")).unwrap();
    symlink("..data/a", world.path("c/a")).unwrap();
    symlink("..data/b", world.path("c/b")).unwrap();
    let mut hosts = world.start(world.config(&["c"]));
    assert_eq!(
        hosts.first().await,
        [("c/a", "a1.example.org."), ("c/b", "b1.example.org.")]
    );
    for version in [2, 3] {
        let dir = format!("c/..v{version}");
        let (a, b) = (format!("a{version}"), format!("b{version}"));
        world.write(&format!("{dir}/a"), &format!("192.0.2.1 {a}.example.org\n"));
        world.write(&format!("{dir}/b"), &format!("192.0.2.2 {b}.example.org\n"));
        symlink(format!("..v{version}"), world.path("c/..tmp")).unwrap();
        world.rename("c/..tmp", "c/..data");
        let (a, b) = (format!("{a}.example.org."), format!("{b}.example.org."));
        assert_eq!(
            hosts.next().await,
            [("c/a", a.as_str()), ("c/b", b.as_str())]
        );
    }
}

#[tokio::test]
async fn a_linked_file_is_followed_where_it_really_is() {
    let mut world = World::new();
    world.write("real/hosts", "192.0.2.1 a.example.org\n");
    symlink("real/hosts", world.path("hosts")).unwrap();
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("real/hosts", "192.0.2.1 b.example.org\n");
    assert_eq!(hosts.next().await, [("hosts", "b.example.org.")]);
}

#[tokio::test]
async fn a_directory_that_appears_late_is_followed() {
    let mut world = World::new();
    let mut hosts = world.start(world.config(&["x/y/d"]));
    hosts.first().await;
    world.write("x/y/d/one", "192.0.2.1 one.example.org\n");
    assert_eq!(hosts.next().await, [("x/y/d/one", "one.example.org.")]);
    world.write("x/y/d/two", "192.0.2.2 two.example.org\n");
    assert_eq!(hosts.next().await, [("x/y/d/two", "two.example.org.")]);
}

#[tokio::test]
async fn a_touched_file_is_no_change() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    world.write("hosts", "192.0.2.1 a.example.org\n");
    hosts.silent(Duration::from_millis(700)).await;
}

#[tokio::test]
async fn files_are_counted_until_the_task_ends() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org b.example.org\nnonsense\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    let path = world.text("hosts");
    assert_eq!(world.value("coredns_hosts_entries", &path), Some(4.0));
    assert_eq!(world.value("portolan_hosts_bad_lines", &path), Some(1.0));
    let modified = world
        .registry
        .gather()
        .iter()
        .find(|family| family.name() == "coredns_hosts_reload_timestamp_seconds")
        .map(|family| family.get_metric()[0].get_gauge().get_value());
    assert!(modified.unwrap() > 1.0e9);
    hosts.cancel.cancel();
    hosts.tracker.close();
    hosts.tracker.wait().await;
    assert_eq!(world.value("coredns_hosts_entries", &path), None);
}

#[tokio::test]
async fn the_task_ends_when_nobody_takes_its_rows() {
    let mut world = World::new();
    world.write("hosts", "192.0.2.1 a.example.org\n");
    let mut hosts = world.start(world.config(&["hosts"]));
    hosts.first().await;
    hosts.batches.close();
    world.write("hosts", "192.0.2.1 b.example.org\n");
    hosts.tracker.close();
    tokio::time::timeout(PATIENCE, hosts.tracker.wait())
        .await
        .expect("the task ends");
}

impl World {
    fn new() -> Self {
        Self::with(Families::register)
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "it changes the world")]
    fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "it changes the world")]
    fn remove(&mut self, tail: &str) {
        fs::remove_file(self.path(tail)).unwrap();
    }

    /// A directive that would find a change by polling after a minute only.
    fn config(&self, paths: &[&str]) -> Config {
        Config {
            paths: paths.iter().map(|tail| self.text(tail)).collect(),
            reload: Some(Duration::from_secs(60)),
            ..Config::new(LayerId(1))
        }
    }

    fn start(&self, config: Config) -> Running {
        self.spawn("", |changes, tracker, cancel| {
            HostsTask::spawn(config, changes, self.families.clone(), tracker, cancel)
        })
    }

    /// Value of a gauge for a file.
    fn value(&self, name: &str, path: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let mut metrics = family.get_metric().iter();
        let metric = metrics.find(|metric| metric.get_label()[0].value() == path)?;
        Some(metric.get_gauge().get_value())
    }

    /// Files that are counted.
    fn labels(&self) -> Vec<String> {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "coredns_hosts_entries")
            .unwrap();
        family
            .get_metric()
            .iter()
            .map(|metric| metric.get_label()[0].value().to_owned())
            .collect()
    }
}
