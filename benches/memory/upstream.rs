//! The upstreams: one that knows every name, and two that are frozen.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::thread;

use anyhow::Context as _;

use crate::question::respond;

/// Threads that answer datagrams.
const THREADS: usize = 2;

/// Sockets that nobody reads, as those of a server that is stopped.
pub(crate) struct Frozen {
    /// Where they are.
    pub(crate) addr: SocketAddr,
    /// The sockets.
    _sockets: (UdpSocket, TcpListener),
}

// === impl Frozen ===

impl Frozen {
    /// Opens the sockets.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (udp, tcp) = open()?;
        Ok(Self {
            addr: udp.local_addr()?,
            _sockets: (udp, tcp),
        })
    }
}

/// Starts the one that knows every name; it ends with the process.
pub(crate) fn start() -> anyhow::Result<SocketAddr> {
    let (udp, tcp) = open()?;
    let addr = udp.local_addr()?;
    for _ in 0..THREADS {
        let udp = udp.try_clone()?;
        thread::Builder::new().spawn(move || datagrams(&udp))?;
    }
    thread::Builder::new().spawn(move || {
        for stream in tcp.incoming().flatten() {
            let serve = move || stream_of(stream);
            drop(thread::Builder::new().spawn(serve));
        }
    })?;
    Ok(addr)
}

/// Sockets of either transport on one port.
fn open() -> anyhow::Result<(UdpSocket, TcpListener)> {
    for _ in 0..50 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        if let Ok(tcp) = TcpListener::bind(udp.local_addr()?) {
            return Ok((udp, tcp));
        }
    }
    None.context("no port is free for UDP and TCP")
}

/// Answers datagrams. An error here is about an earlier answer.
fn datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let query = buffer.get(..length).unwrap_or_default();
        if let Ok(response) = respond(query, false) {
            drop(socket.send_to(&response, client));
        }
    }
}

/// Answers the queries of a connection, one after another.
fn stream_of(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let response = respond(&query, true).map_err(io::Error::other)?;
        let length = u16::try_from(response.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &response].concat())?;
    }
}
