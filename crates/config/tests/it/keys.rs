//! Keys: zones, ports, schemes, and blocks in one another's way.

use portolan_config::BindTarget;
use portolan_config::Options;
use portolan_config::load_corefile;

use crate::support::assert_refused;
use crate::support::block;
use crate::support::load;

/// Zones and ports of the first block, as `zone:port`.
fn listeners(keys: &str, default_port: Option<u16>) -> Vec<String> {
    let env = |_: &str| None;
    let options = Options {
        default_port,
        env: &env,
    };
    let text = format!("{keys} {{\n whoami\n}}");
    let loaded = load_corefile("Corefile", &text, &options).expect(keys);
    let block = loaded.config.blocks.first().expect("a block");
    let of_key = |key: &portolan_config::Located<portolan_config::Key>| {
        key.zones
            .iter()
            .map(|zone| format!("{zone}:{}", key.port))
            .collect::<Vec<_>>()
    };
    block.keys.iter().flat_map(of_key).collect()
}

#[test]
fn keys_become_zones_and_ports() {
    for (keys, port, expected) in [
        (".", None, &[".:53"][..]),
        (".", Some(5311), &[".:5311"]),
        (
            "a:5310 b dns://c",
            Some(5311),
            &["a.:5310", "b.:5311", "c.:5311"],
        ),
        (
            ".:5310, example.org:5310",
            None,
            &[".:5310", "example.org.:5310"],
        ),
        ("EXAMPLE.org", None, &["example.org.:53"]),
        ("10.0.0.0/24", None, &["0.0.10.in-addr.arpa.:53"]),
        (
            "192.168.1.1/23:54",
            None,
            &["0.168.192.in-addr.arpa.:54", "1.168.192.in-addr.arpa.:54"],
        ),
        ("2001:db8::/32:53", None, &["8.b.d.0.1.0.0.2.ip6.arpa.:53"]),
        ("bücher.example", None, &["xn--bcher-kva.example.:53"]),
    ] {
        assert_eq!(listeners(keys, port), expected, "{keys}");
    }
}

#[test]
fn encrypted_schemes_are_refused_rather_than_served_in_the_clear() {
    for scheme in ["tls", "quic", "grpc", "https", "https3", "TLS"] {
        assert_refused(
            &format!("{scheme}://. {{\n whoami\n}}"),
            &[&format!(
                "Corefile:1:1 - Error during parsing: error inspecting server blocks: '{scheme}://' server blocks are not supported yet"
            )],
        );
    }
}

#[test]
fn blocks_in_one_anothers_way_are_refused() {
    for (text, fragment) in [
        (
            ". {\n whoami\n}\n. {\n bind 127.0.0.1\n whoami\n}",
            "Corefile:4:1 - Error during parsing: cannot serve dns://.:53 on 127.0.0.1 - zone overlap listener capacity with dns://.:53",
        ),
        (
            ". {\n bind 127.0.0.1\n whoami\n}\n. {\n whoami\n}",
            "cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on 127.0.0.1",
        ),
        (
            ". {\n bind 127.0.0.1 ::1\n whoami\n}\n. {\n bind ::1\n whoami\n}",
            "cannot serve dns://.:53 on ::1 - it is already defined",
        ),
        (
            "a.example {\n whoami\n}\nb.example {\n bind 127.0.0.1\n whoami\n}",
            "Corefile:4:1 - Error during parsing: this block has 'bind' and the one at Corefile:1:1 has none",
        ),
        (
            "a.example {\n bind lo\n whoami\n}\nb.example {\n whoami\n}",
            "this block lacks 'bind' and the one at Corefile:1:1 has one",
        ),
        (
            "10.0.0.0/23 {\n whoami\n}\n10.0.1.0/24 {\n whoami\n}",
            "dns://1.0.10.in-addr.arpa.:53",
        ),
    ] {
        assert_refused(text, &[fragment]);
    }
}

#[test]
fn blocks_apart_are_accepted() {
    for text in [
        "a.example {\n whoami\n}\nb.example {\n whoami\n}",
        ". {\n whoami\n}\n.:54 {\n whoami\n}",
        ". {\n bind 127.0.0.1\n whoami\n}\n. {\n bind 127.0.0.2\n whoami\n}",
        "a.example {\n bind 127.0.0.1\n whoami\n}\nb.example:54 {\n whoami\n}",
        ". {\n bind 127.0.0.1 127.0.0.2 {\n except 127.0.0.2\n }\n whoami\n}\n. {\n bind 127.0.0.2\n whoami\n}",
    ] {
        assert!(load(text).is_ok(), "{text}: {:?}", load(text));
    }
}

#[test]
fn bind_takes_addresses_and_interfaces() {
    let block = block(
        ". {\n bind 127.0.0.1 fe80::1%eth0 eth0 {\n except 192.0.2.1\n }\n bind ::1\n whoami\n}",
    );
    let shown: Vec<String> = block
        .bind
        .iter()
        .flat_map(|bind| &bind.addresses)
        .map(BindTarget::to_string)
        .collect();
    assert_eq!(shown, ["127.0.0.1", "fe80::1%eth0", "eth0", "::1"]);
    assert_eq!(block.bind.first().expect("a bind").except.len(), 1);
    for (argument, fragment) in [
        ("", "Wrong argument count"),
        (
            "127.0.0.256",
            "not a valid IP address or interface name: \"127.0.0.256\"",
        ),
        ("127.0.0.1:53", "not a valid IP address or interface name"),
        (
            "averylonginterfacename",
            "not a valid IP address or interface name",
        ),
    ] {
        assert_refused(&format!(". {{\n bind {argument}\n whoami\n}}"), &[fragment]);
    }
}
