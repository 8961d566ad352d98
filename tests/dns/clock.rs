//! The clock of the machine is set by a day, either way: by hand, by NTP, or
//! because the machine slept. The clock of the server is libfaketime's.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::process::wait_for;
use portolan_testkit::tls::TlsFront;
use portolan_testkit::tls::Validity;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::answer::addresses;
use super::answer::ips;
use super::answer::rcode;
use super::encrypted::NAME;
use super::encrypted::Trust;
use super::server::Server;
use super::upstream::Upstream;
use crate::support::portolan;
use crate::support::skip;

/// A local name, a cache, and an upstream; every query is logged.
const COREFILE: &str = "\
.:PORT {
    log
    errors
    hosts hosts {
        fallthrough
    }
    cache
    forward . UPSTREAM
}
";

/// What the upstream says how long its answers last.
const TTL: u32 = 300;

/// Where Debian has the library, for any architecture.
fn library() -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists());
    if found.is_none() {
        skip("needs libfaketime");
    }
    found
}

/// A server whose clock is that of a file.
struct Faked {
    /// The server.
    server: Server,
    /// Says how far its clock is off.
    offset: PathBuf,
    /// Where that is.
    _directory: TempDir,
}

// === impl Faked ===

impl Faked {
    /// Starts one; `monotonic` says whether the clock that nobody sets jumps
    /// as well, as it does for a machine that slept.
    fn start(library: &Path, corefile: &str, monotonic: bool) -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        let offset = directory.path().join("offset");
        fs::write(&offset, "+0\n")?;
        let launch = || {
            portolan()
                .env("LD_PRELOAD", &library.to_string_lossy())
                .env("FAKETIME_TIMESTAMP_FILE", &offset.to_string_lossy())
                .env("FAKETIME_NO_CACHE", "1")
                .env(
                    "FAKETIME_DONT_FAKE_MONOTONIC",
                    if monotonic { "0" } else { "1" },
                )
                .file("hosts", "192.0.2.7 local.test\n")
        };
        Ok(Self {
            server: Server::launch(launch, corefile)?,
            offset,
            _directory: directory,
        })
    }

    /// Sets the clock, and waits until log lines have another date.
    fn set(&self, offset: &str) -> anyhow::Result<()> {
        let before = self.date()?;
        // At once, or the server would see half of it.
        let new = self.offset.with_extension("new");
        fs::write(&new, format!("{offset}\n"))?;
        fs::rename(&new, &self.offset)?;
        let jumped = wait_for(|| self.date().ok().filter(|date| *date != before));
        anyhow::ensure!(
            jumped.is_some(),
            "still {before}:\n{}",
            self.server.output()
        );
        Ok(())
    }

    /// The date of a line that is new in the log.
    fn date(&self) -> anyhow::Result<String> {
        let count = self.server.process().lines().len();
        let local = self.server.udp().query("local.test", RecordType::A)?;
        anyhow::ensure!(addresses(&local) == ips(&["192.0.2.7"]), "{local:?}");
        let line = wait_for(|| self.server.process().lines().into_iter().nth(count));
        let line = line.unwrap_or_default();
        // RFC 3339, wherever the line has it.
        let at = line
            .find("T")
            .and_then(|at| line.get(at.checked_sub(10)?..at));
        at.map(str::to_owned)
            .ok_or_else(|| anyhow::anyhow!("no date in {line:?}"))
    }

    /// The TTL of a name.
    fn ttl(&self, name: &str) -> anyhow::Result<u32> {
        let response = self.server.udp().query(name, RecordType::A)?;
        assert_eq!(rcode(&response), ResponseCode::NoError, "{name}");
        assert_eq!(addresses(&response), ips(&["192.0.2.1"]), "{name}");
        Ok(response.answers[0].ttl)
    }
}

#[test]
fn a_clock_that_is_set_by_a_day_changes_no_ttl() -> anyhow::Result<()> {
    let Some(library) = library() else {
        return Ok(());
    };
    let upstream = Upstream::answering(TTL)?;
    let corefile = COREFILE.replace("UPSTREAM", &upstream.addr().to_string());
    let faked = Faked::start(&library, &corefile, false)?;
    assert_eq!(faked.ttl("kept.outside")?, TTL);
    for (number, offset) in ["+86400", "-86400", "+86400", "-31536000", "+0"]
        .iter()
        .enumerate()
    {
        faked.set(offset)?;
        let asked = upstream.count();
        let kept = faked.ttl("kept.outside")?;
        assert!((TTL - 60..=TTL).contains(&kept), "{offset}: {kept}");
        assert_eq!(upstream.count(), asked, "{offset}: asked again");
        // What is new is kept from now on.
        let new = format!("n{number}.outside");
        assert_eq!(faked.ttl(&new)?, TTL, "{offset}");
        assert!((TTL - 60..=TTL).contains(&faked.ttl(&new)?), "{offset}");
        assert_eq!(upstream.count(), asked + 1, "{offset}");
    }
    assert!(
        !faked.server.output().contains("panic"),
        "{}",
        faked.server.output()
    );
    Ok(())
}

#[test]
fn what_is_kept_expires_while_the_machine_sleeps() -> anyhow::Result<()> {
    let Some(library) = library() else {
        return Ok(());
    };
    let upstream = Upstream::answering(TTL)?;
    let corefile = COREFILE.replace("UPSTREAM", &upstream.addr().to_string());
    let faked = Faked::start(&library, &corefile, true)?;
    assert_eq!(faked.ttl("kept.outside")?, TTL);
    for (days, offset) in [(1, "+86400"), (2, "+172800")] {
        faked.set(offset)?;
        assert_eq!(faked.ttl("kept.outside")?, TTL, "{offset}");
        assert_eq!(upstream.count(), 1 + days, "{offset}: not asked again");
    }
    Ok(())
}

#[test]
fn an_upstream_proves_its_name_by_the_clock_as_it_is() -> anyhow::Result<()> {
    let Some(library) = library() else {
        return Ok(());
    };
    let (trust, runtime) = (Trust::new()?, Runtime::new()?);
    let behind = Upstream::answering(0)?;
    let identity = trust.identity(NAME, Validity::Current)?;
    let front = runtime.block_on(TlsFront::start(&identity, behind.addr()))?;
    let upstream = format!(
        "tls://127.0.0.1%{NAME}:{} {{\n tls {}\n expire 500ms\n max_age 500ms\n }}",
        front.addr().port(),
        trust.path().display()
    );
    let faked = Faked::start(&library, &COREFILE.replace("UPSTREAM", &upstream), false)?;
    // A day changes nothing about a certificate of a hundred years, and a
    // hundred years do; the clock that is right again is believed again.
    for (number, (offset, code)) in [
        ("+86400", ResponseCode::NoError),
        ("-86400", ResponseCode::NoError),
        ("+3650000000", ResponseCode::ServFail),
        ("+0", ResponseCode::NoError),
    ]
    .into_iter()
    .enumerate()
    {
        faked.set(offset)?;
        // Connections that are open stay so for half a second.
        let mut count = 0;
        let found = wait_for(|| {
            count += 1;
            let name = format!("n{number}.c{count}.outside");
            let response = faked.server.udp().query(&name, RecordType::A).ok()?;
            (rcode(&response) == code).then_some(())
        });
        assert!(
            found.is_some(),
            "{offset}: never {code}\n{}",
            faked.server.output()
        );
    }
    Ok(())
}
