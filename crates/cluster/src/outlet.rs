//! Where the protocol's decisions leave: words to the log, numbers to the
//! metrics.

use crate::ledger::Notice;
use crate::metrics::Families;

/// Where decisions leave.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Numbers.
    pub(crate) metrics: Families,
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
            Notice::TooMany(records) => {
                let figure = i64::try_from(records).unwrap_or(i64::MAX);
                self.metrics.unshared_records.set(figure);
                if records > 0 {
                    tracing::warn!(
                        plugin = "docker-cluster",
                        records,
                        "more records than a member may have: so many are not shared \
                         (cluster_max_records)"
                    );
                }
            }
            Notice::Gap => self.metrics.gaps.inc(),
            Notice::Pull => self.metrics.pulls.inc(),
            Notice::Digest => self.metrics.digests.inc(),
            Notice::Outrun => tracing::warn!(
                plugin = "docker-cluster",
                "others know a later version of our records than we wrote, as after the host \
                 was restored from an image: a new epoch begins"
            ),
        }
    }
}
