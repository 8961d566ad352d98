//! TCP: pipelining, framing, answers out of order (RFC 7766).

use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpStream;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan_testkit::client::Query;
use portolan_testkit::process::pause;
use portolan_testkit::upstream::Reply;

use super::answer::rcode;
use super::server::Server;
use super::upstream::Upstream;
use super::upstream::after;

/// A server that knows local.test and forwards the rest, over UDP, to an
/// upstream that takes its time.
fn start(milliseconds: u64) -> anyhow::Result<(Server, Upstream)> {
    let upstream = Upstream::start(move |query| {
        after(milliseconds, Reply::to(query).a([192, 0, 2, 53], 60).send())
    })?;
    let corefile = format!(
        "\
.:PORT {{
    hosts hosts {{
        fallthrough
    }}
    forward . {} {{
        prefer_udp
    }}
}}
",
        upstream.addr()
    );
    Ok((
        Server::with_hosts(&corefile, "192.0.2.1 local.test\n")?,
        upstream,
    ))
}

/// A query for a local name, framed.
fn framed(id: u16) -> anyhow::Result<Vec<u8>> {
    let message = Query::new("local.test", RecordType::A).id(id).encode()?;
    Ok([&u16::try_from(message.len())?.to_be_bytes(), &message[..]].concat())
}

/// Reads a response and gives its id.
fn read_id(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    let message = Message::from_vec(&message)?;
    assert_eq!(rcode(&message), ResponseCode::NoError);
    Ok(message.metadata.id)
}

/// A connection that gives up after a while.
fn connect(server: &Server) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(server.addr())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[test]
fn what_waits_does_not_hold_up_what_does_not() -> anyhow::Result<()> {
    let (server, upstream) = start(400)?;
    let queries: Vec<Query> = (0..100)
        .map(|n| match n % 2 {
            0 => Query::new(&format!("n{n}.outside"), RecordType::A),
            _ => Query::new("local.test", RecordType::A),
        })
        .collect();
    let responses = server.tcp().connect()?.pipeline(&queries)?;
    assert_eq!(responses.len(), 100);
    let names: Vec<String> = responses
        .iter()
        .map(|response| response.queries[0].name.to_ascii())
        .collect();
    // All local answers came before all that had to be asked for.
    assert!(
        names[..50].iter().all(|name| name == "local.test."),
        "{names:?}"
    );
    assert!(
        names[50..].iter().all(|name| name.ends_with(".outside.")),
        "{names:?}"
    );
    assert!(
        responses
            .iter()
            .all(|response| rcode(response) == ResponseCode::NoError)
    );
    // A slow upstream may be asked once more.
    assert!(
        (50..=150).contains(&upstream.count()),
        "{}",
        upstream.count()
    );
    Ok(())
}

#[test]
fn more_queries_than_are_answered_at_a_time_are_all_answered() -> anyhow::Result<()> {
    let (server, _upstream) = start(50)?;
    let queries: Vec<Query> = (0..500)
        .map(|n| Query::new(&format!("n{n}.outside"), RecordType::A))
        .collect();
    let responses = server.tcp().connect()?.pipeline(&queries)?;
    assert!(
        responses
            .iter()
            .all(|response| rcode(response) == ResponseCode::NoError)
    );
    assert_eq!(responses.len(), 500);
    Ok(())
}

#[test]
fn a_message_may_arrive_octet_by_octet() -> anyhow::Result<()> {
    let (server, _upstream) = start(0)?;
    let mut stream = connect(&server)?;
    let message = framed(7)?;
    // The two octets of the length apart, then the rest one by one.
    for octet in &message {
        stream.write_all(&[*octet])?;
        pause(Duration::from_millis(2));
    }
    assert_eq!(read_id(&mut stream)?, 7);
    Ok(())
}

#[test]
fn messages_may_share_a_segment_and_straddle_two() -> anyhow::Result<()> {
    let (server, _upstream) = start(0)?;
    let mut stream = connect(&server)?;
    let mut all = Vec::new();
    for id in 1..=20 {
        all.extend(framed(id)?);
    }
    // The second part begins within the length of the eleventh message.
    let (first, second) = all.split_at(all.len() / 2 + 1);
    stream.write_all(first)?;
    pause(Duration::from_millis(30));
    stream.write_all(second)?;
    let mut ids = (1..=20)
        .map(|_| read_id(&mut stream))
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).collect::<Vec<u16>>());
    Ok(())
}

#[test]
fn a_client_that_has_said_everything_still_hears_everything() -> anyhow::Result<()> {
    let (server, _upstream) = start(200)?;
    let mut stream = connect(&server)?;
    let message = Query::new("n.outside", RecordType::A).id(9).encode()?;
    stream.write_all(&[&u16::try_from(message.len())?.to_be_bytes(), &message[..]].concat())?;
    stream.write_all(&framed(8)?)?;
    stream.shutdown(Shutdown::Write)?;
    assert_eq!([read_id(&mut stream)?, read_id(&mut stream)?], [8, 9]);
    // Then the server closes, too.
    assert_eq!(stream.read(&mut [0])?, 0);
    Ok(())
}

#[test]
fn a_client_that_goes_away_harms_nobody() -> anyhow::Result<()> {
    let (server, upstream) = start(100)?;
    for id in 1..=50 {
        let mut stream = connect(&server)?;
        let message = Query::new(&format!("n{id}.outside"), RecordType::A)
            .id(id)
            .encode()?;
        stream.write_all(&[&u16::try_from(message.len())?.to_be_bytes(), &message[..]].concat())?;
    }
    let response = server.tcp().query("after.outside", RecordType::A)?;
    assert_eq!(rcode(&response), ResponseCode::NoError);
    assert!(upstream.count() >= 1);
    assert!(!server.output().contains("panic"), "{}", server.output());
    Ok(())
}

#[test]
fn the_longest_message_is_read() -> anyhow::Result<()> {
    let (server, _upstream) = start(0)?;
    let mut connection = server.tcp().connect()?;
    // A query behind which there is much that nobody counts.
    let mut message = Query::new("local.test", RecordType::A).id(3).encode()?;
    message.resize(65_535, 0);
    connection.send(&message)?;
    let response = connection.receive()?.unwrap_or_default();
    assert_eq!(response.get(..2), Some(&[0, 3][..]));
    Ok(())
}
