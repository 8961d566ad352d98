//! Nodes without the key or the label try to join.

use std::time::Duration;

use portolan_testkit::cluster::Cluster;
use portolan_testkit::process::pause;

use crate::experiment::binary;
use crate::report::Report;

/// Keys: of friends, of friends, another one, none, that of friends.
const KEYS: [Option<&str>; 5] = [
    Some("0123456789abcdef"),
    Some("0123456789abcdef"),
    Some("fedcba9876543210"),
    None,
    Some("0123456789abcdef"),
];

/// Labels: the last stranger has another one.
const LABELS: [&str; 5] = ["home", "home", "home", "home", "lab"];

/// How long strangers try.
const TRIES: Duration = Duration::from_secs(30);

/// Counts what crosses.
pub(crate) fn run(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..rounds {
        let mut cluster = Cluster::on_loopback(binary(), KEYS.len())?;
        for (number, (key, label)) in KEYS.into_iter().zip(LABELS).enumerate() {
            let settings = &mut cluster.node_mut(number).settings;
            settings.property(&format!("cluster_label {label}"));
            if let Some(key) = key {
                settings.set("CLUSTER_SECRET", key);
            }
        }
        for node in cluster.nodes_mut() {
            node.start()?;
        }
        let friends = [0, 1];
        cluster.settle(&friends, &cluster.truth(&friends), TRIES)?;
        pause(TRIES);
        report.judge(&cluster.verdict(&friends, &cluster.truth(&friends))?);
        for stranger in 2..KEYS.len() {
            let alone = cluster.truth(&[stranger]);
            report.judge(&cluster.verdict(&[stranger], &alone)?);
        }
    }
    Ok(())
}
