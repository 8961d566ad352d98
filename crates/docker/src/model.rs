//! What an engine tells about containers, in our own words.

use std::collections::HashMap;
use std::sync::Arc;

/// Labels of a container.
pub(crate) type Labels = HashMap<String, String>;

/// Something that happened to a container.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Id of the container.
    pub(crate) id: Arc<str>,
    /// What happened.
    pub(crate) action: Action,
    /// Name of the container, from now on.
    pub(crate) name: Option<String>,
    /// Its labels, unless the engine leaves them out.
    pub(crate) labels: Labels,
    /// When it happened, in nanoseconds since 1970 on the engine's clock; zero
    /// if unknown.
    pub(crate) time: i64,
}

/// What happens to containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It runs.
    Start,
    /// It has been restarted: a start has come before.
    Restart,
    /// Its process has ended.
    Die,
    /// It has been stopped: a death has come before.
    Stop,
    /// It has been removed.
    Destroy,
    /// It is frozen.
    Pause,
    /// It runs again.
    Unpause,
    /// It has another name.
    Rename,
    /// Its health check has another result.
    Health(Health),
    /// A signal, which may or may not end it.
    Kill,
    /// What has no bearing on names.
    Other,
}

/// Result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nobody has told.
    Unknown,
    /// The container has no health check.
    Unchecked,
    /// The first checks are under way.
    Starting,
    /// The last check passed.
    Healthy,
    /// The last checks failed.
    Unhealthy,
}

/// A container as a list or an inspection shows it.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Its name, without the slash that engines put before it.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: Labels,
    /// Whether its process exists, paused or not.
    pub(crate) running: bool,
    /// Its health, as far as this view tells.
    pub(crate) health: Health,
}

// === impl Action ===

impl Action {
    /// Reads an action as Docker, or Podman, writes it.
    pub(crate) fn parse(text: &str, attributes: &Labels) -> Self {
        if let Some(rest) = text.strip_prefix("health_status") {
            let attribute = || attributes.get("health_status").map_or("", String::as_str);
            let status = rest.strip_prefix(':').map_or_else(attribute, str::trim);
            return Self::Health(Health::parse(status));
        }
        match text {
            "start" => Self::Start,
            "restart" => Self::Restart,
            "die" | "died" => Self::Die,
            "stop" => Self::Stop,
            "destroy" | "remove" => Self::Destroy,
            "pause" => Self::Pause,
            "unpause" => Self::Unpause,
            "rename" => Self::Rename,
            "kill" => Self::Kill,
            _ => Self::Other,
        }
    }

    /// The action's word, one of few.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Die => "die",
            Self::Stop => "stop",
            Self::Destroy => "destroy",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Rename => "rename",
            Self::Health(_) => "health_status",
            Self::Kill => "kill",
            Self::Other => "other",
        }
    }
}

// === impl Health ===

impl Health {
    /// Reads a health status.
    pub(crate) fn parse(status: &str) -> Self {
        match status {
            "healthy" => Self::Healthy,
            "unhealthy" => Self::Unhealthy,
            "starting" => Self::Starting,
            "none" => Self::Unchecked,
            _ => Self::Unknown,
        }
    }

    /// Reads the text of a list, such as `Up 3 minutes (healthy)`.
    pub(crate) fn from_status_text(text: &str) -> Self {
        if text.contains("(healthy)") {
            Self::Healthy
        } else if text.contains("(unhealthy)") {
            Self::Unhealthy
        } else if text.contains("(health: starting)") {
            Self::Starting
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_of_docker_and_podman_are_read() {
        let attributes = Labels::from([("health_status".to_owned(), "unhealthy".to_owned())]);
        for (text, expected) in [
            ("start", Action::Start),
            ("die", Action::Die),
            ("died", Action::Die),
            ("remove", Action::Destroy),
            ("health_status: healthy", Action::Health(Health::Healthy)),
            ("health_status: starting", Action::Health(Health::Starting)),
            ("health_status", Action::Health(Health::Unhealthy)),
            ("health_status: odd", Action::Health(Health::Unknown)),
            ("exec_create: sh", Action::Other),
            ("", Action::Other),
        ] {
            assert_eq!(Action::parse(text, &attributes), expected, "{text}");
        }
    }

    #[test]
    fn health_is_read_from_the_text_of_a_list() {
        for (text, expected) in [
            ("Up 3 minutes (healthy)", Health::Healthy),
            ("Up 1 second (health: starting)", Health::Starting),
            ("Up 3 minutes (unhealthy)", Health::Unhealthy),
            ("Up 2 hours (Paused)", Health::Unknown),
        ] {
            assert_eq!(Health::from_status_text(text), expected, "{text}");
        }
    }
}
