//! What TLS to an upstream needs: whom to trust, and who we are.
//!
//! The profile is the strict one of RFC 8310 §5: an upstream has to prove its
//! name by a certificate that a trusted authority vouches for, or it is not
//! asked. There is no way around that, and none to the clear.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::TlsConfig;

/// Where systems keep the authorities they trust, in one file each.
const SYSTEM_AUTHORITIES: &[&str] = &[
    // Debian, Alpine.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Variable that names another file of authorities.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";

/// Sessions that are kept for resumption: some for each upstream of a stanza.
const SESSIONS: usize = 128;

/// The TLS of one stanza. Its upstreams share the sessions to be resumed.
#[derive(Clone)]
pub(crate) struct Connectors {
    /// For DNS over TLS.
    pub(crate) dns: TlsConnector,
    /// For DNS over HTTPS, which is HTTP/2 only.
    pub(crate) https: TlsConnector,
}

// === impl Connectors ===

impl Connectors {
    /// Reads the files of a stanza.
    ///
    /// # Errors
    ///
    /// If a file is missing or cannot be used; the error names it.
    pub(crate) fn read(config: &TlsConfig) -> io::Result<Self> {
        let roots = match &config.authority {
            Some(path) => authorities(path)?,
            None => system_authorities()?,
        };
        // The provider is named: a process-wide default may not exist, and is
        // not ours to choose.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let mut client = match &config.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, private)
                    .map_err(|error| unusable(cert, error))?
            }
        };
        client.resumption = Resumption::in_memory_sessions(SESSIONS);
        let mut https = client.clone();
        // RFC 8484 §5.2: HTTP/2 is the least version.
        https.alpn_protocols = vec![b"h2".to_vec()];
        https.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self {
            dns: TlsConnector::from(Arc::new(client)),
            https: TlsConnector::from(Arc::new(https)),
        })
    }
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors").finish_non_exhaustive()
    }
}

/// The authorities of a file that the operator named: all have to be good.
fn authorities(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, error))?;
    }
    Ok(roots)
}

/// The authorities that this system trusts.
fn system_authorities() -> io::Result<RootCertStore> {
    let named = std::env::var_os(AUTHORITIES_VARIABLE).map(PathBuf::from);
    let usual = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from);
    let path = named
        .or_else(|| usual().find(|path| path.is_file()))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "this system has no certificate authorities: install ca-certificates, \
                 or name a file with 'tls'",
            )
        })?;
    let mut roots = RootCertStore::empty();
    // What a system has collected need not all be understood.
    roots.add_parsable_certificates(certificates(&path)?);
    Ok(roots)
}

/// The certificates of a file, one at least.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, error))?;
    let certificates: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "no certificate in it"));
    }
    Ok(certificates)
}

/// An error that names the file.
fn unusable(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.pem");
        let config = TlsConfig {
            authority: Some(path.clone()),
            ..TlsConfig::default()
        };
        let missing = Connectors::read(&config).unwrap_err().to_string();
        assert!(missing.contains("authority.pem"), "{missing}");
        std::fs::write(&path, "nothing").unwrap();
        let empty = Connectors::read(&config).unwrap_err().to_string();
        assert!(empty.contains("no certificate"), "{empty}");
    }
}
