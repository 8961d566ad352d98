//! Asks one server much and fast.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::ensure;
use hickory_proto::op::Message;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType;

use super::Place;
use crate::client::Query;
use crate::process::clock;

/// Asks one server over one socket, which keeps its place in the network
/// whoever uses it.
#[derive(Debug)]
pub struct Probe {
    /// The socket.
    socket: UdpSocket,
}

/// What a server said about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The response code.
    pub rcode: ResponseCode,
    /// The IPv4 addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
}

// === impl Probe ===

impl Probe {
    /// Will ask the node at a place.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had.
    pub fn open(place: &Place) -> anyhow::Result<Self> {
        let server = place.dns;
        ensure!(server.ip().is_loopback(), "{server} is not on loopback");
        let socket = place.enter(|| {
            let socket = UdpSocket::bind((server.ip(), 0))?;
            socket.connect(server)?;
            Ok(socket)
        })?;
        socket.set_read_timeout(Some(POLL))?;
        Ok(Self { socket })
    }

    /// What the server says about a name; an error if it says nothing.
    ///
    /// # Errors
    ///
    /// If no answer comes within a second.
    pub fn ask(&self, name: &str) -> anyhow::Result<Reply> {
        self.sweep(&[name], Duration::from_secs(1))?
            .remove(name)
            .with_context(|| format!("no answer about {name}"))
    }

    /// What the server says about names; what is not in the answer was not
    /// answered in time.
    ///
    /// # Errors
    ///
    /// If an answer cannot be read.
    pub fn sweep(
        &self,
        names: &[&str],
        patience: Duration,
    ) -> anyhow::Result<BTreeMap<String, Reply>> {
        let mut replies = BTreeMap::new();
        let start = clock();
        // What became of former queries would be told instead of sending the
        // first of these.
        self.socket.take_error()?;
        for window in names.chunks(WINDOW) {
            let mut waiting = BTreeMap::new();
            for name in window {
                let query = Query::new(name, RecordType::A);
                waiting.insert(query.message_id(), *name);
                // Nobody listens: nobody will answer.
                if let Err(error) = self.socket.send(&query.encode()?)
                    && error.kind() == ErrorKind::ConnectionRefused
                {
                    return Ok(replies);
                }
            }
            let mut buffer = [0; 4096];
            while !waiting.is_empty() && start.elapsed() < patience {
                let length = match self.socket.recv(&mut buffer) {
                    Ok(length) => length,
                    // Nobody listens: nobody will answer.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        return Ok(replies);
                    }
                    Err(_) => continue,
                };
                let octets = buffer.get(..length).unwrap_or_default();
                let response = Message::from_vec(octets).context("unreadable response")?;
                // What answers nothing is late, from the window before.
                if let Some(name) = waiting.remove(&response.metadata.id) {
                    replies.insert(name.to_owned(), Reply::of(&response));
                }
            }
        }
        Ok(replies)
    }
}

// === impl Reply ===

impl Reply {
    /// Whether it says that a name has exactly these addresses, or that there
    /// is no such name if these are none.
    pub fn says(&self, addresses: &BTreeSet<Ipv4Addr>) -> bool {
        let expected = if addresses.is_empty() {
            ResponseCode::NXDomain
        } else {
            ResponseCode::NoError
        };
        self.rcode == expected && self.addresses == *addresses
    }

    /// What a response says.
    fn of(response: &Message) -> Self {
        let address = |data: &RData| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        };
        Self {
            rcode: response.metadata.response_code,
            addresses: response
                .answers
                .iter()
                .filter_map(|record| address(&record.data))
                .collect(),
        }
    }
}

/// Queries under way at a time: their answers fit into the buffer of a socket.
const WINDOW: usize = 64;

/// How long one look for an answer takes.
const POLL: Duration = Duration::from_millis(20);
