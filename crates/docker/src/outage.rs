//! What is said about an engine that cannot be reached: once that it is away,
//! once more if a cause shows that people can remove, and once that it is
//! back. Never a line for each attempt.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use std::time::Instant;

use bollard::errors::Error;

use crate::client::io_kind;
use crate::endpoint::Endpoint;

/// How long a socket may refuse connections before its file is called stale.
/// An engine that restarts needs less.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// Whether an engine is away, and what has been said about it.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// Whether its absence has been reported.
    is_reported: bool,
    /// Whether missing permission has been reported.
    is_permission_reported: bool,
    /// Whether a stale socket has been reported.
    is_stale_reported: bool,
    /// Since when its socket, though there, refuses connections.
    refused_since: Option<Instant>,
}

/// Something to say about an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The engine is away.
    Away {
        /// What to do about it, if we know.
        hint: Option<String>,
    },
    /// It still is, for a reason that can be removed.
    Hint(String),
}

// === impl Outage ===

impl Outage {
    /// Takes note of a failure; what is to be said, if anything.
    pub(crate) fn failed(
        &mut self,
        error: &Error,
        endpoint: &Endpoint,
        now: Instant,
    ) -> Option<Report> {
        let kind = io_kind(error);
        let refused = kind == Some(io::ErrorKind::ConnectionRefused);
        let is_stale = refused && self.is_stale(endpoint, now);
        if !refused {
            self.refused_since = None;
        }
        let denied = kind == Some(io::ErrorKind::PermissionDenied);
        let mut hint = hint(kind, endpoint);
        if is_stale && !self.is_stale_reported {
            self.is_stale_reported = true;
            hint = Some(
                "its socket file refuses connections for long: if it is mounted into a container \
                 as a single file, it may belong to an engine that is gone; restart this container, \
                 or mount the socket's directory instead"
                    .to_owned(),
            );
        } else if self.is_reported && (!denied || self.is_permission_reported) {
            return None;
        }
        self.is_permission_reported |= denied;
        if std::mem::replace(&mut self.is_reported, true) {
            hint.map(Report::Hint)
        } else {
            Some(Report::Away { hint })
        }
    }

    /// The engine is back. True if its absence had been reported.
    pub(crate) fn ended(&mut self) -> bool {
        std::mem::take(self).is_reported
    }

    /// Whether a socket has been refusing connections for long.
    fn is_stale(&mut self, endpoint: &Endpoint, now: Instant) -> bool {
        let since = *self.refused_since.get_or_insert(now);
        endpoint.socket_path().is_some() && now.saturating_duration_since(since) >= STALE_AFTER
    }
}

/// What can be done about a failure.
fn hint(kind: Option<io::ErrorKind>, endpoint: &Endpoint) -> Option<String> {
    let path = endpoint.socket_path()?;
    match kind? {
        io::ErrorKind::PermissionDenied => {
            let group = match std::fs::metadata(path) {
                Ok(metadata) => metadata.gid().to_string(),
                Err(_) => "GID of the socket".to_owned(),
            };
            Some(format!(
                "no permission: run with the group of the socket, as in `group_add: [\"{group}\"]` \
                 or `--group-add {group}`"
            ))
        }
        io::ErrorKind::NotFound => Some(format!(
            "there is no socket: is the engine running, and {} mounted?",
            path.display()
        )),
        io::ErrorKind::ConnectionRefused => {
            Some("nobody listens on the socket: is the engine running?".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_once() {
        let mut outage = Outage::default();
        let now = start();
        let endpoint = Endpoint::parse("tcp://192.0.2.1:2375", None).unwrap();
        let error = error(io::ErrorKind::TimedOut);
        assert_eq!(
            outage.failed(&error, &endpoint, now),
            Some(Report::Away { hint: None })
        );
        for _ in 0..100 {
            assert_eq!(outage.failed(&error, &endpoint, now + STALE_AFTER), None);
        }
        assert!(outage.ended());
        assert!(!outage.ended());
    }

    #[test]
    fn missing_permission_names_the_group_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let gid = file.as_file().metadata().unwrap().gid().to_string();
        let endpoint = Endpoint::Unix(file.path().to_owned());
        let mut outage = Outage::default();
        outage.failed(&error(io::ErrorKind::NotFound), &endpoint, start());
        let denied = error(io::ErrorKind::PermissionDenied);
        let Some(Report::Hint(hint)) = outage.failed(&denied, &endpoint, start()) else {
            panic!("no hint");
        };
        assert!(hint.contains("group_add") && hint.contains(&gid), "{hint}");
        assert_eq!(outage.failed(&denied, &endpoint, start()), None);
    }

    #[test]
    fn a_socket_that_refuses_for_long_is_called_stale_once() {
        let endpoint = Endpoint::Unix("/run/docker.sock".into());
        let refused = error(io::ErrorKind::ConnectionRefused);
        let mut outage = Outage::default();
        let now = start();
        assert!(matches!(
            outage.failed(&refused, &endpoint, now),
            Some(Report::Away { .. })
        ));
        assert_eq!(
            outage.failed(&refused, &endpoint, now + STALE_AFTER / 2),
            None
        );
        let report = outage.failed(&refused, &endpoint, now + STALE_AFTER);
        assert!(matches!(report, Some(Report::Hint(hint)) if hint.contains("directory")));
        assert_eq!(
            outage.failed(&refused, &endpoint, now + STALE_AFTER * 2),
            None
        );
    }

    fn error(kind: io::ErrorKind) -> Error {
        io::Error::from(kind).into()
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }
}
