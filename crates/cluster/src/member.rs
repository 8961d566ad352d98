//! Who is who.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

/// A member, by process: its name and a number drawn when it started, so that
/// neither a restart nor a name given twice makes two members one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberId(Arc<str>);

/// A member as this one sees it, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The member, by process.
    pub id: String,
    /// Its name; two may have the same.
    pub name: String,
    /// Where it is reached, UDP and TCP.
    pub address: Option<String>,
    /// What is known of it: `self`, `alive`, `leaving`, `failed`, `silent`.
    pub state: String,
    /// Epoch of its records.
    pub epoch: u64,
    /// Version of its records, as known here.
    pub version: u64,
    /// How many records it has.
    pub records: usize,
    /// Whether they are served.
    pub served: bool,
    /// Whether its first sync is over.
    pub complete: bool,
}

/// Longest name of a member, in octets.
pub(crate) const MAX_NAME: usize = 128;

// === impl MemberId ===

impl MemberId {
    /// The member called `name` that started as `boot`. What cannot be part of
    /// a name is left out of it.
    pub(crate) fn new(name: &str, boot: u64) -> Self {
        let mut short: String = name.chars().filter(|c| fits_name(*c)).collect();
        while short.len() > MAX_NAME {
            short.pop();
        }
        Self(format!("{short}#{boot:016x}").into())
    }

    /// Reads what [`as_str`](Self::as_str) gave.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, boot) = text.rsplit_once('#')?;
        let is_digit = |octet: u8| octet.is_ascii_digit() || matches!(octet, b'a'..=b'f');
        let is_number = boot.len() == 16 && boot.bytes().all(is_digit);
        let is_name = name.len() <= MAX_NAME && name.chars().all(fits_name);
        (is_name && is_number).then(|| Self(text.into()))
    }

    /// The whole, for other members.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The member's name, for people.
    pub(crate) fn name(&self) -> &str {
        self.0.rsplit_once('#').map_or("", |(name, _)| name)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character can be part of a name.
fn fits_name(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && c != '#'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = MemberId::new("node-1", 0xabc);
        assert_eq!(id.as_str(), "node-1#0000000000000abc");
        assert_eq!(id.name(), "node-1");
        assert_eq!(MemberId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn a_name_is_cleaned_and_cut() {
        assert_eq!(MemberId::new("a#b c\n", 1).name(), "abc");
        assert_eq!(MemberId::new(&"é".repeat(100), 1).name().len(), MAX_NAME);
    }

    #[test]
    fn what_nobody_wrote_is_no_id() {
        for text in [
            "",
            "node",
            "node#",
            "node#1",
            "a b#0000000000000001",
            "n#00000000000000GG",
        ] {
            assert_eq!(MemberId::parse(text), None, "{text}");
        }
    }
}
