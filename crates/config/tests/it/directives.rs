//! What each directive accepts and refuses. A stanza is on one line here,
//! ` ; ` standing for the end of a line within its block.

use std::time::Duration;

use portolan_config::Monitor;
use portolan_config::ReportLevel;
use portolan_config::ResponseClass;
use portolan_config::StaleRefresh;
use portolan_config::UnknownAction;

use crate::support::assert_refused;
use crate::support::assert_warned;
use crate::support::in_root;
use crate::support::load;
use crate::support::stanza;

/// Stanzas that are accepted.
const ACCEPTED: &[&str] = &[
    "health",
    "health :8080",
    "health localhost:1234 { lameduck 4s }",
    "ready",
    "ready localhost:1234 { monitor continuously }",
    "ready { monitor until-ready }",
    "prometheus",
    "prometheus :9153",
    "prometheus { runtime_metrics }",
    "errors",
    "errors stdout",
    "errors { stacktrace ; consolidate 1m ^x$ ; consolidate 5s \"two words\" warning show_first }",
    "errors { consolidate 5m \".* i/o timeout$\" warning }",
    "log",
    "log example.org",
    "log example.org. {common}",
    "log a b {combined}",
    "log . \"{proto} {name}\"",
    "log { class denial ; class error }",
    "log example.org ; log example.net",
    "log . \"{combined} {/forward/upstream}\"",
    "hosts",
    "hosts /dev/null",
    "hosts /dev/null a.org 10.0.0.9/8",
    "hosts { 10.0.0.1 example.org ; fallthrough }",
    "hosts /missing/file",
    "hosts /tmp",
    "hosts { ttl 60 ; no_reverse ; reload 0 ; fallthrough }",
    "hosts { fallthrough a.org b.org ; fallthrough_unsupported }",
    "cache",
    "cache 30",
    "cache example.org",
    "cache 25 a.nl { success 10 1800 30 ; denial 10 15 2 }",
    "cache { prefetch 10 }",
    "cache { prefetch 10 1m 20% }",
    "cache { serve_stale }",
    "cache { serve_stale 0 }",
    "cache { serve_stale 1h verify 100ms 30s 30s }",
    "cache { serve_stale 1h immediate 30s }",
    "cache { serve_stale ; serve_stale_policy prefer_positive }",
    "cache { servfail 0 }",
    "cache { servfail 5m }",
    "cache { disable denial sub.org }",
    "cache { disable success }",
    "cache { keepttl }",
    "cache { max_size 16MiB }",
    "cache { max_size 65536 }",
    "cache { flush_on_reload }",
    "reload",
    "reload 10s",
    "reload 10s 0s",
    "reload 2s 1s",
    "loadbalance",
    "loadbalance round_robin",
    "loadbalance round_robin { prefer 10.0.0.0/8 2001:db8::/32 192.0.2.1 }",
    "loadbalance weighted /etc/weights { reload 10s }",
    "whoami",
    "any",
    "loop",
    "multisocket",
    "multisocket 1",
    "multisocket 1024 { receive_buffer 4096 ; send_buffer 1073741824 ; segmentation off }",
    "multisocket { segmentation on }",
    "debug",
    "traefik-externals { directory D ; env_file F ; host_ip 1.2.3.4 2001:db8::1 ; ttl 60 ; fallthrough }",
];

/// Stanzas that are refused, and what the error has in it.
const REFUSED: &[(&str, &str)] = &[
    (
        "multisocket 0",
        "Corefile:2:13 - Error during parsing: number of sockets must be 1 to 1024: 0",
    ),
    ("multisocket -1", "number of sockets must be 1 to 1024: -1"),
    (
        "multisocket 1025",
        "number of sockets must be 1 to 1024: 1025",
    ),
    ("multisocket two", "'two' is not a whole number"),
    ("multisocket 1 2", "Wrong argument count"),
    (
        "multisocket { receive_buffer 4095 }",
        "receive_buffer must be 4096 to 1073741824 octets: 4095",
    ),
    (
        "multisocket { send_buffer 4M }",
        "'4M' is not a whole number",
    ),
    ("multisocket { send_buffer }", "Wrong argument count"),
    (
        "multisocket { segmentation maybe }",
        "segmentation is 'on' or 'off', not 'maybe'",
    ),
    (
        "multisocket { segmentations on }",
        "unknown property 'segmentations' (did you mean 'segmentation'?)",
    ),
    (
        "multisocket ; multisocket 2",
        "this plugin can only be used once per Server Block",
    ),
    ("health 8080", "address 8080: missing port in address"),
    ("health bla", "missing port in address"),
    ("health bla:a", "invalid port"),
    ("health a b", "missing port in address"),
    (
        "health :80 b",
        "Wrong argument count or unexpected line ending after 'b'",
    ),
    (
        "health { lameduck a }",
        "unable to parse lameduck duration value: 'a' : time: invalid duration \"a\"",
    ),
    ("health { lameduck }", "Wrong argument count"),
    (
        "health { lamedudk 4 }",
        "unknown property 'lamedudk' (did you mean 'lameduck'?)",
    ),
    ("health :80800", "address 80800: invalid port"),
    ("ready { monitor 404 }", "monitor type '404' not supported"),
    ("ready { monitro x }", "unknown property 'monitro'"),
    ("ready :1 :2", "Wrong argument count"),
    ("ready localhost", "missing port"),
    (
        "ready ; ready",
        "this plugin can only be used once per Server Block",
    ),
    ("prometheus localhost", "missing port"),
    ("prometheus :1 :2", "Wrong argument count"),
    ("prometheus ; prometheus", "can only be used once"),
    ("prometheus { x }", "unknown option: x"),
    ("prometheus { tls web.yml }", "not supported yet"),
    ("errors a.txt", "invalid log file: a.txt"),
    ("errors a b", "Wrong argument count"),
    ("errors ; errors", "can only be used once"),
    ("errors { consolidate }", "Wrong argument count"),
    ("errors { consolidate 1m }", "Wrong argument count"),
    (
        "errors { consolidate 1 .* }",
        "time: missing unit in duration \"1\"",
    ),
    ("errors { consolidate -1m .* }", "can't be negative"),
    ("errors { consolidate 1m ()) }", "error parsing regexp"),
    (
        "errors { consolidate 1m e extra }",
        "unknown option in consolidate: extra",
    ),
    (
        "errors { consolidate 1m e warning error }",
        "multiple log levels specified in consolidate",
    ),
    (
        "errors { consolidate 1m e show_first warning }",
        "log level must come before show_first",
    ),
    (
        "errors { konsolidate 1m e }",
        "unknown property 'konsolidate' (did you mean 'consolidate'?)",
    ),
    ("log { class bogus }", "invalid Class: bogus"),
    ("log { class }", "Wrong argument count"),
    ("log { klass all }", "unknown property 'klass'"),
    ("log {common}", "write 'log . FORMAT'"),
    (
        "hosts { fallthrough ; 10.0.0.1 example.org }",
        "unknown property '10.0.0.1'",
    ),
    ("hosts { ttl }", "ttl needs a time in second"),
    ("hosts { ttl x }", "ttl needs a number of second"),
    ("hosts { ttl 0 }", "ttl provided is invalid"),
    ("hosts { ttl 70000 }", "ttl provided is invalid"),
    ("hosts { reload }", "reload needs a duration"),
    ("hosts { reload x }", "invalid duration for reload 'x'"),
    (
        "hosts { reload -1s }",
        "invalid negative duration for reload '-1s'",
    ),
    ("hosts { fallthrough_unsupported }", "requires fallthrough"),
    ("hosts { unknown_action x }", "invalid unknown_action: x"),
    ("hosts { negative_ttl -1 }", "can't be negative"),
    ("hosts ; hosts", "can only be used once"),
    (
        "hosts /dev/null a..b",
        "zone is not a valid domain name: a..b",
    ),
    ("cache 0", "cache TTL can not be zero or negative: 0"),
    ("cache -1", "cache TTL can not be zero or negative: -1"),
    ("cache 5m", "the TTL is in seconds (write 300)"),
    ("cache { success }", "Wrong argument count"),
    ("cache { success x }", "'x' is not a whole number"),
    ("cache { success 10 0 }", "can not be zero or negative"),
    ("cache { denial aaa }", "'aaa' is not a whole number"),
    (
        "cache { positive 15 }",
        "Wrong argument count or unexpected line ending after 'positive'",
    ),
    ("cache { prefetch -1 }", "prefetch amount can't be negative"),
    ("cache { prefetch }", "Wrong argument count"),
    (
        "cache { prefetch 1 1m 5% }",
        "percentage should fall in range [10, 90]: 5",
    ),
    (
        "cache { prefetch 1 1m 91% }",
        "percentage should fall in range [10, 90]: 91",
    ),
    (
        "cache { prefetch 1 1m 50 }",
        "last character of percentage should be `%`, but is: \"0\"",
    ),
    (
        "cache { serve_stale 20 }",
        "time: missing unit in duration \"20\"",
    ),
    ("cache { serve_stale -20m }", "can't be negative"),
    (
        "cache { serve_stale 1m nono }",
        "invalid value for serve_stale refresh mode: nono",
    ),
    (
        "cache { serve_stale 1m immediate 100ms }",
        "whole number of seconds",
    ),
    (
        "cache { serve_stale 1m immediate 1s 6m }",
        "over 5 minutes is not permitted",
    ),
    (
        "cache { serve_stale_policy x }",
        "unknown serve_stale_policy 'x'",
    ),
    ("cache { servfail 6m }", "over 5 minutes is not permitted"),
    ("cache { servfail }", "Wrong argument count"),
    ("cache { disable x }", "cache type for disable must be"),
    ("cache { keepttl x }", "Wrong argument count"),
    ("cache { flush_on_reload x }", "Wrong argument count"),
    ("cache { max_size }", "Wrong argument count"),
    ("cache { max_size 1MiB 2MiB }", "Wrong argument count"),
    (
        "cache { max_size 16M }",
        "'M' is not a unit of size (write 16MiB)",
    ),
    ("cache { max_size -1 }", "'-1' is not a size"),
    ("cache { max_size 63KiB }", "must be at least 64KiB"),
    ("cache { maxsize 1MiB }", "max_size"),
    ("cache ; cache", "can only be used once"),
    ("reload 1s", "interval value must be greater or equal to 2s"),
    (
        "reload 10s 0.5s",
        "jitter value must be 0 or greater or equal to 1s",
    ),
    ("reload 10s 1s x", "Wrong argument count"),
    ("reload 12", "time: missing unit in duration \"12\""),
    ("reload { x }", "unknown property 'x'"),
    ("loadbalance foo", "unknown policy: foo"),
    ("loadbalance weighted", "missing weight file argument"),
    ("loadbalance { prefer x }", "illegal CIDR notation \"x\""),
    (
        "loadbalance { reload 1s }",
        "belongs to 'loadbalance weighted FILE'",
    ),
    (
        "whoami x",
        "Wrong argument count or unexpected line ending after 'x'",
    ),
    ("whoami { x }", "unknown property 'x'"),
    ("any x", "Wrong argument count"),
    ("loop x", "Wrong argument count"),
    ("debug x", "Wrong argument count"),
    (
        "traefik-externals { directory D }",
        "host_ip is required (set in config or HOSTIP env var)",
    ),
    ("traefik-externals { host_ip x }", "invalid host_ip: x"),
    (
        "traefik-externals { host_ip 1.2.3.4 ; ttl x }",
        "invalid ttl: x",
    ),
    ("traefik-externals { env_file }", "Wrong argument count"),
    (
        "traefik-externals { host_ip 1.2.3.4 ; tttl 5 }",
        "unknown property 'tttl' (did you mean 'ttl'?)",
    ),
];

#[test]
fn what_is_accepted() {
    for text in ACCEPTED {
        let text = in_root(text);
        assert!(
            load(&text).is_ok(),
            "{text}\n{}",
            load(&text).err().unwrap_or_default()
        );
    }
}

#[test]
fn what_is_refused() {
    for (text, fragment) in REFUSED {
        assert_refused(&in_root(text), &[fragment]);
    }
}

#[test]
fn health_ready_and_prometheus_have_addresses() {
    let health = stanza("health").health.expect("health");
    assert_eq!(
        (health.address.to_string().as_str(), health.lameduck),
        (":8080", Duration::ZERO)
    );
    let health = stanza("health 127.0.0.1:1 { lameduck 1.5s }")
        .health
        .expect("health");
    assert_eq!(health.lameduck, Duration::from_millis(1500));
    let ready = stanza("ready { monitor continuously }")
        .ready
        .expect("ready");
    assert_eq!(
        (ready.address.port, ready.monitor),
        (8181, Monitor::Continuously)
    );
    let prometheus = stanza("prometheus").prometheus.expect("prometheus");
    assert_eq!(prometheus.address.to_string(), "localhost:9153");
}

#[test]
fn errors_are_consolidated_in_order() {
    let errors = stanza("errors { consolidate 5m a.* ; consolidate 30s b warning show_first }");
    let errors = errors.errors.expect("errors");
    let [first, second] = errors.consolidate.as_slice() else {
        panic!("{errors:?}")
    };
    assert_eq!((first.level, first.show_first), (ReportLevel::Error, false));
    assert_eq!(
        (second.level, second.show_first),
        (ReportLevel::Warning, true)
    );
    assert_eq!(second.period, Duration::from_secs(30));
    let long = format!("errors {{ consolidate 5m {} }}", "a".repeat(10_001));
    assert_refused(&in_root(&long), &["longer than 10000"]);
}

#[test]
fn log_rules_have_names_a_format_and_classes() {
    let log = stanza("log").log;
    let rule = log.first().expect("a rule");
    assert_eq!(rule.format, "{common}");
    assert!(rule.names.iter().all(portolan_proto::Name::is_root));
    assert!(rule.classes.is_empty());
    let log = stanza("log EXAMPLE.org b \"x {combined} y\" { class denial error }").log;
    let rule = log.first().expect("a rule");
    assert_eq!(
        rule.names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["example.org.", "b."]
    );
    assert_eq!(rule.format, "x {combined} y");
    let classes = [ResponseClass::Denial, ResponseClass::Error];
    assert_eq!(rule.classes.iter().copied().collect::<Vec<_>>(), classes);
    // A format out of the environment, without quotes.
    let log = stanza("log . {remote} {name}").log;
    assert_eq!(log.first().expect("a rule").format, "{remote} {name}");
    assert_warned(&in_root("log . {bogus}"), &["'{bogus}' is no placeholder"]);
}

#[test]
fn hosts_takes_files_zones_and_lines() {
    let hosts = stanza("hosts").hosts.expect("hosts");
    assert_eq!(hosts.files, [std::path::PathBuf::from("/etc/hosts")]);
    assert_eq!(
        (hosts.ttl, hosts.unknown_action),
        (3600, UnknownAction::ServFail)
    );
    assert!(hosts.reverse && hosts.fallthrough.is_none());
    let hosts = stanza(
        "hosts my.hosts /etc/hosts.d example.org 10.0.0.0/8 ./a/*.hosts 2001:db8::/32 0/25.2.0.192.in-addr.arpa \
         { 192.0.2.1 a b ; 2001:db8::1%eth0 c ; unknown_action nxdomain ; negative_ttl 5 ; reload 0s ; no_reverse }",
    );
    let hosts = hosts.hosts.expect("hosts");
    let files: Vec<String> = hosts
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(files, ["my.hosts", "/etc/hosts.d", "./a/*.hosts"]);
    let zones: Vec<String> = hosts.zones.iter().map(ToString::to_string).collect();
    assert_eq!(
        zones,
        [
            "example.org.",
            "10.in-addr.arpa.",
            "8.b.d.0.1.0.0.2.ip6.arpa.",
            "0/25.2.0.192.in-addr.arpa."
        ]
    );
    let lines: Vec<&str> = hosts.inline.iter().map(|line| line.as_str()).collect();
    assert_eq!(lines, ["192.0.2.1 a b", "2001:db8::1%eth0 c"]);
    assert_eq!(
        hosts.inline.first().expect("a line").position.to_string(),
        "Corefile:3:1"
    );
    assert_eq!(
        (hosts.unknown_action, hosts.negative_ttl),
        (UnknownAction::NxDomain, 5)
    );
    assert_eq!((hosts.reload, hosts.reverse), (None, false));
}

#[test]
fn hosts_tells_what_it_leaves_out() {
    assert_warned(
        &in_root("hosts { ttll 60 }"),
        &[
            "Corefile:3:1 - Warning: 'ttll' is neither an address nor a property of hosts (did you mean 'ttl'?)",
        ],
    );
    assert_warned(&in_root("hosts { 192.0.2.1 }"), &["has no name"]);
    assert_warned(
        &in_root("hosts /missing/file"),
        &["File does not exist: /missing/file"],
    );
}

#[test]
fn cache_has_coredns_defaults() {
    let cache = stanza("cache").cache.expect("cache");
    assert!(cache.zones.iter().all(portolan_proto::Name::is_root));
    assert_eq!(
        (
            cache.success.capacity,
            cache.success.max_ttl,
            cache.success.min_ttl
        ),
        (9984, 3600, 5)
    );
    assert_eq!(
        (
            cache.denial.capacity,
            cache.denial.max_ttl,
            cache.denial.min_ttl
        ),
        (9984, 1800, 5)
    );
    assert_eq!(cache.servfail, Duration::from_secs(5));
    assert_eq!((cache.max_size, cache.flush_on_reload), (None, false));
    let cache = stanza("cache { max_size 2MiB ; flush_on_reload }");
    let cache = cache.cache.expect("cache");
    assert_eq!(
        (cache.max_size, cache.flush_on_reload),
        (Some(2_097_152), true)
    );
    let cache = stanza("cache 25 a.nl { success 10 1800 30 }")
        .cache
        .expect("cache");
    assert_eq!(
        (
            cache.success.capacity,
            cache.success.max_ttl,
            cache.success.min_ttl
        ),
        (10, 1800, 30)
    );
    assert_eq!(cache.denial.max_ttl, 25);
    assert_eq!(
        cache.zones.first().map(ToString::to_string).as_deref(),
        Some("a.nl.")
    );
}

#[test]
fn cache_reads_prefetch_and_stale() {
    let prefetch = stanza("cache { prefetch 3 }")
        .cache
        .expect("cache")
        .prefetch;
    let prefetch = prefetch.expect("prefetch");
    assert_eq!(
        (
            prefetch.amount,
            prefetch.duration.as_secs(),
            prefetch.percentage
        ),
        (3, 60, 10)
    );
    let none = stanza("cache { prefetch 0 }").cache.expect("cache");
    assert_eq!(none.prefetch, None, "as in CoreDNS");
    let stale = |text: &str| stanza(text).cache.expect("cache").serve_stale;
    let plain = stale("cache { serve_stale }").expect("serve_stale");
    assert_eq!(
        (plain.window.as_secs(), plain.refresh, plain.ttl),
        (3600, StaleRefresh::Immediate, 0)
    );
    let verify =
        stale("cache { serve_stale 2h verify 100ms 30s 1m ; serve_stale_policy prefer_positive }");
    let verify = verify.expect("serve_stale");
    let timeout = Some(Duration::from_millis(100));
    assert_eq!(
        (verify.refresh, verify.ttl),
        (StaleRefresh::Verify { timeout }, 30)
    );
    assert_eq!(
        (verify.recheck, verify.prefer_positive),
        (Some(Duration::from_secs(60)), true)
    );
    assert!(stale("cache { serve_stale 0 }").is_none());
    assert_warned(
        &in_root("cache { serve_stale_policy prefer_positive }"),
        &["has no effect without serve_stale"],
    );
}

#[test]
fn reload_keeps_the_jitter_within_half_the_interval() {
    let reload = |text: &str| stanza(text).reload.expect("reload");
    assert_eq!(
        (
            reload("reload").interval.as_secs(),
            reload("reload").jitter.as_secs()
        ),
        (30, 15)
    );
    assert_eq!(reload("reload 10s").jitter.as_secs(), 5);
    assert_eq!(reload("reload 10s 0s").jitter.as_secs(), 0);
}

#[test]
fn of_repeated_directives_the_last_counts_where_coredns_has_it_so() {
    let text = in_root("health :1 ; health :2");
    assert_warned(
        &text,
        &["Corefile:2:1 - Warning: this 'health' has no effect"],
    );
    assert_eq!(
        stanza("health :1 ; health :2")
            .health
            .expect("health")
            .address
            .port,
        2
    );
}

#[test]
fn arguments_of_traefik_externals_are_told_to_have_no_effect() {
    assert_warned(
        &in_root("traefik-externals example.org { host_ip 192.0.2.1 }"),
        &["argument 'example.org' has no effect: traefik-externals takes none"],
    );
}
