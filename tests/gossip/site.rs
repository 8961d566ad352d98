//! Clusters to be tested, and how long they may take.

use std::path::Path;
use std::time::Duration;

use portolan_testkit::cluster::Cluster;
use portolan_testkit::cluster::Series;
use portolan_testkit::netns;

use crate::support::needs;
use crate::support::needs_root;
use crate::support::skip;

/// How long a name may take to come or go everywhere before a test gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take until a node that says nothing is given up.
pub(super) const DETECTION: Duration = Duration::from_secs(25);

/// Longer than members wait between two full comparisons with another.
pub(super) const EXCHANGE: Duration = Duration::from_secs(17);

/// Nodes on loopback addresses.
pub(super) fn on_loopback(count: usize) -> anyhow::Result<Cluster> {
    Cluster::on_loopback(binary(), count)
}

/// Nodes with a host each; nothing where that cannot be had, which is said.
pub(super) fn on_hosts(count: usize) -> anyhow::Result<Option<Cluster>> {
    if !needs(&["ip", "iptables-restore"]) || !needs_root() {
        return Ok(None);
    }
    if let Err(reason) = netns::check() {
        skip(&format!("needs networks: {reason:#}"));
        return Ok(None);
    }
    Cluster::on_hosts(binary(), count).map(Some)
}

/// The binary under test.
pub(super) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_portolan"))
}

/// Says how long something took.
#[expect(clippy::print_stderr, reason = "figures are for people")]
pub(super) fn report(what: &str, series: &Series) {
    eprintln!("{what}: {series}");
}
