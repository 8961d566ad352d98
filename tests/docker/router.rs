//! dnsmasq in front, as the EdgeRouter has it: every name is resolved, while
//! containers are restarted.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::ResponseCode;
use portolan_proto::Rcode;
use portolan_proto::Rtype;
use portolan_testkit::client::Answer;
use portolan_testkit::client::Load;
use portolan_testkit::client::Plan;
use portolan_testkit::client::Report;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Action;
use portolan_testkit::upstream::FakeUpstream;
use portolan_testkit::upstream::Received;
use portolan_testkit::upstream::Reply;

use super::engine::Container;
use super::engine::Engine;
use super::server::HOST_IP;
use super::server::Server;
use crate::dns::router::Router;
use crate::support::needs;
use crate::support::portolan;

/// Names that are no containers come from upstream.
const FORWARDS: &str = "\
.:DNS_PORT {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.168.16.61
        label NAMES_LABEL
        ttl 60
        fallthrough
    }
    forward . PUBLIC
    cache 300
    errors
}
";

/// The file that Joyride ships, but for ports and paths: what is no container
/// has no answer, and the router has to ask others at the same time.
const JOYRIDE: &str = "\
.:DNS_PORT {
    hosts hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 0.0.0.0
        label NAMES_LABEL
        ttl 60
    }
    traefik-externals {
        directory external-enabled
        host_ip 0.0.0.0
        ttl 60
        fallthrough
    }
    errors
    health :HEALTH_PORT
    prometheus :METRICS_PORT
}
";

/// The name that is not ours.
const WWW: &str = "www.ilude.com";

/// Where the public has it.
const PAGES: Ipv4Addr = Ipv4Addr::new(185, 199, 108, 153);

/// How many queries there are for that name, and how many for containers.
const QUERIES: u32 = 1000;

/// Queries a second.
const RATE: u32 = 200;

/// How many restarts there have to be meanwhile.
const FEWEST_RESTARTS: usize = 5;

/// How long the public takes to answer: longer than a machine that is busy
/// with containers hesitates to run a server.
const FAR_AWAY: Duration = Duration::from_millis(500);

#[test]
fn a_router_resolves_a_thousand_of_a_thousand_timing() -> anyhow::Result<()> {
    under_restarts(FORWARDS, &[], Duration::ZERO)
}

#[test]
fn a_router_that_asks_all_servers_resolves_a_thousand_of_a_thousand_timing() -> anyhow::Result<()> {
    under_restarts(FORWARDS, &["--all-servers"], Duration::ZERO)
}

/// As people have it who come from Joyride: the public is asked for the zone
/// too, and knows no containers.
#[test]
fn a_router_that_asks_the_public_as_well_resolves_a_thousand_of_a_thousand_timing()
-> anyhow::Result<()> {
    let further = ["--all-servers", "--server=/ilude.com/127.0.0.1#PUBLIC"];
    for corefile in [FORWARDS, JOYRIDE] {
        under_restarts(corefile, &further, FAR_AWAY)?;
    }
    Ok(())
}

/// Asks a router for a name of the public and for those of containers, which
/// are restarted all the time. The router caches nothing: each query is put to
/// the server.
#[expect(clippy::print_stderr, reason = "figures for whoever runs the test")]
fn under_restarts(corefile: &str, further: &[&str], delay: Duration) -> anyhow::Result<()> {
    let Some(engine) = Engine::of_this_machine()? else {
        return Ok(());
    };
    if !needs(&["dnsmasq"]) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let public = runtime.block_on(FakeUpstream::start(move |query| answer(query, delay)))?;
    let names: Vec<String> = (0..4)
        .map(|number| format!("s{number}-{}.ilude.com", std::process::id()))
        .collect();
    let containers: Vec<Container> = names
        .iter()
        .map(|name| engine.run_named(name))
        .collect::<anyhow::Result<_>>()?;
    let corefile = corefile.replace("PUBLIC", &public.addr().to_string());
    let launch = portolan()
        .env("HOSTIP", &HOST_IP.to_string())
        .file("hosts.d/hosts", "")
        .file("external-enabled/none.yml", "");
    let server = Server::launch(launch, &corefile)?;
    for name in &names {
        server.await_host(name)?;
    }
    let further: Vec<String> = further
        .iter()
        .map(|option| option.replace("PUBLIC", &public.addr().port().to_string()))
        .collect();
    let mut options: Vec<&str> = further.iter().map(String::as_str).collect();
    options.push("--cache-size=0");
    let router = Router::start(server.dns(), public.addr(), &options)?;

    let (report, restarted) = restarting(&containers, || ask(router.addr(), &names))?;

    let of_www = report.samples.iter().filter(|sample| sample.name == WWW);
    let (sent, of_www) = (report.sent, of_www.count());
    ensure!((sent, of_www) == (2000, 1000), "{of_www} of {sent}");
    ensure!(
        report.lost == 0 && report.wrong.is_empty(),
        "{further:?}: of {sent} queries {} are lost, {} answers wrong: {:?}\n{}\n{}",
        report.lost,
        report.wrong.len(),
        report.wrong.first(),
        router.output(),
        server.output(),
    );
    ensure!(restarted >= FEWEST_RESTARTS, "only {restarted} restarts");
    eprintln!("{sent} of {sent} resolved, {restarted} restarts, {further:?}");
    Ok(())
}

/// Asks for all names, [`WWW`] every other time.
fn ask(router: SocketAddr, names: &[String]) -> anyhow::Result<Report> {
    let time = Duration::from_secs(u64::from(2 * QUERIES / RATE));
    let mut plan = Plan::new(WWW, RATE, time);
    plan.names = names
        .iter()
        .flat_map(|name| [WWW.to_owned(), name.clone()])
        .collect();
    Ok(Load::start(router, &plan, is_right)?.wait())
}

/// What a name has to be answered with.
fn is_right(name: &str, answer: &Answer) -> Result<(), String> {
    let expected = if name == WWW { PAGES } else { HOST_IP };
    match (answer.rcode, answer.addresses.as_slice()) {
        (ResponseCode::NoError, [IpAddr::V4(address)]) if *address == expected => Ok(()),
        _ => Err(format!("{answer:?}")),
    }
}

/// Does something while containers are restarted one after another; how often
/// that was.
fn restarting<T>(
    containers: &[Container],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, usize)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let restarts = scope.spawn(|| -> anyhow::Result<usize> {
            let mut count = 0;
            for container in containers.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                container.restart()?;
                count += 1;
                // The engine is not to be the only one who works.
                pause(Duration::from_millis(20));
            }
            Ok(count)
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let restarts = restarts.join().ok().context("the restarts ended")??;
        Ok((result?, restarts))
    })
}

/// What the public says: it has one name of the zone, and no container's.
fn answer(query: &Received, delay: Duration) -> Action {
    let reply = Reply::to(query);
    let reply = match (query.qname.to_string().as_str(), query.qtype) {
        ("www.ilude.com.", Rtype::A) => reply.a(PAGES.octets(), 60),
        _ => reply.rcode(Rcode::NXDOMAIN).soa(60, 60),
    };
    match reply.send() {
        at_once if delay.is_zero() => at_once,
        later => Action::After(delay, Box::new(later)),
    }
}
