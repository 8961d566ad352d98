//! Where upstreams come from, and whether that has changed.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::BuildError;
use crate::Config;
use crate::EncryptedTransport;
use crate::UpstreamConfig;
use crate::lookup;
use crate::resolv_conf::Followed;
use crate::target::Proof;
use crate::target::Protection;
use crate::target::Target;
use crate::tls::Connectors;

/// Where upstreams come from, in the order of the settings.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A known address.
    Fixed(Target),
    /// A host name that is looked up now and then.
    Host {
        /// The name.
        host: String,
        /// Port on each of its addresses.
        port: u16,
        /// What keeps others from reading along.
        protection: Protection,
        /// Its addresses when it last had any.
        addrs: Vec<SocketAddr>,
        /// When it is looked up again.
        due: Instant,
    },
    /// A file that is followed.
    File(Followed),
}

/// How often host names of upstreams are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

// === impl Origin ===

impl Origin {
    /// A host name, looked up for the first time.
    async fn host(
        host: &str,
        port: u16,
        protection: Protection,
        config: &Config,
    ) -> Result<Self, BuildError> {
        let addrs = lookup::addresses(host, port, &config.resolver)
            .await
            .map_err(|reason| BuildError::Resolve {
                host: host.to_owned(),
                reason,
            })?;
        Ok(Self::Host {
            host: host.to_owned(),
            port,
            protection,
            addrs,
            due: Instant::now() + LOOK_UP_EVERY,
        })
    }

    /// Looks again. Says whether there are other upstreams now; a name that
    /// has no address any more leaves those it had.
    pub(crate) async fn check(&mut self, config: &Config) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::File(followed) => followed.check().await,
            Self::Host {
                host,
                port,
                addrs,
                due,
                ..
            } => {
                let now = Instant::now();
                if now < *due {
                    return false;
                }
                *due = now + LOOK_UP_EVERY;
                let Ok(mut found) = lookup::addresses(host, *port, &config.resolver).await else {
                    return false;
                };
                // Servers draw the order; only another set is news.
                found.sort_unstable();
                addrs.sort_unstable();
                if found.is_empty() || found == *addrs {
                    return false;
                }
                tracing::info!(plugin = "forward", %host, upstreams = found.len(), "upstreams changed");
                *addrs = found;
                true
            }
        }
    }
}

/// Finds out where the upstreams come from.
pub(crate) async fn origins(config: &Config) -> Result<Vec<Origin>, BuildError> {
    let mut origins = Vec::new();
    let mut connectors = None;
    for upstream in &config.upstreams {
        origins.push(match upstream {
            UpstreamConfig::Addr(addr) => Origin::Fixed(Target::plain(*addr)),
            UpstreamConfig::File(path) => {
                let followed = Followed::open(path.clone()).await;
                Origin::File(followed.map_err(|reason| BuildError::Read {
                    path: path.clone(),
                    reason,
                })?)
            }
            UpstreamConfig::Hostname { host, port } => {
                Origin::host(host, *port, Protection::None, config).await?
            }
            UpstreamConfig::Encrypted {
                transport,
                host,
                port,
                server_name,
            } => {
                let connectors = match &connectors {
                    Some(connectors) => connectors,
                    None => {
                        connectors.insert(Connectors::read(&config.tls).map_err(BuildError::Tls)?)
                    }
                };
                let own = server_name.as_ref().or(config.tls.server_name.as_ref());
                let name = own.unwrap_or(host);
                let proof = |connector: &TlsConnector| -> Result<Proof, BuildError> {
                    Ok(Proof {
                        server_name: ServerName::try_from(name.clone())
                            .map_err(|_| BuildError::ServerName(name.clone()))?,
                        connector: connector.clone(),
                    })
                };
                let protection = match transport {
                    EncryptedTransport::Tls => Protection::Tls(proof(&connectors.dns)?),
                    EncryptedTransport::Https => Protection::Https(proof(&connectors.https)?),
                };
                match host.parse::<IpAddr>() {
                    Ok(address) => Origin::Fixed(Target {
                        addr: SocketAddr::new(address, *port),
                        protection,
                    }),
                    Err(_) => Origin::host(host, *port, protection, config).await?,
                }
            }
        });
    }
    Ok(origins)
}

/// The targets of all origins, in order.
pub(crate) fn targets(origins: &[Origin]) -> Vec<Target> {
    origins
        .iter()
        .flat_map(|origin| match origin {
            Origin::Fixed(target) => vec![target.clone()],
            Origin::Host {
                addrs, protection, ..
            } => addrs
                .iter()
                .map(|&addr| Target {
                    addr,
                    protection: protection.clone(),
                })
                .collect(),
            Origin::File(followed) => followed.addrs.iter().copied().map(Target::plain).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU8;
    use std::sync::atomic::Ordering;

    use portolan_proto::Rtype;
    use portolan_testkit::upstream::FakeUpstream;
    use portolan_testkit::upstream::Reply;

    use super::*;

    #[tokio::test]
    async fn a_host_name_is_looked_up_again_in_time() {
        let last = Arc::new(AtomicU8::new(1));
        let octet = Arc::clone(&last);
        let resolver =
            FakeUpstream::start(
                move |query| match (query.qtype, octet.load(Ordering::Relaxed)) {
                    (Rtype::A, octet) if octet > 0 => {
                        Reply::to(query).a([127, 0, 0, octet], 60).send()
                    }
                    _ => Reply::to(query).soa(60, 60).send(),
                },
            )
            .await
            .unwrap();
        let config = Config {
            resolver: vec![resolver.addr()],
            ..Config::default()
        };
        let mut origin = Origin::host("dns.example", 53, Protection::None, &config)
            .await
            .unwrap();
        last.store(2, Ordering::Relaxed);
        assert!(!origin.check(&config).await, "not yet");
        for (octet, changes, expected) in [
            (2, true, "127.0.0.2:53"),
            (2, false, "127.0.0.2:53"),
            // No address any more: those it had are kept.
            (0, false, "127.0.0.2:53"),
        ] {
            last.store(octet, Ordering::Relaxed);
            if let Origin::Host { due, .. } = &mut origin {
                *due = Instant::now();
            }
            assert_eq!(origin.check(&config).await, changes, "{octet}");
            let targets = targets(std::slice::from_ref(&origin));
            assert_eq!(targets, [Target::plain(expected.parse().unwrap())]);
        }
    }
}
