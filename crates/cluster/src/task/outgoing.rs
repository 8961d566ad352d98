//! What leaves: records to the layers of the table and to other members.

use std::sync::Arc;

use portolan_table::Batch;
use portolan_table::Caption;
use portolan_table::Change;
use portolan_table::Source;

use super::ClusterTask;
use super::now;
use crate::feed::Feed;
use crate::feed::Stage;
use crate::ledger::Actions;
use crate::ledger::Notice;
use crate::ledger::RemoteChange;
use crate::ledger::Send;

// === impl ClusterTask ===

impl ClusterTask {
    /// Sources of this server, or layers, have changed.
    pub(super) async fn look_at_feeds(&mut self) {
        let feeds = {
            let mut feeds = self.shared.feeds();
            feeds.retain(|feed| feed.stage() != Stage::Detached);
            feeds.clone()
        };
        for feed in &feeds {
            if !self.known.iter().any(|known| Arc::ptr_eq(known, feed)) {
                pass_on(feed, &self.ledger.remote()).await;
            }
        }
        let published = |feed: &&Arc<Feed>| feed.stage() >= Stage::Published;
        let current = feeds.iter().rfind(published).map(Arc::clone);
        self.known = feeds;
        let Some(current) = current else {
            return;
        };
        let same = |before: &Arc<Feed>| Arc::ptr_eq(before, &current);
        let changes = if self.published.as_ref().is_some_and(same) {
            self.locals.apply(current.take_dirty())
        } else {
            self.locals.replace(current.take_all())
        };
        let actions = self.ledger.local(changes, now());
        self.perform(actions).await;
        if current.stage() == Stage::Complete {
            let actions = self.ledger.complete(now());
            self.perform(actions).await;
        }
        self.published = Some(current);
    }

    /// Does what the protocol decided.
    pub(super) async fn perform(&mut self, actions: Actions) {
        self.stirred = true;
        let Actions {
            changes,
            sends,
            gossip,
            notices,
        } = actions;
        if !changes.is_empty() {
            for feed in &self.known {
                pass_on(feed, &changes).await;
            }
        }
        for send in sends {
            self.send(send).await;
        }
        for octets in gossip {
            self.gossip.broadcast(octets);
        }
        for notice in &notices {
            if let Notice::Left(id) = notice {
                self.joiner.forget(id);
            }
        }
        self.outlet.tell(notices);
    }

    /// Sends a message to one member.
    pub(super) async fn send(&self, send: Send) {
        let Send {
            address,
            reliable,
            octets,
            ..
        } = send;
        let errors = self.outlet.metrics.send_errors.clone();
        if !reliable {
            if self.gossip.send(address, false, octets).await.is_err() {
                errors.inc();
            }
            return;
        }
        // Whoever is not served now asks again.
        let Ok(permit) = Arc::clone(&self.senders).try_acquire_owned() else {
            errors.inc();
            return;
        };
        let gossip = Arc::clone(&self.gossip);
        self.tasks.spawn(async move {
            let _permit = permit;
            if gossip.send(address, true, octets).await.is_err() {
                errors.inc();
            }
        });
    }
}

/// Tells a layer what other members assert.
async fn pass_on(feed: &Feed, changes: &[RemoteChange]) {
    if changes.is_empty() {
        return;
    }
    let change = |change: &RemoteChange| Change {
        layer: feed.layer,
        source: Source::Remote {
            member: change.member.shared(),
            key: change.key,
            caption: Caption(format!("{} on {}", change.origin, change.member.name()).into()),
        },
        rows: change.rows.clone(),
    };
    let batch = Batch {
        changes: changes.iter().map(change).collect(),
        published: None,
    };
    // Without a table nobody asks.
    drop(feed.table.send(batch).await);
}
