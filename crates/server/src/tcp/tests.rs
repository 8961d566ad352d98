use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::testing;

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

/// Both ends of a connection: frames at one, a stream at the other.
async fn pair() -> (Frames, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (reader, writer) = accepted.into_split();
    // The other half would close the connection when dropped.
    writer.forget();
    (
        Frames {
            stream: reader,
            buffer: Vec::new(),
        },
        stream,
    )
}

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

#[tokio::test]
async fn messages_are_taken_apart_however_they_arrive() {
    let (mut frames, mut client) = pair().await;
    let (idle, read) = (Duration::from_secs(5), Duration::from_secs(5));
    let framed = [b"\0\x03abc".as_slice(), b"\0\0", b"\0\x01d"].concat();
    let sending = async {
        for octet in &framed {
            client.write_all(&[*octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.write_all(&framed).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let receiving = async {
        for expected in [b"abc".as_slice(), b"", b"d", b"abc", b"", b"d"] {
            assert_eq!(frames.next(idle, read).await.unwrap(), expected);
        }
        let error = frames.next(idle, read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn a_message_that_breaks_off_is_an_error() {
    let (mut frames, mut client) = pair().await;
    client.write_all(b"\0\x05ab").await.unwrap();
    drop(client);
    let error = frames
        .next(Duration::from_secs(5), Duration::from_secs(5))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn silence_and_dawdling_have_times_of_their_own() {
    let (mut frames, mut client) = pair().await;
    let (short, long) = (Duration::from_millis(30), Duration::from_mins(1));
    let error = frames.next(short, long).await.unwrap_err();
    assert_eq!(
        (error.kind(), frames.buffer.len()),
        (io::ErrorKind::TimedOut, 0)
    );

    client.write_all(b"\0").await.unwrap();
    let error = frames.next(long, short).await.unwrap_err();
    assert_eq!(
        (error.kind(), frames.buffer.len()),
        (io::ErrorKind::TimedOut, 1)
    );
}

#[tokio::test]
async fn waiting_for_a_message_can_be_given_up_without_loss() {
    let (mut frames, mut client) = pair().await;
    let (idle, read) = (Duration::from_secs(5), Duration::from_secs(5));
    client.write_all(b"\0\x02a").await.unwrap();
    let given_up = timeout(Duration::from_millis(50), frames.next(idle, read)).await;
    assert!(given_up.is_err());
    client.write_all(b"b").await.unwrap();
    assert_eq!(frames.next(idle, read).await.unwrap(), b"ab");
}

#[test]
fn errors_of_one_connection_do_not_make_the_listener_wait() {
    assert!(is_about_one_connection(
        &io::ErrorKind::ConnectionAborted.into()
    ));
    assert!(!is_about_one_connection(&io::Error::from_raw_os_error(24)));
}

#[test]
fn responses_that_nobody_takes_close_the_connection_with_most_of_them() {
    let limits = Limits {
        unsent: 1000,
        ..Limits::default()
    };
    let families = testing::shared(testing::table(&[])).families;
    let connections = Arc::new(Connections::new(limits, families));
    let tokens: Vec<CancellationToken> = (0..3).map(|_| CancellationToken::new()).collect();
    let (outlets, mut queues): (Vec<Outlet>, Vec<mpsc::Receiver<Outgoing>>) = tokens
        .iter()
        .zip(0..)
        .map(|(token, n)| {
            let unsent = Arc::<AtomicUsize>::default();
            connections.add(client(n), Arc::clone(&unsent), token.clone(), now());
            let (responses, queue) = mpsc::channel(10);
            let connections = Arc::clone(&connections);
            let outlet = Outlet {
                responses,
                unsent,
                connections,
            };
            (outlet, queue)
        })
        .unzip();
    let permits = Arc::new(Semaphore::new(100));
    let permit = || Arc::clone(&permits).try_acquire_owned().unwrap();
    let closed = || -> Vec<bool> {
        let states = tokens.iter().map(CancellationToken::is_cancelled);
        states.collect()
    };
    for (outlet, octets) in [(0, 300), (1, 500), (2, 200)] {
        outlets[outlet].put(&vec![0; octets - 2], permit());
    }
    assert_eq!(closed(), [false; 3], "as much as may wait");
    outlets[2].put(&[], permit());
    assert_eq!(closed(), [false, true, false]);
    // It is counted once: what waits for it is as good as gone.
    outlets[2].put(&[0; 398], permit());
    assert_eq!(closed(), [false, true, false]);
    assert_eq!(connections.unsent.load(Ordering::Relaxed), 1402);
    assert_eq!(connections.families.evicted.get(), 1);

    // What is written or dropped is counted no more.
    drop(queues[2].try_recv().unwrap());
    drop(queues.remove(1));
    assert_eq!(connections.unsent.load(Ordering::Relaxed), 702);
    outlets[0].put(&[0; 296], permit());
    assert_eq!(closed(), [false, true, false]);
    outlets[0].put(&[], permit());
    assert_eq!(closed(), [true, true, false]);
}
