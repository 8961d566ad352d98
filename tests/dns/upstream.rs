//! Upstreams under control, in the background.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use portolan_proto::Rtype;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::runtime::Runtime;

/// A fake upstream and what it runs on.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The upstream; dropped first.
    fake: FakeUpstream,
    /// Its runtime.
    _runtime: Runtime,
}

// === impl Upstream ===

impl Upstream {
    /// Starts one that does as `script` says.
    pub(super) fn start(
        script: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        Self::run(FakeUpstream::start(script))
    }

    /// Starts one at an address.
    pub(super) fn start_at(
        addr: SocketAddr,
        script: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        Self::run(FakeUpstream::start_at(addr, script))
    }

    /// Starts one that knows 192.0.2.1 for every name, with a TTL; other
    /// types it does not have.
    pub(super) fn answering(ttl: u32) -> anyhow::Result<Self> {
        Self::start(move |query| match query.qtype {
            Rtype::A => Reply::to(query).a([192, 0, 2, 1], ttl).send(),
            _ => Reply::to(query).soa(ttl, ttl).send(),
        })
    }

    /// Starts one that never says anything.
    pub(super) fn silent() -> anyhow::Result<Self> {
        Self::start(|_| Action::Drop)
    }

    /// Runs it.
    fn run(starting: impl Future<Output = anyhow::Result<FakeUpstream>>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let fake = runtime.block_on(starting)?;
        Ok(Self {
            fake,
            _runtime: runtime,
        })
    }

    /// How many queries came, health checks aside.
    pub(super) fn count(&self) -> usize {
        self.fake.count_without_probes()
    }

    /// The queries that came, health checks aside.
    pub(super) fn asked(&self) -> Vec<Received> {
        self.fake
            .queries()
            .into_iter()
            .filter(|query| !query.is_probe())
            .collect()
    }
}

impl Deref for Upstream {
    type Target = FakeUpstream;

    fn deref(&self) -> &FakeUpstream {
        &self.fake
    }
}

/// Does something some milliseconds later.
pub(super) fn after(milliseconds: u64, action: Action) -> Action {
    Action::After(Duration::from_millis(milliseconds), Box::new(action))
}
