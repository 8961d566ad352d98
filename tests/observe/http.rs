//! A client of the admin endpoints.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;

use anyhow::Context as _;
use portolan_testkit::process::PATIENCE;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// The fields of its head, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

// === impl Answer ===

impl Answer {
    /// The value of a field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Fetches a page from a port of this machine: status and body.
pub(crate) fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = request(port, "GET", path, &[])?;
    Ok((answer.status, String::from_utf8(answer.body)?))
}

/// Makes a request with further fields. In HTTP/1.0 the body ends with the
/// connection.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    fields: &[&str],
) -> anyhow::Result<Answer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n"
    )?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets)?;
    let end = octets
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no head")?;
    let body = octets.split_off(end + 4);
    let head = String::from_utf8(octets)?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let fields = head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Answer {
        status,
        fields: fields.collect(),
        body,
    })
}
