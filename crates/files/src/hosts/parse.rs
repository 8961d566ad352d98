//! The hosts format.
//!
//! A line is an address and one or more names, apart by white space; `#`
//! begins a comment anywhere. What cannot be read is left out, counted, and
//! the first few of it reported: one bad line must not cost the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_proto::Name;
use portolan_proto::NameError;
use portolan_proto::Rdata;
use portolan_table::Row;

use crate::hosts::Config;

/// What to make of the lines.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Names outside these are left out, unless there is none.
    zones: Arc<[Name]>,
    /// TTL of every row.
    ttl: u32,
    /// Whether addresses get PTR rows.
    reverse: bool,
}

/// What the lines say.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Rows in the order of the lines, none twice.
    pub(crate) rows: Vec<Row>,
    /// How many lines were left out, wholly or in part.
    pub(crate) bad_count: usize,
    /// The first [`MAX_REPORTED`] of them.
    pub(crate) bad_lines: Vec<BadLine>,
}

/// A line that was left out, wholly or in part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Its number; the first line is 1.
    pub(crate) number: usize,
    /// What is wrong with it.
    pub(crate) error: LineError,
}

/// What is wrong with a line. The text names no host, so that it is fit for
/// any log level.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// Its octets outside the comment are no text.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// It does not begin with an address.
    #[error("does not begin with an IP address")]
    BadAddress,
    /// Nothing follows the address.
    #[error("no name after the address")]
    NoName,
    /// Names beyond [`MAX_NAMES_PER_LINE`] are left out.
    #[error("more than {MAX_NAMES_PER_LINE} names in one line")]
    TooManyNames,
    /// One of the names is none and is left out.
    #[error("bad name: {0}")]
    BadName(NameError),
}

/// The rows so far.
struct Reader<'a> {
    /// What to make of the lines.
    options: &'a Options,
    /// Result so far.
    parsed: Parsed,
    /// How many names each address points to, [`MAX_NAMES_PER_POINTER`] at
    /// most.
    pointers: HashMap<IpAddr, u16>,
}

/// Reads a whole file.
pub(crate) fn parse_file(text: &[u8], options: &Options) -> Parsed {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    parse_lines(text.split(|&octet| octet == b'\n'), options)
}

/// Reads lines one by one.
pub(crate) fn parse_lines<'a>(lines: impl Iterator<Item = &'a [u8]>, options: &Options) -> Parsed {
    let mut reader = Reader {
        options,
        parsed: Parsed::default(),
        pointers: HashMap::new(),
    };
    for (index, line) in lines.enumerate() {
        if let Err(error) = reader.line(line) {
            reader.parsed.report(index + 1, error);
        }
    }
    let Reader {
        mut parsed,
        pointers,
        ..
    } = reader;
    drop(pointers);
    drop_repeated(&mut parsed.rows);
    parsed.rows.shrink_to_fit();
    parsed
}

// === impl Options ===

impl Options {
    /// What a directive asks for.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            zones: config.zones.clone().into(),
            ttl: config.ttl,
            reverse: config.reverse,
        }
    }

    /// Whether a name is one to serve.
    fn covers(&self, name: &Name) -> bool {
        self.zones.is_empty() || self.zones.iter().any(|zone| name.is_within(zone))
    }
}

// === impl Parsed ===

impl Parsed {
    /// Counts a bad line, and keeps it if it is among the first.
    fn report(&mut self, number: usize, error: LineError) {
        self.bad_count += 1;
        if self.bad_lines.len() < MAX_REPORTED {
            self.bad_lines.push(BadLine { number, error });
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// Takes one line, without its line feed. After an error the good part of
    /// the line is in effect.
    fn line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let end = line.iter().position(|&octet| octet == b'#');
        let line = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
        let line = str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
        let mut fields = line.split_whitespace();
        let Some(first) = fields.next() else {
            return Ok(());
        };
        let address = parse_address(first).ok_or(LineError::BadAddress)?;
        let mut names = 0;
        let mut outcome = Ok(());
        for field in fields {
            names += 1;
            if names > MAX_NAMES_PER_LINE {
                return Err(LineError::TooManyNames);
            }
            match Name::from_ascii_or_idn(field) {
                Ok(name) => self.host(address, name),
                Err(error) => outcome = outcome.and(Err(LineError::BadName(error))),
            }
        }
        if names == 0 {
            return Err(LineError::NoName);
        }
        outcome
    }

    /// Adds the rows of one name.
    fn host(&mut self, address: IpAddr, name: Name) {
        if !self.options.covers(&name) {
            return;
        }
        let ttl = self.options.ttl;
        self.parsed.rows.push(Row {
            owner: name.clone(),
            rdata: address.into(),
            ttl,
        });
        // A wildcard is no host, so that nothing points to it.
        if !self.options.reverse || name.is_wildcard() {
            return;
        }
        // The reverse name is served although it is outside of the zones: it is
        // for the server block to say which names reach this directive.
        let count = self.pointers.entry(address).or_insert(0);
        if usize::from(*count) < MAX_NAMES_PER_POINTER {
            *count += 1;
            self.parsed.rows.push(Row {
                owner: Name::reverse(address),
                rdata: Rdata::Ptr(name),
                ttl,
            });
        }
    }
}

/// Reads an address; the zone of an IPv6 address (RFC 4007 §11) has no meaning
/// to a client and is cut.
fn parse_address(text: &str) -> Option<IpAddr> {
    let (address, _zone) = text.split_once('%').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    // An IPv4 address in IPv6 notation (RFC 4291 §2.5.5.2) is an A record.
    Some(address.to_canonical())
}

/// Leaves out rows that stand further up already: an RRset is a set
/// (RFC 2181 §5).
fn drop_repeated(rows: &mut Vec<Row>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|&a, &b| rows[a].cmp(&rows[b]).then(a.cmp(&b)));
    let mut repeated = vec![false; rows.len()];
    for pair in order.windows(2) {
        if let [earlier, later] = *pair
            && rows[earlier] == rows[later]
        {
            repeated[later] = true;
        }
    }
    let mut repeated = repeated.into_iter();
    rows.retain(|_| !repeated.next().unwrap_or(false));
}

/// Names that one line may hold.
pub const MAX_NAMES_PER_LINE: usize = 1024;

/// Names that one address of a file may point back to. More do not fit into a
/// response anyhow, and block lists give thousands of names one address.
pub const MAX_NAMES_PER_POINTER: usize = 1024;

/// Bad lines that are reported one by one.
pub(crate) const MAX_REPORTED: usize = 10;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests;
