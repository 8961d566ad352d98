//! The load: this program as a client that asks one server.
//!
//! Each socket has so many queries outstanding and sends a new one for each
//! response. Sockets are served in turn, because servers answer in turn.
//! Bursts are sent and received as one (`UDP_SEGMENT`, `recvmmsg`), so that
//! the client is lighter than the server.

use std::fmt;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::str::FromStr;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::bail;
use anyhow::ensure;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::recvmmsg;
use nix::sys::socket::sendmsg;

use crate::names;
use crate::paced;
use crate::stream;

/// From how many sockets the queries come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 192 sockets with one query outstanding each: what many clients do.
    Many,
    /// 8 sockets with bursts of up to 24: what forwarders do.
    Few,
    /// 32 connections with one query outstanding each.
    Tcp,
    /// 8 sockets, a query so long after the one before.
    Paced(Duration),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// So many names, again and again.
    Known(u32),
    /// Names that only this round asks for, each once.
    Unknown(u32),
}

/// What one run is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Address and port of the server.
    pub(crate) server: SocketAddr,
    /// From where.
    pub(crate) shape: Shape,
    /// What.
    pub(crate) asked: Asked,
    /// Whether queries have an OPT.
    pub(crate) edns: bool,
    /// For how long, in milliseconds; 0 is until each name was asked once.
    pub(crate) milliseconds: u64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Responses with code NOERROR and an answer.
    pub(crate) good: u64,
    /// Other responses.
    pub(crate) bad: u64,
    /// Queries without a response.
    pub(crate) lost: u64,
    /// Time it took, in microseconds.
    pub(crate) microseconds: u64,
    /// Half of the responses took no longer, in nanoseconds; 0 if that was not
    /// measured.
    pub(crate) p50: u64,
    /// The same of 99 in 100.
    pub(crate) p99: u64,
}

/// Queries, one behind the other, all equally long.
pub(crate) struct Queries {
    /// What is asked.
    asked: Asked,
    /// Whether they have an OPT.
    edns: bool,
    /// The number of the next one.
    next: u32,
    /// Those of one burst.
    octets: Vec<u8>,
    /// Octets of each.
    length: u16,
}

/// Asks and prints what came of it.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    println!("{}", ask(run)?);
    Ok(())
}

/// Asks.
fn ask(run: &Run) -> anyhow::Result<Counts> {
    let length = Duration::from_millis(run.milliseconds);
    let mut queries = Queries::new(run.asked, run.edns);
    let (count, window) = match run.shape {
        Shape::Many => (192, 1),
        Shape::Few => (8, BURST),
        Shape::Paced(_) => (8, 0),
        Shape::Tcp => return stream::ask(run.server, 32, &mut queries, length),
    };
    let any: IpAddr = match run.server {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(run.server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        sockets.push(socket);
    }
    if let Shape::Paced(pause) = run.shape {
        return paced::ask(&sockets, &mut queries, pause, length);
    }
    let mut counts = Counts::default();
    let mut headers = MultiHeaders::<()>::preallocate(BURST, None);
    let mut buffers = vec![[0; 1500]; BURST];
    for socket in &sockets {
        queries.send(socket, window)?;
    }
    let start = now();
    let end = length;
    while !queries.is_done(run.milliseconds, &counts) && (end.is_zero() || start.elapsed() < end) {
        for socket in &sockets {
            let before = counts.good + counts.bad;
            if window == 1 {
                let buffer = buffers.first_mut().context("a buffer")?;
                if let Ok(length) = socket.recv(buffer) {
                    counts.add(buffer.get(..length).unwrap_or_default());
                }
            } else {
                receive(socket, &mut headers, &mut buffers, &mut counts);
            }
            let received = usize::try_from(counts.good + counts.bad - before)?;
            if received == 0 {
                counts.lost += u64::try_from(window)?;
            }
            queries.send(socket, if received == 0 { window } else { received })?;
        }
    }
    counts.microseconds = u64::try_from(start.elapsed().as_micros())?;
    Ok(counts)
}

/// Receives what there is, one response at least unless none comes.
fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<()>,
    buffers: &mut [[u8; 1500]],
    counts: &mut Counts,
) {
    let mut lengths = [0; BURST];
    let mut filled = 0;
    {
        let mut rest = buffers.iter_mut();
        let mut parts: [[IoSliceMut<'_>; 1]; BURST] = std::array::from_fn(|_| {
            let buffer = rest.next().map_or(&mut [][..], |buffer| &mut buffer[..]);
            [IoSliceMut::new(buffer)]
        });
        let flags = MsgFlags::MSG_WAITFORONE;
        let descriptor = socket.as_raw_fd();
        if let Ok(messages) = recvmmsg(descriptor, headers, parts.iter_mut(), flags, None) {
            for (message, length) in messages.zip(&mut lengths) {
                *length = message.bytes;
                filled += 1;
            }
        }
    }
    for (buffer, length) in buffers.iter().zip(lengths).take(filled) {
        counts.add(buffer.get(..length).unwrap_or_default());
    }
}

// === impl Queries ===

impl Queries {
    /// Queries for names.
    pub(crate) fn new(asked: Asked, edns: bool) -> Self {
        Self {
            asked,
            edns,
            next: 0,
            octets: Vec::new(),
            length: 0,
        }
    }

    /// Whether each name was asked once, if that is all.
    fn is_done(&self, milliseconds: u64, counts: &Counts) -> bool {
        match self.asked {
            Asked::Known(count) if milliseconds == 0 => counts.good >= u64::from(count),
            Asked::Known(_) | Asked::Unknown(_) => false,
        }
    }

    /// Sends the next queries, all at once.
    fn send(&mut self, socket: &UdpSocket, count: usize) -> anyhow::Result<()> {
        self.octets.clear();
        for _ in 0..count {
            self.push();
        }
        if count == 1 {
            // What is refused is missed in a moment.
            drop(socket.send(&self.octets));
            return Ok(());
        }
        let parts = [IoSlice::new(&self.octets)];
        let control = [ControlMessage::UdpGsoSegments(&self.length)];
        let flags = MsgFlags::empty();
        sendmsg::<()>(socket.as_raw_fd(), &parts, &control, flags, None)
            .context("this kernel sends no bursts")?;
        Ok(())
    }

    /// Makes the next query the only one. Gives its id.
    pub(crate) fn fill_one(&mut self) -> u16 {
        self.octets.clear();
        let [.., i0, i1] = self.next.to_be_bytes();
        self.push();
        u16::from_be_bytes([i0, i1])
    }

    /// The queries.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Appends the next query.
    fn push(&mut self) {
        let start = self.octets.len();
        let [.., i0, i1] = self.next.to_be_bytes();
        let header = [i0, i1, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)];
        self.octets.extend_from_slice(&header);
        match self.asked {
            Asked::Known(count) => names::write_known(&mut self.octets, self.next, count),
            Asked::Unknown(round) => names::write_unknown(&mut self.octets, round, self.next),
        }
        self.octets.extend_from_slice(&[0, 1, 0, 1]);
        if self.edns {
            self.octets.extend_from_slice(OPT);
        }
        self.next = self.next.wrapping_add(1);
        self.length = u16::try_from(self.octets.len() - start).unwrap_or(0);
    }
}

// === impl Counts ===

impl Counts {
    /// Counts a response. Echo has no answers, and the flags of the query.
    pub(crate) fn add(&mut self, response: &[u8]) {
        let is_good =
            matches!(response, [_, _, flags, code, ..] if flags & 0x80 != 0 && code & 0x0f == 0);
        if is_good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            good,
            bad,
            lost,
            microseconds,
            p50,
            p99,
        } = self;
        write!(f, "{good} {bad} {lost} {microseconds} {p50} {p99}")
    }
}

impl FromStr for Counts {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let words: Vec<u64> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [good, bad, lost, microseconds, p50, p99] = words[..] else {
            bail!("the generator said {text:?}");
        };
        ensure!(microseconds > 0, "it took no time");
        Ok(Self {
            good,
            bad,
            lost,
            microseconds,
            p50,
            p99,
        })
    }
}

// === impl Shape ===

impl Shape {
    /// What arguments call it.
    fn word(self) -> String {
        match self {
            Self::Many => "many".to_owned(),
            Self::Few => "few".to_owned(),
            Self::Tcp => "tcp".to_owned(),
            Self::Paced(pause) => pause.as_nanos().to_string(),
        }
    }
}

// === impl Run ===

impl Run {
    /// The arguments that make this program do it.
    pub(crate) fn arguments(&self) -> [String; 5] {
        let asked = match self.asked {
            Asked::Known(count) => format!("known:{count}"),
            Asked::Unknown(round) => format!("unknown:{round}"),
        };
        [
            self.server.to_string(),
            self.shape.word(),
            asked,
            u8::from(self.edns).to_string(),
            self.milliseconds.to_string(),
        ]
    }

    /// Reads them.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let [server, shape, asked, edns, milliseconds] = words else {
            bail!("five words say what to ask");
        };
        let (kind, number) = asked.split_once(':').context("what to ask")?;
        let number = number.parse()?;
        Ok(Self {
            server: server.parse()?,
            shape: match shape.as_str() {
                "many" => Shape::Many,
                "few" => Shape::Few,
                "tcp" => Shape::Tcp,
                pause => Shape::Paced(Duration::from_nanos(pause.parse()?)),
            },
            asked: match kind {
                "known" => Asked::Known(number),
                _ => Asked::Unknown(number),
            },
            edns: edns == "1",
            milliseconds: milliseconds.parse()?,
        })
    }
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Queries of one burst. Eight of them fit the receive buffer that servers
/// have by default.
const BURST: usize = 24;

/// When a query counts as lost.
const PATIENCE: Duration = Duration::from_millis(300);

/// An OPT of 1,232 octets and no options.
const OPT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
