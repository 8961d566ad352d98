//! Container labels to names, targets and TTLs.
//!
//! Labels are written by whoever starts a container: everything is bounded,
//! what cannot be used is skipped and reported, and nothing is repeated in a
//! log as it stands. Families of labels stay apart: [`read`] asks each reader
//! in turn, so that another family is one more reader.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use portolan_proto::Name;

use crate::model::Labels;

/// Label with the addresses, or the one name, that names point to.
pub const TARGET_LABEL: &str = "portolan.target";

/// Label with the TTL of a container's records, in seconds.
pub const TTL_LABEL: &str = "portolan.ttl";

/// Longest TTL that a container may ask for: a day.
pub const MAX_TTL: u32 = 86_400;

/// How much of a label is read, in octets.
const MAX_LABEL_TEXT: usize = 64 * 1024;

/// How many addresses a container may point to.
const MAX_TARGETS: usize = 64;

/// How many problems are described; the others are only counted.
const MAX_PROBLEMS: usize = 3;

/// How many characters of a bad text are shown.
const MAX_SHOWN: usize = 48;

/// What the labels of a container ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The names, each once, in the order written.
    pub(crate) names: Vec<Name>,
    /// Where they point, if not to this host.
    pub(crate) target: Option<Target>,
    /// TTL of the records, if not the common one.
    pub(crate) ttl: Option<u32>,
    /// What was ignored.
    pub(crate) problems: Problems,
}

/// Where names point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Addresses of either family.
    Addresses(Vec<IpAddr>),
    /// Another name.
    Alias(Name),
}

/// What was ignored in the labels of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    /// How many texts.
    pub(crate) count: u64,
    /// The first ones, fit for a log.
    pub(crate) shown: Vec<String>,
}

/// Whether one of the labels `wanted` is there.
pub(crate) fn has_names(labels: &Labels, wanted: &[String]) -> bool {
    wanted.iter().any(|key| labels.contains_key(key))
}

/// Reads the labels of a container; names come from the labels `wanted`, at
/// most `max_names` of them.
pub(crate) fn read(labels: &Labels, wanted: &[String], max_names: usize) -> Request {
    let mut request = Request::default();
    read_names(labels, wanted, max_names, &mut request);
    if !request.names.is_empty() {
        if let Some(text) = labels.get(TARGET_LABEL) {
            request.target = read_target(text, &mut request.problems);
        }
        if let Some(text) = labels.get(TTL_LABEL) {
            request.ttl = read_ttl(text, &mut request.problems);
        }
    }
    request
}

// === impl Problems ===

impl Problems {
    /// Adds a text that is ignored, and why.
    fn add(&mut self, key: &str, text: &str, reason: impl fmt::Display) {
        self.count += 1;
        if self.shown.len() < MAX_PROBLEMS {
            self.shown
                .push(format!("{} = \"{}\": {reason}", shown(key), shown(text)));
        }
    }

    /// Adds `count` texts that are ignored for one reason.
    fn add_many(&mut self, key: &str, count: usize, reason: impl fmt::Display) {
        self.count += u64::try_from(count).unwrap_or(u64::MAX);
        if self.shown.len() < MAX_PROBLEMS {
            self.shown.push(format!("{}: {reason}", shown(key)));
        }
    }
}

/// A text fit for a log: escaped and short.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        short.push_str("...");
    }
    short
}

/// Reads the names of all labels `wanted`.
fn read_names(labels: &Labels, wanted: &[String], max_names: usize, request: &mut Request) {
    let mut seen = HashSet::new();
    for key in wanted {
        let Some(text) = labels.get(key) else {
            continue;
        };
        let mut excess = 0;
        for word in words(bounded(key, text, &mut request.problems)) {
            match read_name(word) {
                Ok(name) if seen.contains(&name) => {}
                Ok(_) if request.names.len() >= max_names => excess += 1,
                Ok(name) => {
                    seen.insert(name.clone());
                    request.names.push(name);
                }
                Err(reason) => request.problems.add(key, word, reason),
            }
        }
        if excess > 0 {
            let reason = format!("{excess} names more than the {max_names} a container may have");
            request.problems.add_many(key, excess, reason);
        }
    }
}

/// The part of a label that is read: its beginning, up to a separator.
fn bounded<'a>(key: &str, text: &'a str, problems: &mut Problems) -> &'a str {
    if text.len() <= MAX_LABEL_TEXT {
        return text;
    }
    problems.add_many(
        key,
        1,
        format!("longer than {MAX_LABEL_TEXT} octets, the rest is ignored"),
    );
    let head = text
        .get(..text.floor_char_boundary(MAX_LABEL_TEXT))
        .unwrap_or_default();
    let end = head.rfind(is_separator).unwrap_or(0);
    head.get(..end).unwrap_or_default()
}

/// The words of a label.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_separator).filter(|word| !word.is_empty())
}

/// Whether a character separates words. Other control characters do not: they
/// spoil the word they are in.
fn is_separator(c: char) -> bool {
    c == ',' || c.is_whitespace()
}

/// Reads a name that clients can ask for: a host name, where underscores and a
/// first label `*` are fine.
fn read_name(word: &str) -> Result<Name, String> {
    let name: Name = word.parse().map_err(|error| format!("{error}"))?;
    if name.is_root() {
        return Err("the root is no name for a container".to_owned());
    }
    for (index, label) in name.labels().enumerate() {
        let is_wildcard = index == 0 && label == b"*" && name.label_count() > 1;
        let is_host = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        if label.contains(&b'*') && !is_wildcard {
            return Err("a wildcard is a whole first label, as in *.example.org".to_owned());
        }
        if !is_wildcard && !label.iter().all(is_host) {
            return Err("a character is not allowed in a host name".to_owned());
        }
    }
    Ok(name)
}

/// Reads where names point. Nothing usable means the common target.
fn read_target(text: &str, problems: &mut Problems) -> Option<Target> {
    let text = bounded(TARGET_LABEL, text, problems);
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut names = Vec::new();
    let mut words = words(text);
    for word in words.by_ref().take(MAX_TARGETS) {
        match word.parse() {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => names.push(word),
        }
    }
    let excess = words.count();
    if excess > 0 {
        let reason = format!("{excess} more than the {MAX_TARGETS} a container may have");
        problems.add_many(TARGET_LABEL, excess, reason);
    }
    let reason = match (addresses.as_slice(), names.as_slice()) {
        ([], []) => return None,
        (some, []) if some.iter().any(IpAddr::is_unspecified) => "no address to point to",
        (_, []) => return Some(Target::Addresses(addresses)),
        ([], [name]) => match read_alias(name) {
            Ok(alias) => return Some(Target::Alias(alias)),
            Err(reason) => {
                problems.add(TARGET_LABEL, text, reason);
                return None;
            }
        },
        ([], _) => "more than one name",
        _ => "addresses and names together",
    };
    problems.add(TARGET_LABEL, text, reason);
    None
}

/// Reads the canonical name of an alias: no wildcard, and nothing that was
/// meant to be an address.
fn read_alias(word: &str) -> Result<Name, String> {
    let name = read_name(word)?;
    if name.is_wildcard() {
        return Err("a wildcard is no target".to_owned());
    }
    let is_numeric = |label: &[u8]| label.iter().all(u8::is_ascii_digit);
    if name.labels().last().is_some_and(is_numeric) {
        return Err("neither an address nor a name".to_owned());
    }
    Ok(name)
}

/// Reads a TTL. Nothing usable means the common one.
fn read_ttl(text: &str, problems: &mut Problems) -> Option<u32> {
    match text.trim().parse() {
        Ok(ttl) if ttl <= MAX_TTL => Some(ttl),
        _ => {
            problems.add(TTL_LABEL, text, format!("a TTL is 0 to {MAX_TTL} seconds"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
