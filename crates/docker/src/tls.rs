//! TLS to a remote Docker Engine, as the Docker client does it: the engine's
//! certificate is verified against `ca.pem` alone, and `cert.pem` with
//! `key.pem` say who we are.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// Reads the certificates in `directory`, anew for each connection attempt, so
/// that renewed ones are taken up.
///
/// # Errors
///
/// If a file is missing or cannot be used; the error names it.
pub(crate) fn connector(directory: &Path) -> io::Result<TlsConnector> {
    let ca = directory.join("ca.pem");
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(&ca, error))?;
    }
    // The provider is named: a process-wide default may not exist, and is not
    // ours to choose.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let config = if cert.exists() || key.exists() {
        let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, error))?;
        builder
            .with_client_auth_cert(certificates(&cert)?, private)
            .map_err(|error| unusable(&cert, error))?
    } else {
        builder.with_no_client_auth()
    };
    Ok(TlsConnector::from(Arc::new(config)))
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
    fn a_missing_or_empty_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = connector(directory.path()).err().unwrap().to_string();
        assert!(missing.contains("ca.pem"), "{missing}");
        std::fs::write(directory.path().join("ca.pem"), "nothing").unwrap();
        let empty = connector(directory.path()).err().unwrap().to_string();
        assert!(empty.contains("no certificate"), "{empty}");
    }
}
