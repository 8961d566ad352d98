//! One container: what is known of it, and what the table has of it.

use std::sync::Arc;
use std::time::Instant;

use super::Actions;
use super::Id;
use super::Ticket;
use crate::model::Health;
use crate::records::Records;

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    /// Its name.
    pub(super) name: Arc<str>,
    /// Whether its process exists, as far as we know.
    pub(super) running: bool,
    /// Whether the list that is being read has it.
    pub(super) is_listed: bool,
    /// Its health.
    pub(super) health: Health,
    /// What its labels amount to, once they are known.
    pub(super) records: Option<Records>,
    /// Its rows in the table.
    pub(super) served: Option<Served>,
    /// Where its inspection stands.
    pub(super) inspection: Inspection,
    /// Changes with every event; tells whether an inspection is out of date.
    pub(super) generation: u64,
    /// Time of the last event, on the engine's clock.
    pub(super) last_event: i64,
}

/// What the table has of a container.
#[derive(Debug)]
pub(super) struct Served {
    /// The name that the owner of the rows goes by.
    pub(super) name: Arc<str>,
    /// When to withdraw them, if the container is gone.
    pub(super) until: Option<Instant>,
}

/// Where an inspection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inspection {
    /// None is needed.
    Idle,
    /// One is under way.
    InFlight {
        /// Failures before.
        failures: u32,
        /// The container's generation when it was asked for.
        generation: u64,
    },
    /// One failed.
    Waiting {
        /// Failures so far.
        failures: u32,
        /// When to try again.
        at: Instant,
    },
}

// === impl Container ===

impl Container {
    /// A container of which only the name is known.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            running: false,
            is_listed: false,
            health: Health::Unknown,
            records: None,
            served: None,
            inspection: Inspection::Idle,
            generation: 0,
            last_event: 0,
        }
    }

    /// Its process begins: what its health check said before is void.
    pub(super) fn start(&mut self) {
        self.running = true;
        if self.health != Health::Unchecked {
            self.health = Health::Unknown;
        }
    }

    /// Gives it a name.
    pub(super) fn rename(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty() && **name != *self.name) {
            self.name = Arc::from(name);
        }
    }

    /// Whether it is known to have nothing to serve.
    pub(super) fn has_no_rows(&self) -> bool {
        self.records
            .as_ref()
            .is_some_and(|records| !records.has_rows())
    }

    /// Whether it should be served.
    pub(super) fn is_eligible(&self, healthy_only: bool) -> bool {
        let has_rows = self.records.as_ref().is_some_and(Records::has_rows);
        let is_healthy = matches!(self.health, Health::Healthy | Health::Unchecked);
        self.running && has_rows && (is_healthy || !healthy_only)
    }

    /// Asks for an inspection if something that matters is not known.
    pub(super) fn ask(&mut self, id: &Id, healthy_only: bool, now: Instant, actions: &mut Actions) {
        let lacks_health = healthy_only && self.health == Health::Unknown;
        if !self.running || !(self.records.is_none() || lacks_health) {
            self.inspection = Inspection::Idle;
            return;
        }
        let failures = match self.inspection {
            Inspection::Idle => 0,
            Inspection::Waiting { failures, at } if at <= now => failures,
            Inspection::InFlight { .. } | Inspection::Waiting { .. } => return,
        };
        let generation = self.generation;
        self.inspection = Inspection::InFlight {
            failures,
            generation,
        };
        actions.inspect.push(Ticket {
            id: Arc::clone(id),
            generation,
        });
    }
}
