//! The server that is measured, and its upstreams.

use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use anyhow::ensure;
use portolan_testkit::client::Client;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;
use portolan_testkit::process::free_port;
use portolan_testkit::process::wait_for;

use crate::client::LOCAL;
use crate::question::Kind;
use crate::upstream;
use crate::upstream::Frozen;

/// A server of names of its own, of upstreams, and of a cache as it is by
/// default.
const COREFILE: &str = "\
.:PORT {
    hosts hosts {
        fallthrough
    }
    cache
    forward silent.test FROZEN1 FROZEN2
    forward . UPSTREAM
}
";

/// The server and its upstreams.
pub(crate) struct Site {
    /// The server.
    pub(crate) process: Process,
    /// Where it answers.
    pub(crate) addr: SocketAddr,
    /// Upstreams that say nothing.
    _frozen: [Frozen; 2],
}

// === impl Site ===

impl Site {
    /// Starts upstreams and server, and waits until it answers.
    pub(crate) fn start(binary: &Path) -> anyhow::Result<Self> {
        let frozen = [Frozen::start()?, Frozen::start()?];
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let corefile = COREFILE
            .replace("PORT", &addr.port().to_string())
            .replace("FROZEN1", &frozen[0].addr.to_string())
            .replace("FROZEN2", &frozen[1].addr.to_string())
            .replace("UPSTREAM", &upstream::start()?.to_string());
        let process = Launch::new(binary)
            .corefile(&corefile)
            .file("hosts", LOCAL)
            .start()?;
        let client = Client::udp(addr);
        let query = Kind::Local.query(1, 0);
        wait_for(|| client.exchange(&query).ok().flatten())
            .with_context(|| format!("does not serve:\n{}", process.lines().join("\n")))?;
        Ok(Self {
            process,
            addr,
            _frozen: frozen,
        })
    }

    /// Fails if the server has ended, or had a panic.
    pub(crate) fn ensure_well(&self) -> anyhow::Result<()> {
        let lines = self.process.lines();
        let is_there = self.process.resident_kib().is_ok();
        let panicked = lines.iter().any(|line| line.contains("panic"));
        ensure!(is_there && !panicked, "not well:\n{}", lines.join("\n"));
        Ok(())
    }

    /// Lets the peak begin anew at what is resident now (`proc(5)`,
    /// `clear_refs`).
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.process.pid());
        fs::write(path, "5").context("the kernel does not reset VmHWM")
    }
}
