//! A fake Docker Engine on a Unix socket.
//!
//! It keeps containers, emits the events that a real engine emits for what is
//! done to them, and does on command what real engines do now and then: fail,
//! dawdle, go away, cut a stream in the middle of a line. It speaks just
//! enough HTTP/1.1, one request a connection, and records every request.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio::sync::watch;
use tokio::task::JoinSet;

mod connection;

/// How many events an engine keeps for late subscribers, as the real one does.
const KEPT_EVENTS: usize = 256;

/// A fake Docker Engine.
#[derive(Debug)]
pub struct FakeDocker {
    /// Where it listens.
    path: PathBuf,
    /// What connections share.
    shared: Arc<Shared>,
    /// The engine's process, as it were.
    server: Option<JoinSet<()>>,
}

/// A container of the fake engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its state, in Docker's words.
    pub state: String,
    /// Its health, in Docker's words; none without a health check.
    pub health: Option<String>,
}

/// A request that the engine received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
}

/// A thing to do in the middle of a request.
type Hook = Box<dyn FnOnce(&EngineControl) + Send>;

/// Does things to the engine's containers; clones control the same engine.
#[derive(Clone, Debug)]
pub struct EngineControl {
    /// What connections share.
    shared: Arc<Shared>,
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    /// Everything that changes.
    state: Mutex<State>,
    /// Event lines, and raw octets in between them.
    events: broadcast::Sender<Emission>,
    /// How many event streams are open.
    subscribers: watch::Sender<usize>,
}

/// Everything that changes.
#[derive(Default)]
struct State {
    /// Containers by id.
    containers: BTreeMap<String, FakeContainer>,
    /// Past events, with the time of each in nanoseconds.
    past: Vec<(u128, String)>,
    /// Requests so far.
    requests: Vec<Request>,
    /// Status of the next answers to a kind of request.
    failures: HashMap<&'static str, Vec<u16>>,
    /// How long the answer to a list takes, after the containers were read.
    list_delay: Duration,
    /// How long after its answer began an event stream is subscribed.
    subscribe_delay: Duration,
    /// Whether events leave labels out, as Podman's do.
    omits_labels: bool,
    /// What to do once the next list has been read, before it is sent.
    after_list: Option<Hook>,
}

/// What goes to event streams.
#[derive(Clone, Debug)]
enum Emission {
    /// An event, as a line.
    Line(String),
    /// Octets, after which the stream is cut.
    Cut(Vec<u8>),
}

// === impl FakeDocker ===

impl FakeDocker {
    /// Starts an engine that listens on `path`.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    pub fn start(path: impl AsRef<Path>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            events: broadcast::channel(1_024).0,
            subscribers: watch::channel(0).0,
        });
        let mut docker = Self {
            path: path.as_ref().to_owned(),
            shared,
            server: None,
        };
        docker.resume()?;
        Ok(docker)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does things to its containers.
    pub fn control(&self) -> EngineControl {
        EngineControl {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends the engine: connections break, the socket is removed. Containers
    /// stay as they are, as under live restore.
    pub fn stop(&mut self) {
        self.kill();
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Ends the engine by force: connections break, the socket file stays and
    /// refuses connections.
    pub fn kill(&mut self) {
        self.server = None;
        self.shared.subscribers.send_replace(0);
        self.shared.state().past.clear();
    }

    /// Starts the engine again, on a new socket.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    pub fn resume(&mut self) -> io::Result<()> {
        self.stop();
        let listener = UnixListener::bind(&self.path)?;
        let shared = Arc::clone(&self.shared);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            let shared = Arc::clone(&shared);
                            connections.spawn(connection::serve(stream, shared));
                        }
                        Err(_) => return,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        self.server = Some(server);
        Ok(())
    }

    /// Waits until `count` event streams are open.
    pub async fn subscribed(&self, count: usize) {
        let mut subscribers = self.shared.subscribers.subscribe();
        // The sender lives as long as this engine.
        let _ = subscribers.wait_for(|open| *open == count).await;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }
}

impl Drop for FakeDocker {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl FakeContainer ===

impl FakeContainer {
    /// A container that runs, has no health check and one label.
    pub fn new(id: &str, label: &str, value: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: format!("name-{id}"),
            labels: BTreeMap::from([(label.to_owned(), value.to_owned())]),
            state: "running".to_owned(),
            health: None,
        }
    }

    /// With one more label.
    #[must_use]
    pub fn with(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label.to_owned(), value.to_owned());
        self
    }

    /// With a health check, of which the first result is awaited.
    #[must_use]
    pub fn with_health_check(mut self) -> Self {
        self.health = Some("starting".to_owned());
        self
    }
}

// === impl EngineControl ===

impl EngineControl {
    /// Adds a container, or replaces it, without an event.
    pub fn put(&self, container: FakeContainer) {
        self.shared
            .state()
            .containers
            .insert(container.id.clone(), container);
    }

    /// Removes a container without an event.
    pub fn forget(&self, id: &str) {
        self.shared.state().containers.remove(id);
    }

    /// Adds a container and starts it.
    pub fn run(&self, container: FakeContainer) {
        let id = container.id.clone();
        self.put(container);
        self.start(&id);
    }

    /// Starts a container.
    pub fn start(&self, id: &str) {
        self.set_state(id, "running");
        self.emit(id, "start");
    }

    /// Stops a container.
    pub fn stop(&self, id: &str) {
        self.emit(id, "kill");
        self.set_state(id, "exited");
        self.emit(id, "die");
        self.emit(id, "stop");
    }

    /// Restarts a container.
    pub fn restart(&self, id: &str) {
        self.stop(id);
        self.start(id);
        self.emit(id, "restart");
    }

    /// Kills and removes a container.
    pub fn destroy(&self, id: &str) {
        self.emit(id, "kill");
        self.emit(id, "die");
        self.emit(id, "destroy");
        self.forget(id);
    }

    /// Freezes a container.
    pub fn pause(&self, id: &str) {
        self.set_state(id, "paused");
        self.emit(id, "pause");
    }

    /// Lets a frozen container go on.
    pub fn unpause(&self, id: &str) {
        self.set_state(id, "running");
        self.emit(id, "unpause");
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &str, name: &str) {
        if let Some(container) = self.shared.state().containers.get_mut(id) {
            name.clone_into(&mut container.name);
        }
        self.emit(id, "rename");
    }

    /// Gives the health check of a container a result.
    pub fn set_health(&self, id: &str, health: &str) {
        if let Some(container) = self.shared.state().containers.get_mut(id) {
            container.health = Some(health.to_owned());
        }
        self.emit(id, &format!("health_status: {health}"));
    }

    /// Emits an event about a container, whatever its state.
    pub fn emit(&self, id: &str, action: &str) {
        let mut state = self.shared.state();
        let Some(container) = state.containers.get(id) else {
            return;
        };
        let time = unix_nanos();
        let line = event_line(container, action, state.omits_labels, time);
        state.past.push((time, line.clone()));
        let excess = state.past.len().saturating_sub(KEPT_EVENTS);
        state.past.drain(..excess);
        // There may be no subscriber. Sent under the lock, so that nobody
        // subscribes between the past and the present.
        let _ = self.shared.events.send(Emission::Line(line));
    }

    /// Writes octets to all event streams and cuts them.
    pub fn cut_events(&self, last_words: &str) {
        let _ = self
            .shared
            .events
            .send(Emission::Cut(last_words.as_bytes().to_vec()));
    }

    /// Lets the next `count` lists fail.
    pub fn fail_lists(&self, count: usize) {
        self.shared
            .state()
            .failures
            .insert("list", vec![500; count]);
    }

    /// Lets the next `count` inspections fail.
    pub fn fail_inspections(&self, count: usize) {
        self.shared
            .state()
            .failures
            .insert("inspect", vec![500; count]);
    }

    /// Lets lists take long, from when the containers were read.
    pub fn delay_lists(&self, delay: Duration) {
        self.shared.state().list_delay = delay;
    }

    /// Lets event streams be subscribed some time after their answer began.
    pub fn delay_subscriptions(&self, delay: Duration) {
        self.shared.state().subscribe_delay = delay;
    }

    /// Leaves labels out of events.
    pub fn omit_labels(&self) {
        self.shared.state().omits_labels = true;
    }

    /// Does something once the next list has been read, before it is sent.
    pub fn after_list(&self, hook: impl FnOnce(&Self) + Send + 'static) {
        self.shared.state().after_list = Some(Box::new(hook));
    }

    /// Puts a container in a state.
    fn set_state(&self, id: &str, value: &str) {
        if let Some(container) = self.shared.state().containers.get_mut(id) {
            value.clone_into(&mut container.state);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Everything that changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Status that the next answer to a kind of request shall have.
    fn next_failure(&mut self, kind: &str) -> Option<u16> {
        self.failures.get_mut(kind)?.pop()
    }

    /// The containers that run, as `/containers/json` shows them.
    fn list(&self) -> Value {
        let is_alive =
            |c: &&FakeContainer| matches!(c.state.as_str(), "running" | "paused" | "restarting");
        let show = |container: &FakeContainer| {
            let health = container
                .health
                .as_ref()
                .map(|health| match health.as_str() {
                    "starting" => " (health: starting)".to_owned(),
                    other => format!(" ({other})"),
                });
            json!({
                "Id": container.id,
                "Names": [format!("/{}", container.name)],
                "Image": "image:latest",
                "Labels": container.labels,
                "State": container.state,
                "Status": format!("Up 2 seconds{}", health.unwrap_or_default()),
            })
        };
        self.containers
            .values()
            .filter(is_alive)
            .map(show)
            .collect()
    }

    /// A container, as `/containers/{id}/json` shows it.
    fn inspect(&self, id: &str) -> Option<Value> {
        let container = self.containers.get(id)?;
        let mut state = json!({
            "Status": container.state,
            "Running": matches!(container.state.as_str(), "running" | "paused" | "restarting"),
            "Paused": container.state == "paused",
            "Restarting": container.state == "restarting",
        });
        if let Some(health) = &container.health {
            state["Health"] = json!({ "Status": health, "FailingStreak": 0, "Log": [] });
        }
        Some(json!({
            "Id": container.id,
            "Name": format!("/{}", container.name),
            "State": state,
            "Config": { "Image": "image:latest", "Labels": container.labels },
        }))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("containers", &self.containers)
            .finish_non_exhaustive()
    }
}

/// An event about a container, as `/events` shows it.
fn event_line(container: &FakeContainer, action: &str, omits_labels: bool, time: u128) -> String {
    let mut attributes = if omits_labels {
        BTreeMap::new()
    } else {
        container.labels.clone()
    };
    attributes.insert("image".to_owned(), "image:latest".to_owned());
    attributes.insert("name".to_owned(), container.name.clone());
    let seconds = u64::try_from(time / 1_000_000_000).unwrap_or_default();
    let event = json!({
        "status": action,
        "id": container.id,
        "from": "image:latest",
        "Type": "container",
        "Action": action,
        "Actor": { "ID": container.id, "Attributes": attributes },
        "scope": "local",
        "time": seconds,
        "timeNano": u64::try_from(time).unwrap_or_default(),
    });
    format!("{event}\n")
}

/// The time, in nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "an engine stamps its events")]
fn unix_nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}
