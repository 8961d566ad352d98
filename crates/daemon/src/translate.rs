//! From what the configuration says to what each crate wants to be told.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context as _;
use nix::net::if_::if_nametoindex;
use portolan_cluster as cluster;
use portolan_config as config;
use portolan_files as files;
use portolan_forward as forward;
use portolan_proto::{Name, Rcode};
use portolan_server::{Fallthrough, SocketOptions, UnknownAction};
use portolan_table::LayerId;

/// A `multisocket` directive.
pub(crate) fn sockets(from: config::Multisocket) -> SocketOptions {
    let octets = |octets| usize::try_from(octets).unwrap_or(usize::MAX);
    let defaults = SocketOptions::default();
    SocketOptions {
        count: from.sockets.map(usize::from).and_then(NonZeroUsize::new),
        receive_buffer: from.receive_buffer.map_or(defaults.receive_buffer, octets),
        send_buffer: from.send_buffer.map(octets),
        segmentation: from.segmentation,
    }
}

/// A `forward` directive.
pub(crate) fn forward(from: &config::Forward) -> anyhow::Result<forward::Config> {
    let defaults = forward::Config::default();
    let failover = defaults.failover.iter().chain(&from.failover).copied();
    Ok(forward::Config {
        from: vec![from.from.clone()],
        except: from.except.clone(),
        upstreams: from
            .to
            .iter()
            .map(upstream)
            .collect::<anyhow::Result<_>>()?,
        policy: match from.policy {
            config::ForwardPolicy::Random => forward::Policy::Random,
            config::ForwardPolicy::RoundRobin => forward::Policy::RoundRobin,
            config::ForwardPolicy::Sequential => forward::Policy::Sequential,
            config::ForwardPolicy::Fastest => forward::Policy::Fastest,
        },
        max_fails: from.max_fails,
        expire: from.expire,
        max_age: from.max_age,
        max_idle_conns: from
            .max_idle_connections
            .map_or(0, |n| usize::try_from(n).unwrap_or(0)),
        read_timeout: from.read_timeout,
        max_connect_attempts: from
            .max_connect_attempts
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        force_tcp: from.force_tcp,
        prefer_udp: from.prefer_udp,
        case_randomization: from.case_randomization,
        tls: tls(from),
        doh_method: match from.doh_method {
            config::DohMethod::Post => forward::DohMethod::Post,
            config::DohMethod::Get => forward::DohMethod::Get,
        },
        health_check: forward::HealthCheck {
            interval: from.health_check.interval,
            no_rec: !from.health_check.recursion_desired,
            domain: from.health_check.qname.clone(),
            strict: from.health_check.strict,
        },
        max_concurrent: from
            .max_concurrent
            .map_or(0, |n| usize::try_from(n).unwrap_or(0)),
        forward_special_names: from.forward_special_names,
        next: from.next.iter().copied().collect(),
        next_on_nodata: from.next_on_nodata,
        failfast_all_unhealthy_upstreams: from.failfast,
        failover: failover
            .collect::<std::collections::BTreeSet<Rcode>>()
            .into_iter()
            .collect(),
        source_address: from.source_address,
        resolver: from.resolvers.clone(),
        allow_from: match &from.allow_from {
            None => defaults.allow_from,
            Some(config::AllowFrom::Networks(networks)) => networks.clone(),
            Some(config::AllowFrom::Any) => ["0.0.0.0/0", "::/0"]
                .iter()
                .map(|range| range.parse().context("a constant range"))
                .collect::<anyhow::Result<_>>()?,
        },
    })
}

/// One upstream of a `forward` directive.
fn upstream(from: &config::Upstream) -> anyhow::Result<forward::UpstreamConfig> {
    let server = match from {
        config::Upstream::ResolvConf(path) => {
            return Ok(forward::UpstreamConfig::File(PathBuf::from(path)));
        }
        config::Upstream::Server(server) => server,
    };
    let host = match &server.host {
        config::UpstreamHost::Address { address, .. } => address.to_string(),
        config::UpstreamHost::Hostname(name) => name.to_string().trim_end_matches('.').to_owned(),
    };
    let transport = match server.transport {
        config::UpstreamTransport::Dns => None,
        config::UpstreamTransport::Tls => Some(forward::EncryptedTransport::Tls),
        config::UpstreamTransport::Https => Some(forward::EncryptedTransport::Https),
    };
    if let Some(transport) = transport {
        return Ok(forward::UpstreamConfig::Encrypted {
            transport,
            host,
            port: server.port,
            server_name: server.server_name.clone(),
        });
    }
    match &server.host {
        config::UpstreamHost::Address { address, scope } => {
            let mut socket = SocketAddr::new(*address, server.port);
            if let (SocketAddr::V6(v6), Some(scope)) = (&mut socket, scope) {
                let index = match scope.parse() {
                    Ok(index) => index,
                    Err(_) => if_nametoindex(scope.as_str())
                        .with_context(|| format!("no interface {scope:?}"))?,
                };
                v6.set_scope_id(index);
            }
            Ok(forward::UpstreamConfig::Addr(socket))
        }
        config::UpstreamHost::Hostname(_) => Ok(forward::UpstreamConfig::Hostname {
            host,
            port: server.port,
        }),
    }
}

/// Certificates and name of the encrypted upstreams of a `forward` directive.
fn tls(from: &config::Forward) -> forward::TlsConfig {
    let files = from.tls.clone().unwrap_or_default();
    forward::TlsConfig {
        identity: files.identity,
        authority: files.authority,
        server_name: from.tls_server_name.clone(),
    }
}

/// A `cache` directive.
pub(crate) fn cache(from: &config::Cache) -> forward::CacheConfig {
    let store = |store: &config::CacheStore| forward::StoreConfig {
        capacity: store.capacity,
        max_ttl: store.max_ttl,
        min_ttl: store.min_ttl,
    };
    forward::CacheConfig {
        zones: from.zones.clone(),
        success: store(&from.success),
        denial: store(&from.denial),
        max_size: from.max_size,
        prefetch: from.prefetch.as_ref().map(|prefetch| forward::Prefetch {
            amount: prefetch.amount,
            duration: prefetch.duration,
            percentage: prefetch.percentage,
        }),
        serve_stale: from.serve_stale.as_ref().map(|stale| forward::ServeStale {
            duration: stale.window,
            mode: match stale.refresh {
                config::StaleRefresh::Immediate => forward::StaleMode::Immediate,
                config::StaleRefresh::Verify { timeout } => forward::StaleMode::Verify {
                    timeout: timeout.unwrap_or_default(),
                },
            },
            reply_ttl: stale.ttl,
            recheck: stale.recheck.unwrap_or_default(),
            prefer_positive: stale.prefer_positive,
        }),
        servfail: from.servfail,
        disable_success: from.success_disabled.clone(),
        disable_denial: from.denial_disabled.clone(),
        keepttl: from.keep_ttl,
    }
}

/// A `hosts` directive.
pub(crate) fn hosts(from: &config::Hosts, layer: LayerId) -> files::Config {
    files::Config {
        paths: from
            .files
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
        inline: from
            .inline
            .iter()
            .map(|line| files::InlineLine {
                text: line.value.clone(),
                position: line.position.to_string(),
            })
            .collect(),
        zones: from.zones.clone(),
        ttl: from.ttl,
        reverse: from.reverse,
        reload: from.reload,
        ..files::Config::new(layer)
    }
}

/// What a `docker-cluster` directive says of its cluster.
pub(crate) fn cluster(from: &config::DockerCluster) -> cluster::Config {
    let cluster = &from.cluster;
    let secret = |secret: &config::ClusterSecret| match secret {
        config::ClusterSecret::Key(octets) => cluster::Secret::Key(octets.clone()),
        config::ClusterSecret::Passphrase(text) => cluster::Secret::Passphrase(text.clone()),
    };
    cluster::Config {
        name: cluster.node_name.clone().unwrap_or_else(host_name),
        bind: SocketAddr::new(cluster.bind_address, cluster.port),
        advertise: cluster
            .advertise
            .as_ref()
            .map(|address| (address.address, address.port)),
        host_ips: from.host.addresses.clone(),
        label: cluster.label.clone(),
        networks: cluster.networks.clone(),
        discovery_port: cluster.discovery_port,
        settings: cluster::Settings {
            seeds: cluster
                .seeds
                .iter()
                .map(|seed| cluster::Seed {
                    host: seed.host.clone(),
                    port: seed.port.unwrap_or(cluster.port),
                })
                .collect(),
            secrets: cluster.secrets.iter().map(secret).collect(),
            rules: cluster::Rules {
                allowed_zones: cluster.allowed_zones.clone(),
                dead_hold: cluster.dead_hold,
                leave_hold: cluster.leave_hold,
                max_records: cluster.max_records,
                ..cluster::Rules::default()
            },
        },
    }
}

/// The name of this host, as the system has it.
fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "node".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// `fallthrough`, given or not.
pub(crate) fn fallthrough(from: Option<&config::Fallthrough>) -> Fallthrough {
    match from {
        None => Fallthrough::Never,
        Some(from) => Fallthrough::Within(from.zones.clone()),
    }
}

/// `unknown_action`.
pub(crate) fn unknown_action(from: config::UnknownAction) -> UnknownAction {
    match from {
        config::UnknownAction::Drop => UnknownAction::Drop,
        config::UnknownAction::NxDomain => UnknownAction::NxDomain,
        config::UnknownAction::Refused => UnknownAction::Refused,
        config::UnknownAction::NoData => UnknownAction::NoData,
        config::UnknownAction::ServFail => UnknownAction::ServFail,
    }
}

/// The zone whose name the metrics of a block carry: its longest key.
pub(crate) fn longest_zone(zones: &[Name]) -> Name {
    zones
        .iter()
        .max_by_key(|zone| zone.label_count())
        .cloned()
        .unwrap_or_else(Name::root)
}
