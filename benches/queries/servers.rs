//! The servers, each configured so that the comparison is fair: one worker,
//! no rate limit, no log of queries, the same names.

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

/// A server at work.
pub(crate) struct Server {
    /// What reports call it.
    name: &'static str,
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
    /// With an engine whose containers come and go.
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
    name: &'static str,
    /// The program.
    program: &'static str,
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
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins or ends changes, if there are to be any.
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
    role: Role<'_>,
    place: Place,
    variant: Variant,
) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let metrics = process::free_port();
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
    let more = match variant {
        Variant::Default => format!("prometheus 127.0.0.1:{metrics}"),
        Variant::NoMetrics => String::new(),
        Variant::NoSegments => {
            format!("prometheus 127.0.0.1:{metrics}\n multisocket {{\n segmentation off\n }}")
        }
        Variant::Churn => format!(
            "prometheus 127.0.0.1:{metrics}\n docker-cluster {{\n docker_socket unix://{}\n \
             host_ip 192.0.2.7\n }}",
            socket.display()
        ),
    };
    let churn = (variant == Variant::Churn).then(|| Churn::start(&socket));
    let corefile = format!(".:{port} {{\n bind {ip}\n errors\n {more}\n {stage}\n}}\n");
    let server = Plan {
        name: match variant {
            Variant::Default => PORTOLAN,
            Variant::NoMetrics => "portolan, no metrics",
            Variant::NoSegments => "portolan, no GSO",
            Variant::Churn => "portolan, 100 changes/s",
        },
        program: env!("CARGO_BIN_EXE_portolan"),
        arguments: String::new(),
        files: [files, vec![("Corefile", corefile)]].concat(),
        address,
    }
    .start(place)?;
    Ok(Some(Server {
        churn: churn.transpose()?,
        ..server
    }))
}

/// dnsmasq: a hosts file, or a forwarder with a cache.
pub(crate) fn dnsmasq(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let (arguments, files) = match role {
        Role::Knows(names) => (
            "--addn-hosts=\"$PWD/hosts.txt\" --local-ttl=60".to_owned(),
            vec![("hosts.txt", names.hosts())],
        ),
        Role::Asks(upstream, kept) => (
            format!("--server=127.0.0.1#{upstream} --cache-size={kept} --dns-forward-max=10000"),
            Vec::new(),
        ),
    };
    Plan {
        name: "dnsmasq",
        program: "dnsmasq",
        arguments: format!(
            "-C /dev/null -k --user=root --no-resolv --no-hosts --pid-file= --log-facility=- \
             --bind-interfaces --listen-address={ip} --port={port} {arguments}"
        ),
        files,
        address,
    }
    .start_if_installed(place)
}

/// Knot: an authoritative server. It moves to the first core by itself.
pub(crate) fn knot(names: &Names, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let configuration = format!(
        "server:\n  rundir: .\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\nlog:\n- target: stderr\n  any: warning\n\
         database:\n  storage: .\nzone:\n- domain: {ZONE}\n  storage: .\n  file: zone.txt\n  \
         journal-content: none\n  zonefile-sync: -1\n"
    );
    Plan {
        name: "knot",
        program: "knotd",
        arguments: "-c knot.conf".to_owned(),
        files: vec![("zone.txt", names.zone()), ("knot.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// NSD: an authoritative server. Debian's default limits the rate to 200 a
/// second, so that it has to be told not to.
pub(crate) fn nsd(names: &Names, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let configuration = format!(
        "server:\n  server-count: 1\n  ip-address: {ip}@{port}\n  username: \"\"\n  \
         chroot: \"\"\n  zonesdir: \".\"\n  database: \"\"\n  pidfile: \"\"\n  \
         zonelistfile: \"zones.list\"\n  xfrdfile: \"xfrd.state\"\n  xfrdir: \".\"\n  \
         rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n\
         zone:\n  name: {ZONE}\n  zonefile: zone.txt\n"
    );
    Plan {
        name: "nsd",
        program: "nsd",
        arguments: "-d -c nsd.conf".to_owned(),
        files: vec![("zone.txt", names.zone()), ("nsd.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// unbound: local data, or a forwarder with a cache.
pub(crate) fn unbound(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let role = match role {
        Role::Knows(names) => {
            format!("  local-zone: \"{ZONE}.\" static\n{}", names.local_data())
        }
        Role::Asks(upstream, _) => format!(
            "  do-not-query-localhost: no\n  outgoing-range: 4096\n  \
             num-queries-per-thread: 4096\n  msg-cache-size: 128m\n  rrset-cache-size: 256m\n\
             forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{upstream}\n"
        ),
    };
    let configuration = format!(
        "server:\n  interface: {ip}\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n  \
         directory: \".\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n  incoming-num-tcp: 100\n  \
         module-config: \"iterator\"\n  minimal-responses: yes\n{role}\
         remote-control:\n  control-enable: no\n"
    );
    Plan {
        name: "unbound",
        program: "unbound",
        arguments: "-d -c unbound.conf".to_owned(),
        files: vec![("unbound.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// BIND: an authoritative server, or a forwarder with a cache.
pub(crate) fn named(role: Role<'_>, names: &Names, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let (role, zone) = match role {
        Role::Knows(_) => (
            "  recursion no;\n".to_owned(),
            format!("zone \"{ZONE}\" {{ type primary; file \"zone.txt\"; }};\n"),
        ),
        // It cannot be told to keep nothing.
        Role::Asks(upstream, _) => (
            format!(
                "  recursion yes;\n  forward only;\n  dnssec-validation no;\n  \
                 recursive-clients 20000;\n  \
                 forwarders {{ 127.0.0.1 port {upstream}; }};\n"
            ),
            String::new(),
        ),
    };
    let listen = if place.v6 {
        format!("listen-on {{ none; }};\n  listen-on-v6 port {port} {{ {ip}; }};")
    } else {
        format!("listen-on port {port} {{ {ip}; }};\n  listen-on-v6 {{ none; }};")
    };
    let configuration = format!(
        "options {{\n  directory \".\";\n  pid-file none;\n  session-keyfile none;\n  \
         managed-keys-directory \".\";\n  {listen}\n  minimal-responses yes;\n  notify no;\n{role}}};\n\
         controls {{ }};\nlogging {{ category default {{ null; }}; }};\n{zone}"
    );
    Plan {
        name: "named",
        program: "named",
        arguments: "-f -n 1 -c named.conf".to_owned(),
        files: vec![("zone.txt", names.zone()), ("named.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// dnsdist: a load balancer with a cache.
pub(crate) fn dnsdist(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let Role::Asks(upstream, kept) = role else {
        return Ok(None);
    };
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let cache = match kept {
        0 => String::new(),
        kept => format!("getPool(\"\"):setCache(newPacketCache({kept}))\n"),
    };
    let configuration = format!(
        "setLocal(\"{ip}:{port}\")\nsetMaxUDPOutstanding(65535)\n\
         newServer{{address=\"127.0.0.1:{upstream}\", sockets=8, healthCheckMode=\"up\"}}\n{cache}"
    );
    Plan {
        name: "dnsdist",
        program: "dnsdist",
        arguments: "--supervised --disable-syslog -C dnsdist.conf".to_owned(),
        files: vec![("dnsdist.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// The recursor of `PowerDNS`, as a forwarder with a cache.
pub(crate) fn recursor(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let Role::Asks(upstream, _) = role else {
        return Ok(None);
    };
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let configuration = format!(
        "local-address={ip}\nlocal-port={port}\nsocket-dir=.\nthreads=1\n\
         dnssec=off\ndont-query=\nquiet=yes\n\
         forward-zones-recurse=.=127.0.0.1:{upstream}\n"
    );
    Plan {
        name: "recursor",
        program: "pdns_recursor",
        arguments: "--config-dir=. --daemon=no --disable-syslog".to_owned(),
        files: vec![("recursor.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// The CoreDNS that `PORTOLAN_BENCH_COREDNS` names, on one core.
pub(crate) fn coredns(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let Ok(program) = std::env::var("PORTOLAN_BENCH_COREDNS") else {
        return Ok(None);
    };
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let (stage, files) = match role {
        Role::Knows(names) => (
            "hosts hosts.txt {\n  ttl 60\n  no_reverse\n  reload 0\n }".to_owned(),
            vec![("hosts.txt", names.hosts())],
        ),
        Role::Asks(upstream, kept) => {
            let cache = match kept {
                0 => String::new(),
                kept => format!("cache 3600 {{\n  success {kept}\n }}\n "),
            };
            let forward = format!("forward . 127.0.0.1:{upstream}");
            (
                format!("{cache}{forward} {{\n  max_concurrent 20000\n }}"),
                Vec::new(),
            )
        }
    };
    let corefile = format!(".:{port} {{\n bind {ip}\n {stage}\n}}\n");
    Plan {
        name: "coredns",
        program: "sh",
        arguments: format!("-c 'GOMAXPROCS=1 exec \"{program}\" -conf Corefile'"),
        files: [files, vec![("Corefile", corefile)]].concat(),
        address,
    }
    .start(place)
    .map(Some)
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
        .args(["--echo", &text])
        .start()?;
    let server = Server {
        name: ECHO,
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
    /// An IPv4 server on a core.
    pub(crate) fn on(core: Core) -> Self {
        Self { core, v6: false }
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
        if !machine::has(self.program) {
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
