//! `portolan flush` and `/cache/flush`: forgetting what upstreams said about a
//! name before its time is up.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use portolan_forward::{Cache, Names};
use portolan_proto::{Name, Rtype};
use serde::{Deserialize, Serialize};

/// The caches of the configuration in effect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caches(Arc<ArcSwap<Vec<Arc<Cache>>>>);

/// What was forgotten.
#[derive(Debug, Deserialize, Serialize)]
struct Flushed {
    /// The name.
    name: String,
    /// The type; none for all.
    #[serde(rename = "type")]
    qtype: Option<String>,
    /// Whether the names below went too.
    below: bool,
    /// How many entries those were.
    flushed: usize,
}

// === impl Caches ===

impl Caches {
    /// Takes the place of those before.
    pub(crate) fn replace(&self, caches: Vec<Arc<Cache>>) {
        self.0.store(Arc::new(caches));
    }

    /// Forgets what the query of a URL names, and says in JSON what that was.
    ///
    /// # Errors
    ///
    /// What is wrong with the query.
    pub(crate) fn flush(&self, query: &str) -> Result<String, String> {
        let names = read(query)?;
        let caches = self.0.load();
        let flushed = caches.iter().map(|cache| cache.forget(&names)).sum();
        tracing::info!(
            plugin = "cache",
            entries = flushed,
            "names are flushed from the cache"
        );
        let report = Flushed {
            name: names.name.to_string(),
            qtype: names.qtype.map(|qtype| qtype.to_string()),
            below: names.below,
            flushed,
        };
        serde_json::to_string(&report).map_err(|error| error.to_string())
    }
}

/// Where to order that a name be forgotten.
///
/// # Errors
///
/// What the server would refuse.
pub(crate) fn path(name: &str, qtype: Option<&str>, below: bool) -> anyhow::Result<String> {
    let mut query = format!("name={}", escaped(name));
    if let Some(qtype) = qtype {
        query.push_str("&type=");
        query.push_str(&escaped(qtype));
    }
    if below {
        query.push_str("&below=true");
    }
    read(&query).map_err(anyhow::Error::msg)?;
    Ok(format!("/cache/flush?{query}"))
}

/// What the operator is shown: the JSON itself, or a sentence.
pub(crate) fn show(document: String, json: bool) -> anyhow::Result<String> {
    let Flushed { flushed, .. } =
        serde_json::from_str(&document).context("the server does not say what it forgot")?;
    Ok(match flushed {
        _ if json => document,
        1 => "1 entry forgotten".to_owned(),
        _ => format!("{flushed} entries forgotten"),
    })
}

/// Reads `name=NAME[&type=TYPE][&below=true|false]`.
fn read(query: &str) -> Result<Names, String> {
    let (mut name, mut qtype, mut below) = (None, None, None);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = unescaped(value).ok_or_else(|| format!("{key}: cannot be unescaped"))?;
        let twice = match key {
            "name" => {
                let read: Name = value.parse().map_err(|error| format!("name: {error}"))?;
                name.replace(read).is_some()
            }
            "type" => {
                let read: Rtype = value
                    .parse()
                    .map_err(|_| format!("type: {value:?} is none, such as A or TYPE65"))?;
                qtype.replace(read).is_some()
            }
            "below" => {
                let read: bool = value
                    .parse()
                    .map_err(|_| format!("below: {value:?} is neither true nor false"))?;
                below.replace(read).is_some()
            }
            _ => return Err(format!("{key:?} is none of name, type and below")),
        };
        if twice {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(Names {
        name: name.ok_or("which name? Say name=NAME; with below=true, . is all names")?,
        qtype,
        below: below.unwrap_or(false),
    })
}

/// A text with all that means something in a URL written as `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for &octet in text.as_bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~*".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{octet:02X}");
        }
    }
    escaped
}

/// The text that [`escaped`] was made of; `None` if it is none.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let (digits, tail) = tail.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_what_is_forgotten() {
        for (query, name, qtype, below) in [
            ("name=example.org", "example.org.", None, false),
            (
                "name=Example.org.&type=aaaa",
                "Example.org.",
                Some(Rtype::AAAA),
                false,
            ),
            (
                "below=true&type=TYPE65280&name=.",
                ".",
                Some(Rtype(65280)),
                true,
            ),
            ("name=%61.example&below=false", "a.example.", None, false),
        ] {
            let names = read(query).unwrap();
            let name: Name = name.parse().unwrap();
            assert_eq!(names, Names { name, qtype, below }, "{query}");
        }
    }

    #[test]
    fn a_query_that_cannot_be_meant_is_refused() {
        for (query, message) in [
            ("", "which name?"),
            ("below=true", "which name?"),
            ("name=", "name: "),
            ("name=a..b", "name: "),
            ("name=%zz", "name: cannot be unescaped"),
            ("name=%4", "name: cannot be unescaped"),
            ("name=%+4", "name: cannot be unescaped"),
            ("name=%ff", "name: cannot be unescaped"),
            ("name=a&name=b", "name is there twice"),
            ("name=a&type=NOPE", "type: \"NOPE\" is none"),
            ("name=a&below=1", "below: \"1\" is neither"),
            ("name=a&bellow=true", "\"bellow\" is none of"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(message), "{query}: {error}");
        }
    }

    #[test]
    fn what_the_command_line_says_arrives() {
        for name in [
            "example.org",
            "*.example.org",
            "a\\&b.example",
            "b\u{fc}cher.example",
        ] {
            let path = path(name, Some("A"), true).unwrap();
            assert!(path.is_ascii() && !path.contains(' '), "{path}");
            let names = read(path.strip_prefix("/cache/flush?").unwrap()).unwrap();
            assert_eq!(names.name, name.parse().unwrap(), "{name}");
            assert_eq!((names.qtype, names.below), (Some(Rtype::A), true));
        }
        assert!(path("a..b", None, false).is_err());
        assert!(path("a", Some("NOPE"), false).is_err());
    }

    #[test]
    fn the_operator_is_told_how_many_entries_went() {
        let document =
            |flushed| format!(r#"{{"name":"a.","type":null,"below":false,"flushed":{flushed}}}"#);
        assert_eq!(show(document(1), false).unwrap(), "1 entry forgotten");
        assert_eq!(show(document(3), false).unwrap(), "3 entries forgotten");
        assert_eq!(show(document(3), true).unwrap(), document(3));
        assert!(show("OK".to_owned(), false).is_err());
        let answer = Caches::default().flush("name=a").unwrap();
        assert_eq!(answer, document(0));
    }
}
