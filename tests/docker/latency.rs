//! From what the engine says to what clients are told.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::process::clock;
use portolan_testkit::process::pause;

use super::engine::Engine;
use super::engine::names_label;
use super::engine::wall_clock;
use super::server::Server;

/// Names are gone as soon as their container is, and denied then: a question
/// always has an answer at once.
const COREFILE: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        linger 0s
        unknown_action nxdomain
    }
}
";

/// How long a change may take to be seen; an engine may have to start first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many containers are started.
const CONTAINERS: usize = 25;

/// What half of the changes may take.
const MEDIAN: Duration = Duration::from_millis(10);

/// Asks for a name again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poll {
    /// How long to wait between two queries.
    interval: Duration,
}

/// Asking under way.
#[derive(Debug)]
pub(super) struct Polling(thread::JoinHandle<anyhow::Result<Seen>>);

/// A response that was waited for.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The response.
    pub(super) response: Message,
    /// When it came, since 1970.
    pub(super) at: Duration,
}

#[test]
fn a_start_is_answered_at_once_timing() -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    let server = Server::start(COREFILE)?;
    let (mut started, mut died) = (Vec::new(), Vec::new());
    for number in 0..CONTAINERS {
        let name = format!("n{number}.example.org");
        let label = format!("--label={}={name}", names_label());
        let container = engine.create(&[&label])?;
        let since = wall_clock();
        let poll = Poll::every(Duration::from_micros(200));
        let answer = poll.answered(server.dns(), &name)?;
        container.start()?;
        let answered = answer.wait()?.at;
        started.push(answered.saturating_sub(container.event("start", since)?));
        let denial = poll.denied(server.dns(), &name)?;
        container.stop()?;
        let denied = denial.wait()?.at;
        died.push(denied.saturating_sub(container.event("die", since)?));
    }
    for (what, times) in [
        ("start to answer", &mut started),
        ("die to NXDOMAIN", &mut died),
    ] {
        times.sort_unstable();
        let (median, max) = (times[CONTAINERS / 2], times[CONTAINERS - 1]);
        eprintln!("{what}: median {median:?}, max {max:?}");
        ensure!(median < MEDIAN, "{what}: median {median:?}, all {times:?}");
    }
    Ok(())
}

// === impl Poll ===

impl Poll {
    /// Asks this often.
    pub(super) fn every(interval: Duration) -> Self {
        Self { interval }
    }

    /// Asks until a name has an answer.
    pub(super) fn answered(self, server: SocketAddr, name: &str) -> anyhow::Result<Polling> {
        self.until(server, name, |response| !response.answers.is_empty())
    }

    /// Asks until a name has none.
    pub(super) fn denied(self, server: SocketAddr, name: &str) -> anyhow::Result<Polling> {
        self.until(server, name, |response| response.answers.is_empty())
    }

    /// Asks until there is a response at all.
    pub(super) fn responded(self, server: SocketAddr, name: &str) -> anyhow::Result<Polling> {
        self.until(server, name, |_| true)
    }

    /// Asks until a response is as wanted.
    fn until(
        self,
        server: SocketAddr,
        name: &str,
        is_wanted: fn(&Message) -> bool,
    ) -> anyhow::Result<Polling> {
        let query = Query::new(name, RecordType::A).encode()?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Polling(thread::spawn(move || {
            let start = clock();
            let mut buffer = [0; 512];
            while start.elapsed() < PATIENCE {
                let received = socket.send(&query).and_then(|_| socket.recv(&mut buffer));
                match received {
                    Ok(length) => {
                        let at = wall_clock();
                        let octets = buffer.get(..length).unwrap_or_default();
                        let response = Message::from_vec(octets)?;
                        if is_wanted(&response) {
                            return Ok(Seen { response, at });
                        }
                    }
                    // Nobody listens yet.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(error).context("a query is lost"),
                }
                pause(self.interval);
            }
            anyhow::bail!("nothing changes")
        })))
    }
}

// === impl Polling ===

impl Polling {
    /// Waits for the response.
    pub(super) fn wait(self) -> anyhow::Result<Seen> {
        self.0.join().ok().context("the poll panicked")?
    }
}
