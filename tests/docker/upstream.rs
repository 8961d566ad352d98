//! An upstream that knows a few names of the outside.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use portolan_proto::Rtype;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::runtime::Runtime;

/// Address of every name that has none of its own: an answer with it came
/// from the upstream.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);

/// Address of `www.ilude.com`.
pub(super) const WWW: Ipv4Addr = Ipv4Addr::new(185, 199, 108, 153);

/// An upstream in the background.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The upstream.
    server: FakeUpstream,
    /// What it runs on.
    _runtime: Runtime,
}

// === impl Upstream ===

impl Upstream {
    /// Starts it.
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let server = runtime.block_on(FakeUpstream::start(|query| reply(query).send()))?;
        Ok(Self {
            server,
            _runtime: runtime,
        })
    }

    /// Starts it at an address of the network that the thread is in.
    pub(super) fn start_at(addr: SocketAddr) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let server = FakeUpstream::start_at(addr, |query| reply(query).send());
        let server = runtime.block_on(server)?;
        Ok(Self {
            server,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub(super) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// How many queries it got, health checks aside.
    pub(super) fn count(&self) -> usize {
        self.server.count_without_probes()
    }
}

/// What an upstream runs on.
fn runtime() -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    Ok(runtime)
}

/// What it says to a query.
fn reply(query: &Received) -> Reply {
    if query.qtype != Rtype::A {
        return Reply::to(query).soa(60, 60);
    }
    let address = match query.qname.to_string().as_str() {
        "www.ilude.com." => WWW,
        _ => OUTSIDE,
    };
    Reply::to(query).a(address.octets(), 60)
}
