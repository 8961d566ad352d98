use super::*;

#[test]
fn the_address_is_the_one_that_seeds_reach_us_by() {
    let host = Case {
        interfaces: &[LO, DOCKER0, ETH0, WIFI],
        default: &["192.0.2.10"],
        ..CASE
    };
    let container = Case {
        interfaces: &[LO, ("eth0", "172.18.0.5/16")],
        default: &["172.18.0.5"],
        container: true,
        ..CASE
    };
    #[rustfmt::skip]
    let table = [
        ("configured wins", Case { configured: Some(("198.51.100.1", None)), bind: "192.0.2.10:7946", ..host }, "198.51.100.1:7946"),
        ("with its port", Case { configured: Some(("198.51.100.1", Some(17_946))), ..host }, "198.51.100.1:17946"),
        ("but not 0.0.0.0", Case { configured: Some(("0.0.0.0", None)), ..host }, "cannot be the unspecified"),
        ("what is bound", Case { bind: "192.0.2.10:7000", host_ips: &["203.0.113.7"], ..host }, "192.0.2.10:7000"),
        ("host_ip of ours", Case { host_ips: &["198.51.100.9", "203.0.113.7"], ..host }, "203.0.113.7:7946"),
        ("host_ip of a bridge", Case { host_ips: &["172.17.0.1"], ..host }, "192.0.2.10:7946"),
        ("on-link seed", Case { seed: Some(("203.0.113.9", "203.0.113.7")), ..host }, "203.0.113.7:7946"),
        ("seed beyond a router", Case { seed: Some(("198.51.100.9", "192.0.2.10")), ..host }, "192.0.2.10:7946"),
        ("seed in a bridge", Case { seed: Some(("172.17.0.2", "172.17.0.1")), ..host }, "172.17.0.1:7946"),
        ("seed beyond a bridge", Case { seed: Some(("172.30.0.2", "172.17.0.1")), ..host }, "192.0.2.10:7946"),
        ("seed on this machine", Case { seed: Some(("127.0.0.5", "127.0.0.1")), ..host }, "127.0.0.1:7946"),
        ("loopback to elsewhere", Case { seed: Some(("192.0.2.9", "127.0.0.1")), ..host }, "192.0.2.10:7946"),
        ("seed is ourselves", Case { seed: Some(("192.0.2.10", "192.0.2.10")), ..host }, "192.0.2.10:7946"),
        ("no seed", host, "192.0.2.10:7946"),
        ("published port", Case { host_ips: &["192.0.2.20"], seed: Some(("192.0.2.30", "172.18.0.5")), ..container }, "192.0.2.20:7946"),
        ("published port, own host as seed", Case { host_ips: &["192.0.2.20"], seed: Some(("192.0.2.20", "172.18.0.5")), ..container }, "192.0.2.20:7946"),
        ("container's neighbor", Case { host_ips: &["192.0.2.20"], seed: Some(("172.18.0.9", "172.18.0.5")), ..container }, "172.18.0.5:7946"),
        ("no host_ip", Case { seed: Some(("192.0.2.30", "172.18.0.5")), ..container }, "172.18.0.5:7946"),
        ("host_ip of the other family", Case { host_ips: &["2001:db8::1"], seed: Some(("192.0.2.30", "172.18.0.5")), ..container }, "172.18.0.5:7946"),
        ("container without seed", Case { host_ips: &["192.0.2.20"], ..container }, "172.18.0.5:7946"),
        ("not a container", Case { host_ips: &["192.0.2.20"], seed: Some(("198.51.100.9", "192.0.2.10")), ..host }, "192.0.2.10:7946"),
        ("no default route, one address", Case { interfaces: &[LO, DOCKER0, ETH0], ..CASE }, "192.0.2.10:7946"),
        ("no default route, two addresses", Case { interfaces: &[LO, ETH0, WIFI], ..CASE }, "several addresses"),
        ("nothing but a bridge", Case { interfaces: &[LO, DOCKER0], default: &["172.17.0.1"], ..CASE }, "no address"),
        ("nothing at all", CASE, "no address"),
        ("IPv6 is not bound", Case { interfaces: &[LO, ("eth0", "2001:db8::7/64")], default: &["2001:db8::7"], ..CASE }, "no address"),
        ("IPv6", Case { bind: "[::]:7946", interfaces: &[("eth0", "2001:db8::7/64")], default: &["2001:db8::7"], ..CASE }, "[2001:db8::7]:7946"),
        ("both families", Case { bind: "[::]:7946", default: &["192.0.2.10", "2001:db8::7"], ..host }, "192.0.2.10:7946"),
        ("link-local", Case { bind: "[::]:7946", interfaces: &[("eth0", "fe80::1/64")], ..CASE }, "no address"),
    ];
    for (what, case, expected) in table {
        match case.facts().choose() {
            Ok(found) => assert_eq!(found.address.to_string(), expected, "{what}: {found:?}"),
            Err(error) => assert!(error.to_string().contains(expected), "{what}: {error}"),
        }
    }
}

#[test]
fn the_error_says_what_to_set() {
    let error = CASE.facts().choose().unwrap_err().to_string();
    let expected = "there is no address that others could reach us by: \
                    set cluster_advertise_addr or CLUSTER_ADVERTISE_ADDR";
    assert_eq!(error, expected);
}

#[test]
fn this_machine_has_loopback_and_a_way_to_it() {
    let interfaces = interfaces().unwrap();
    let lo = interfaces
        .iter()
        .find(|interface| interface.address.to_string() == "127.0.0.1");
    assert_eq!(lo.unwrap().network, "127.0.0.1/8".parse().unwrap());
    let to = "127.3.2.1".parse().unwrap();
    assert!(source(to).unwrap().is_loopback());
}

#[tokio::test]
async fn a_seed_on_loopback_is_reached_from_there() {
    let config = Config {
        name: "a".to_owned(),
        bind: "0.0.0.0:7946".parse().unwrap(),
        advertise: None,
        host_ips: Vec::new(),
        label: String::new(),
        networks: Vec::new(),
        discovery_port: 8_889,
        settings: crate::config::Settings {
            seeds: vec![crate::config::Seed {
                host: "localhost".to_owned(),
                port: 7_946,
            }],
            ..crate::config::Settings::default()
        },
    };
    let found = decide(&config, &Seeds::default()).await.unwrap();
    assert_eq!(found.address, "127.0.0.1:7946".parse().unwrap());
    assert_eq!(found.reason, "the seed 127.0.0.1 is on this machine");
}

/// What a decision is made from, as it is easily written.
#[derive(Clone, Copy)]
struct Case {
    bind: &'static str,
    configured: Option<(&'static str, Option<u16>)>,
    host_ips: &'static [&'static str],
    interfaces: &'static [(&'static str, &'static str)],
    container: bool,
    seed: Option<(&'static str, &'static str)>,
    default: &'static [&'static str],
}

impl Case {
    fn facts(self) -> Facts {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let interface = |(name, network): &(&str, &str)| {
            let network: IpNet = network.parse().unwrap();
            Interface {
                name: (*name).to_owned(),
                address: network.addr(),
                network,
            }
        };
        Facts {
            bind: self.bind.parse().unwrap(),
            configured: self.configured.map(|(text, port)| (ip(text), port)),
            host_ips: self.host_ips.iter().map(|text| ip(text)).collect(),
            interfaces: self.interfaces.iter().map(interface).collect(),
            container: self.container,
            seed: self.seed.map(|(to, source)| Route {
                to: ip(to),
                source: ip(source),
            }),
            default: self.default.iter().map(|text| ip(text)).collect(),
        }
    }
}

/// A machine with nothing.
const CASE: Case = Case {
    bind: "0.0.0.0:7946",
    configured: None,
    host_ips: &[],
    interfaces: &[],
    container: false,
    seed: None,
    default: &[],
};

const LO: (&str, &str) = ("lo", "127.0.0.1/8");
const DOCKER0: (&str, &str) = ("docker0", "172.17.0.1/16");
const ETH0: (&str, &str) = ("eth0", "192.0.2.10/24");
const WIFI: (&str, &str) = ("wlan0", "203.0.113.7/24");

#[test]
fn addresses_that_anybody_reaches_are_told_apart() {
    for public in ["198.51.101.1", "100.128.0.1", "2a00::1", "::ffff:8.8.8.8"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for private in [
        "127.0.0.2",
        "10.1.2.3",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "192.0.2.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "2001:db8::1",
        "::ffff:192.168.1.1",
    ] {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
}
