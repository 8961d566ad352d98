//! What can be measured.

use std::path::Path;

use crate::churn;
use crate::churn::Trouble;
use crate::hostile;
use crate::partition;
use crate::report::Report;
use crate::rolling;
use crate::spread;
use crate::strangers;
use crate::withdrawal;
use crate::withdrawal::End;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Experiment {
    /// A name comes and goes at 3 nodes.
    Spread3,
    /// A name comes and goes at 10 nodes.
    Spread10,
    /// A name comes and goes at 30 nodes.
    Spread30,
    /// One of 10 nodes has 10,000 names.
    Burst,
    /// 1,000 containers start and stop.
    Churn,
    /// As before, while packets are lost.
    ChurnLoss,
    /// As before, while one node restarts again and again.
    ChurnReboot,
    /// A node leaves.
    Leave,
    /// A node is killed.
    Kill,
    /// A node freezes.
    Freeze,
    /// The cable of a node is pulled.
    Unplug,
    /// A network is apart for 20 s.
    Partition20,
    /// A network is apart for 120 s.
    Partition120,
    /// Every node restarts while all are asked.
    Rolling,
    /// Nodes without the key or the label try to join.
    Strangers,
    /// Garbage arrives.
    Hostile,
}

// === impl Experiment ===

impl Experiment {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Spread3,
        Self::Spread10,
        Self::Spread30,
        Self::Burst,
        Self::Churn,
        Self::ChurnLoss,
        Self::ChurnReboot,
        Self::Leave,
        Self::Kill,
        Self::Freeze,
        Self::Unplug,
        Self::Partition20,
        Self::Partition120,
        Self::Rolling,
        Self::Strangers,
        Self::Hostile,
    ];

    /// Its word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Spread3 => "spread-3",
            Self::Spread10 => "spread-10",
            Self::Spread30 => "spread-30",
            Self::Burst => "burst",
            Self::Churn => "churn",
            Self::ChurnLoss => "churn-loss",
            Self::ChurnReboot => "churn-reboot",
            Self::Leave => "leave",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Unplug => "unplug",
            Self::Partition20 => "partition-20",
            Self::Partition120 => "partition-120",
            Self::Rolling => "rolling",
            Self::Strangers => "strangers",
            Self::Hostile => "hostile",
        }
    }

    /// Tries it so many times.
    pub(crate) fn run(self, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Spread3 => spread::run(3, 150, rounds, report),
            Self::Spread10 => spread::run(10, 400, rounds, report),
            Self::Spread30 => spread::run(30, 1_000, rounds, report),
            Self::Burst => spread::burst(rounds, report),
            Self::Churn => churn::run(Trouble::None, rounds, report),
            Self::ChurnLoss => churn::run(Trouble::Loss, rounds, report),
            Self::ChurnReboot => churn::run(Trouble::Reboot, rounds, report),
            Self::Leave => withdrawal::run(End::Leave, rounds, report),
            Self::Kill => withdrawal::run(End::Kill, rounds, report),
            Self::Freeze => withdrawal::run(End::Freeze, rounds, report),
            Self::Unplug => withdrawal::run(End::Unplug, rounds, report),
            Self::Partition20 => partition::run(20, rounds, report),
            Self::Partition120 => partition::run(120, rounds, report),
            Self::Rolling => rolling::run(rounds, report),
            Self::Strangers => strangers::run(rounds, report),
            Self::Hostile => hostile::run(rounds, report),
        }
    }
}

/// The server to measure.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_portolan"))
}
