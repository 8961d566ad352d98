use std::time::Duration;

use super::*;
use crate::testing;
use crate::udp::now;

#[test]
fn one_more_connection_closes_the_one_that_is_silent_longest() {
    let connections = connections(3, 10);
    let start = now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let tokens: Vec<CancellationToken> = (0..5).map(|_| CancellationToken::new()).collect();
    let numbers: Vec<u64> = (0..3)
        .map(|n| {
            connections.add(
                client(n),
                Arc::default(),
                tokens[usize::from(n)].clone(),
                at(u64::from(n)),
            )
        })
        .collect();
    assert!(!tokens.iter().any(CancellationToken::is_cancelled));

    connections.touch(numbers[0], at(10));
    connections.add(client(3), Arc::default(), tokens[3].clone(), at(11));
    let closed: Vec<bool> = tokens.iter().map(CancellationToken::is_cancelled).collect();
    assert_eq!(closed, [false, true, false, false, false]);
    assert_eq!(connections.families.evicted.get(), 1);
    assert_eq!(connections.families.connections.get(), 3);

    // Its task ends later, and makes no room twice.
    connections.remove(numbers[1]);
    assert_eq!(connections.families.connections.get(), 3);
    connections.remove(numbers[0]);
    connections.add(client(4), Arc::default(), tokens[4].clone(), at(12));
    let closed = tokens.iter().filter(|token| token.is_cancelled()).count();
    assert_eq!(closed, 1);
}

#[test]
fn a_client_with_too_many_connections_loses_its_own() {
    let connections = connections(100, 2);
    let start = now();
    let other = CancellationToken::new();
    connections.add(client(1), Arc::default(), other.clone(), start);
    let own: Vec<CancellationToken> = (0..4).map(|_| CancellationToken::new()).collect();
    for (token, after) in own.iter().zip(1..) {
        connections.add(
            client(2),
            Arc::default(),
            token.clone(),
            start + Duration::from_secs(after),
        );
    }
    let closed: Vec<bool> = own.iter().map(CancellationToken::is_cancelled).collect();
    assert_eq!(closed, [true, true, false, false]);
    assert!(!other.is_cancelled());
}

/// Connections within bounds, and what counts them.
fn connections(total: usize, per_client: usize) -> Connections {
    let limits = Limits {
        connections: total,
        connections_per_client: per_client,
        ..Limits::default()
    };
    let families = testing::shared(testing::table(&[])).families;
    Connections::new(limits, families)
}

/// A client by the last octet of its address.
fn client(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}
