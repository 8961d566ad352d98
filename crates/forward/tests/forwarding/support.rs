//! What the tests of forwarding share.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use portolan_forward::Answer;
use portolan_forward::Arrival;
use portolan_forward::Asker;
use portolan_forward::Asks;
use portolan_forward::Cache;
use portolan_forward::CacheConfig;
use portolan_forward::CacheLabels;
use portolan_forward::Config;
use portolan_forward::Context;
use portolan_forward::Failure;
use portolan_forward::Families;
use portolan_forward::Forward;
use portolan_forward::Lane;
use portolan_forward::Question;
use portolan_forward::Resolver;
use portolan_forward::SocketRoom;
use portolan_forward::UpstreamConfig;
use portolan_proto::Class;
use portolan_proto::Rtype;
use portolan_testkit::upstream::FakeUpstream;
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A client that is nobody else.
pub(crate) const CLIENT: Asker = Asker {
    client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99)), 4000),
    local: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
};

/// A thread with a lane.
pub(crate) struct LaneThread {
    /// What it is to ask.
    tasks: mpsc::Sender<Task>,
    /// Tells it that there is something to do: a socket that it waits for as a
    /// worker does for queries.
    bell: UdpSocket,
    /// Questions that ended in it with an answer.
    pub(crate) answered: Arc<AtomicUsize>,
    /// Whether it is to leave all questions to others.
    is_ending: Arc<AtomicBool>,
    /// Whether it waits for nothing, as if there was always something to do.
    is_busy: Arc<AtomicBool>,
}

/// A question for a lane, and where what comes of it goes; `None` if the lane
/// does not ask it.
struct Task {
    /// Whom to ask.
    resolver: Resolver,
    /// The question.
    question: Question,
    /// Where that goes.
    end: oneshot::Sender<Option<Arrival>>,
}

impl Asks for Task {
    fn resolver(&self) -> Option<&Resolver> {
        Some(&self.resolver)
    }

    fn octets(&self) -> &[u8] {
        self.question.octets()
    }

    fn question(&self) -> Option<Question> {
        Some(self.question.clone())
    }
}

impl LaneThread {
    /// Begins.
    fn start() -> Self {
        let (tasks, orders) = mpsc::channel::<Task>();
        let rung = UdpSocket::bind("127.0.0.1:0").unwrap();
        rung.set_nonblocking(true).unwrap();
        let bell = UdpSocket::bind("127.0.0.1:0").unwrap();
        bell.connect(rung.local_addr().unwrap()).unwrap();
        let answered = Arc::<AtomicUsize>::default();
        let is_ending = Arc::<AtomicBool>::default();
        let (runtime, count) = (Handle::current(), Arc::clone(&answered));
        let is_busy = Arc::<AtomicBool>::default();
        let (end, busy) = (Arc::clone(&is_ending), Arc::clone(&is_busy));
        std::thread::spawn(move || {
            let _runtime = runtime.enter();
            let mut lane = Lane::new();
            loop {
                // Before what it was rung for: nothing is slept through.
                while rung.recv(&mut [0]).is_ok() {}
                loop {
                    match orders.try_recv() {
                        Ok(task) => {
                            let question = task.question.clone();
                            if let Err(task) = lane.ask(&question, task) {
                                drop(task.end.send(None));
                            }
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => return,
                    }
                }
                // Told once all is counted.
                let mut arrivals = Vec::new();
                let each = |task: Task, arrival| arrivals.push((task.end, arrival));
                if end.load(Ordering::Relaxed) {
                    lane.leave_all(each);
                } else {
                    let waits = !busy.load(Ordering::Relaxed);
                    if !waits {
                        std::thread::yield_now();
                    }
                    lane.poll(waits.then(|| rung.as_fd()), each);
                }
                for (end, arrival) in arrivals {
                    let is_answer = matches!(arrival, Arrival::Answer { .. });
                    count.fetch_add(usize::from(is_answer), Ordering::Relaxed);
                    drop(end.send(Some(arrival)));
                }
                lane.tidy();
            }
        });
        Self {
            tasks,
            bell,
            answered,
            is_ending,
            is_busy,
        }
    }

    /// Has it leave all questions to others from now on.
    pub(crate) fn leave_all(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.bell.send(&[0]).unwrap();
    }

    /// Has it wait for nothing from now on, or wait again.
    pub(crate) fn keep_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
        self.bell.send(&[0]).unwrap();
    }

    /// What comes of a question; `None` if the lane does not ask it.
    pub(crate) async fn ask(&self, resolver: &Resolver, question: &Question) -> Option<Arrival> {
        let (end, arrival) = oneshot::channel();
        let task = Task {
            resolver: resolver.clone(),
            question: question.clone(),
            end,
        };
        self.tasks.send(task).unwrap();
        self.bell.send(&[0]).unwrap();
        arrival.await.unwrap()
    }
}

/// A resolver and what it runs in.
pub(crate) struct Setup {
    /// Asks for it.
    pub(crate) lane: LaneThread,
    /// The resolver.
    pub(crate) resolver: Resolver,
    /// Its surroundings.
    pub(crate) context: Context,
    /// Its metrics.
    pub(crate) registry: Registry,
}

impl Setup {
    /// One stanza for all names, without a cache.
    pub(crate) async fn new(upstreams: &[&FakeUpstream], change: impl FnOnce(&mut Config)) -> Self {
        Self::with(None, &[config(upstreams, change)]).await
    }

    /// Stanzas, and a cache if there are settings for one.
    pub(crate) async fn with(cache: Option<CacheConfig>, configs: &[Config]) -> Self {
        let (context, registry) = context();
        let mut stanzas = Vec::new();
        for config in configs {
            stanzas.push(Forward::build(config.clone(), &context).await.unwrap());
        }
        let cache = cache.map(|cache| Cache::new(cache, &CacheLabels::default(), &context));
        Self {
            lane: LaneThread::start(),
            resolver: Resolver::new(cache, stanzas, &context),
            context,
            registry,
        }
    }

    /// Asks as the server does: the cache, then a lane, then upstreams.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        if let Some(answer) = self.resolver.cached(question, Instant::now().into_std()) {
            return Ok(answer);
        }
        match self.lane.ask(&self.resolver, question).await {
            Some(Arrival::Answer { answer, .. }) => Ok(answer),
            Some(Arrival::Unfinished(unfinished)) => unfinished.finish().await,
            None => {
                let question = Arc::new(question.clone());
                self.resolver.resolve(&question, CLIENT).await
            }
        }
    }

    /// The value of a counter, all its labels added up.
    pub(crate) fn counter(&self, name: &str) -> f64 {
        self.registry
            .gather()
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }
}

/// Surroundings with a registry of their own.
pub(crate) fn context() -> (Context, Registry) {
    let registry = Registry::new();
    let families = Families::register(&registry).unwrap();
    let context = Context::new(TaskTracker::new(), CancellationToken::new(), families)
        .with_socket_room(SocketRoom::within(1 << 20, u64::MAX, 1));
    (context, registry)
}

/// Settings for some upstreams, in order unless changed.
pub(crate) fn config(upstreams: &[&FakeUpstream], change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config {
        upstreams: upstreams
            .iter()
            .map(|upstream| UpstreamConfig::Addr(upstream.addr()))
            .collect(),
        policy: portolan_forward::Policy::Sequential,
        ..Config::default()
    };
    change(&mut config);
    config
}

/// A question for an address.
pub(crate) fn question(name: &str) -> Question {
    Question::new(&name.parse().unwrap(), Rtype::A, Class::IN)
}

/// Waits until something is so, at most 5 s.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets `millis` pass.
pub(crate) async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
