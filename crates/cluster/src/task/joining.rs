//! Finding other members and joining them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ClusterTask;
use super::now;
use crate::config::Seed;
use crate::discovery;
use crate::discovery::Heard;
use crate::gossip::JoinError;
use crate::member::MemberId;

/// How an attempt to join went.
pub(super) struct Joined {
    /// The member.
    pub(super) address: SocketAddr,
    /// Why it was not joined.
    pub(super) failure: Option<JoinError>,
}

/// Finds members on the network.
pub(super) struct Finder {
    /// This member.
    pub(super) me: MemberId,
    /// Where others reach it.
    pub(super) advertised: SocketAddr,
    /// The port of discovery.
    pub(super) port: u16,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

// === impl ClusterTask ===

impl ClusterTask {
    /// Begins to listen for members on the network, or ends it.
    pub(super) fn set_discovery(&mut self, wanted: bool) {
        if wanted == self.heard.is_some() {
            return;
        }
        let Finder {
            me,
            advertised,
            port,
            stop,
        } = &mut self.finder;
        if wanted {
            *stop = self.stop.child_token();
            let heard = discovery::listen(me, *advertised, *port, &self.tasks, stop.clone());
            self.heard = Some(heard);
        } else {
            stop.cancel();
            self.heard = None;
        }
    }

    /// An attempt to join is over.
    pub(super) fn on_join(&mut self, joined: &Joined) {
        let led = joined.failure.is_none();
        self.outlet.metrics.tried_to_join(led);
        self.joiner.tried(joined.address, led, now());
        self.tell_failure(joined);
        self.start.stirred = Instant::now();
        if let Some(waiting) = &mut self.start.waiting {
            *waiting = waiting.saturating_sub(1);
        }
    }

    /// Says why a member could not be joined, once.
    pub(super) fn tell_failure(&mut self, joined: &Joined) {
        let Joined { address, failure } = joined;
        if !self.unjoined.note(*address, failure.as_ref()) {
            return;
        }
        match failure {
            Some(error @ JoinError::Foreign(_)) => {
                tracing::warn!(plugin = "docker-cluster", %address, %error, "cannot join");
            }
            Some(error @ JoinError::Unreached(_)) => {
                tracing::info!(plugin = "docker-cluster", %address, %error, "cannot join yet");
            }
            None => {}
        }
    }

    /// The addresses of the seeds are known.
    pub(super) async fn on_seeds(&mut self, addresses: Vec<SocketAddr>) {
        self.joiner.set_seeds(addresses);
        if self.start.waiting.is_none() {
            self.join().await;
        }
    }

    /// Somebody was heard.
    pub(super) async fn on_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Member { id, address } => {
                self.joiner.heard(id, address, now());
                self.join().await;
            }
            Heard::Joyride { address, name } => tracing::info!(
                plugin = "docker-cluster",
                %address,
                member = name,
                "a Joyride server announces itself: its cluster speaks another protocol, records \
                 are not shared with it"
            ),
        }
    }

    /// Begins a round of joining: the names of the seeds are looked up anew.
    pub(super) async fn on_round(&mut self) {
        let seeds = self.settings.borrow().seeds.clone();
        self.find_seeds(seeds);
        if self.start.waiting.is_some() {
            self.join().await;
        }
    }

    /// Looks up the seeds; the result comes to [`on_seeds`](Self::on_seeds).
    pub(super) fn find_seeds(&self, wanted: Vec<Seed>) {
        let Ok(result) = self.lookup_results.clone().try_reserve_owned() else {
            // The look-up before is not over yet.
            return;
        };
        let seeds = self.seeds.clone();
        self.tasks.spawn(async move {
            result.send(seeds.resolve(&wanted).await);
        });
    }

    /// Tries to join whoever should be there and is not.
    pub(super) async fn join(&mut self) {
        let online = self.gossip.online().await;
        let addresses = self.joiner.round(&online, now());
        self.unjoined.retain(|address| self.joiner.knows(address));
        *self.start.waiting.get_or_insert(0) += addresses.len();
        for address in addresses {
            let (gossip, result) = (Arc::clone(&self.gossip), self.join_results.clone());
            self.tasks.spawn(async move {
                let failure = gossip.join(address).await.err();
                // Nobody waits for it after the end.
                drop(result.send(Joined { address, failure }).await);
            });
        }
    }
}

/// Waits for somebody to be heard; for ever if nobody listens.
pub(super) async fn hear(heard: &mut Option<mpsc::Receiver<Heard>>) -> Option<Heard> {
    match heard {
        Some(heard) => heard.recv().await,
        None => std::future::pending().await,
    }
}
