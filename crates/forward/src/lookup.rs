//! Addresses of an upstream that is given by name, looked up once.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;

use portolan_proto::Class;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Rtype;
use portolan_proto::Section;
use tokio::time::Instant;

use crate::Question;
use crate::pool::Pool;
use crate::sockets::Sockets;
use crate::udp;
use crate::udp::Link;
use crate::udp::Manner;

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The addresses of a host, on a port. Asks `resolver` in order until one
/// knows some, or the system if there is no resolver. The error is a reason.
pub(crate) async fn addresses(
    host: &str,
    port: u16,
    resolver: &[SocketAddr],
) -> Result<Vec<SocketAddr>, String> {
    if resolver.is_empty() {
        let found = tokio::time::timeout(2 * TIMEOUT, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| "i/o timeout".to_owned())?
            .map_err(|error| error.to_string())?;
        return Ok(found.collect());
    }
    let name: Name = host.parse().map_err(|error| format!("{error}"))?;
    let mut reason = String::new();
    for &server in resolver {
        match ask(server, &name).await {
            Ok(found) if found.is_empty() => reason = format!("{server} knows no address"),
            Ok(found) => {
                return Ok(found
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect());
            }
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Asks one server for the addresses of both families. One family is enough.
async fn ask(server: SocketAddr, name: &Name) -> Result<Vec<IpAddr>, String> {
    let deadline = Instant::now() + TIMEOUT;
    let link = Link {
        peer: server,
        source: None,
    };
    let question = |qtype| Question::new(name, qtype, Class::IN);
    let (v4, v6) = (question(Rtype::A), question(Rtype::AAAA));
    let manner = Manner {
        edns: true,
        exact: false,
        anew: true,
    };
    let pool = Pool::new(link, Sockets::default());
    let (v4, v6) = tokio::join!(
        udp::exchange(&pool, &v4, manner, None, deadline),
        udp::exchange(&pool, &v6, manner, None, deadline),
    );
    match (v4, v6) {
        (Err(error), Err(_)) => Err(error.to_string()),
        (v4, v6) => Ok([v4, v6]
            .into_iter()
            .flatten()
            .flat_map(|exchanged| read(&exchanged.message))
            .collect()),
    }
}

/// The addresses in an answer.
fn read(message: &Message) -> Vec<IpAddr> {
    message
        .records()
        .filter(|record| record.section == Section::Answer)
        .filter_map(|record| match record.rtype {
            Rtype::A => <[u8; 4]>::try_from(record.rdata())
                .ok()
                .map(|octets| Ipv4Addr::from(octets).into()),
            Rtype::AAAA => <[u8; 16]>::try_from(record.rdata())
                .ok()
                .map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        })
        .collect()
}
