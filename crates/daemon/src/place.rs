//! Where the configuration asks for what only the running system can refuse.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;

use portolan_config::{Located, Position};
use portolan_server::ListenAddr;
use portolan_telemetry::admin;

/// A directive, or the key of a server block, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directive; none for a key.
    directive: Option<&'static str>,
    /// Where it stands.
    position: Position,
}

/// Who asks for each address that is listened on.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    /// Of the DNS listeners: a `bind`, or a key.
    listeners: BTreeMap<ListenAddr, Place>,
    /// Of the admin endpoints, by address as typed.
    endpoints: BTreeMap<String, Place>,
}

// === impl Place ===

impl Place {
    /// A directive.
    pub(crate) fn of<T>(directive: &'static str, written: &Located<T>) -> Self {
        Self {
            directive: Some(directive),
            position: written.position.clone(),
        }
    }

    /// The key of a server block.
    pub(crate) fn of_key<T>(key: &Located<T>) -> Self {
        Self {
            directive: None,
            position: key.position.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(directive) = self.directive {
            write!(f, "plugin/{directive}: ")?;
        }
        self.position.fmt(f)
    }
}

// === impl Askers ===

impl Askers {
    /// Notes who asks for a DNS listener; the first is the one that is told.
    pub(crate) fn listener(&mut self, addr: ListenAddr, place: Place) {
        self.listeners.entry(addr).or_insert(place);
    }

    /// Notes who asks for an admin endpoint; the first is the one that is told.
    pub(crate) fn endpoint(&mut self, addr: &str, place: Place) {
        self.endpoints.entry(addr.to_owned()).or_insert(place);
    }

    /// A DNS listener that cannot be opened: who asks for it, and the remedy.
    pub(crate) fn dns_error(&self, error: &portolan_server::BindError) -> anyhow::Error {
        let port = error.addr.port;
        let remedy = remedy(
            error.source.kind(),
            &port.to_string(),
            "in the keys of the Corefile, or with -dns.port 5354 for keys that name none",
        );
        told(
            self.listeners.get(&error.addr),
            format_args!("Listen: {error}"),
            &remedy,
        )
    }

    /// An admin endpoint that cannot be opened: who asks for it, and the
    /// remedy.
    pub(crate) fn admin_error(&self, error: admin::BindError) -> anyhow::Error {
        let addr = error.addr().unwrap_or_default();
        let place = self.endpoints.get(addr).cloned();
        let remedy = match &error {
            admin::BindError::Listen { addr, source } => {
                let port = addr.rsplit(':').next().unwrap_or_default();
                remedy(source.kind(), port, "as the argument of the directive")
            }
            _ => String::new(),
        };
        let error = anyhow::Error::from(error);
        told(place.as_ref(), format_args!("{error:#}"), &remedy)
    }
}

/// An error with its place before it and its remedy after it.
fn told(place: Option<&Place>, error: fmt::Arguments<'_>, remedy: &str) -> anyhow::Error {
    match place {
        Some(place) => anyhow::anyhow!("{place}: {error}{remedy}"),
        None => anyhow::anyhow!("{error}{remedy}"),
    }
}

/// What to do about a port that cannot be had, in lines of its own. `another`
/// is how to take another port.
fn remedy(kind: ErrorKind, port: &str, another: &str) -> String {
    match kind {
        ErrorKind::PermissionDenied => format!(
            "\nPorts below 1024 are privileged. One of these helps:\n  \
             - start as root;\n  \
             - grant CAP_NET_BIND_SERVICE (in a container: cap_add NET_BIND_SERVICE; in a \
             systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE);\n  \
             - take another port, {another}"
        ),
        ErrorKind::AddrInUse => format!(
            "\nAnother program has the port (ss -lntup 'sport = :{port}' tells which): stop it, or \
             take another port, {another}"
        ),
        ErrorKind::AddrNotAvailable => {
            "\nThis host has no such address; those it has: ip -brief address".to_owned()
        }
        _ => String::new(),
    }
}
