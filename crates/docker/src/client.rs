//! The four questions that a Docker Engine is asked, all of them `GET`s:
//! `/_ping` and `/version`, `/events`, `/containers/json`, and
//! `/containers/{id}/json`. A read-only socket proxy lets them pass.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::BollardRequest;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerInspectResponse;
use bollard::models::ContainerStateStatusEnum;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::Stream;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::Request;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::endpoint::Endpoint;
use crate::inventory::Inspected;
use crate::list::List;
use crate::model::Action;
use crate::model::Event;
use crate::model::Health;
use crate::model::Observed;
use crate::transport::Transport;

/// How long an engine may take to begin an answer, in seconds. Long, because
/// one that is starting accepts connections before it answers.
const ANSWER_TIMEOUT: u64 = 60;

/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an inspection may take.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the question for the version may take; the answer is for people.
const VERSION_TIMEOUT: Duration = Duration::from_secs(1);

/// The containers that run, paused ones among them: `filters` is
/// `{"status":["running","paused"]}`.
const LIST: &str =
    "/containers/json?filters=%7B%22status%22%3A%5B%22running%22%2C%22paused%22%5D%7D";

/// The events that matter, in the words of Docker and Podman.
const EVENTS: [&str; 11] = [
    "start",
    "restart",
    "die",
    "died",
    "stop",
    "destroy",
    "remove",
    "pause",
    "unpause",
    "rename",
    "health_status",
];

/// A client of one engine.
#[derive(Clone)]
pub(crate) struct Client {
    /// Writes requests and reads answers.
    docker: Docker,
    /// Carries both, and a list past it.
    transport: Transport,
    /// Scheme and authority of the engine.
    address: String,
}

// === impl Client ===

impl Client {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If TLS certificates cannot be read.
    pub(crate) fn new(
        endpoint: &Endpoint,
        tracker: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let transport = Transport::new(endpoint, tracker, cancel)?;
        let address = match endpoint {
            Endpoint::Unix(_) => "http://localhost".to_owned(),
            Endpoint::Tcp(authority) => format!("http://{authority}"),
            Endpoint::Tls { authority, .. } => format!("https://{authority}"),
        };
        let carried = transport.clone();
        let carry = move |request: BollardRequest| carried.clone().carry(request);
        let docker = Docker::connect_with_custom_transport(
            carry,
            Some(address.clone()),
            ANSWER_TIMEOUT,
            API_DEFAULT_VERSION,
        )?;
        Ok(Self {
            docker,
            transport,
            address,
        })
    }

    /// Asks whether the engine answers.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.docker.ping().await.map(|_| ())
    }

    /// The engine's version, if it tells.
    pub(crate) async fn version(&self) -> Option<String> {
        let version = timeout(VERSION_TIMEOUT, self.docker.version())
            .await
            .ok()?
            .ok()?;
        version.version
    }

    /// Subscribes to container events, from the time `since` on if it is
    /// given. The subscription stands as soon as [`Client::subscribed`] rings.
    pub(crate) fn events(
        &self,
        since: Option<&str>,
    ) -> impl Stream<Item = Result<Event, Error>> + use<> {
        let filters = HashMap::from([("type", vec!["container"]), ("event", EVENTS.to_vec())]);
        let mut options = EventsOptionsBuilder::new().filters(&filters);
        if let Some(since) = since {
            options = options.since(since);
        }
        let events = Box::pin(self.docker.events(Some(options.build())));
        events.filter_map(|message| std::future::ready(message.map(event).transpose()))
    }

    /// Rung when the answer to `/events` begins.
    pub(crate) fn subscribed(&self) -> Arc<Notify> {
        self.transport.subscribed()
    }

    /// The containers that run, paused ones among them.
    pub(crate) async fn list(&self) -> Result<List, Error> {
        let answer = timeout(LIST_TIMEOUT, self.fetch(LIST)).await;
        let answer = answer.map_err(|_| Error::RequestTimeoutError)??;
        List::new(answer).map_err(|error| Error::JsonDataError {
            message: error.to_string(),
            column: error.column(),
        })
    }

    /// An answer as the engine wrote it. bollard would make structs of all of
    /// it, at once.
    async fn fetch(&self, target: &str) -> Result<Vec<u8>, Error> {
        let request = Request::get(format!("{}{target}", self.address)).body(String::new())?;
        let response = self.transport.clone().carry(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(octets) = frame?.into_data() {
                answer.extend_from_slice(&octets);
            }
        }
        if status.is_success() {
            return Ok(answer);
        }
        Err(Error::DockerResponseServerError {
            status_code: status.as_u16(),
            message: complaint(&answer),
        })
    }

    /// One container.
    pub(crate) async fn inspect(&self, id: &str) -> (Inspected, Option<Error>) {
        match timeout(INSPECT_TIMEOUT, self.docker.inspect_container(id, None)).await {
            Ok(Ok(response)) => (Inspected::Found(inspected(id, response)), None),
            Ok(Err(Error::DockerResponseServerError {
                status_code: 404, ..
            })) => (Inspected::Gone, None),
            Ok(Err(error)) => (Inspected::Failed, Some(error)),
            Err(_) => (Inspected::Failed, Some(Error::RequestTimeoutError)),
        }
    }
}

/// The I/O error below an error of bollard, if there is one.
pub(crate) fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    match error {
        Error::IOError { err } => Some(err.kind()),
        _ => None,
    }
}

/// Reads an event; one without a container is none.
fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let id = actor.id.filter(|id| !id.is_empty())?;
    let labels = actor.attributes.unwrap_or_default();
    let action = Action::parse(message.action.as_deref().unwrap_or_default(), &labels);
    let seconds = || {
        message
            .time
            .and_then(|time| time.checked_mul(1_000_000_000))
    };
    Some(Event {
        id: Arc::from(id),
        action,
        name: labels.get("name").map(|name| plain(name)),
        labels,
        time: message.time_nano.or_else(seconds).unwrap_or_default(),
    })
}

/// What an engine says is wrong.
fn complaint(answer: &[u8]) -> String {
    /// How it says so.
    #[derive(Deserialize)]
    struct Complaint {
        /// In words.
        message: String,
    }
    serde_json::from_slice(answer).map_or_else(
        |_| String::from_utf8_lossy(answer).into_owned(),
        |Complaint { message }| message,
    )
}

/// Reads an inspection.
fn inspected(id: &str, response: ContainerInspectResponse) -> Observed {
    let state = response.state.unwrap_or_default();
    let running = match state.status {
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::STOPPING,
        ) => true,
        None | Some(ContainerStateStatusEnum::EMPTY) => {
            state.running == Some(true) && state.restarting != Some(true)
        }
        Some(_) => false,
    };
    let health = state.health.and_then(|health| health.status);
    let health = health.map_or(Health::Unchecked, |status| Health::parse(status.as_ref()));
    Observed {
        id: Arc::from(id),
        name: response.name.as_deref().map(plain).unwrap_or_default(),
        labels: response
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default(),
        running,
        health,
    }
}

/// A container's name without the slash that engines put before it.
pub(crate) fn plain(name: &str) -> String {
    name.strip_prefix('/').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn restarting_containers_count_as_stopped() {
        for (status, running) in [
            (ContainerStateStatusEnum::RUNNING, true),
            (ContainerStateStatusEnum::PAUSED, true),
            (ContainerStateStatusEnum::RESTARTING, false),
            (ContainerStateStatusEnum::EXITED, false),
        ] {
            let state = ContainerState {
                status: Some(status),
                running: Some(true),
                ..ContainerState::default()
            };
            let response = ContainerInspectResponse {
                state: Some(state),
                ..ContainerInspectResponse::default()
            };
            assert_eq!(inspected("c1", response).running, running, "{status}");
        }
    }

    #[test]
    fn an_event_without_a_container_is_none() {
        assert!(event(EventMessage::default()).is_none());
        let actor = EventActor {
            id: Some(String::new()),
            attributes: None,
        };
        let message = EventMessage {
            actor: Some(actor),
            ..EventMessage::default()
        };
        assert!(event(message).is_none());
        let actor = EventActor {
            id: Some("c1".to_owned()),
            attributes: None,
        };
        let message = EventMessage {
            actor: Some(actor),
            time: Some(7),
            ..EventMessage::default()
        };
        assert_eq!(event(message).unwrap().time, 7_000_000_000);
    }
}
