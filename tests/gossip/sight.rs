//! What people and machines are shown of a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Node;
use portolan_testkit::process::wait_for;
use serde_json::Value;

use super::site::PATIENCE;
use super::site::on_loopback;
use crate::support::portolan;

/// The page about clusters.
const PAGE: &str = include_str!("../../docs/cluster.md");

/// What the command says that shows members, and whether it succeeds.
fn ask(arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let arguments = [&["members"], arguments].concat();
    let mut process = portolan().args(arguments).start()?;
    let status = process.wait()?;
    // The last lines may come a little later than the end.
    wait_for(|| (!process.lines().is_empty()).then_some(()));
    portolan_testkit::process::pause(Duration::from_millis(50));
    Ok((status.success(), process.lines().join("\n")))
}

/// Whether a table has a line for each node, itself first.
fn shows_all(cluster: &Cluster, asked: usize, table: &str) -> bool {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let head = ["NAME", "ADDRESS", "STATE", "RECORDS", "SERVED", "VERSION"];
    let has_row = |node: &Node| {
        let is_own = node.settings.name == cluster.node(asked).settings.name;
        let state = if is_own { "self" } else { "alive" };
        let seed = node.seed();
        let start = [node.settings.name.as_str(), &seed, state];
        let is_it = |row: &&Vec<&str>| row.starts_with(&start) && row.get(4) == Some(&"yes");
        rows.iter().filter(is_it).count() == 1
    };
    rows.first().is_some_and(|row| *row == head)
        && rows.get(1).and_then(|row| row.get(2)) == Some(&"self")
        && rows.len() == cluster.nodes().len() + 1
        && cluster.nodes().iter().all(has_row)
}

/// The families of metrics that the page tells of, each with its labels.
fn families() -> Vec<(&'static str, &'static str)> {
    let lines = PAGE.lines().filter(|line| line.starts_with("- `portolan_"));
    let words = lines.flat_map(|line| line.split('`'));
    words
        .filter(|word| word.starts_with("portolan_cluster_"))
        .map(|word| {
            let (name, labels) = word.split_once('{').unwrap_or((word, ""));
            (name, labels.trim_end_matches('}'))
        })
        .collect()
}

#[test]
fn the_command_lists_members_as_a_table_and_as_json() -> anyhow::Result<()> {
    let mut cluster = on_loopback(3)?;
    cluster.start()?;
    for number in cluster.all() {
        let address = cluster.node(number).place().admin.to_string();
        let mut shown = String::new();
        let is_shown = || {
            shown = ask(&[&address]).ok()?.1;
            shows_all(&cluster, number, &shown).then_some(())
        };
        wait_for(is_shown).with_context(|| shown)?;
        let (is_fine, json) = ask(&["--json", &address])?;
        let members: Value = serde_json::from_str(&json).with_context(|| json.clone())?;
        let names: BTreeSet<&str> = members
            .as_array()
            .context("no array")?
            .iter()
            .filter_map(|member| member["name"].as_str())
            .collect();
        ensure!(
            is_fine && names == BTreeSet::from(["node1", "node2", "node3"]),
            "{json}"
        );
    }
    // One that died is told.
    cluster.node_mut(2).kill()?;
    let address = cluster.node(0).place().admin.to_string();
    let is_told = || {
        let (_, table) = ask(&[&address]).ok()?;
        let row = table.lines().find(|line| line.starts_with("node3"))?;
        row.contains(" failed ").then_some(())
    };
    wait_for(is_told).with_context(|| cluster.node(0).show_members())?;
    // Nobody there.
    let (is_fine, text) = ask(&[&cluster.node(2).place().admin.to_string()])?;
    ensure!(!is_fine, "{text}");
    Ok(())
}

#[test]
fn every_metric_of_the_page_is_there_and_no_other() -> anyhow::Result<()> {
    let mut cluster = on_loopback(2)?;
    cluster.start()?;
    cluster.node_mut(1).run("new", &["new.cluster.test"]);
    let all = cluster.all();
    cluster.settle(&all, &cluster.truth(&all), PATIENCE)?;
    // What is shown is as old as 100 ms.
    let alive = r#"state="alive""#;
    let alive = || cluster.node(0).metric("portolan_cluster_members", &[alive]);
    wait_for(|| (alive().ok()? == 1.0).then_some(())).with_context(|| format!("{:?}", alive()))?;
    let families = families();
    ensure!(families.len() > 15, "{families:?}");
    let told: BTreeSet<&str> = families.iter().map(|(name, _)| *name).collect();
    let metrics = cluster.node(0).metrics()?;
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<&str> = types
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("portolan_cluster_"))
        .collect();
    ensure!(there == told, "{there:?}\n{told:?}");
    for (name, label) in families.iter().filter(|(_, label)| !label.is_empty()) {
        let start = format!("{name}{{{label}=\"");
        let is_there = metrics.lines().any(|line| line.starts_with(&start));
        ensure!(is_there, "{start}\n{metrics}");
    }
    let version = |number: usize| {
        let member = r#"member="node2""#;
        cluster
            .node(number)
            .metric("portolan_cluster_version", &[member])
            .ok()
    };
    let is_same = || (version(0)? == version(1)?).then_some(());
    wait_for(is_same).with_context(|| format!("{:?} {:?}", version(0), version(1)))
}
