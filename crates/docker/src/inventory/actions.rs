//! What the inventory takes and gives.

use std::sync::Arc;

use portolan_table::Change;

use super::Id;
use crate::labels::Problems;
use crate::model::Observed;
use crate::names::Names;

/// What to do now.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// For the table.
    pub(crate) changes: Vec<Change>,
    /// Containers to inspect.
    pub(crate) inspect: Vec<Ticket>,
    /// For people.
    pub(crate) notices: Vec<Notice>,
    /// Fetch a list, as soon as may be.
    pub(crate) relist: bool,
}

/// A request for an inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The container.
    pub(crate) id: Id,
    /// Its generation at the time of the request.
    pub(super) generation: u64,
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Names are served from now on.
    Started {
        /// Container.
        name: Arc<str>,
        /// Its names.
        hostnames: Names,
    },
    /// Names are no longer served.
    Stopped {
        /// Container.
        name: Arc<str>,
        /// Its names.
        hostnames: Names,
    },
    /// Labels were ignored in part.
    BadLabels {
        /// Container.
        name: Arc<str>,
        /// What was ignored.
        problems: Problems,
    },
    /// A container is not followed: there are too many.
    TooMany {
        /// Container.
        name: Arc<str>,
    },
}

/// Outcome of an inspection.
#[derive(Clone, Debug)]
pub(crate) enum Inspected {
    /// The container as it is.
    Found(Observed),
    /// There is no such container.
    Gone,
    /// The engine did not say.
    Failed,
}
