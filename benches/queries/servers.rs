//! This server and the echo server, and what all servers have in common. Each
//! is configured so that the comparison is fair: as many workers, no rate
//! limit, no log of queries, the same names.

#[path = "servers/peers.rs"]
mod peers;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Client;
use portolan_testkit::process;
use portolan_testkit::process::Launch;
use portolan_testkit::process::Process;

use crate::account;
use crate::churn::Churn;
use crate::machine;
use crate::machine::Core;
use crate::names::Names;
use crate::names::ZONE;
use crate::options::Build;

pub(crate) use peers::COREDNS;
pub(crate) use peers::DNSDIST;
pub(crate) use peers::DNSMASQ;
pub(crate) use peers::KNOT;
pub(crate) use peers::NAMED;
pub(crate) use peers::NSD;
pub(crate) use peers::RECURSOR;
pub(crate) use peers::UNBOUND;
pub(crate) use peers::USUAL_COREDNS;
pub(crate) use peers::coredns;
pub(crate) use peers::dnsdist;
pub(crate) use peers::dnsmasq;
pub(crate) use peers::knot;
pub(crate) use peers::named;
pub(crate) use peers::nsd;
pub(crate) use peers::recursor;
pub(crate) use peers::unbound;

/// A server at work.
pub(crate) struct Server {
    /// What reports call it.
    name: String,
    /// Where it listens.
    address: SocketAddr,
    /// Its process.
    process: Process,
    /// What changes while it is asked.
    churn: Option<Churn>,
}

/// Where a server runs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The core.
    pub(crate) core: Core,
    /// Whether it listens on `::1`, and not on 127.0.0.1.
    pub(crate) v6: bool,
    /// Threads that answer.
    pub(crate) workers: u32,
}

/// How this server is set up, other than by default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// By default, with metrics.
    Default,
    /// Without metrics.
    NoMetrics,
    /// Without GRO and GSO.
    NoSegments,
    /// With an engine whose containers can come and go.
    Churn,
}

/// What a server does.
#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    /// It knows the names itself.
    Knows(&'a Names),
    /// It asks the server at this port, and keeps at most so many answers;
    /// unbound cannot be told to keep none.
    Asks(u16, u32),
}

/// A program, its files and where it runs.
struct Plan {
    /// What reports call it.
    name: String,
    /// The program.
    program: String,
    /// Its arguments.
    arguments: String,
    /// The files it reads.
    files: Vec<(&'static str, String)>,
    /// Where it listens.
    address: SocketAddr,
}

// === impl Server ===

impl Server {
    /// Name in reports.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether there can be changes.
    pub(crate) fn has_churn(&self) -> bool {
        self.churn.is_some()
    }

    /// Begins or ends changes, if there can be any.
    pub(crate) fn set_churn(&self, is_on: bool) {
        if let Some(churn) = &self.churn {
            churn.set(is_on);
        }
    }

    /// Whether it sends back what it gets.
    pub(crate) fn is_echo(&self) -> bool {
        self.name == ECHO
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Memory in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        account::resident_kib(self.pid())
    }

    /// Waits until the server answers a name as it should.
    pub(crate) fn answers(&self, name: &str, address: Ipv4Addr) -> anyhow::Result<()> {
        let client = Client::udp(self.address).timeout(Duration::from_millis(200));
        let answered = process::wait_for(|| {
            let response = client.query(name, RecordType::A).ok()?;
            let expected = |data: &RData| matches!(data, RData::A(a) if a.0 == address);
            response
                .answers
                .iter()
                .any(|record| expected(&record.data))
                .then_some(())
        });
        answered.with_context(|| {
            format!(
                "{} does not answer: {}",
                self.name,
                self.process.lines().join("\n")
            )
        })
    }
}

/// This server, with everything on that it has on by default, or as a variant
/// says.
pub(crate) fn portolan(
    build: &Build,
    role: Role<'_>,
    place: Place,
    variant: Variant,
) -> anyhow::Result<Server> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let (stage, files) = match role {
        Role::Knows(names) => (
            match variant {
                // What it does not know, the containers may.
                Variant::Churn => "hosts hosts.txt {\n fallthrough\n }".to_owned(),
                _ => "hosts hosts.txt".to_owned(),
            },
            vec![("hosts.txt", names.hosts())],
        ),
        Role::Asks(upstream, kept) => {
            let cache = match kept {
                0 => String::new(),
                kept => format!("cache 3600 {{\n success {kept}\n }}"),
            };
            (
                format!("forward . 127.0.0.1:{upstream}\n {cache}"),
                Vec::new(),
            )
        }
    };
    let socket = std::env::temp_dir().join(format!("portolan-bench-{port}.sock"));
    let metrics = match variant {
        Variant::NoMetrics => String::new(),
        _ => format!("prometheus 127.0.0.1:{}", process::free_port()),
    };
    let segmentation = match variant {
        Variant::NoSegments => "off",
        _ => "on",
    };
    let containers = match variant {
        // Names that stayed on would go while another server is asked.
        Variant::Churn => format!(
            "docker-cluster {{\n docker_socket unix://{}\n host_ip 192.0.2.7\n linger 0\n }}",
            socket.display()
        ),
        _ => String::new(),
    };
    let churn = (variant == Variant::Churn).then(|| Churn::start(&socket));
    let corefile = format!(
        ".:{port} {{\n bind {ip}\n errors\n {metrics}\n multisocket {} {{\n segmentation \
         {segmentation}\n }}\n {containers}\n {stage}\n}}\n",
        place.workers
    );
    let server = Plan {
        name: match variant {
            Variant::Default | Variant::Churn => build.label.clone(),
            Variant::NoMetrics => variant_of(NO_METRICS, build),
            Variant::NoSegments => variant_of(NO_SEGMENTS, build),
        },
        program: build.path.to_str().context("a path in UTF-8")?.to_owned(),
        arguments: String::new(),
        files: [files, vec![("Corefile", corefile)]].concat(),
        address,
    }
    .start(place)?;
    Ok(Server {
        churn: churn.transpose()?,
        ..server
    })
}

/// This program as the server that sends back what it gets.
pub(crate) fn echo(place: Place) -> anyhow::Result<Option<Server>> {
    let program = std::env::current_exe().context("where this program is")?;
    let program = program.to_str().context("a path in UTF-8")?;
    let address = place.address();
    let text = address.to_string();
    let words = machine::on(place.core, program);
    let (first, rest) = words.split_first().context("no program")?;
    let process = Launch::new(first)
        .args(rest.iter().map(String::as_str))
        .args(["--echo", &text, &place.workers.to_string()])
        .start()?;
    let server = Server {
        name: ECHO.to_owned(),
        address,
        process,
        churn: None,
    };
    let client = Client::udp(address).timeout(Duration::from_millis(200));
    process::wait_for(|| client.query(ZONE, RecordType::A).ok()).context("echo does not answer")?;
    Ok(Some(server))
}

// === impl Place ===

impl Place {
    /// An IPv4 server of one worker on a core.
    pub(crate) fn on(core: Core) -> Self {
        Self {
            core,
            v6: false,
            workers: 1,
        }
    }

    /// A free port here.
    fn address(self) -> SocketAddr {
        let ip: IpAddr = if self.v6 {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        SocketAddr::new(ip, process::free_port())
    }
}

// === impl Plan ===

impl Plan {
    /// Starts the server if it is installed.
    fn start_if_installed(self, place: Place) -> anyhow::Result<Option<Server>> {
        if !machine::has(&self.program) {
            return Ok(None);
        }
        self.start(place).map(Some)
    }

    /// Starts the server, in a directory with its files. A shell makes way for
    /// it, so that arguments may speak of `$PWD`.
    fn start(self, place: Place) -> anyhow::Result<Server> {
        let words = machine::on(place.core, "sh");
        let (first, rest) = words.split_first().context("no program")?;
        let command = format!("exec '{}' {}", self.program, self.arguments);
        let launch = Launch::new(first)
            .args(rest.iter().map(String::as_str))
            .args(["-c", &command]);
        let launch = self
            .files
            .iter()
            .fold(launch, |launch, (name, text)| launch.file(name, text));
        Ok(Server {
            name: self.name,
            address: self.address,
            process: launch.start()?,
            churn: None,
        })
    }
}

/// Name of the server that sends back what it gets.
pub(crate) const ECHO: &str = "echo";

/// Name of this server as it is by default.
pub(crate) const PORTOLAN: &str = "portolan";

/// The image's binary, where one of that name takes part (`--binary`).
pub(crate) const IMAGE: &str = "image";

/// The same without metrics.
pub(crate) const NO_METRICS: &str = "portolan, no metrics";

/// The same without GRO and GSO.
pub(crate) const NO_SEGMENTS: &str = "portolan, no GSO";

/// The same while names come and go.
pub(crate) const CHURNING: &str = "portolan, 100 changes/s";

/// What a build of this server is called while names come and go.
pub(crate) fn churning(label: &str) -> String {
    CHURNING.replace(PORTOLAN, label)
}

/// What a build of this server is called as a variant.
fn variant_of(variant: &str, build: &Build) -> String {
    variant.replace(PORTOLAN, &build.label)
}

/// The names of the others.
pub(crate) const PEERS: [&str; 9] = [
    KNOT, NSD, UNBOUND, DNSMASQ, NAMED, DNSDIST, RECURSOR, COREDNS, ECHO,
];
