//! The containers of one engine, and what the table is told about them.
//!
//! A pure state machine: events, lists, inspections and time go in, changes
//! and requests come out. It does no I/O and reads no clock.
//!
//! Two facts about a container are kept apart: whether it *should* be served
//! (it runs, is healthy enough and has names) and whether it *is* (the table
//! has its rows). [`Inventory::settle`] brings the second in line with the
//! first, with one delay: rows outlive their container by the linger time.
//!
//! ```text
//!            start                       stop, die, destroy,
//!           (healthy)                    gone from the list
//!  absent ------------> served --------------------------> lingering
//!    ^                    ^                                    |  |
//!    |                    +------------ start (healthy) -------+  |
//!    +----------------------- linger is over ---------------------+
//! ```
//!
//! Events go on arriving while a list is being fetched, and are obeyed at
//! once. A list is a picture of a moment between its request and its arrival,
//! so it has no say about the containers that an event has spoken of in
//! between: such an event is either younger than the picture or agrees with
//! it. The same goes for inspections.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use portolan_table::Change;
use portolan_table::Source;

use self::container::Container;
use self::container::Inspection;
use self::container::Served;
use crate::config::Config;
use crate::labels;
use crate::list::List;
use crate::model::Action;
use crate::model::Event;
use crate::model::Health;
use crate::model::Labels;
use crate::model::Observed;
use crate::records::Records;

mod actions;
mod container;

pub(crate) use actions::Actions;
pub(crate) use actions::Inspected;
pub(crate) use actions::Notice;
pub(crate) use actions::Ticket;

/// Id of a container.
pub(crate) type Id = Arc<str>;

/// How many containers are followed.
const MAX_CONTAINERS: usize = 65_536;

/// How far apart two events can be and still arrive in the wrong order. An
/// event that is older still means that the engine's clock was set back.
const REORDER_WINDOW: i64 = 10_000_000_000;

/// Delay before a failed inspection is tried again, doubled each time.
const INSPECT_RETRY: Duration = Duration::from_millis(100);

/// Longest such delay.
const MAX_INSPECT_RETRY: Duration = Duration::from_secs(10);

/// Longest linger time.
const MAX_LINGER: Duration = Duration::from_hours(24 * 365);

/// How many containers with bad labels are remembered, so that they are
/// reported once.
const MAX_REPORTED: usize = 4_096;

/// The containers of one engine.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// What is wanted.
    config: Arc<Config>,
    /// Containers that run, or whose rows are in the table.
    /// Each in a piece of its own: nodes of the map are half empty.
    containers: BTreeMap<Id, Box<Container>>,
    /// When to look at which container again.
    alarms: BTreeSet<(Instant, Id)>,
    /// Containers that events spoke of since the list under way was asked for.
    touched: Option<BTreeSet<Id>>,
    /// Containers whose bad labels have been reported.
    reported: HashSet<Id>,
    /// Counts what was learned; numbers the generations of containers.
    generation: u64,
    /// Sum of the names served.
    name_count: usize,
    /// Number of containers served.
    served_count: usize,
}

// === impl Inventory ===

impl Inventory {
    /// An engine without containers.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            containers: BTreeMap::new(),
            alarms: BTreeSet::new(),
            touched: None,
            reported: HashSet::new(),
            generation: 0,
            name_count: 0,
            served_count: 0,
        }
    }

    /// How many containers are served.
    pub(crate) fn container_count(&self) -> usize {
        self.served_count
    }

    /// How many names are served, counted once a container.
    pub(crate) fn name_count(&self) -> usize {
        self.name_count
    }

    /// Takes an event.
    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) -> Actions {
        let mut actions = Actions::default();
        if self.is_outdated(&event) {
            return actions;
        }
        let Event {
            id,
            action,
            name,
            labels,
            time,
        } = event;
        match action {
            Action::Start | Action::Unpause => self.on_running(&id, name, &labels, &mut actions),
            Action::Restart => {
                // A start has come before; a death may have come in between.
                let known = self.containers.get(&id).map(|container| container.running);
                let has_names = labels::has_names(&labels, self.config.wanted());
                actions.relist = !known.unwrap_or(!has_names);
            }
            Action::Pause => self.on_seen_running(&id, None),
            Action::Health(health) => self.on_seen_running(&id, Some(health)),
            Action::Die | Action::Stop => self.on_stopped(&id),
            Action::Destroy => {
                self.on_stopped(&id);
                self.reported.remove(&id);
            }
            Action::Rename => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.rename(name.as_deref());
                    self.touch(&id);
                }
            }
            Action::Kill | Action::Other => return actions,
        }
        if let Some(container) = self.containers.get_mut(&id) {
            container.last_event = time;
        }
        self.settle(&id, now, &mut actions);
        actions
    }

    /// Notes that a list is asked for now.
    pub(crate) fn begin_list(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    /// Takes a list of all containers that run.
    pub(crate) fn handle_list(&mut self, list: List, now: Instant) -> Actions {
        let mut actions = Actions::default();
        let touched = self.touched.take().unwrap_or_default();
        if touched.len() >= MAX_CONTAINERS {
            actions.relist = true;
            return actions;
        }
        // What is kept comes first, what is said afterwards: what is freed
        // between pieces that stay is memory lost.
        list.for_each_running(|observed| {
            if !touched.contains(&observed.id) {
                self.on_listed(observed, &mut actions);
            }
        });
        drop(list);
        let untouched = self.containers.iter_mut();
        let untouched = untouched.filter(|(id, _)| !touched.contains(*id));
        let running = untouched.filter_map(|(id, container)| {
            let was_running = container.running;
            container.running &= std::mem::take(&mut container.is_listed);
            was_running.then(|| Arc::clone(id))
        });
        for id in running.collect::<Vec<Id>>() {
            self.settle(&id, now, &mut actions);
        }
        actions
    }

    /// Takes the outcome of an inspection.
    pub(crate) fn handle_inspect(
        &mut self,
        ticket: &Ticket,
        outcome: Inspected,
        now: Instant,
    ) -> Actions {
        let mut actions = Actions::default();
        let Ticket { id, generation } = ticket;
        let Some(container) = self.containers.get_mut(id) else {
            return actions;
        };
        let Inspection::InFlight {
            failures,
            generation: asked,
        } = container.inspection
        else {
            return actions;
        };
        if asked != *generation {
            return actions;
        }
        container.inspection = Inspection::Idle;
        let is_current = asked == container.generation;
        match outcome {
            Inspected::Failed => {
                let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
                let at = now + INSPECT_RETRY.saturating_mul(factor).min(MAX_INSPECT_RETRY);
                let failures = failures.saturating_add(1);
                container.inspection = Inspection::Waiting { failures, at };
                self.alarms.insert((at, Arc::clone(id)));
            }
            Inspected::Gone if is_current => container.running = false,
            Inspected::Gone => {}
            Inspected::Found(observed) => {
                if is_current {
                    container.running = observed.running;
                    container.health = match observed.health {
                        Health::Unknown => Health::Unchecked,
                        known => known,
                    };
                }
                if container.name.is_empty() {
                    container.rename(Some(&observed.name));
                }
                self.learn(id, &observed.labels, &mut actions);
            }
        }
        self.settle(id, now, &mut actions);
        actions
    }

    /// Forgets what was asked for: another connection is to answer it.
    pub(crate) fn forget_requests(&mut self) {
        self.touched = None;
        for container in self.containers.values_mut() {
            container.inspection = Inspection::Idle;
        }
    }

    /// When [`Inventory::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::default();
        while let Some((at, _)) = self.alarms.first() {
            if *at > now {
                break;
            }
            let Some((_, id)) = self.alarms.pop_first() else {
                break;
            };
            self.settle(&id, now, &mut actions);
        }
        actions
    }

    /// Whether an event was overtaken by one that came after it.
    fn is_outdated(&self, event: &Event) -> bool {
        let Some(container) = self.containers.get(&event.id) else {
            return false;
        };
        let age = container.last_event.saturating_sub(event.time);
        event.time != 0 && container.last_event != 0 && age > 0 && age < REORDER_WINDOW
    }

    /// Notes that an event spoke of a container.
    fn touch(&mut self, id: &Id) {
        if let Some(touched) = &mut self.touched
            && touched.len() < MAX_CONTAINERS
        {
            touched.insert(Arc::clone(id));
        }
        if let Some(container) = self.containers.get_mut(id) {
            self.generation += 1;
            container.generation = self.generation;
        }
    }

    /// An event says that a container runs from now on. Some engines leave
    /// its labels out: then it is of interest until they are known.
    fn on_running(
        &mut self,
        id: &Id,
        name: Option<String>,
        labels: &Labels,
        actions: &mut Actions,
    ) {
        let Some(container) = self.entry(id, name.as_deref().unwrap_or_default(), actions) else {
            return;
        };
        if !container.running {
            container.start();
        }
        self.touch(id);
        if labels::has_names(labels, self.config.wanted()) {
            self.learn(id, labels, actions);
        }
    }

    /// An event shows that a container runs, by the way. It does not bring
    /// back one that has stopped: such an event may come late.
    fn on_seen_running(&mut self, id: &Id, health: Option<Health>) {
        if let Some(container) = self.containers.get_mut(id)
            && container.running
        {
            container.health = health.unwrap_or(container.health);
            self.touch(id);
        }
    }

    /// An event says that a container does not run.
    fn on_stopped(&mut self, id: &Id) {
        if let Some(container) = self.containers.get_mut(id) {
            container.running = false;
        }
        self.touch(id);
    }

    /// A list shows that a container runs.
    fn on_listed(&mut self, observed: &Observed, actions: &mut Actions) {
        let id = &observed.id;
        let has_names = labels::has_names(&observed.labels, self.config.wanted());
        if !self.containers.contains_key(id) && !has_names {
            return;
        }
        let Some(container) = self.entry(id, &observed.name, actions) else {
            return;
        };
        if !container.running {
            container.start();
        }
        if observed.health != Health::Unknown {
            container.health = observed.health;
        }
        container.is_listed = true;
        container.rename(Some(&observed.name));
        // The list is the truth: the engine's clock may have been set back.
        container.last_event = 0;
        self.learn(id, &observed.labels, actions);
    }

    /// The container `id`, made known if need be.
    fn entry(&mut self, id: &Id, name: &str, actions: &mut Actions) -> Option<&mut Container> {
        if !self.containers.contains_key(id) {
            if self.containers.len() >= MAX_CONTAINERS {
                let name = Arc::from(name);
                actions.notices.push(Notice::TooMany { name });
                return None;
            }
            self.containers
                .insert(Arc::clone(id), Box::new(Container::new(name)));
        }
        self.containers.get_mut(id).map(Box::as_mut)
    }

    /// Reads a container's labels, which never change, unless they are known.
    fn learn(&mut self, id: &Id, labels: &Labels, actions: &mut Actions) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.records.is_some() {
            return;
        }
        let mut request = labels::read(labels, self.config.wanted());
        let problems = std::mem::take(&mut request.problems);
        container.records = Some(Records::new(&request, &self.config));
        if problems.count > 0 && !self.reported.contains(id) {
            if self.reported.len() >= MAX_REPORTED {
                self.reported.clear();
            }
            self.reported.insert(Arc::clone(id));
            let name = Arc::clone(&container.name);
            actions.notices.push(Notice::BadLabels { name, problems });
        }
    }

    /// Brings what is served in line with what should be, asks for what is
    /// not known, and forgets a container that matters no more.
    fn settle(&mut self, id: &Id, now: Instant, actions: &mut Actions) {
        // The id that is kept, as it goes into the table.
        let Some((id, _)) = self.containers.get_key_value(id) else {
            return;
        };
        let id = &Arc::clone(id);
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.is_eligible(self.config.healthy_only) {
            self.serve(id, actions);
        } else {
            self.retire(id, now, actions);
        }
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.served.is_none() && (!container.running || container.has_no_rows()) {
            self.containers.remove(id);
        } else {
            container.ask(id, self.config.healthy_only, now, actions);
        }
    }

    /// Serves a container, under its present name.
    fn serve(&mut self, id: &Id, actions: &mut Actions) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Some(records) = &container.records else {
            return;
        };
        let layer = self.config.layer;
        let source = |name: &Arc<str>| source(&self.config, id, name);
        let name = Arc::clone(&container.name);
        match &mut container.served {
            Some(served) => {
                if let Some(at) = served.until.take() {
                    self.alarms.remove(&(at, Arc::clone(id)));
                }
                if served.name == name {
                    return;
                }
                let old = std::mem::replace(&mut served.name, name);
                actions.changes.push(Change {
                    layer,
                    source: source(&old),
                    rows: Vec::new(),
                });
            }
            None => {
                container.served = Some(Served {
                    name: Arc::clone(&name),
                    until: None,
                });
                let hostnames = records.names().clone();
                self.served_count += 1;
                self.name_count += hostnames.len();
                actions.notices.push(Notice::Started { name, hostnames });
            }
        }
        actions.changes.push(Change {
            layer,
            source: source(&container.name),
            rows: records.rows(&self.config),
        });
    }

    /// Lets a container's rows linger, and withdraws them once that is over.
    fn retire(&mut self, id: &Id, now: Instant, actions: &mut Actions) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Some(served) = &mut container.served else {
            return;
        };
        let linger = self.config.linger.min(MAX_LINGER);
        let until = *served.until.get_or_insert(now + linger);
        if until > now {
            self.alarms.insert((until, Arc::clone(id)));
            return;
        }
        actions.changes.push(Change {
            layer: self.config.layer,
            source: source(&self.config, id, &served.name),
            rows: Vec::new(),
        });
        container.served = None;
        self.served_count -= 1;
        if let Some(records) = &container.records {
            let hostnames = records.names().clone();
            self.name_count -= hostnames.len();
            let name = Arc::clone(&container.name);
            actions.notices.push(Notice::Stopped { name, hostnames });
        }
    }
}

/// The owner of a container's rows, by the name that it goes by.
fn source(config: &Config, id: &Id, name: &Arc<str>) -> Source {
    Source::Container {
        member: Arc::clone(&config.member),
        id: Arc::clone(id),
        name: Arc::clone(name),
    }
}

#[cfg(test)]
mod tests;
