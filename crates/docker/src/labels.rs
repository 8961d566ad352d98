//! Container labels to names, targets and TTLs.
//!
//! Labels are written by whoever starts a container: everything is bounded,
//! what cannot be used is skipped and reported, and nothing is repeated in a
//! log as it stands. Families of labels stay apart: [`read`] asks each reader
//! in turn, so that another family is one more reader.

mod rules;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use portolan_proto::Name;
use portolan_traefik::Rule;

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

/// Which labels names come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Labels that hold names, most important first.
    pub(crate) keys: &'a [String],
    /// Whether the rules of Traefik's routers count as well.
    pub(crate) rules: bool,
    /// How many names there may be.
    pub(crate) max_names: usize,
}

/// The names so far.
struct Names<'r> {
    /// Where they go.
    request: &'r mut Request,
    /// Those that are there.
    seen: HashSet<Name>,
    /// How many there may be.
    max_names: usize,
    /// How many the present label has beyond.
    excess: usize,
}

/// Whether one of the labels `wanted` is there.
pub(crate) fn has_names(labels: &Labels, wanted: Wanted<'_>) -> bool {
    wanted.keys.iter().any(|key| labels.contains_key(key))
        || (wanted.rules && rules::are_there(labels))
}

/// Reads the labels of a container.
pub(crate) fn read(labels: &Labels, wanted: Wanted<'_>) -> Request {
    let mut request = Request::default();
    read_names(labels, wanted, &mut request);
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

// === impl Names ===

impl Names<'_> {
    /// Reads a label that is a list of names.
    fn read_list(&mut self, key: &str, text: &str) {
        for word in words(bounded(key, text, &mut self.request.problems)) {
            match Name::from_host(word) {
                Ok(name) => self.add(name),
                Err(reason) => self.request.problems.add(key, word, reason),
            }
        }
        self.close(key);
    }

    /// Reads a label that is a rule.
    fn read_rule(&mut self, key: &str, text: &str) {
        let problems = &mut self.request.problems;
        let rule = match Rule::parse(text) {
            Ok(rule) => rule,
            Err(reason) => return problems.add(key, text, reason),
        };
        for bad in &rule.bad_names {
            problems.add(key, &bad.text, &bad.error);
        }
        if rule.has_pattern {
            problems.add(key, text, "the names of a pattern cannot be listed");
        }
        for name in rule.names {
            self.add(name);
        }
        self.close(key);
    }

    /// Adds a name, unless it is there or one too many.
    fn add(&mut self, name: Name) {
        if self.seen.contains(&name) {
            return;
        }
        if self.request.names.len() >= self.max_names {
            self.excess += 1;
            return;
        }
        self.seen.insert(name.clone());
        self.request.names.push(name);
    }

    /// Reports the names that a label has beyond the bound.
    fn close(&mut self, key: &str) {
        let excess = std::mem::take(&mut self.excess);
        if excess > 0 {
            let max_names = self.max_names;
            let reason = format!("{excess} names more than the {max_names} a container may have");
            self.request.problems.add_many(key, excess, reason);
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

/// Reads the names of all labels `wanted`. Those of rules come last: what is
/// written for us means more than what is written for Traefik.
fn read_names(labels: &Labels, wanted: Wanted<'_>, request: &mut Request) {
    let mut names = Names {
        request,
        seen: HashSet::new(),
        max_names: wanted.max_names,
        excess: 0,
    };
    for key in wanted.keys {
        if let Some(text) = labels.get(key) {
            names.read_list(key, text);
        }
    }
    if wanted.rules {
        for (key, text) in rules::rules(labels) {
            names.read_rule(key, text);
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
    let name = Name::from_host(word).map_err(|error| error.to_string())?;
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
