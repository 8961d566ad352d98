//! The task that joins the protocol, membership and the table.
//!
//! It finishes what is at hand before it takes what comes from elsewhere. What
//! may take long, a connection to another member, is a task of its own; they
//! are bounded in number and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advertise;
use crate::cluster::Shared;
use crate::cluster::StartError;
use crate::config::Config;
use crate::config::Secret;
use crate::config::Settings;
use crate::discovery::Heard;
use crate::feed::Feed;
use crate::gossip;
use crate::gossip::Gossip;
use crate::gossip::GossipConfig;
use crate::gossip::Refusals;
use crate::joiner::Joiner;
use crate::ledger::Ledger;
use crate::ledger::View;
use crate::locals::Locals;
use crate::member::Member;
use crate::member::MemberId;
use crate::metrics::Families;
use crate::outlet::Outlet;
use crate::secret;
use crate::seeds::Seeds;
use crate::unjoined::Unjoined;

use joining::Finder;
use joining::Joined;
use joining::hear;
use start::QUIET;
use start::Start;

mod joining;
mod outgoing;
mod start;

/// The task.
pub(crate) struct ClusterTask {
    /// What the handle sees, and the layers.
    shared: Arc<Shared>,
    /// The protocol.
    ledger: Ledger,
    /// Membership.
    gossip: Arc<Gossip>,
    /// What membership says.
    events: mpsc::Receiver<gossip::Event>,
    /// What other members are told when states are exchanged.
    exchange: Arc<ArcSwap<Bytes>>,
    /// When that, and what people are shown, was made.
    shown: Instant,
    /// Whether there has been anything since.
    stirred: bool,
    /// Our own sources.
    locals: Locals,
    /// The layers that were told what other members assert.
    known: Vec<Arc<Feed>>,
    /// The layer whose sources are ours.
    published: Option<Arc<Feed>>,
    /// Whom to join.
    joiner: Joiner,
    /// How attempts to join went.
    joins: mpsc::Receiver<Joined>,
    /// For attempts to tell.
    join_results: mpsc::Sender<Joined>,
    /// Why members could not be joined, as it was said last.
    unjoined: Unjoined,
    /// Looks up seeds.
    seeds: Seeds,
    /// Addresses of the seeds, as they are found out.
    lookups: mpsc::Receiver<Vec<SocketAddr>>,
    /// For look-ups to tell.
    lookup_results: mpsc::Sender<Vec<SocketAddr>>,
    /// Who was heard on the network.
    heard: Option<mpsc::Receiver<Heard>>,
    /// Finds members on the network.
    finder: Finder,
    /// What the keys are made from.
    secrets: Vec<Secret>,
    /// What may change.
    settings: watch::Receiver<Settings>,
    /// How far the start has come.
    start: Start,
    /// What membership has not taken so far.
    refusals: Refusals,
    /// Tasks for what may take long.
    tasks: TaskTracker,
    /// How many of them may send at a time.
    senders: Arc<Semaphore>,
    /// Log and metrics.
    outlet: Outlet,
    /// Makes it leave.
    stop: CancellationToken,
}

/// Events of membership that may wait.
const EVENTS: usize = 4_096;

/// Sets that may be on their way to other members at a time.
const SENDERS: usize = 64;

/// How often members are compared with what events said.
const ROSTER: Duration = Duration::from_secs(1);

/// How often what states are exchanged with, and what people are shown, is
/// made anew, at most.
const SHOW: Duration = Duration::from_millis(100);

/// How long membership may take to tell others that this member leaves. They
/// have our own good-bye already; this only spares them the search.
const LEAVE: Duration = Duration::from_millis(100);

// === impl ClusterTask ===

impl ClusterTask {
    /// Listens for members.
    pub(crate) async fn build(
        config: Config,
        shared: Arc<Shared>,
        settings: watch::Receiver<Settings>,
        settled: watch::Sender<bool>,
        metrics: Families,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let me = MemberId::new(&config.name, rand::random());
        let seeds = Seeds::default();
        let advertised = advertise::decide(&config, &seeds).await?;
        let secrets = config.settings.secrets.clone();
        let keys = keys(secrets.clone()).await.ok_or(StartError::Interrupted)?;
        let (events_out, events) = mpsc::channel(EVENTS);
        let exchange = Arc::new(ArcSwap::from_pointee(Bytes::new()));
        let gossip = Gossip::start(
            GossipConfig {
                id: me.clone(),
                bind: config.bind,
                advertise: advertised.address,
                label: config.label.clone(),
                networks: config.networks.clone(),
                keys,
            },
            events_out,
            Arc::clone(&exchange),
        );
        let gossip = gossip
            .await
            .map_err(|error| StartError::Membership(error.to_string()))?;
        tracing::info!(
            plugin = "docker-cluster",
            node = me.name(),
            id = me.as_str(),
            bind = %config.bind,
            advertise = %advertised.address,
            reason = advertised.reason,
            encrypted = !config.settings.secrets.is_empty(),
            "Cluster started"
        );
        let tasks = TaskTracker::new();
        let finder = Finder {
            me: me.clone(),
            advertised: advertised.address,
            port: config.discovery_port,
            stop: stop.clone(),
        };
        let now = Instant::now();
        let (join_results, joins) = mpsc::channel(SENDERS);
        let (lookup_results, lookups) = mpsc::channel(1);
        let rules = config.settings.rules.clone();
        Ok(Self {
            shared,
            ledger: Ledger::new(me, rules, rand::random(), now.into_std()),
            gossip: Arc::new(gossip),
            events,
            exchange,
            shown: now,
            stirred: false,
            locals: Locals::default(),
            known: Vec::new(),
            published: None,
            joiner: Joiner::new(advertised.address, rand::random()),
            joins,
            join_results,
            unjoined: Unjoined::default(),
            seeds,
            lookups,
            lookup_results,
            heard: None,
            finder,
            secrets,
            settings,
            start: Start {
                settled,
                began: now,
                waiting: None,
                stirred: now,
                is_over: false,
            },
            refusals: Refusals::default(),
            tasks,
            senders: Arc::new(Semaphore::new(SENDERS)),
            outlet: Outlet {
                gauges: metrics.gauges(),
                metrics,
            },
            stop,
        })
    }

    /// Takes part until told to stop; then leaves.
    pub(crate) async fn run(mut self) {
        let mut roster = tokio::time::interval(ROSTER);
        let without_seeds = self.settings.borrow().seeds.is_empty();
        self.set_discovery(without_seeds);
        let mut round = Instant::now();
        self.show();
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = self.shared.changed.notified() => self.look_at_feeds().await,
                Ok(()) = self.settings.changed() => self.on_settings().await,
                _ = roster.tick() => self.on_roster().await,
                Some(event) = self.events.recv() => self.on_event(event).await,
                Some(joined) = self.joins.recv() => self.on_join(&joined),
                Some(addresses) = self.lookups.recv() => self.on_seeds(addresses).await,
                Some(heard) = hear(&mut self.heard) => self.on_heard(heard).await,
                () = tokio::time::sleep_until(round) => {
                    self.on_round().await;
                    round = Instant::now() + self.joiner.pause();
                }
                () = tokio::time::sleep_until(due) => {}
            }
            // However much there is to hear, time goes on.
            if self.ledger.due().is_some_and(|due| due <= now()) {
                let actions = self.ledger.tick(now());
                self.perform(actions).await;
            }
            if self.stirred && self.shown.elapsed() >= SHOW {
                self.show();
            }
            self.note_start().await;
        }
        self.leave().await;
    }

    /// When there is something to do although nothing happens.
    fn due(&self) -> Instant {
        let ledger = self.ledger.due().map(Instant::from_std);
        let start = (!self.start.is_over).then(|| Instant::now() + QUIET);
        let show = self.stirred.then(|| self.shown + SHOW);
        let idle = Instant::now() + ROSTER;
        let all = [ledger, start, show].into_iter().flatten();
        all.min().unwrap_or(idle)
    }

    /// Membership says something.
    async fn on_event(&mut self, event: gossip::Event) {
        self.gossip.took(&event);
        let actions = match event {
            gossip::Event::Joined(id, address) => {
                self.start.stirred = Instant::now();
                self.joiner.joined(&id, address, now());
                self.ledger.joined(id, address, now())
            }
            gossip::Event::Left(id) => self.ledger.left(id, now()),
            gossip::Event::Message(octets) | gossip::Event::Exchange(octets) => {
                self.ledger.receive(&octets, now())
            }
        };
        self.perform(actions).await;
    }

    /// What may change has changed.
    async fn on_settings(&mut self) {
        let settings = self.settings.borrow_and_update().clone();
        self.set_discovery(settings.seeds.is_empty());
        self.set_secrets(settings.secrets).await;
        let actions = self.ledger.set_rules(settings.rules, now());
        self.perform(actions).await;
        self.find_seeds(settings.seeds);
    }

    /// Changes the keys, if the secrets have changed.
    async fn set_secrets(&mut self, secrets: Vec<Secret>) {
        if secrets == self.secrets {
            return;
        }
        let changed = match keys(secrets.clone()).await {
            Some(keys) => self
                .gossip
                .set_keys(&keys)
                .map_err(|error| error.to_string()),
            None => Err("no key could be derived".to_owned()),
        };
        match changed {
            Ok(()) => self.secrets = secrets,
            Err(error) => tracing::error!(
                plugin = "docker-cluster",
                "the secrets stay as they are: {error}"
            ),
        }
    }

    /// Compares who is there with what events said.
    async fn on_roster(&mut self) {
        let online = self.gossip.online().await;
        let actions = self.ledger.roster(&online, now());
        self.perform(actions).await;
        let refusals = self.gossip.refusals();
        self.outlet.metrics.refused(self.refusals, refusals);
        self.refusals = refusals;
    }

    /// Makes anew what states are exchanged with and what people are shown.
    fn show(&mut self) {
        self.shown = Instant::now();
        self.stirred = false;
        self.exchange.store(Arc::new(self.ledger.exchange()));
        let views = self.ledger.views(now());
        self.outlet.gauges.show(&views);
        let members = views.into_iter().map(member);
        self.shared.members.store(Arc::new(members.collect()));
    }

    /// Says good-bye, and ends membership.
    async fn leave(&mut self) {
        let actions = self.ledger.leave(now());
        self.perform(actions).await;
        self.gossip.leave(LEAVE).await;
        self.gossip.shutdown().await;
        tracing::info!(plugin = "docker-cluster", "left the cluster");
    }
}

/// The time, as the protocol takes it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The keys of secrets. Deriving one takes a while.
async fn keys(secrets: Vec<Secret>) -> Option<Vec<Vec<u8>>> {
    let derived = tokio::task::spawn_blocking(move || {
        let keys = secrets.iter().map(secret::key);
        keys.collect()
    });
    // Never none for some: that would be plaintext.
    derived.await.ok()
}

/// A member, for people.
fn member(view: View) -> Member {
    Member {
        name: view.id.name().to_owned(),
        id: view.id.as_str().to_owned(),
        address: view.address.map(|address| address.to_string()),
        state: view.state.to_owned(),
        epoch: view.epoch,
        version: view.version,
        records: view.records,
        served: view.served,
        complete: view.complete,
    }
}
