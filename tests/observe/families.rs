//! Which families of metrics there are, with which labels and buckets.

use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_testkit::upstream::FakeUpstream;

use super::exposition::Exposition;
use crate::cli::site::Site;

/// CoreDNS's families that a Corefile like Joyride's shows, with their types
/// and labels.
const FAMILIES: &[(&str, &str, &[&str])] = &[
    (
        "coredns_build_info",
        "gauge",
        &["goversion", "revision", "version"],
    ),
    (
        "coredns_cache_drops_total",
        "counter",
        &["server", "view", "zones"],
    ),
    (
        "coredns_cache_entries",
        "gauge",
        &["server", "type", "view", "zones"],
    ),
    (
        "coredns_cache_hits_total",
        "counter",
        &["server", "type", "view", "zones"],
    ),
    (
        "coredns_cache_misses_total",
        "counter",
        &["server", "view", "zones"],
    ),
    (
        "coredns_cache_requests_total",
        "counter",
        &["server", "view", "zones"],
    ),
    (
        "coredns_dns_do_requests_total",
        "counter",
        &["server", "view", "zone"],
    ),
    (
        "coredns_dns_request_duration_seconds",
        "histogram",
        &["server", "view", "zone"],
    ),
    (
        "coredns_dns_request_size_bytes",
        "histogram",
        &["proto", "server", "view", "zone"],
    ),
    (
        "coredns_dns_requests_total",
        "counter",
        &["family", "proto", "server", "type", "view", "zone"],
    ),
    (
        "coredns_dns_response_size_bytes",
        "histogram",
        &["proto", "server", "view", "zone"],
    ),
    (
        "coredns_dns_responses_total",
        "counter",
        &["plugin", "rcode", "server", "view", "zone"],
    ),
    ("coredns_forward_healthcheck_broken_total", "counter", &[]),
    (
        "coredns_forward_max_concurrent_rejects_total",
        "counter",
        &[],
    ),
    ("coredns_health_request_duration_seconds", "histogram", &[]),
    ("coredns_health_request_failures_total", "counter", &[]),
    ("coredns_hosts_entries", "gauge", &["hostsfile"]),
    ("coredns_hosts_reload_timestamp_seconds", "gauge", &[]),
    ("coredns_panics_total", "counter", &[]),
    (
        "coredns_plugin_enabled",
        "gauge",
        &["name", "server", "view", "zone"],
    ),
    (
        "coredns_proxy_conn_cache_misses_total",
        "counter",
        &["proto", "proxy_name", "to"],
    ),
    (
        "coredns_proxy_request_duration_seconds",
        "histogram",
        &["proxy_name", "rcode", "to"],
    ),
    ("coredns_reload_failed_total", "counter", &[]),
    ("coredns_reload_version_info", "gauge", &["hash", "value"]),
    // As CoreDNS had them before 1.11, for dashboards that still look there.
    ("coredns_forward_requests_total", "counter", &["to"]),
    (
        "coredns_forward_responses_total",
        "counter",
        &["rcode", "to"],
    ),
    (
        "coredns_forward_request_duration_seconds",
        "histogram",
        &["rcode", "to"],
    ),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_network_receive_bytes_total", "counter", &[]),
    ("process_network_transmit_bytes_total", "counter", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("process_virtual_memory_max_bytes", "gauge", &[]),
    ("portolan_build_info", "gauge", &["revision", "version"]),
    ("portolan_docker_connected", "gauge", &["endpoint"]),
    ("portolan_log_lines_dropped_total", "counter", &[]),
    ("portolan_queries_malformed_total", "counter", &[]),
    ("portolan_table_names", "gauge", &[]),
];

/// Series of these appear when they first count something that this test
/// does not cause.
const LATER: &[&str] = &[
    "coredns_cache_evictions_total",
    "coredns_cache_prefetch_total",
    "coredns_cache_served_stale_total",
    "coredns_proxy_conn_cache_hits_total",
    "coredns_proxy_healthcheck_failures_total",
];

/// Buckets of times: a quarter of a millisecond, doubled fifteen times.
const TIMES: &[&str] = &[
    "0.00025", "0.0005", "0.001", "0.002", "0.004", "0.008", "0.016", "0.032", "0.064", "0.128",
    "0.256", "0.512", "1.024", "2.048", "4.096", "8.192", "+Inf",
];

/// Buckets of sizes.
const SIZES: &[&str] = &[
    "0", "100", "200", "300", "400", "511", "1023", "2047", "4095", "8291", "16000", "32000",
    "48000", "64000", "+Inf",
];

/// Joyride's Corefile with what the brief adds to it.
fn corefile(upstream: &str) -> String {
    format!(
        ".:@dns {{
    bind 127.0.0.1
    log
    errors
    health 127.0.0.1:@health
    ready 127.0.0.1:@ready
    prometheus 127.0.0.1:@metrics
    reload
    hosts names {{
        fallthrough
    }}
    docker-cluster {{
        docker_socket unix:///nonexistent/docker.sock
        host_ip 192.0.2.5
        fallthrough
    }}
    forward . {upstream}
    cache 300
}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_families_of_coredns_are_there_with_their_labels_and_buckets() -> anyhow::Result<()> {
    let upstream = FakeUpstream::answering().await?;
    let site = Site::start_with(&corefile(&upstream.addr().to_string()), |launch, _| {
        launch.file("names", "192.0.2.1 a.example\n")
    })?;
    site.ports.await_address("a.example", [192, 0, 2, 1])?;
    for name in ["b.example", "b.example", "c.example"] {
        site.ports.client().query(name, RecordType::A)?;
    }
    let found = Exposition::read(&site.metrics()?)?;
    found.ensure_sane()?;
    for (name, kind, labels) in FAMILIES {
        let family = found.families.get(*name);
        ensure!(
            family.is_some_and(|family| family.kind == *kind),
            "{name}: {family:?}"
        );
        ensure!(
            found.labels_of(name)? == *labels,
            "{name}: {:?}",
            found.labels_of(name)
        );
    }
    for name in FAMILIES
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| name.ends_with("_seconds"))
    {
        let bounds = found.bounds_of(name)?;
        match name {
            "coredns_health_request_duration_seconds" => {
                ensure!(bounds == ["0.00025", "0.0025", "0.025", "0.25", "2.5", "+Inf"]);
            }
            name if name.contains("duration") => ensure!(bounds == TIMES, "{name}: {bounds:?}"),
            _ => ensure!(bounds.is_empty(), "{name}: {bounds:?}"),
        }
    }
    for name in [
        "coredns_dns_request_size_bytes",
        "coredns_dns_response_size_bytes",
    ] {
        let bounds = found.bounds_of(name)?;
        ensure!(bounds == SIZES, "{name}: {bounds:?}");
    }
    for name in LATER {
        let family = found.families.get(*name);
        ensure!(
            family.is_none_or(|family| family.kind == "counter"),
            "{name}: {family:?}"
        );
    }
    Ok(())
}

#[test]
fn series_exist_before_the_first_query() -> anyhow::Result<()> {
    let corefile = "example.org:@dns sub.example.org:@dns {
    bind 127.0.0.1
    prometheus 127.0.0.1:@metrics
    errors
    cache
    forward . 127.0.0.1:1
    hosts {
        192.0.2.1 a.example.org
    }
}
";
    let site = Site::start(corefile)?;
    let found = Exposition::read(&site.metrics()?)?;
    found.ensure_sane()?;
    let server = format!("dns://127.0.0.1:{}", site.ports.dns);
    let requests = &found
        .families
        .get("coredns_dns_requests_total")
        .map(|f| f.samples.len());
    ensure!(requests.is_some_and(|count| count >= 1), "{requests:?}");
    ensure!(
        found.sum("coredns_dns_requests_total", &[]) == 0.0,
        "counted already"
    );
    let mut enabled: Vec<&str> = found
        .families
        .get("coredns_plugin_enabled")
        .into_iter()
        .flat_map(|family| &family.samples)
        .filter(|sample| sample.label("server") == Some(&server))
        .filter(|sample| sample.label("zone") == Some("sub.example.org."))
        .filter_map(|sample| sample.label("name"))
        .collect();
    enabled.sort_unstable();
    ensure!(
        enabled == ["cache", "errors", "forward", "hosts", "prometheus"],
        "{enabled:?}"
    );
    let version = found
        .families
        .get("coredns_build_info")
        .and_then(|f| f.samples.first());
    let version = version
        .and_then(|sample| sample.label("version"))
        .unwrap_or_default();
    // Dashboards choose the names of metrics by it.
    let parts: Vec<u32> = version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    ensure!(parts.len() == 3 && parts > vec![1, 6, 9], "{version}");
    Ok(())
}
