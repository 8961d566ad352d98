//! Telling when the start is over: whoever could be joined was, and what they
//! know can be asked for.

use std::sync::Arc;
use std::time::Duration;

use portolan_table::Batch;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ClusterTask;
use crate::feed::Feed;

/// How far the start has come.
pub(super) struct Start {
    /// Tells when it is over.
    pub(super) settled: watch::Sender<bool>,
    /// When it began.
    pub(super) began: Instant,
    /// Attempts of the first round that have not ended; none before there was
    /// a first round.
    pub(super) waiting: Option<usize>,
    /// When membership last had something new.
    pub(super) stirred: Instant,
    /// Whether it is over but for the tables, which do not yet show all.
    pub(super) is_over: bool,
}

/// Says that the start is over once the last layer has let go of it.
struct Settling(watch::Sender<bool>);

/// However much is missing then, the start is over.
const LONGEST: Duration = Duration::from_secs(10);

/// How long the start waits for somebody to be heard, without seeds.
const LISTEN: Duration = Duration::from_millis(500);

/// How long membership has to be quiet before the start is over: what a member
/// that was joined knows of others arrives within.
pub(super) const QUIET: Duration = Duration::from_millis(60);

// === impl ClusterTask ===

impl ClusterTask {
    /// Notes whether the start is over: whoever could be joined was, and what
    /// they know has arrived.
    pub(super) async fn note_start(&mut self) {
        let Start {
            settled,
            began,
            waiting,
            stirred,
            is_over,
        } = &self.start;
        if *is_over {
            return;
        }
        let now = Instant::now();
        let tried = *waiting == Some(0);
        let listened = self.heard.is_none()
            || self.ledger.views(now.into_std()).len() > 1
            || now.duration_since(*began) >= LISTEN;
        let quiet = now.duration_since(*stirred) >= QUIET;
        let complete = tried && listened && quiet && self.ledger.is_settled();
        if complete || now.duration_since(*began) >= LONGEST {
            let settling = Arc::new(Settling(settled.clone()));
            self.start.is_over = true;
            for feed in &self.known {
                await_table(feed, Arc::clone(&settling)).await;
            }
        }
    }
}

// === impl Settling ===

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Lets go of `settling` once a layer shows what it was told.
async fn await_table(feed: &Feed, settling: Arc<Settling>) {
    let batch = Batch {
        changes: Vec::new(),
        published: Some(Box::new(move || drop(settling))),
    };
    // Without a table nobody asks.
    drop(feed.table.send(batch).await);
}
