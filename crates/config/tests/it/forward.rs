//! What `forward` accepts and refuses.

use std::time::Duration;

use portolan_config::AllowFrom;
use portolan_config::DohMethod;
use portolan_config::ForwardPolicy;
use portolan_config::Upstream;
use portolan_config::UpstreamHost;
use portolan_proto::Rcode;

use crate::support::assert_refused;
use crate::support::assert_warned;
use crate::support::in_root;
use crate::support::load;
use crate::support::stanza;

/// Stanzas that are accepted.
const ACCEPTED: &[&str] = &[
    "forward . 127.0.0.1",
    "forward . [::1]:53",
    "forward . ::1 fe80::1%eth0 127.0.0.1:5353 dns://127.0.0.2",
    "forward 10.9.3.0/18 127.0.0.1",
    "forward . /etc/resolv.conf 127.0.0.1",
    "forward . dns.example.org",
    "forward . 127.0.0.1 { health_check 0.5s domain example.org }",
    "forward . 127.0.0.1 { health_check 5s no_rec }",
    "forward . 127.0.0.1 { health_check 5s strict domain example.org }",
    "forward . 127.0.0.1 { max_fails 0 }",
    "forward . 127.0.0.1 { tls CA }",
    "forward . 127.0.0.1 { tls CERT KEY }",
    "forward . 127.0.0.1 { tls CERT KEY CA }",
    "forward . 127.0.0.1 { next NXDOMAIN SERVFAIL }",
    "forward . 127.0.0.1 { source_address 192.0.2.1 }",
    "forward . 127.0.0.1 { policy round_robin ; policy sequential ; policy random }",
    "forward . 127.0.0.1 { policy fastest }",
    "forward . 127.0.0.1 { forward_special_names ; case_randomization }",
    "forward . 127.0.0.1 { allow_from any }",
    "forward . 127.0.0.1 { resolver 192.0.2.1 [2001:db8::1]:54 }",
];

/// Stanzas with encrypted upstreams.
const ENCRYPTED: &[&str] = &[
    "forward . tls://[2400:3200::1%dns.alidns.com]:853 { tls }",
    "forward . tls://127.0.0.1%a:854 tls://127.0.0.2%b",
    "forward . https://127.0.0.1",
    "forward . 127.0.0.1 tls://9.9.9.9 { tls_servername dns.quad9.net }",
];

/// Stanzas that are refused, and what the error has in it.
const REFUSED: &[(&str, &str)] = &[
    (
        "forward",
        "Wrong argument count or unexpected line ending after 'forward'",
    ),
    (
        "forward .",
        "Wrong argument count or unexpected line ending after '.' (a word is missing; ",
    ),
    ("forward . 127.0.0.1 { foo }", "unknown property 'foo'"),
    (
        "forward . 127.0.0.1 { max_fail 2 }",
        "unknown property 'max_fail' (did you mean 'max_fails'?)",
    ),
    (
        "forward . 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 \
         1.1.1.10 1.1.1.11 1.1.1.12 1.1.1.13 1.1.1.14 1.1.1.15 1.1.1.16",
        "more than 15 TOs configured: 16",
    ),
    ("forward . https://1.1.1.1/", "paths are not allowed"),
    ("forward . a27.0.0.1", "failed to resolve \"a27.0.0.1\""),
    (
        "forward . grpc://127.0.0.1",
        "'grpc' is not supported as a destination protocol in forward",
    ),
    (
        "forward aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 127.0.0.1",
        "unable to normalize 'aaaa",
    ),
    (
        "forward . 127.0.0.1 { max_concurrent many }",
        "'many' is not a whole number",
    ),
    (
        "forward . 127.0.0.1 { max_concurrent -4 }",
        "max_concurrent can't be negative: -4",
    ),
    ("forward . 127.0.0.1 { policy foo }", "unknown policy 'foo'"),
    (
        "forward . 127.0.0.1 { health_check 30 }",
        "time: missing unit in duration \"30\"",
    ),
    (
        "forward . 127.0.0.1 { health_check -1s }",
        "health_check can't be negative: -1s",
    ),
    (
        "forward . 127.0.0.1 { health_check 1s foo }",
        "health_check: unknown option foo",
    ),
    (
        "forward . 127.0.0.1 { health_check 1s domain }",
        "Wrong argument count",
    ),
    (
        "forward . 127.0.0.1 { health_check 1s domain a..b }",
        "health_check: invalid domain name a..b",
    ),
    (
        "forward . 127.0.0.1 { expire -1s }",
        "expire can't be negative: -1s",
    ),
    (
        "forward . 127.0.0.1 { read_timeout 0s }",
        "read_timeout must be positive",
    ),
    (
        "forward . 127.0.0.1 { max_age 5s ; expire 10s }",
        "max_age (5s) must not be less than expire (10s)",
    ),
    (
        "forward . 127.0.0.1 { failover NOERROR }",
        "cannot be used in failover",
    ),
    (
        "forward . 127.0.0.1 { next FOO }",
        "FOO is not a valid rcode",
    ),
    ("forward . 127.0.0.1 { next }", "Wrong argument count"),
    (
        "forward . 127.0.0.1 { source_address x }",
        "invalid IP address: \"x\"",
    ),
    (
        "forward . 127.0.0.1 { resolver x }",
        "invalid IP address: \"x\"",
    ),
    (
        "forward . 127.0.0.1 { doh_method PUT }",
        "unknown doh_method 'PUT'",
    ),
    (
        "forward . 127.0.0.1 { force_tcp x }",
        "Wrong argument count",
    ),
    (
        "forward . 127.0.0.1 { tls a b c d }",
        "Wrong argument count",
    ),
    (
        "forward . 127.0.0.1 { allow_from 10.0.0.0/33 }",
        "illegal CIDR notation \"10.0.0.0/33\"",
    ),
    ("forward . 127.0.0.1 { except }", "Wrong argument count"),
    (
        "forward . tls://127.0.0.1%a { tls_servername b }",
        "TLS servernames are set",
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
fn encrypted_upstreams_are_read() {
    for text in ENCRYPTED {
        let stanza = stanza(text).forward.remove(0);
        assert!(stanza.to.iter().any(Upstream::is_encrypted), "{text}");
    }
}

#[test]
fn a_stanza_has_coredns_defaults() {
    let forward = stanza("forward . 192.0.2.1").forward.remove(0);
    assert!(forward.from.is_root());
    assert_eq!(forward.expire, Duration::from_secs(10));
    assert_eq!(forward.read_timeout, Duration::from_secs(2));
    assert_eq!((forward.max_fails, forward.max_connect_attempts), (2, None));
    assert_eq!(forward.policy, ForwardPolicy::Random);
    assert_eq!(forward.health_check.interval, Duration::from_millis(500));
    assert!(forward.health_check.recursion_desired && forward.health_check.qname.is_root());
    assert_eq!(
        (forward.max_concurrent, forward.allow_from.clone()),
        (None, None)
    );
}

#[test]
fn every_property_is_kept() {
    let forward = stanza(
        "forward example.org 192.0.2.1 192.0.2.2:54 dns.example.net /etc/resolv.conf { \
         except a.example.org 10.0.0.0/8 ; force_tcp ; prefer_udp ; expire 20s ; max_age 1m ; \
         max_idle_conns 5 ; read_timeout 1s ; max_fails 3 ; max_connect_attempts 0 ; \
         policy sequential ; health_check 30s no_rec domain a.example ; max_concurrent 1000 ; \
         next NXDOMAIN ; next servfail ; next_on_nodata ; failfast_all_unhealthy_upstreams ; \
         failover REFUSED ; doh_method GET ; source_address 192.0.2.9 ; resolver 192.0.2.8 ; \
         allow_from 10.0.0.0/8 192.0.2.7 }",
    );
    let forward = forward.forward.first().expect("a stanza");
    assert_eq!(
        (forward.from.to_string().as_str(), forward.to.len()),
        ("example.org.", 4)
    );
    assert_eq!(forward.except.len(), 2);
    assert!(forward.force_tcp && forward.prefer_udp && forward.next_on_nodata && forward.failfast);
    assert_eq!(forward.max_age, Some(Duration::from_secs(60)));
    assert_eq!(
        (forward.max_idle_connections, forward.max_connect_attempts),
        (Some(5), Some(0))
    );
    assert_eq!(forward.policy, ForwardPolicy::Sequential);
    assert!(!forward.health_check.recursion_desired);
    assert_eq!(
        forward.next.iter().copied().collect::<Vec<_>>(),
        [Rcode::SERVFAIL, Rcode::NXDOMAIN]
    );
    assert_eq!(forward.doh_method, DohMethod::Get);
    assert_eq!(
        forward
            .resolvers
            .first()
            .map(ToString::to_string)
            .as_deref(),
        Some("192.0.2.8:53")
    );
    let Some(AllowFrom::Networks(networks)) = &forward.allow_from else {
        panic!("{forward:?}")
    };
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
}

#[test]
fn upstreams_keep_their_kind() {
    let forward = stanza("forward . dns.example.net ./resolv.conf")
        .forward
        .remove(0);
    let [Upstream::Server(server), Upstream::ResolvConf(path)] = forward.to.as_slice() else {
        panic!("{forward:?}")
    };
    assert!(
        matches!(&server.host, UpstreamHost::Hostname(name) if name.to_string() == "dns.example.net.")
    );
    assert_eq!(path, std::path::Path::new("./resolv.conf"));
}

#[test]
fn a_range_stands_for_its_first_reverse_zone() {
    let text = in_root("forward 10.9.3.0/18 127.0.0.1");
    assert_eq!(
        stanza("forward 10.9.3.0/18 127.0.0.1")
            .forward
            .remove(0)
            .from
            .to_string(),
        "0.9.10.in-addr.arpa."
    );
    assert_warned(
        &text,
        &["only the first, 0.9.10.in-addr.arpa., is forwarded"],
    );
}

#[test]
fn files_count_with_their_name_servers() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("resolv.conf");
    let file = path.display();
    std::fs::write(&path, "# nothing\n").expect("a file");
    assert_refused(
        &in_root(&format!("forward . {file}")),
        &["no valid upstream addresses found"],
    );
    assert!(load(&in_root(&format!("forward . {file} 192.0.2.1"))).is_ok());
    std::fs::write(&path, "nameserver 192.0.2.1\n".repeat(15)).expect("a file");
    let text = in_root(&format!("forward . {file} 192.0.2.1"));
    assert_refused(&text, &["more than 15 TOs configured: 16"]);
}

#[test]
fn doubtful_stanzas_are_told() {
    assert_warned(
        &in_root("forward . /dev/null"),
        &["'/dev/null' cannot be read now: not a regular file"],
    );
    assert_warned(
        &in_root("forward . 192.0.2.1 { tls_servername a }"),
        &["tls and tls_servername have no effect"],
    );
    assert_warned(
        &in_root("forward . /missing/resolv.conf"),
        &["'/missing/resolv.conf' cannot be read now"],
    );
}
