//! Where the protocol's decisions leave: words to the log, numbers to the
//! metrics.

use crate::ledger::Notice;
use crate::metrics::Families;
use crate::metrics::Gauges;

/// Where decisions leave.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Numbers.
    pub(crate) metrics: Families,
    /// Those of them that this cluster has for itself.
    pub(crate) gauges: Gauges,
}

// === impl Outlet ===

impl Outlet {
    /// Says and counts what happened.
    pub(crate) fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            self.tell_one(notice);
        }
    }

    /// Says and counts one thing.
    fn tell_one(&self, notice: Notice) {
        match notice {
            Notice::Joined(member, address) => {
                self.metrics.joined.inc();
                tracing::info!(
                    plugin = "docker-cluster",
                    member = member.name(),
                    id = member.as_str(),
                    %address,
                    "member joined"
                );
            }
            Notice::Left(member) => tracing::info!(
                plugin = "docker-cluster",
                member = member.name(),
                id = member.as_str(),
                "member leaves"
            ),
            Notice::Failed(member) => tracing::warn!(
                plugin = "docker-cluster",
                member = member.name(),
                id = member.as_str(),
                "member failed"
            ),
            Notice::Withdrawn {
                member,
                records,
                why,
            } => {
                self.metrics.withdrawn(why, 1);
                tracing::info!(
                    plugin = "docker-cluster",
                    member = member.name(),
                    id = member.as_str(),
                    records,
                    reason = why.as_str(),
                    "records of a member withdrawn"
                );
            }
            Notice::NameClash(one, other) => {
                self.metrics.name_clashes.inc();
                tracing::warn!(
                    plugin = "docker-cluster",
                    member = one.name(),
                    ids = format!("{one} {other}"),
                    "two members have the same name: both work, but cannot be told apart; \
                     set node_name (NODE_NAME) on each host"
                );
            }
            Notice::Converged { lag, .. } => self.metrics.convergence.observe(lag.as_secs_f64()),
            Notice::BadMessage(problem) => {
                self.metrics.bad_messages.inc();
                tracing::debug!(plugin = "docker-cluster", problem, "unreadable message");
            }
            Notice::Refused {
                member,
                records,
                why,
            } => {
                self.metrics.refused_records.inc_by(records as u64);
                tracing::warn!(
                    plugin = "docker-cluster",
                    member = member.name(),
                    id = member.as_str(),
                    records,
                    reason = why,
                    "records of a member ignored"
                );
            }
            Notice::TooMany {
                unshared,
                shared,
                limit,
                source,
            } => self.tell_unshared(unshared, shared, limit, source.as_deref()),
            Notice::Gap => self.metrics.gaps.inc(),
            Notice::PullRefused => self.metrics.refused_pull(),
            Notice::Pull => self.metrics.pulls.inc(),
            Notice::Digest => self.metrics.digests.inc(),
            Notice::Outrun => tracing::warn!(
                plugin = "docker-cluster",
                "others know a later version of our records than we wrote, as after the host \
                 was restored from an image: a new epoch begins"
            ),
        }
    }

    /// Says how many of our own records are not shared, and counts them.
    fn tell_unshared(&self, unshared: usize, shared: usize, limit: usize, source: Option<&str>) {
        self.gauges.unshared(unshared);
        if unshared > 0 {
            tracing::warn!(
                plugin = "docker-cluster",
                records = unshared,
                shared,
                limit,
                container = source,
                "more records than a member may have: so many are not shared; a container is \
                 shared as a whole or not at all, such as this one (cluster_max_records)"
            );
        } else {
            tracing::info!(
                plugin = "docker-cluster",
                shared,
                limit,
                "all records are shared"
            );
        }
    }
}
