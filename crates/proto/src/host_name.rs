//! Names that somebody writes into a label or a rule, for clients to ask for.

use crate::name::{Name, NameError};

/// Why a text is not a name that clients can ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostNameError {
    /// It is no name at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is the root.
    #[error("the root is no host's name")]
    Root,
    /// It has a `*` that makes no wildcard.
    #[error("a wildcard is a whole first label, as in *.example.org")]
    Wildcard,
    /// It has a character that host names do not have.
    #[error("a character is not allowed in a host name")]
    Character,
}

// === impl Name ===

impl Name {
    /// Reads a name that clients can ask for: letters, digits and hyphens,
    /// where underscores and a first label `*` are fine too.
    ///
    /// # Errors
    ///
    /// See [`HostNameError`].
    pub fn from_host(text: &str) -> Result<Self, HostNameError> {
        let name = Self::from_ascii_or_idn(text)?;
        if name.is_root() {
            return Err(HostNameError::Root);
        }
        for (index, label) in name.labels().enumerate() {
            let is_wildcard = index == 0 && label == b"*" && name.label_count() > 1;
            let is_host =
                |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
            if label.contains(&b'*') && !is_wildcard {
                return Err(HostNameError::Wildcard);
            }
            if !is_wildcard && !label.iter().all(is_host) {
                return Err(HostNameError::Character);
            }
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_and_wildcards_are_read() {
        for (text, expected) in [
            ("App.Example.org", "app.example.org."),
            ("app.example.org.", "app.example.org."),
            ("my_app", "my_app."),
            ("*.example.org", "*.example.org."),
            ("bücher.example", "xn--bcher-kva.example."),
        ] {
            assert_eq!(Name::from_host(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_no_client_asks_for_is_refused() {
        for (text, expected) in [
            ("", HostNameError::Name(NameError::Empty)),
            ("a..b", HostNameError::Name(NameError::EmptyLabel)),
            (".", HostNameError::Root),
            ("*", HostNameError::Wildcard),
            ("a.*.b", HostNameError::Wildcard),
            ("a*.b", HostNameError::Wildcard),
            ("a/b", HostNameError::Character),
            ("a:80", HostNameError::Character),
            ("{{name}}.b", HostNameError::Character),
        ] {
            assert_eq!(Name::from_host(text), Err(expected), "{text}");
        }
    }
}
