//! The tree of a TOML file as server blocks of a Corefile.

use toml::Spanned;

use crate::token::Directive;
use crate::token::RawBlock;
use crate::token::Token;
use crate::toml::draft::Draft;
use crate::toml::draft::Source;
use crate::toml::tree;
use crate::toml::value::Flag;
use crate::toml::value::Table;
use crate::zone::ZoneText;

/// Writes the server blocks down.
pub(super) fn blocks(file: &tree::File, source: &mut Source<'_>) -> Vec<RawBlock> {
    let mut blocks: Vec<RawBlock> = file
        .server
        .iter()
        .map(|server| block(server, source))
        .collect();
    // Reading the file again is for the process; any block may have it.
    if let (Some(reload), Some(first)) = (&file.reload, blocks.first_mut()) {
        first
            .directives
            .extend(table("reload", Some(reload), source, |draft, reload| {
                let given = [
                    (reload.interval.as_ref(), "30s"),
                    (reload.jitter.as_ref(), "15s"),
                ];
                let count = given.iter().rposition(|(value, _)| value.is_some());
                for (value, default) in given.into_iter().take(count.map_or(0, |at| at + 1)) {
                    match value {
                        Some(value) => draft.argument(Some(value)),
                        None => draft.word(default),
                    }
                }
            }));
    }
    blocks
}

/// Writes a server block down.
fn block(server: &Spanned<tree::Server>, source: &mut Source<'_>) -> RawBlock {
    let position = source.position(server.span().start);
    let server = server.get_ref();
    let mut directives = Vec::new();
    directives.extend(bind(server, source));
    let multisocket = server.multisocket.as_ref();
    directives.extend(table("multisocket", multisocket, source, self::multisocket));
    directives.extend(flag("debug", server.debug.as_ref(), source));
    directives.extend(flag("any", server.any.as_ref(), source));
    directives.extend(flag("whoami", server.whoami.as_ref(), source));
    directives.extend(table("health", server.health.as_ref(), source, health));
    directives.extend(table("ready", server.ready.as_ref(), source, ready));
    directives.extend(table(
        "prometheus",
        server.prometheus.as_ref(),
        source,
        prometheus,
    ));
    directives.extend(table("errors", server.errors.as_ref(), source, errors));
    for rule in &server.log {
        directives.push(written("log", rule, source, log));
    }
    directives.extend(table(
        "loadbalance",
        server.loadbalance.as_ref(),
        source,
        loadbalance,
    ));
    directives.extend(table("hosts", server.hosts.as_ref(), source, hosts));
    let docker = server.docker_cluster.as_ref();
    directives.extend(table("docker-cluster", docker, source, docker_cluster));
    let traefik = server.traefik_externals.as_ref();
    directives.extend(table(
        "traefik-externals",
        traefik,
        source,
        traefik_externals,
    ));
    directives.extend(table("cache", server.cache.as_ref(), source, cache));
    for stanza in &server.forward {
        directives.push(written("forward", stanza, source, forward));
    }
    RawBlock {
        keys: keys(server, source),
        directives,
        position,
    }
}

/// Writes the keys of a server block down.
fn keys(server: &tree::Server, source: &mut Source<'_>) -> Vec<Token> {
    let port = server.port.as_ref().map(|port| source.value(port).text);
    let mut keys = source.values(&server.zones);
    for key in &mut keys {
        let has_port = ZoneText::split(&key.text).is_ok_and(|parts| parts.port.is_some());
        if let Some(port) = port.as_ref().filter(|_| !has_port) {
            key.text = format!("{}:{port}", key.text);
        }
    }
    keys
}

/// Writes `bind` down.
fn bind(server: &tree::Server, source: &mut Source<'_>) -> Option<Directive> {
    let offset = server
        .bind
        .as_ref()
        .or(server.bind_except.as_ref())?
        .span()
        .start;
    let mut draft = source.draft("bind", offset);
    draft.arguments(server.bind.as_ref());
    draft.properties("except", server.bind_except.as_ref());
    Some(draft.finish())
}

/// Writes a directive down that is there or not.
fn flag(name: &str, flag: Option<&Flag>, source: &mut Source<'_>) -> Option<Directive> {
    let flag = flag.filter(|flag| *flag.get_ref())?;
    Some(source.draft(name, flag.span().start).finish())
}

/// Writes a directive down whose table is there or not.
fn table<T>(
    name: &str,
    table: Option<&Table<T>>,
    source: &mut Source<'_>,
    write: impl FnOnce(&mut Draft<'_, '_>, &T),
) -> Option<Directive> {
    let table = table?;
    let content = table.get_ref().0.as_ref()?;
    let mut draft = source.draft(name, table.span().start);
    write(&mut draft, content);
    Some(draft.finish())
}

/// Writes a directive down that may be repeated.
fn written<T>(
    name: &str,
    table: &Spanned<T>,
    source: &mut Source<'_>,
    write: impl FnOnce(&mut Draft<'_, '_>, &T),
) -> Directive {
    let mut draft = source.draft(name, table.span().start);
    write(&mut draft, table.get_ref());
    draft.finish()
}

/// Writes the words of `health`.
fn health(draft: &mut Draft<'_, '_>, health: &tree::Health) {
    draft.argument(health.address.as_ref());
    draft.property("lameduck", health.lameduck.as_ref());
}

/// Writes the words of `ready`.
fn ready(draft: &mut Draft<'_, '_>, ready: &tree::Ready) {
    draft.argument(ready.address.as_ref());
    draft.property("monitor", ready.monitor.as_ref());
}

/// Writes the words of `prometheus`.
fn prometheus(draft: &mut Draft<'_, '_>, prometheus: &tree::Prometheus) {
    draft.argument(prometheus.address.as_ref());
    draft.flag("runtime_metrics", prometheus.runtime_metrics.as_ref());
}

/// Writes the words of `errors`.
fn errors(draft: &mut Draft<'_, '_>, errors: &tree::ErrorLog) {
    draft.flag("stacktrace", errors.stacktrace.as_ref());
    for consolidate in errors.consolidate.iter().flatten() {
        let offset = consolidate.span().start;
        let consolidate = consolidate.get_ref();
        let mut words = Vec::new();
        for value in [
            &consolidate.period,
            &consolidate.pattern,
            &consolidate.level,
        ] {
            words.extend(value.as_ref().map(|value| draft.value(value)));
        }
        if let Some(flag) = consolidate
            .show_first
            .as_ref()
            .filter(|flag| *flag.get_ref())
        {
            words.push(draft.token("show_first", flag.span().start));
        }
        draft.line("consolidate", offset, words);
    }
}

/// Writes the words of `log`.
fn log(draft: &mut Draft<'_, '_>, rule: &tree::LogRule) {
    if rule.names.is_none() && rule.format.is_some() {
        draft.word(".");
    }
    draft.arguments(rule.names.as_ref());
    draft.argument(rule.format.as_ref());
    draft.properties("class", rule.class.as_ref());
}

/// Writes the words of `loadbalance`.
fn loadbalance(draft: &mut Draft<'_, '_>, balance: &tree::LoadBalance) {
    draft.argument(balance.policy.as_ref());
    draft.argument(balance.file.as_ref());
    draft.property("reload", balance.reload.as_ref());
    draft.properties("prefer", balance.prefer.as_ref());
}

/// Writes the words of `hosts`.
fn hosts(draft: &mut Draft<'_, '_>, hosts: &tree::Hosts) {
    if hosts.files.is_none() && hosts.zones.is_some() {
        draft.word("/etc/hosts");
    }
    draft.arguments(hosts.files.as_ref());
    draft.arguments(hosts.zones.as_ref());
    draft.property("ttl", hosts.ttl.as_ref());
    draft.flag("no_reverse", hosts.no_reverse.as_ref());
    draft.property("reload", hosts.reload.as_ref());
    draft.property("unknown_action", hosts.unknown_action.as_ref());
    draft.property("negative_ttl", hosts.negative_ttl.as_ref());
    // Lines of data stand before `fallthrough`.
    if let Some(inline) = &hosts.inline {
        draft.split_lines(inline);
    }
    draft.fallthrough(hosts.fallthrough.as_ref());
    draft.flag(
        "fallthrough_unsupported",
        hosts.fallthrough_unsupported.as_ref(),
    );
}

/// Writes the words of `multisocket`.
fn multisocket(draft: &mut Draft<'_, '_>, sockets: &tree::Multisocket) {
    draft.argument(sockets.sockets.as_ref());
    draft.property("receive_buffer", sockets.receive_buffer.as_ref());
    draft.property("send_buffer", sockets.send_buffer.as_ref());
    if let Some(segmentation) = &sockets.segmentation {
        let offset = segmentation.span().start;
        let word = draft.token(if *segmentation.get_ref() { "on" } else { "off" }, offset);
        draft.line("segmentation", offset, vec![word]);
    }
}

/// Writes the words of `docker-cluster`.
fn docker_cluster(draft: &mut Draft<'_, '_>, docker: &tree::DockerCluster) {
    draft.properties("docker_socket", docker.docker_socket.as_ref());
    draft.properties("host_ip", docker.host_ip.as_ref());
    draft.properties("label", docker.labels.as_ref());
    draft.flag("traefik_labels", docker.traefik_labels.as_ref());
    draft.property("ttl", docker.ttl.as_ref());
    draft.fallthrough(docker.fallthrough.as_ref());
    draft.property("unknown_action", docker.unknown_action.as_ref());
    draft.property("linger", docker.linger.as_ref());
    draft.flag("healthy_only", docker.healthy_only.as_ref());
    draft.flag("no_reverse", docker.no_reverse.as_ref());
    draft.property("negative_ttl", docker.negative_ttl.as_ref());
    draft.property("max_names", docker.max_names.as_ref());
    if let Some(table) = &docker.cluster {
        cluster(draft, table.get_ref());
    }
}

/// Writes the `cluster_…` properties of `docker-cluster`.
fn cluster(draft: &mut Draft<'_, '_>, cluster: &tree::Cluster) {
    if let Some(enabled) = &cluster.enabled {
        let offset = enabled.span().start;
        let word = draft.token(if *enabled.get_ref() { "true" } else { "false" }, offset);
        draft.line("cluster_enabled", offset, vec![word]);
    }
    draft.property("cluster_port", cluster.port.as_ref());
    draft.properties("cluster_seeds", cluster.seeds.as_ref());
    draft.property("node_name", cluster.node_name.as_ref());
    draft.property("cluster_bind_addr", cluster.bind_addr.as_ref());
    draft.property("cluster_advertise_addr", cluster.advertise_addr.as_ref());
    draft.property("discovery_port", cluster.discovery_port.as_ref());
    draft.property("cluster_label", cluster.label.as_ref());
    draft.properties("cluster_networks", cluster.networks.as_ref());
    draft.properties("cluster_allowed_zones", cluster.allowed_zones.as_ref());
    draft.property("cluster_dead_hold", cluster.dead_hold.as_ref());
    draft.property("cluster_leave_hold", cluster.leave_hold.as_ref());
    draft.property("cluster_max_records", cluster.max_records.as_ref());
    draft.property("cluster_secret_file", cluster.secret_file.as_ref());
}

/// Writes the words of `traefik-externals`.
fn traefik_externals(draft: &mut Draft<'_, '_>, traefik: &tree::TraefikExternals) {
    draft.property("directory", traefik.directory.as_ref());
    draft.property("env_file", traefik.env_file.as_ref());
    draft.properties("host_ip", traefik.host_ip.as_ref());
    draft.property("ttl", traefik.ttl.as_ref());
    draft.fallthrough(traefik.fallthrough.as_ref());
}

/// Writes the words of `cache`.
fn cache(draft: &mut Draft<'_, '_>, cache: &tree::Cache) {
    draft.argument(cache.ttl.as_ref());
    draft.arguments(cache.zones.as_ref());
    for (name, store) in [("success", &cache.success), ("denial", &cache.denial)] {
        if let Some(store) = store {
            let (offset, store) = (store.span().start, store.get_ref());
            let longest = if name == "success" { "3600" } else { "1800" };
            let longest = cache
                .ttl
                .as_ref()
                .map_or(longest, |ttl| ttl.get_ref().0.as_str());
            draft.positional(
                name,
                offset,
                &[
                    (store.capacity.as_ref(), "9984"),
                    (store.ttl.as_ref(), longest),
                    (store.min_ttl.as_ref(), "5"),
                ],
            );
        }
    }
    draft.property("max_size", cache.max_size.as_ref());
    if let Some(table) = &cache.prefetch {
        prefetch(draft, table.get_ref(), table.span().start);
    }
    if let Some(table) = &cache.serve_stale
        && let Some(stale) = &table.get_ref().0
    {
        serve_stale(draft, stale, table.span().start);
    }
    draft.property("serve_stale_policy", cache.serve_stale_policy.as_ref());
    draft.property("servfail", cache.servfail.as_ref());
    for (kind, zones) in [
        ("success", &cache.disable_success),
        ("denial", &cache.disable_denial),
    ] {
        if let Some(zones) = zones {
            let offset = zones.span().start;
            let mut words = vec![draft.token(kind, offset)];
            words.extend(draft.values(zones));
            draft.line("disable", offset, words);
        }
    }
    draft.flag("keepttl", cache.keepttl.as_ref());
    draft.flag("flush_on_reload", cache.flush_on_reload.as_ref());
}

/// Writes `prefetch`.
fn prefetch(draft: &mut Draft<'_, '_>, prefetch: &tree::Prefetch, offset: usize) {
    draft.positional(
        "prefetch",
        offset,
        &[
            (prefetch.amount.as_ref(), ""),
            (prefetch.duration.as_ref(), "1m"),
            (prefetch.percentage.as_ref(), "10%"),
        ],
    );
}

/// Writes `serve_stale`.
fn serve_stale(draft: &mut Draft<'_, '_>, stale: &tree::ServeStale, offset: usize) {
    let refresh = stale.refresh.as_ref();
    let verifies = refresh.is_some_and(|word| word.get_ref().0 == "verify");
    let duration = (stale.duration.as_ref(), "1h");
    let refresh = (refresh, "immediate");
    let ttl = (stale.ttl.as_ref(), "0s");
    let recheck = (stale.recheck.as_ref(), "0s");
    // A timeout without `verify` is written all the same, to be refused.
    if verifies || stale.timeout.is_some() {
        let timeout = (stale.timeout.as_ref(), "0s");
        draft.positional(
            "serve_stale",
            offset,
            &[duration, refresh, timeout, ttl, recheck],
        );
    } else {
        draft.positional("serve_stale", offset, &[duration, refresh, ttl, recheck]);
    }
}

/// Writes the words of `forward`.
fn forward(draft: &mut Draft<'_, '_>, forward: &tree::Forward) {
    draft.argument(forward.from.as_ref());
    draft.arguments(forward.to.as_ref());
    draft.properties("except", forward.except.as_ref());
    draft.flag("force_tcp", forward.force_tcp.as_ref());
    draft.flag("prefer_udp", forward.prefer_udp.as_ref());
    draft.property("expire", forward.expire.as_ref());
    draft.property("max_age", forward.max_age.as_ref());
    draft.property("max_idle_conns", forward.max_idle_conns.as_ref());
    draft.property("read_timeout", forward.read_timeout.as_ref());
    draft.property("max_fails", forward.max_fails.as_ref());
    draft.property(
        "max_connect_attempts",
        forward.max_connect_attempts.as_ref(),
    );
    if let Some(table) = &forward.tls
        && let Some(tls) = &table.get_ref().0
    {
        let mut words = Vec::new();
        for value in [&tls.cert, &tls.key, &tls.ca] {
            words.extend(value.as_ref().map(|value| draft.value(value)));
        }
        draft.line("tls", table.span().start, words);
    }
    draft.property("tls_servername", forward.tls_servername.as_ref());
    draft.property("policy", forward.policy.as_ref());
    if let Some(check) = &forward.health_check {
        health_check(draft, check.get_ref(), check.span().start);
    }
    draft.property("max_concurrent", forward.max_concurrent.as_ref());
    draft.properties("next", forward.next.as_ref());
    draft.flag("next_on_nodata", forward.next_on_nodata.as_ref());
    let failfast = forward.failfast_all_unhealthy_upstreams.as_ref();
    draft.flag("failfast_all_unhealthy_upstreams", failfast);
    draft.properties("failover", forward.failover.as_ref());
    draft.property("doh_method", forward.doh_method.as_ref());
    draft.property("source_address", forward.source_address.as_ref());
    draft.properties("resolver", forward.resolver.as_ref());
    draft.properties("allow_from", forward.allow_from.as_ref());
}

/// Writes `health_check`.
fn health_check(draft: &mut Draft<'_, '_>, check: &tree::HealthCheck, offset: usize) {
    let interval = match &check.interval {
        Some(interval) => draft.value(interval),
        None => draft.token("500ms", offset),
    };
    let mut words = vec![interval];
    if let Some(flag) = check.no_rec.as_ref().filter(|flag| *flag.get_ref()) {
        words.push(draft.token("no_rec", flag.span().start));
    }
    if let Some(domain) = &check.domain {
        words.push(draft.token("domain", domain.span().start));
        words.push(draft.value(domain));
    }
    if let Some(flag) = check.strict.as_ref().filter(|flag| *flag.get_ref()) {
        words.push(draft.token("strict", flag.span().start));
    }
    draft.line("health_check", offset, words);
}
