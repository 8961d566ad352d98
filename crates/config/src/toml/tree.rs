//! The shape of a TOML file: which keys there are, and what kind of value
//! each has. What a value means is decided where the Corefile's is.
//!
//! Keys are those of the Corefile with hyphens. Durations are strings (`"5s"`).

use serde::Deserialize;
use toml::Spanned;

use crate::toml::value::Flag;
use crate::toml::value::Table;
use crate::toml::value::Value;
use crate::toml::value::Values;
use crate::toml::value::Zones;

/// Defines tables whose keys are all optional.
macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident { $($(#[$field_doc:meta])* $key:ident: $kind:ty,)* })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $table {
            $($(#[$field_doc])* pub(super) $key: Option<$kind>,)*
        })+
    };
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    /// `[[server]]`: the server blocks.
    #[serde(default)]
    pub(super) server: Vec<Spanned<Server>>,
    /// `[reload]`: reading the file again.
    pub(super) reload: Option<Table<Reload>>,
}

/// `[[server]]`: a server block.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Server {
    /// The zones, which may be address ranges and may have a port.
    pub(super) zones: Values,
    /// The port of the zones that have none.
    pub(super) port: Option<Value>,
    /// Addresses or interfaces to listen on.
    pub(super) bind: Option<Values>,
    /// Addresses or interfaces not to listen on.
    pub(super) bind_except: Option<Values>,
    /// `[server.multisocket]`.
    pub(super) multisocket: Option<Table<Multisocket>>,
    /// `debug = true`.
    pub(super) debug: Option<Flag>,
    /// `any = true`.
    pub(super) any: Option<Flag>,
    /// `whoami = true`.
    pub(super) whoami: Option<Flag>,
    /// `[server.health]`.
    pub(super) health: Option<Table<Health>>,
    /// `[server.ready]`.
    pub(super) ready: Option<Table<Ready>>,
    /// `[server.prometheus]`.
    pub(super) prometheus: Option<Table<Prometheus>>,
    /// `[server.errors]`.
    pub(super) errors: Option<Table<ErrorLog>>,
    /// `[[server.log]]`.
    #[serde(default)]
    pub(super) log: Vec<Spanned<LogRule>>,
    /// `[server.loadbalance]`.
    pub(super) loadbalance: Option<Table<LoadBalance>>,
    /// `[server.hosts]`.
    pub(super) hosts: Option<Table<Hosts>>,
    /// `[server.docker-cluster]`.
    pub(super) docker_cluster: Option<Table<DockerCluster>>,
    /// `[server.traefik-externals]`.
    pub(super) traefik_externals: Option<Table<TraefikExternals>>,
    /// `[server.cache]`.
    pub(super) cache: Option<Table<Cache>>,
    /// `[[server.forward]]`.
    #[serde(default)]
    pub(super) forward: Vec<Spanned<Forward>>,
}

tables! {
    /// `[reload]`.
    Reload {
        /// Time between two looks.
        interval: Value,
        /// By how much it varies.
        jitter: Value,
    }

    /// `[server.multisocket]`.
    Multisocket {
        /// How many sockets.
        sockets: Value,
        /// Octets of the receive buffer.
        receive_buffer: Value,
        /// Octets of the send buffer.
        send_buffer: Value,
        /// Whether the kernel puts datagrams together and cuts them up.
        segmentation: Flag,
    }

    /// `[server.health]`.
    Health {
        /// Where it listens.
        address: Value,
        /// How long the server goes on after it was told to stop.
        lameduck: Value,
    }

    /// `[server.ready]`.
    Ready {
        /// Where it listens.
        address: Value,
        /// `until-ready` or `continuously`.
        monitor: Value,
    }

    /// `[server.prometheus]`.
    Prometheus {
        /// Where it listens.
        address: Value,
        /// Accepted as in a Corefile.
        runtime_metrics: Flag,
    }

    /// `[server.errors]`.
    ErrorLog {
        /// Whether a panic is logged with its stack.
        stacktrace: Flag,
        /// `[[server.errors.consolidate]]`.
        consolidate: Vec<Spanned<Consolidate>>,
    }

    /// `[[server.errors.consolidate]]`.
    Consolidate {
        /// How long errors are counted.
        period: Value,
        /// Which errors.
        pattern: Value,
        /// Level of the report.
        level: Value,
        /// Whether the first one is logged as well.
        show_first: Flag,
    }

    /// `[[server.log]]`.
    LogRule {
        /// Names it is for.
        names: Values,
        /// The line.
        format: Value,
        /// Classes of responses it is for.
        class: Values,
    }

    /// `[server.loadbalance]`.
    LoadBalance {
        /// `round_robin` or `weighted`.
        policy: Value,
        /// File with the weights.
        file: Value,
        /// How often the file is looked at.
        reload: Value,
        /// Ranges whose addresses come first.
        prefer: Values,
    }

    /// `[server.hosts]`.
    Hosts {
        /// Files, directories and patterns.
        files: Values,
        /// Zones whose names are taken.
        zones: Values,
        /// Lines of data.
        inline: Values,
        /// TTL in seconds.
        ttl: Value,
        /// Whether addresses do not answer with names.
        no_reverse: Flag,
        /// How often the files are looked at.
        reload: Value,
        /// Which unknown names go on.
        fallthrough: Spanned<Zones>,
        /// Whether other types of known names go on.
        fallthrough_unsupported: Flag,
        /// The answer to an unknown name.
        unknown_action: Value,
        /// TTL of a negative answer in seconds.
        negative_ttl: Value,
    }

    /// `[server.docker-cluster]`.
    DockerCluster {
        /// The Docker Engines.
        docker_socket: Values,
        /// Where the names point.
        host_ip: Values,
        /// Labels that hold names.
        labels: Values,
        /// Whether the rules of Traefik's routers hold names.
        traefik_labels: Flag,
        /// TTL in seconds.
        ttl: Value,
        /// Which unknown names go on.
        fallthrough: Spanned<Zones>,
        /// The answer to an unknown name.
        unknown_action: Value,
        /// How long the names of a stopped container stay.
        linger: Value,
        /// Whether a container must be healthy.
        healthy_only: Flag,
        /// Whether addresses do not answer with names.
        no_reverse: Flag,
        /// TTL of a negative answer in seconds.
        negative_ttl: Value,
        /// Names one container may have.
        max_names: Value,
        /// `[server.docker-cluster.cluster]`.
        cluster: Spanned<Cluster>,
    }

    /// `[server.docker-cluster.cluster]`.
    Cluster {
        /// Whether names are shared.
        enabled: Flag,
        /// Port of the membership protocol.
        port: Value,
        /// Members to join.
        seeds: Values,
        /// Name of this member.
        node_name: Value,
        /// Address to bind.
        bind_addr: Value,
        /// Address that others reach this member by.
        advertise_addr: Value,
        /// Port of discovery.
        discovery_port: Value,
        /// Label that keeps clusters apart.
        label: Value,
        /// Networks that members may have their addresses in.
        networks: Values,
        /// Zones that the names of other members must be in.
        allowed_zones: Values,
        /// How long the records of a member that failed are kept.
        dead_hold: Value,
        /// How long others keep this member's records after it left.
        leave_hold: Value,
        /// Records one member may have.
        max_records: Value,
        /// File that holds the secrets.
        secret_file: Value,
    }

    /// `[server.traefik-externals]`.
    TraefikExternals {
        /// Directory of the files.
        directory: Value,
        /// File of variables for templates.
        env_file: Value,
        /// Where the names point.
        host_ip: Values,
        /// TTL in seconds.
        ttl: Value,
        /// Which unknown names go on.
        fallthrough: Spanned<Zones>,
    }

    /// `[server.cache]`.
    Cache {
        /// Longest life of an entry in seconds.
        ttl: Value,
        /// Zones that are cached.
        zones: Values,
        /// `[server.cache.success]`.
        success: Spanned<CacheStore>,
        /// `[server.cache.denial]`.
        denial: Spanned<CacheStore>,
        /// Octets that are kept in all.
        max_size: Value,
        /// `[server.cache.prefetch]`.
        prefetch: Spanned<Prefetch>,
        /// `[server.cache.serve-stale]`.
        serve_stale: Table<ServeStale>,
        /// `prefer_positive`.
        serve_stale_policy: Value,
        /// How long a failure is kept.
        servfail: Value,
        /// Zones whose answers are not kept; empty for all.
        disable_success: Values,
        /// Zones whose denials are not kept; empty for all.
        disable_denial: Values,
        /// Whether answers have the TTL as stored.
        keepttl: Flag,
        /// Whether a reload empties it.
        flush_on_reload: Flag,
    }

    /// `[server.cache.success]` and `[server.cache.denial]`.
    CacheStore {
        /// Messages kept.
        capacity: Value,
        /// Longest life in seconds.
        ttl: Value,
        /// Shortest life in seconds.
        min_ttl: Value,
    }

    /// `[server.cache.prefetch]`.
    Prefetch {
        /// Questions that make an entry popular.
        amount: Value,
        /// A pause that makes it unpopular.
        duration: Value,
        /// Share of the TTL that is left, such as `"10%"`.
        percentage: Value,
    }

    /// `[server.cache.serve-stale]`.
    ServeStale {
        /// How long after it expired an entry may be used.
        duration: Value,
        /// `immediate` or `verify`.
        refresh: Value,
        /// How long `verify` waits.
        timeout: Value,
        /// TTL of a stale answer, as a duration.
        ttl: Value,
        /// Pause after a failed refresh.
        recheck: Value,
    }

    /// `[[server.forward]]`.
    Forward {
        /// Zone that is forwarded.
        from: Value,
        /// The upstreams.
        to: Values,
        /// Zones that are not forwarded.
        except: Values,
        /// TCP only.
        force_tcp: Flag,
        /// UDP first.
        prefer_udp: Flag,
        /// How long an idle connection is kept.
        expire: Value,
        /// How long a connection is kept.
        max_age: Value,
        /// Idle connections kept.
        max_idle_conns: Value,
        /// How long a response is waited for.
        read_timeout: Value,
        /// Failed probes after which an upstream is down.
        max_fails: Value,
        /// Attempts for one query.
        max_connect_attempts: Value,
        /// `[server.forward.tls]`.
        tls: Table<TlsFiles>,
        /// Name that upstreams must prove.
        tls_servername: Value,
        /// Which upstream is asked first.
        policy: Value,
        /// `[server.forward.health-check]`.
        health_check: Spanned<HealthCheck>,
        /// Queries in flight at once.
        max_concurrent: Value,
        /// Codes that make the next `forward` be asked.
        next: Values,
        /// Whether an empty response does.
        next_on_nodata: Flag,
        /// Whether a query fails at once when every upstream is down.
        failfast_all_unhealthy_upstreams: Flag,
        /// Codes that make the next upstream be asked.
        failover: Values,
        /// `POST` or `GET`.
        doh_method: Value,
        /// Local address that queries leave from.
        source_address: Value,
        /// Servers that resolve upstreams given by name.
        resolver: Values,
        /// Clients that may use the upstreams.
        allow_from: Values,
    }

    /// `[server.forward.tls]`.
    TlsFiles {
        /// Certificate the client shows.
        cert: Value,
        /// Its key.
        key: Value,
        /// Authority that vouches for the server.
        ca: Value,
    }

    /// `[server.forward.health-check]`.
    HealthCheck {
        /// Time between probes.
        interval: Value,
        /// Whether probes do not ask for recursion.
        no_rec: Flag,
        /// Name that probes ask for.
        domain: Value,
        /// Whether SERVFAIL is no sign of life.
        strict: Flag,
    }
}
