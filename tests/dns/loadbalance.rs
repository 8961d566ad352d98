//! `loadbalance`: which address comes first.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::rr::RecordType;
use portolan_proto::Rtype;
use portolan_testkit::client::Client;
use portolan_testkit::upstream::Reply;

use super::answer::addresses;
use super::answer::ips;
use super::server::Server;
use super::upstream::Upstream;
use crate::support::portolan;

/// An upstream with four addresses for every name.
fn upstream() -> anyhow::Result<Upstream> {
    Upstream::start(|query| {
        let reply = Reply::to(query);
        let addresses = [
            [192, 0, 2, 1],
            [192, 0, 2, 2],
            [198, 51, 100, 3],
            [198, 51, 100, 4],
        ];
        let each = |reply: Reply, address: [u8; 4]| reply.answer(Rtype::A, 300, &address);
        addresses.into_iter().fold(reply, each).send()
    })
}

/// A server with `loadbalance` as given, with and without a cache, and with
/// the same four addresses as local ones.
fn servers(upstream: &Upstream, loadbalance: &str) -> anyhow::Result<[(Server, &'static str); 3]> {
    let forward = format!("forward . {}", upstream.addr());
    let hosts = "hosts none {\n 192.0.2.1 a.test\n 192.0.2.2 a.test\n 198.51.100.3 a.test\n \
                 198.51.100.4 a.test\n }";
    let start = |rest: &str| {
        let launch = || portolan().file("weights", "a.test\n192.0.2.2 255\n# the others weigh 1\n");
        Server::launch(launch, &format!(".:PORT {{\n {loadbalance}\n {rest}\n}}\n"))
    };
    Ok([
        (start(&forward)?, "forwarded"),
        (start(&format!("{forward}\n cache"))?, "cached"),
        (start(hosts)?, "local"),
    ])
}

/// How often each address is first in a hundred answers.
fn first(client: Client, count: usize) -> anyhow::Result<BTreeMap<IpAddr, usize>> {
    let mut first = BTreeMap::new();
    for _ in 0..count {
        let found = addresses(&client.query("a.test", RecordType::A)?);
        assert_eq!(found.len(), 4);
        *first.entry(found[0]).or_insert(0) += 1;
    }
    Ok(first)
}

#[test]
fn the_order_of_the_upstream_stays_unless_told_otherwise() -> anyhow::Result<()> {
    let upstream = upstream()?;
    let [forwarded, cached, _] = servers(&upstream, "")?;
    for (server, what) in [forwarded, cached] {
        for client in server.both() {
            let found = first(client, 5)?;
            assert_eq!(
                found.into_keys().collect::<Vec<_>>(),
                ips(&["192.0.2.1"]),
                "{what}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_address_is_first_in_turn() -> anyhow::Result<()> {
    let upstream = upstream()?;
    for policy in ["loadbalance", "loadbalance round_robin"] {
        for (server, what) in servers(&upstream, policy)? {
            for client in server.both() {
                let found = first(client, 8)?;
                assert!(found.values().all(|count| *count == 2), "{what}: {found:?}");
                assert_eq!(found.len(), 4, "{what}: {found:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn preferred_addresses_come_before_the_others() -> anyhow::Result<()> {
    let upstream = upstream()?;
    let policy = "loadbalance round_robin {\n prefer 198.51.100.0/24 2001:db8::/32\n }";
    for (server, what) in servers(&upstream, policy)? {
        for _ in 0..6 {
            let found = addresses(&server.udp().query("a.test", RecordType::A)?);
            let mut front = found[..2].to_vec();
            front.sort_unstable();
            assert_eq!(front, ips(&["198.51.100.3", "198.51.100.4"]), "{what}");
        }
    }
    Ok(())
}

#[test]
fn a_heavy_address_is_mostly_first() -> anyhow::Result<()> {
    let upstream = upstream()?;
    for (server, what) in servers(&upstream, "loadbalance weighted weights")? {
        let found = first(server.udp(), 40)?;
        let heavy = found
            .get(&"192.0.2.2".parse::<IpAddr>()?)
            .copied()
            .unwrap_or_default();
        // 255 of 258: fewer than 30 of 40 do not happen.
        assert!(heavy >= 30, "{what}: {found:?}");
    }
    Ok(())
}
