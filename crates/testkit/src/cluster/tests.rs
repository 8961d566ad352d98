//! Tests of what is judged, without servers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;

use super::Place;
use super::Reply;
use super::Settings;
use super::Truth;
use super::Verdict;
use crate::process::Launch;

/// An address.
const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Another.
const TWO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A reply with these addresses, NXDOMAIN without any.
fn reply(addresses: &[Ipv4Addr]) -> Reply {
    let rcode = if addresses.is_empty() {
        ResponseCode::NXDomain
    } else {
        ResponseCode::NoError
    };
    Reply {
        rcode,
        addresses: addresses.iter().copied().collect(),
    }
}

/// A verdict on replies, where `both` has two addresses and `gone` none.
fn judge(both: Option<Reply>, gone: Option<Reply>) -> Verdict {
    let mut truth = Truth::default();
    truth.add("both", ONE);
    truth.add("both", TWO);
    truth.forget("gone");
    assert_eq!(truth.live(), 1);
    let mut replies = BTreeMap::new();
    for (name, reply) in [("both", both), ("gone", gone)] {
        replies.extend(reply.map(|reply| (name.to_owned(), reply)));
    }
    let mut verdict = Verdict::default();
    truth.judge(7, &replies, &mut verdict);
    verdict
}

#[test]
fn the_truth_is_flawless() {
    let verdict = judge(Some(reply(&[ONE, TWO])), Some(reply(&[])));
    assert!(verdict.is_flawless(), "{verdict}");
    assert_eq!(verdict.asked, 2);
}

#[test]
fn zombies_and_missing_addresses_are_told_apart() {
    let verdict = judge(Some(reply(&[TWO])), Some(reply(&[TWO])));
    assert_eq!(verdict.zombies, [(7, "gone".to_owned(), TWO)]);
    assert_eq!(verdict.missing, [(7, "both".to_owned(), ONE)]);
    assert!(verdict.odd.is_empty());
}

#[test]
fn silence_refusals_and_names_without_addresses_are_odd() {
    let refused = Reply {
        rcode: ResponseCode::Refused,
        ..reply(&[])
    };
    let nothing = Reply {
        rcode: ResponseCode::NoError,
        ..reply(&[])
    };
    for gone in [None, Some(refused), Some(nothing)] {
        let verdict = judge(Some(reply(&[ONE, TWO])), gone);
        assert_eq!(verdict.odd.len(), 1, "{verdict}");
        assert!(!verdict.is_flawless());
    }
}

#[test]
fn a_corefile_says_what_the_settings_say() {
    let mut place = Place::on_loopback(0x0102, 2);
    place.dns = SocketAddr::from((place.ip, 5301));
    let mut settings = Settings::new(2);
    settings.seeds = vec!["192.0.2.9:7946".to_owned(), "seed:7947".to_owned()];
    settings.property("cluster_label lab");
    settings.set("CLUSTER_SECRET", "0123456789abcdef");
    let launch = settings.apply(Launch::new("/bin/true"), &place, "unix:///d.sock");
    let shown = format!("{launch:?}");
    for part in [
        ".:5301 {",
        "bind 127.65.2.3",
        "docker_socket unix:///d.sock",
        "host_ip 192.0.2.3",
        "cluster_seeds 192.0.2.9:7946,seed:7947",
        "node_name node3",
        "cluster_bind_addr 127.65.2.3",
        "cluster_label lab",
        "health 127.65.2.3:8080",
        "CLUSTER_SECRET",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_corefile_of_the_test_is_filled_in() {
    let mut settings = Settings::new(0);
    settings.corefile = Some("a HOST_IP b DOCKER_SOCKET".to_owned());
    let place = Place::on_loopback(0, 0);
    let launch = settings.apply(Launch::new("/bin/true"), &place, "unix:///d.sock");
    let shown = format!("{launch:?}");
    assert!(shown.contains("a 192.0.2.1 b unix:///d.sock"), "{shown}");
}
