//! One connection to an engine: subscribe, list, then follow.
//!
//! The subscription stands before the list is asked for, and events are obeyed
//! from then on, also while the list is under way; [`Inventory`] sees to it
//! that an old picture does not undo what they said.
//!
//! [`Inventory`]: crate::inventory::Inventory

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use bollard::errors::Error;
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::inventory::Actions;
use crate::inventory::Id;
use crate::inventory::Inspected;
use crate::inventory::Ticket;
use crate::list::List;
use crate::model::Event;
use crate::socket_watch::SocketWatch;
use crate::watcher::End;
use crate::watcher::Watcher;
use crate::watcher::now;
use crate::watcher::sleep_until;

/// How long an engine may keep silent before that is reported. It is waited
/// for on: one that is starting accepts connections before it answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the answer to `/events` may take to begin before the list is asked
/// for anyway: a proxy may hold it back until there is an event.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(2);

/// How many inspections are under way at once.
const MAX_INSPECTIONS: usize = 8;

/// How many lists in a row may fail before the connection is given up.
const MAX_LIST_FAILURES: u32 = 3;

/// Delay before a failed or unusable list is fetched again.
const LIST_RETRY: Duration = Duration::from_secs(1);

/// Delay before a list that an event calls for.
const LIST_SOON: Duration = Duration::from_millis(100);

/// The lists of a connection, one at a time.
struct Lists {
    /// The one under way.
    pending: Option<BoxFuture<'static, Result<List, Error>>>,
    /// When to ask for the next one.
    due: Instant,
    /// Whether the one under way is known not to be enough.
    again: bool,
    /// Failures in a row.
    failures: u32,
}

/// The inspections of a connection, a few at a time.
struct Inspections {
    /// Asks them.
    client: Client,
    /// Those under way.
    pending: FuturesUnordered<BoxFuture<'static, Inspection>>,
    /// Those that wait for their turn, one a container at most.
    waiting: BTreeMap<Id, Ticket>,
}

/// An inspection that is done.
type Inspection = (Ticket, Inspected, Option<Error>);

// === impl Watcher ===

impl Watcher {
    /// Follows the engine over one connection, until that is lost. The watch
    /// on the engine's socket ends when the connection is in step.
    pub(crate) async fn session(
        &mut self,
        watch: &mut Option<SocketWatch>,
    ) -> Result<Infallible, End> {
        let client = Client::new(&self.config.endpoint, &self.tracker, &self.cancel)?;
        self.await_answer(&client).await?;
        self.version = self.drive(client.version()).await?;
        let since = since(&self.config.endpoint);
        let mut events = pin!(client.events(since.as_deref()));
        let first = self.subscribe(&client, &mut events).await?;

        self.inventory.forget_requests();
        self.is_held = false;
        let mut lists = Lists::new();
        let mut inspections = Inspections::new(client.clone());
        lists.begin(&client);
        self.inventory.begin_list();
        if let Some(event) = first {
            self.on_event(event, &mut lists, &mut inspections).await?;
        }
        loop {
            let wake = [self.inventory.poll_timeout(), lists.due()]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Stopped),
                () = sleep_until(wake) => {
                    if lists.due().is_some_and(|due| due <= now()) {
                        lists.begin(&client);
                        self.inventory.begin_list();
                    }
                    let actions = self.inventory.handle_timeout(now());
                    self.obey(actions, &mut lists, &mut inspections).await?;
                }
                done = inspections.next() => self.on_inspected(done, &mut lists, &mut inspections).await?,
                list = lists.next() => {
                    self.on_list(list, &mut lists, &mut inspections).await?;
                    *watch = None;
                }
                event = events.next() => {
                    let event = event.ok_or_else(end_of_events)??;
                    self.on_event(event, &mut lists, &mut inspections).await?;
                }
            }
        }
    }

    /// Waits until the engine answers.
    async fn await_answer(&mut self, client: &Client) -> Result<(), End> {
        let mut ping = Box::pin(client.ping());
        if let Ok(answer) = self.drive(timeout(PATIENCE, &mut ping)).await? {
            return Ok(answer?);
        }
        self.failed(&Error::RequestTimeoutError);
        Ok(self.drive(ping).await??)
    }

    /// Waits until the subscription stands. An event may come first.
    async fn subscribe(
        &mut self,
        client: &Client,
        events: &mut (impl Stream<Item = Result<Event, Error>> + Unpin),
    ) -> Result<Option<Event>, End> {
        let subscribed = client.subscribed();
        let first = async {
            tokio::select! {
                biased;
                // Asking for an event is what sends the request.
                event = events.next() => Some(event),
                () = subscribed.notified() => None,
                () = tokio::time::sleep(SUBSCRIBE_PATIENCE) => None,
            }
        };
        match self.drive(first).await? {
            None => Ok(None),
            Some(event) => Ok(Some(event.ok_or_else(end_of_events)??)),
        }
    }

    /// Takes an event.
    async fn on_event(
        &mut self,
        event: Event,
        lists: &mut Lists,
        inspections: &mut Inspections,
    ) -> Result<(), End> {
        let action = event.action;
        let actions = self.inventory.handle_event(event, now());
        self.obey(actions, lists, inspections).await?;
        self.outlet.count_event(action);
        Ok(())
    }

    /// Takes an inspection.
    async fn on_inspected(
        &mut self,
        (ticket, outcome, error): Inspection,
        lists: &mut Lists,
        inspections: &mut Inspections,
    ) -> Result<(), End> {
        if let Some(error) = error {
            self.outlet.count_error();
            let id = ticket.id.get(..12).unwrap_or(&ticket.id);
            tracing::debug!(
                plugin = "docker-cluster", endpoint = %self.config.endpoint, id, %error,
                "cannot inspect container, trying on"
            );
        }
        let actions = self.inventory.handle_inspect(&ticket, outcome, now());
        if self.is_held && actions.inspect.is_empty() && inspections.is_idle() {
            self.is_held = false;
            return self.complete(actions, lists, inspections).await;
        }
        self.obey(actions, lists, inspections).await
    }

    /// Takes a list.
    async fn on_list(
        &mut self,
        list: Result<List, Error>,
        lists: &mut Lists,
        inspections: &mut Inspections,
    ) -> Result<(), End> {
        let list = match list {
            Ok(list) => list,
            Err(error) => {
                lists.failures += 1;
                if self.synced_at.is_none() || lists.failures >= MAX_LIST_FAILURES {
                    return Err(End::Lost(error));
                }
                self.outlet.count_error();
                lists.due = now() + LIST_RETRY;
                return Ok(());
            }
        };
        lists.failures = 0;
        lists.due = now()
            + if lists.again {
                LIST_SOON
            } else {
                self.config.reconcile
            };
        lists.again = false;
        let actions = self.inventory.handle_list(list, now());
        if actions.relist {
            return self.obey(actions, lists, inspections).await;
        }
        // The very first sync is complete when it is known who is healthy.
        self.is_held = !self.was_synced && !actions.inspect.is_empty();
        if self.is_held {
            return self.obey(actions, lists, inspections).await;
        }
        self.complete(actions, lists, inspections).await
    }

    /// Does what completes a sync.
    async fn complete(
        &mut self,
        mut actions: Actions,
        lists: &mut Lists,
        inspections: &mut Inspections,
    ) -> Result<(), End> {
        if !self.was_synced {
            let changes = std::mem::take(&mut actions.changes);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(End::Stopped),
                sent = self.outlet.send_first(changes) => sent?,
            }
        }
        let is_first = self.synced_at.is_none();
        self.synced_at.get_or_insert_with(now);
        self.obey(actions, lists, inspections).await?;
        self.outlet.set_last_sync(unix_time().as_secs_f64());
        if is_first {
            self.in_step();
        }
        Ok(())
    }

    /// The connection is in step with the engine.
    fn in_step(&mut self) {
        if std::mem::replace(&mut self.was_synced, true) {
            self.outlet.count_reconnect();
        }
        self.outage.ended();
        let plugin = "docker-cluster";
        let endpoint = &self.config.endpoint;
        let version = self.version.as_deref();
        tracing::info!(plugin, %endpoint, version, "connected to Docker daemon");
        let containers = self.inventory.container_count();
        tracing::info!(plugin, %endpoint, "synced {containers} containers with DNS records");
    }

    /// Does what the inventory decided: the table first, words later.
    async fn obey(
        &mut self,
        actions: Actions,
        lists: &mut Lists,
        inspections: &mut Inspections,
    ) -> Result<(), End> {
        self.send(actions.changes).await?;
        inspections.add(actions.inspect);
        if actions.relist {
            lists.soon(now());
        }
        // What is there from the start is summed up.
        self.outlet.tell(actions.notices, !self.was_synced);
        self.outlet.gauge(self.synced_at.is_some(), &self.inventory);
        Ok(())
    }
}

// === impl Lists ===

impl Lists {
    /// No list yet.
    fn new() -> Self {
        Self {
            pending: None,
            due: now(),
            again: false,
            failures: 0,
        }
    }

    /// Asks for a list.
    fn begin(&mut self, client: &Client) {
        let client = client.clone();
        self.pending = Some(Box::pin(async move { client.list().await }));
    }

    /// When to ask for one, unless one is under way.
    fn due(&self) -> Option<Instant> {
        self.pending.is_none().then_some(self.due)
    }

    /// An event calls for a list.
    fn soon(&mut self, now: Instant) {
        self.again = self.pending.is_some();
        self.due = self.due.min(now + LIST_SOON);
    }

    /// The list under way. Cancel safe.
    async fn next(&mut self) -> Result<List, Error> {
        match &mut self.pending {
            Some(pending) => {
                let list = pending.await;
                self.pending = None;
                list
            }
            None => std::future::pending().await,
        }
    }
}

// === impl Inspections ===

impl Inspections {
    /// No inspection yet.
    fn new(client: Client) -> Self {
        Self {
            client,
            pending: FuturesUnordered::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Asks for more.
    fn add(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            self.waiting.insert(Id::clone(&ticket.id), ticket);
        }
        while self.pending.len() < MAX_INSPECTIONS {
            let Some((_, ticket)) = self.waiting.pop_first() else {
                break;
            };
            let client = self.client.clone();
            self.pending.push(Box::pin(async move {
                let (outcome, error) = client.inspect(&ticket.id).await;
                (ticket, outcome, error)
            }));
        }
    }

    /// Whether none is under way.
    fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next one that is done. Cancel safe.
    async fn next(&mut self) -> Inspection {
        match self.pending.next().await {
            Some(done) => {
                self.add(Vec::new());
                done
            }
            None => std::future::pending().await,
        }
    }
}

/// The engine ended the event stream.
fn end_of_events() -> Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "end of the event stream").into()
}

/// The time on the clock.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// From when on events are asked for: an engine begins its answer an instant
/// before the subscription stands. Only where its clock is ours.
fn since(endpoint: &Endpoint) -> Option<String> {
    let time = unix_time();
    let is_local = endpoint.socket_path().is_some();
    is_local.then(|| format!("{}.{:09}", time.as_secs(), time.subsec_nanos()))
}
