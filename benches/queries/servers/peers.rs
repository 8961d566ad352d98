//! The servers of others.

use portolan_testkit::process;

use super::Place;
use super::Plan;
use super::Role;
use super::Server;
use crate::names::Names;
use crate::names::ZONE;

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
        name: DNSMASQ.to_owned(),
        program: "dnsmasq".to_owned(),
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
    let workers = place.workers;
    let configuration = format!(
        "server:\n  rundir: .\n  listen: {ip}@{port}\n  udp-workers: {workers}\n  tcp-workers: 1\n  \
         background-workers: 1\nlog:\n- target: stderr\n  any: warning\n\
         database:\n  storage: .\nzone:\n- domain: {ZONE}\n  storage: .\n  file: zone.txt\n  \
         journal-content: none\n  zonefile-sync: -1\n"
    );
    Plan {
        name: KNOT.to_owned(),
        program: "knotd".to_owned(),
        arguments: "-c knot.conf".to_owned(),
        files: vec![("zone.txt", names.zone()), ("knot.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// NSD: an authoritative server. Debian's default limits the rate to 200 a
/// second, so that it has to be told not to; by itself it names the servers of
/// the zone in each response.
pub(crate) fn nsd(names: &Names, place: Place) -> anyhow::Result<Option<Server>> {
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let workers = place.workers;
    let configuration = format!(
        "server:\n  server-count: {workers}\n  reuseport: yes\n  ip-address: {ip}@{port}\n  username: \"\"\n  \
         chroot: \"\"\n  zonesdir: \".\"\n  database: \"\"\n  pidfile: \"\"\n  \
         zonelistfile: \"zones.list\"\n  xfrdfile: \"xfrd.state\"\n  xfrdir: \".\"\n  \
         minimal-responses: yes\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n\
         zone:\n  name: {ZONE}\n  zonefile: zone.txt\n"
    );
    Plan {
        name: NSD.to_owned(),
        program: "nsd".to_owned(),
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
    let workers = place.workers;
    let configuration = format!(
        "server:\n  interface: {ip}\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n  \
         directory: \".\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: {workers}\n  incoming-num-tcp: 100\n  \
         so-reuseport: yes\n  msg-cache-slabs: {workers}\n  rrset-cache-slabs: {workers}\n  \
         infra-cache-slabs: {workers}\n  module-config: \"iterator\"\n  minimal-responses: yes\n{role}\
         remote-control:\n  control-enable: no\n"
    );
    Plan {
        name: UNBOUND.to_owned(),
        program: "unbound".to_owned(),
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
        name: NAMED.to_owned(),
        program: "named".to_owned(),
        arguments: format!("-f -n {} -c named.conf", place.workers),
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
    // It would ask its makers whether its version is safe.
    let configuration = format!(
        "setSecurityPollSuffix(\"\")\nsetLocal(\"{ip}:{port}\")\nsetMaxUDPOutstanding(65535)\n\
         newServer{{address=\"127.0.0.1:{upstream}\", sockets=8, healthCheckMode=\"up\"}}\n{cache}"
    );
    Plan {
        name: DNSDIST.to_owned(),
        program: "dnsdist".to_owned(),
        arguments: "--supervised --disable-syslog -C dnsdist.conf".to_owned(),
        files: vec![("dnsdist.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// The recursor of `PowerDNS`, as a forwarder with a cache.
pub(crate) fn recursor(role: Role<'_>, place: Place) -> anyhow::Result<Option<Server>> {
    let Role::Asks(upstream, kept) = role else {
        return Ok(None);
    };
    let address = place.address();
    let (ip, port) = (address.ip(), address.port());
    let cache = match kept {
        0 => "disable-packetcache=yes\n",
        _ => "",
    };
    let configuration = format!(
        "local-address={ip}\nlocal-port={port}\nsocket-dir=.\nthreads=1\n\
         security-poll-suffix=\n{cache}dnssec=off\ndont-query=\nquiet=yes\n\
         forward-zones-recurse=.=127.0.0.1:{upstream}\n"
    );
    Plan {
        name: RECURSOR.to_owned(),
        program: "pdns_recursor".to_owned(),
        arguments: "--config-dir=. --daemon=no --disable-syslog".to_owned(),
        files: vec![("recursor.conf", configuration)],
        address,
    }
    .start_if_installed(place)
}

/// The CoreDNS that `PORTOLAN_BENCH_COREDNS` names: with what the role needs
/// only, or with plugins that it usually has.
pub(crate) fn coredns(
    role: Role<'_>,
    place: Place,
    is_usual: bool,
) -> anyhow::Result<Option<Server>> {
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
    let usual = if is_usual {
        let metrics = process::free_port();
        format!("prometheus 127.0.0.1:{metrics}\n errors\n cache\n")
    } else {
        String::new()
    };
    let corefile = format!(".:{port} {{\n bind {ip}\n {usual} {stage}\n}}\n");
    Plan {
        name: if is_usual { USUAL_COREDNS } else { COREDNS }.to_owned(),
        program: "sh".to_owned(),
        arguments: format!(
            "-c 'GOMAXPROCS={} exec \"{program}\" -conf Corefile'",
            place.workers
        ),
        files: [files, vec![("Corefile", corefile)]].concat(),
        address,
    }
    .start(place)
    .map(Some)
}

/// Name of `CoreDNS`.
pub(crate) const COREDNS: &str = "coredns";

/// The same with the plugins that it usually has.
pub(crate) const USUAL_COREDNS: &str = "coredns, prometheus errors cache";

/// Name of Knot.
pub(crate) const KNOT: &str = "knot";

/// Name of NSD.
pub(crate) const NSD: &str = "nsd";

/// Name of unbound.
pub(crate) const UNBOUND: &str = "unbound";

/// Name of dnsdist.
pub(crate) const DNSDIST: &str = "dnsdist";

/// Name of dnsmasq.
pub(crate) const DNSMASQ: &str = "dnsmasq";

/// Name of BIND.
pub(crate) const NAMED: &str = "named";

/// Name of the recursor of `PowerDNS`.
pub(crate) const RECURSOR: &str = "recursor";
