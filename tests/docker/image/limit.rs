//! The image in 50 MB, under everything that takes memory at once.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_proto::Name;
use portolan_proto::Rtype;
use portolan_testkit::client::Client;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Query;
use portolan_testkit::process::clock;
use portolan_testkit::process::free_port;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;
use tokio::runtime::Runtime;

use super::project::Project;
use super::ready;
use super::report;

/// In the network of the host: the upstream is there as well.
const COMPOSE: &str = "\
services:
  portolan:
    image: IMAGE
    container_name: PROJECT
    network_mode: host
    environment:
      - COREDNS_VERSION_PORT=127.86.3.1:8081
    volumes:
      - .:/etc/coredns:ro
    mem_limit: 50m
    memswap_limit: 50m
    healthcheck:
      disable: true
";

/// Its Corefile.
const COREFILE: &str = "\
.:PORT {
    bind 127.86.3.1
    hosts {
        192.0.2.7 local.test
        fallthrough
    }
    cache
    forward . UPSTREAM
    errors
}
";

/// What the engine calls that limit.
const LIMIT: &str = "52428800";

/// How long all of it goes on.
const DURATION: Duration = Duration::from_secs(20);

/// Queries a second for names that nobody asked for before.
const RATE: u32 = 2_000;

/// Connections that say nothing.
const IDLE: usize = 250;

/// Clients that ask for large answers and do not take them.
const DEAF: usize = 40;

/// Queries of each of these at a time.
const PIPELINED: usize = 128;

/// An answer of 60,000 octets over TCP, of which the names that begin with
/// `large` have one; silence about those that begin with `void`.
fn say(query: &Received) -> Action {
    let reply = Reply::to(query).a([192, 0, 2, 1], 60);
    let name = query.qname.to_string();
    match name.split(|c: char| c.is_ascii_digit()).next() {
        Some("void") => Action::Drop,
        Some("large") if query.tcp => {
            let owner: Name = "record.large.test".parse().expect("a name");
            let text = [&[250][..], &[b'x'; 250]].concat();
            let whole = (0..210).fold(reply, |reply, _| {
                reply.answer_of(&owner, Rtype::TXT, 60, &text)
            });
            whole.send()
        }
        Some("large") => Reply::to(query).truncated().send(),
        _ => reply.send(),
    }
}

#[test]
fn fifty_megabytes_suffice_under_every_load_at_once() -> anyhow::Result<()> {
    let Some((engine, image)) = ready()? else {
        return Ok(());
    };
    let runtime = Runtime::new()?;
    let upstream = runtime.block_on(FakeUpstream::start(say))?;
    let addr = SocketAddr::from((Ipv4Addr::new(127, 86, 3, 1), free_port()));
    let corefile = COREFILE
        .replace("PORT", &addr.port().to_string())
        .replace("UPSTREAM", &upstream.addr().to_string());
    let project =
        Project::up(&engine, &image, COMPOSE, &[("Corefile", &corefile)])?.at(&addr.to_string())?;
    project.await_addresses("local.test", &["192.0.2.7"])?;
    ensure!(
        project.inspect("{{.HostConfig.Memory}}")? == LIMIT,
        "no limit"
    );
    let begun = project.inspect("{{.State.StartedAt}} {{.State.Pid}}")?;

    let (large, local) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| -> anyhow::Result<usize> {
        let _idle: Vec<_> = (0..IDLE).map(|_| TcpStream::connect(addr)).collect();
        for number in 0..DEAF {
            let done = &done;
            scope.spawn(move || deaf(addr, number, done));
        }
        for number in 0..4 {
            let (done, large) = (&done, &large);
            scope.spawn(move || {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("large{round}.n{number}.test");
                    let response = Client::tcp(addr).query(&name, RecordType::A);
                    large.fetch_add(usize::from(response.is_ok()), Ordering::Relaxed);
                }
            });
        }
        for kind in ["n", "void"] {
            // What the upstream says nothing to waits for three seconds.
            let plan = Plan {
                names: (0..60_000).map(|n| format!("{kind}{n}.test")).collect(),
                ..Plan::new("", RATE, DURATION)
            };
            let load = Load::start(addr, &plan, |_, _| Ok(()))?;
            scope.spawn(move || load.wait());
        }
        let start = clock();
        let mut asked = 0;
        while start.elapsed() < DURATION {
            let response = Client::udp(addr).query("local.test", RecordType::A);
            let right = response.is_ok_and(|r| r.metadata.response_code == ResponseCode::NoError);
            local.fetch_add(usize::from(right), Ordering::Relaxed);
            asked += 1;
            pause(Duration::from_millis(50));
        }
        done.store(true, Ordering::Relaxed);
        Ok(asked)
    })?;
    let (large, local) = (large.into_inner(), local.into_inner());
    let peak = project.peak_kib();
    report(&format!(
        "50 MB: peak {} KiB, {} KiB resident, {} queries upstream, {large} large answers, \
         local names {local} of {sent}",
        peak.map_or_else(|| "unknown".to_owned(), |peak| peak.to_string()),
        project.resident_kib()?,
        upstream.count(),
    ));
    // The very same process, and nothing of it killed.
    let now = project.inspect("{{.State.StartedAt}} {{.State.Pid}}")?;
    ensure!(now == begun, "{begun}, then {now}\n{}", project.logs()?);
    ensure!(
        project.inspect("{{.State.OOMKilled}} {{.RestartCount}}")? == "false 0",
        "killed"
    );
    ensure!(large > 0, "no large answer came");
    // A datagram may be dropped where so many come at once.
    ensure!(local * 100 >= sent * 90, "local names: {local} of {sent}");
    // It has not forgotten how to do all that.
    project.await_addresses("after.test", &["192.0.2.1"])?;
    let query = Query::new("large1.after.test", RecordType::A);
    ensure!(
        Client::tcp(addr).ask(&query)?.answers.len() == 211,
        "not all of it"
    );
    project.stop()
}

/// Asks for many large answers on one connection and takes none, again and
/// again.
fn deaf(addr: SocketAddr, number: usize, done: &AtomicBool) {
    for round in 0.. {
        let Ok(mut stream) = TcpStream::connect(addr) else {
            pause(Duration::from_millis(100));
            continue;
        };
        let queries: Vec<u8> = (0..PIPELINED)
            .filter_map(|n| {
                let name = format!("large{n}.deaf{number}.r{round}.test");
                let message = Query::new(&name, RecordType::A).encode().ok()?;
                let length = u16::try_from(message.len()).ok()?;
                Some([&length.to_be_bytes()[..], &message].concat())
            })
            .flatten()
            .collect();
        if stream.write_all(&queries).is_err() {
            continue;
        }
        let since = clock();
        while since.elapsed() < Duration::from_secs(6) {
            if done.load(Ordering::Relaxed) {
                return;
            }
            pause(Duration::from_millis(100));
        }
        let _ = stream.read(&mut [0; 512]);
    }
}
