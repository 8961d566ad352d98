//! Asking the admin endpoints of a running server, for `portolan health`,
//! `portolan members` and `portolan flush`: container health checks work in
//! images without a shell.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// To be told something.
    Get,
    /// That something be done.
    Post,
}

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most octets of an answer that are read.
const ANSWER: u64 = 1 << 20;

/// Asks `address` for `path` with `method` and gives the body. `:8080` means this host. The
/// first of its addresses that accepts a connection has the say.
pub(crate) fn ask(address: &str, method: Method, path: &str) -> anyhow::Result<String> {
    let mut last = None;
    for socket in targets(address)? {
        match TcpStream::connect_timeout(&socket, PATIENCE) {
            Ok(stream) => return ask_over(stream, socket, method, path),
            Err(error) => {
                let error = anyhow::Error::from(error);
                last = Some(error.context(format!("cannot connect to {socket}")));
            }
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("{address} has no address")))
}

/// Where a server that listens on `address` is reached from its own host.
/// Nothing is looked up where the address is every address: the one to look it
/// up may be the server itself.
fn targets(address: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let found = || {
        let found = address.to_socket_addrs();
        found.with_context(|| format!("cannot resolve {address}"))
    };
    let Some((host @ ("" | "0.0.0.0" | "[::]"), port)) = address.rsplit_once(':') else {
        return Ok(found()?.collect());
    };
    let port: u16 = port
        .parse()
        .with_context(|| format!("{address}: no port number"))?;
    let (v4, v6) = (
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    );
    Ok(match host {
        "" => vec![v4, v6],
        "0.0.0.0" => vec![v4],
        _ => vec![v6],
    })
}

/// Asks over a connection.
fn ask_over(
    mut stream: TcpStream,
    socket: SocketAddr,
    method: Method,
    path: &str,
) -> anyhow::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (method, length) = match method {
        Method::Get => ("GET", ""),
        Method::Post => ("POST", "Content-Length: 0\r\n"),
    };
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {socket}\r\n{length}Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER)
        .read_to_end(&mut answer)
        .context("no answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let body = body.unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        // What is wrong with an order is in the body.
        Some("400" | "403") if !body.is_empty() => anyhow::bail!("{socket}: {}", body.trim_end()),
        _ => anyhow::bail!("{socket} answers {status:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_on_this_host() {
        for (address, expected) in [
            (":8080", &["127.0.0.1:8080", "[::1]:8080"][..]),
            ("0.0.0.0:8080", &["127.0.0.1:8080"]),
            ("[::]:8080", &["[::1]:8080"]),
            // Ends like the one for every address, and is another.
            ("10.0.0.0:8080", &["10.0.0.0:8080"]),
            ("192.0.2.1:8080", &["192.0.2.1:8080"]),
            ("[2001:db8::]:8080", &["[2001:db8::]:8080"]),
        ] {
            let expected: Vec<SocketAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(targets(address).unwrap(), expected, "{address}");
        }
    }

    #[test]
    fn an_address_without_a_port_number_is_refused() {
        for address in [":", ":http", "0.0.0.0:65536"] {
            assert!(targets(address).is_err(), "{address}");
        }
    }
}
