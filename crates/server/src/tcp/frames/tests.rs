use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Limits;
use crate::tcp::connections::Connections;
use crate::tcp::connections::Held;
use crate::tcp::connections::Kind;
use crate::testing;
use crate::udp::now;

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

#[tokio::test]
async fn room_is_made_as_octets_come() {
    let connections = connections(Limits::default());
    let held = Arc::<Held>::default();
    let share = Share::new(Kind::Unfinished, &held, &connections);
    let (mut frames, mut client) = connect(share).await;
    let long = Duration::from_secs(5);
    let given_up = async |frames: &mut Frames| {
        let wait = Duration::from_millis(100);
        let next = timeout(wait, frames.next(long, long)).await;
        next.unwrap_err();
    };
    // It announces all, and sends next to nothing.
    client.write_all(&[255, 255, 1, 2, 3]).await.unwrap();
    given_up(&mut frames).await;
    assert_eq!(frames.buffer.capacity(), SMALL);
    assert_eq!(held.of(Kind::Unfinished).load(Ordering::Relaxed), 0);
    client.write_all(&[0; 32_000]).await.unwrap();
    given_up(&mut frames).await;
    let room = frames.buffer.capacity();
    assert!((32_005..=32_005 + AHEAD).contains(&room), "{room}");
    assert_eq!(held.of(Kind::Unfinished).load(Ordering::Relaxed), room);

    // What is taken leaves its room, though a message follows.
    let rest = vec![0; 65_535 - 32_003];
    let (sent, message) = tokio::join!(client.write_all(&rest), frames.next(long, long));
    sent.unwrap();
    assert_eq!(message.unwrap().len(), 65_535);
    assert!(frames.buffer.capacity() <= SMALL);
    assert_eq!(held.of(Kind::Unfinished).load(Ordering::Relaxed), 0);
    assert_eq!(
        connections
            .held
            .of(Kind::Unfinished)
            .load(Ordering::Relaxed),
        0
    );
    client.write_all(b"\0\x02ab").await.unwrap();
    assert_eq!(frames.next(long, long).await.unwrap(), b"ab");
}

#[tokio::test]
async fn messages_that_are_not_finished_close_the_connection_with_the_longest() {
    let connections = connections(Limits {
        unfinished: 40_000,
        ..Limits::default()
    });
    let long = Duration::from_secs(5);
    let mut open = Vec::new();
    for (length, position) in [(100, 0), (10_000, 1), (30_000, 2), (8_000, 3)] {
        let held = Arc::<Held>::default();
        let close = CancellationToken::new();
        connections.add(
            [192, 0, 2, 1].into(),
            Arc::clone(&held),
            close.clone(),
            now(),
        );
        let share = Share::new(Kind::Unfinished, &held, &connections);
        let (mut frames, mut client) = connect(share).await;
        client.write_all(&[255, 255]).await.unwrap();
        client.write_all(&vec![0; length]).await.unwrap();
        let wait = Duration::from_millis(100);
        let next = timeout(wait, frames.next(long, long)).await;
        next.unwrap_err();
        open.push((frames, client, close));
        let closed = open.iter().filter(|(_, _, close)| close.is_cancelled());
        assert_eq!(closed.count(), usize::from(position > 1), "{length} octets");
    }
    let closed: Vec<bool> = open.iter().map(|(_, _, c)| c.is_cancelled()).collect();
    assert_eq!(closed, [false, false, true, false]);
    assert_eq!(connections.families.evicted.get(), 1);
}

/// Connections within bounds.
fn connections(limits: Limits) -> Arc<Connections> {
    let families = testing::shared(testing::table(&[])).families;
    Arc::new(Connections::new(limits, families))
}

/// Both ends of a connection: frames at one, a stream at the other.
async fn pair() -> (Frames, TcpStream) {
    let connections = connections(Limits::default());
    connect(Share::new(Kind::Unfinished, &Arc::default(), &connections)).await
}

/// As [`pair`], with what is read counted as `share`.
async fn connect(share: Share) -> (Frames, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (reader, writer) = accepted.into_split();
    // The other half would close the connection when dropped.
    writer.forget();
    (Frames::new(reader, share), stream)
}
