//! Many names that are asked for once, many connections, large answers: what
//! the server takes of the memory stays bounded, and popular names stay kept.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::rr::RecordType;
use portolan_proto::Rtype;
use portolan_testkit::client::Query;
use portolan_testkit::client::stream_from;
use portolan_testkit::process::PATIENCE;
use portolan_testkit::process::allow_open_files;
use portolan_testkit::process::clock;
use portolan_testkit::upstream::Reply;

use super::answer::addresses;
use super::answer::ips;
use super::server::Server;
use super::upstream::Upstream;

/// Names that are asked for once: more than are kept.
const ONCE: u32 = 12_000;

/// Names that are asked for again and again.
const POPULAR: u32 = 50;

/// Queries under way at a time.
const WINDOW: u32 = 64;

/// Addresses that connections come from, and connections from each; one more
/// from an address than the server lets it have.
const CLIENTS: [u8; 4] = [11, 12, 13, 14];
const CONNECTIONS: usize = 257;

/// Answers of 60,000 octets.
const LARGE: u32 = 100;

/// Addresses of clients that ask for large answers, and connections from each.
const BURST_CLIENTS: RangeInclusive<u8> = 21..=22;
const BURST_CONNECTIONS: usize = 150;

/// Connections of each client that ask for what no upstream answers, and
/// questions on each: more than may wait.
const WAITING_CONNECTIONS: usize = 10;
const PIPELINED: usize = 100;

/// Most that these may take, in KiB.
const WAITING_KIB: u64 = 20 << 10;

/// Most that messages may take which are not finished, in KiB.
const UNFINISHED_KIB: u64 = 12 << 10;

/// Files that a test has open: connections, and what else there is.
const OPEN_FILES: u64 = 1_500;

/// Octets that the process may take in all, in KiB: 50 MB.
const RESIDENT_KIB: u64 = 50_000_000 / 1024;

/// Most that it may have taken at any time, in a build that is not optimized.
const PEAK_KIB: u64 = 64_000_000 / 1024;

#[test]
fn a_flood_of_names_leaves_memory_bounded_and_popular_names_kept() -> anyhow::Result<()> {
    allow_open_files(OPEN_FILES)?;
    let (upstream, server) = start()?;
    let popular = |number: u32| format!("p{}.popular.test", number % POPULAR);
    for number in 0..2 * POPULAR {
        let response = server.udp().query(&popular(number), RecordType::A)?;
        assert_eq!(addresses(&response), ips(&["192.0.2.1"]));
    }
    let connections = CLIENTS
        .into_iter()
        .flat_map(|client| (0..CONNECTIONS).map(move |_| client))
        .map(|client| stream_from(address(client), server.addr(), None))
        .collect::<anyhow::Result<Vec<TcpStream>>>()?;
    let mut next = 0..ONCE;
    let mut burst = 0;
    loop {
        let mut names: Vec<String> = next
            .by_ref()
            .take(usize::try_from(WINDOW)?)
            .map(|number| format!("n{number}.once.test"))
            .collect();
        if names.is_empty() {
            break;
        }
        names.push(popular(burst));
        burst += 1;
        ask_all(server.addr(), &names)?;
    }
    for number in 0..LARGE {
        let name = format!("n{number}.large.test");
        let query = Query::new(&name, RecordType::TXT).encode()?;
        let response = server.tcp().exchange(&query)?.context("no response")?;
        ensure!(response.len() > 60_000, "{name}: {}", response.len());
    }
    let resident = server.process().resident_kib()?;
    eprintln!(
        "{ONCE} names, {} connections: {resident} KiB",
        connections.len()
    );
    ensure!(resident < RESIDENT_KIB, "{resident} KiB resident");
    for number in 0..POPULAR {
        server.udp().query(&popular(number), RecordType::A)?;
    }
    // A hedge may ask for one a second time; kept they are all the same.
    let asked = upstream.asked();
    let asked = asked
        .iter()
        .filter(|query| query.qname.to_string().ends_with("popular.test."))
        .count();
    ensure!(asked < 2 * usize::try_from(POPULAR)?, "{asked} times asked");
    ensure!(asked >= usize::try_from(POPULAR)?, "{asked} times asked");
    Ok(())
}

#[test]
fn large_answers_at_once_leave_memory_bounded_and_are_all_answered() -> anyhow::Result<()> {
    let (_upstream, server) = start()?;
    let mut connections = burst_connections(server.addr())?;
    for (number, connection) in connections.iter_mut().enumerate() {
        ask(connection, &format!("n{number}.burst.test"))?;
    }
    for connection in &mut connections {
        read_large(connection)?;
    }
    // The cache has it, so that all are answered in one moment.
    for connection in &mut connections {
        ask(connection, "n0.burst.test")?;
    }
    for connection in &mut connections {
        read_large(connection)?;
    }
    let peak = server.process().peak_kib()?;
    eprintln!("{} answers at once: {peak} KiB at most", connections.len());
    ensure!(peak < PEAK_KIB, "{peak} KiB at most");
    Ok(())
}

#[test]
fn queries_that_wait_leave_memory_bounded() -> anyhow::Result<()> {
    let upstreams = [Upstream::silent()?, Upstream::silent()?];
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {} {}\n}}\n",
        upstreams[0].addr(),
        upstreams[1].addr()
    ))?;
    let before = server.process().peak_kib()?;
    let mut connections = CLIENTS
        .into_iter()
        .flat_map(|client| (0..WAITING_CONNECTIONS).map(move |_| client))
        .map(|client| stream_from(address(client), server.addr(), None))
        .collect::<anyhow::Result<Vec<TcpStream>>>()?;
    for (number, connection) in connections.iter_mut().enumerate() {
        for part in 0..PIPELINED {
            ask(connection, &format!("n{number}-{part}.silent.test"))?;
        }
    }
    for connection in &mut connections {
        for _ in 0..PIPELINED {
            let response = read_message(connection)?;
            ensure!(matches!(response.get(3), Some(code) if code & 0xf == 2));
        }
    }
    let taken = server.process().peak_kib()? - before;
    let count = connections.len() * PIPELINED;
    eprintln!("{count} queries at once: {taken} KiB");
    ensure!(taken < WAITING_KIB, "{taken} KiB");
    Ok(())
}

#[test]
fn messages_that_are_not_finished_leave_memory_bounded() -> anyhow::Result<()> {
    allow_open_files(OPEN_FILES)?;
    let (_upstream, server) = start()?;
    let before = server.process().peak_kib()?;
    let mut half = vec![0; 32_768];
    half[..2].copy_from_slice(&[255, 255]);
    let mut connections = Vec::new();
    for client in CLIENTS {
        for _ in 0..CONNECTIONS - 10 {
            let mut connection = stream_from(address(client), server.addr(), None)?;
            // The server may have closed it to make room.
            drop(connection.write_all(&half));
            connections.push(connection);
        }
    }
    // Whoever finishes a message is answered.
    let mut other = stream_from(address(*BURST_CLIENTS.start()), server.addr(), None)?;
    ask(&mut other, "n0.half.test")?;
    read_large(&mut other)?;
    let taken = server.process().peak_kib()? - before;
    eprintln!("{} half messages: {taken} KiB", connections.len());
    ensure!(taken < UNFINISHED_KIB, "{taken} KiB");
    Ok(())
}

/// A server with a cache, and an upstream that has an address and a large TXT
/// RRset for every name.
fn start() -> anyhow::Result<(Upstream, Server)> {
    let upstream = Upstream::start(|query| match query.qtype {
        Rtype::TXT if query.tcp => (0..234)
            .fold(Reply::to(query), |reply, _| {
                reply.answer(Rtype::TXT, 3600, &[255; 256])
            })
            .send(),
        Rtype::TXT => Reply::to(query).truncated().send(),
        _ => Reply::to(query).a([192, 0, 2, 1], 3600).send(),
    })?;
    let server = Server::start(&format!(
        ".:PORT {{\n forward . {} {{\n prefer_udp\n }}\n cache\n}}\n",
        upstream.addr()
    ))?;
    Ok((upstream, server))
}

/// Connections of several clients.
fn burst_connections(server: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    BURST_CLIENTS
        .flat_map(|client| (0..BURST_CONNECTIONS).map(move |_| client))
        .map(|client| stream_from(address(client), server, None))
        .collect()
}

/// Asks for a TXT RRset.
fn ask(connection: &mut TcpStream, name: &str) -> anyhow::Result<()> {
    let query = Query::new(name, RecordType::TXT).encode()?;
    let framed = [&u16::try_from(query.len())?.to_be_bytes(), &query[..]].concat();
    connection.write_all(&framed)?;
    Ok(())
}

/// Reads a large answer.
fn read_large(connection: &mut TcpStream) -> anyhow::Result<()> {
    let response = read_message(connection)?;
    ensure!(response.len() > 60_000, "{} octets", response.len());
    Ok(())
}

/// Reads a message.
fn read_message(connection: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut length = [0; 2];
    connection.read_exact(&mut length)?;
    let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
    connection.read_exact(&mut response)?;
    Ok(response)
}

/// Asks for names, all at a time, and again for those that are not answered.
fn ask_all(server: SocketAddr, names: &[String]) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut left: Vec<(u16, Vec<u8>)> = (0..)
        .zip(names)
        .map(|(id, name)| Ok((id, Query::new(name, RecordType::A).id(id).encode()?)))
        .collect::<anyhow::Result<_>>()?;
    let start = clock();
    let mut buffer = [0; 512];
    while !left.is_empty() {
        for (_, query) in &left {
            socket.send(query)?;
        }
        while !left.is_empty()
            && let Ok(length) = socket.recv(&mut buffer)
        {
            let answered = match buffer.get(..length) {
                // NOERROR, with one answer.
                Some([i0, i1, _, code, _, _, 0, 1, ..]) if code & 0xf == 0 => {
                    u16::from_be_bytes([*i0, *i1])
                }
                other => anyhow::bail!("not an address: {other:?}"),
            };
            left.retain(|(id, _)| *id != answered);
        }
        ensure!(start.elapsed() < PATIENCE, "{} not answered", left.len());
    }
    Ok(())
}

/// The address of a client.
fn address(client: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, client)
}
