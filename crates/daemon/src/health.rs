//! `portolan health`: asks a running server, for container health checks in
//! images without a shell.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most octets of an answer that are read.
const ANSWER: u64 = 4096;

/// Asks `address` for `/health`. `:8080` means this host.
pub(crate) fn ask(address: &str) -> anyhow::Result<()> {
    let address = match address.strip_prefix(':') {
        Some(port) => format!("localhost:{port}"),
        None => address
            .replace("0.0.0.0:", "127.0.0.1:")
            .replace("[::]:", "[::1]:"),
    };
    let mut last = None;
    let addresses = address
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {address}"))?;
    for socket in addresses {
        match ask_one(socket, &address) {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("{address} has no address")))
}

/// Asks one address.
fn ask_one(socket: std::net::SocketAddr, host: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&socket, PATIENCE)
        .with_context(|| format!("cannot connect to {socket}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER)
        .read_to_end(&mut answer)
        .context("no answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(
        status.split(' ').nth(1) == Some("200"),
        "{socket} answers {status:?}"
    );
    Ok(())
}
