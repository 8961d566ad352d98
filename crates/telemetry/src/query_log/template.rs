//! The FORMAT of the `log` directive.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::record::QueryRecord;

/// A parsed FORMAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its parts, in order; no two literals follow one another.
    parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Text that stands for itself.
    Literal(String),
    /// A placeholder.
    Value(Value),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// `{type}`
    Qtype,
    /// `{name}`
    Name,
    /// `{class}`
    Qclass,
    /// `{proto}`
    Proto,
    /// `{size}`
    Size,
    /// `{remote}`
    Remote,
    /// `{port}`
    Port,
    /// `{local}`
    Local,
    /// `{rcode}`
    Rcode,
    /// `{rsize}`
    ResponseSize,
    /// `{duration}`
    Duration,
    /// `{>id}`
    Id,
    /// `{>opcode}`
    Opcode,
    /// `{>do}`
    DnssecOk,
    /// `{>bufsize}`
    Bufsize,
    /// `{>rflags}`
    Flags,
    /// `{/log/class}`
    ResponseClass,
    /// `{/log/type}`
    ResponseType,
    /// `{/forward/upstream}`
    Upstream,
    /// Any other `{/label}`
    UnknownLabel,
}

/// What `{common}` stands for, the FORMAT when none is given.
pub const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} \
                          {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

/// What `{combined}` stands for.
pub const COMBINED: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} \
                            {>bufsize}\" {rcode} {>rflags} {rsize} {duration} \"{>opcode}\"";

// === impl Template ===

impl Template {
    /// Parses a FORMAT. Braces that hold no known placeholder stand for
    /// themselves, so every text is a FORMAT.
    pub fn parse(format: &str) -> Self {
        let mut template = Self { parts: Vec::new() };
        template.append(format);
        template
    }

    /// The text of `record`'s line.
    pub fn render(&self, record: &QueryRecord<'_>) -> String {
        let mut line = String::with_capacity(160);
        for part in &self.parts {
            match part {
                Part::Literal(text) => line.push_str(text),
                Part::Value(value) => value.render(record, &mut line),
            }
        }
        line
    }

    /// Appends the parts of `format`.
    fn append(&mut self, format: &str) {
        let mut rest = format;
        while let Some((before, from_brace)) = split_at_char(rest, '{') {
            self.literal(before);
            let inner = from_brace.strip_prefix('{').unwrap_or_default();
            match inner.split_once('}') {
                Some((word, after)) if self.placeholder(word) => rest = after,
                // The brace is text, and a placeholder may begin right after.
                _ => {
                    self.literal("{");
                    rest = inner;
                }
            }
        }
        self.literal(rest);
    }

    /// Appends what `{word}` stands for, if it stands for anything.
    fn placeholder(&mut self, word: &str) -> bool {
        match word {
            "common" => self.append(COMMON),
            "combined" => self.append(COMBINED),
            _ => match Value::named(word) {
                Some(value) => self.parts.push(Part::Value(value)),
                None => return false,
            },
        }
        true
    }

    /// Appends text.
    fn literal(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Part::Literal(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else {
            self.parts.push(Part::Literal(text.to_owned()));
        }
    }
}

impl Default for Template {
    /// The common log format.
    fn default() -> Self {
        Self::parse(COMMON)
    }
}

// === impl Value ===

impl Value {
    /// The value of the placeholder with this name.
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "type" => Self::Qtype,
            "name" => Self::Name,
            "class" => Self::Qclass,
            "proto" => Self::Proto,
            "size" => Self::Size,
            "remote" => Self::Remote,
            "port" => Self::Port,
            "local" => Self::Local,
            "rcode" => Self::Rcode,
            "rsize" => Self::ResponseSize,
            "duration" => Self::Duration,
            ">id" => Self::Id,
            ">opcode" => Self::Opcode,
            ">do" => Self::DnssecOk,
            ">bufsize" => Self::Bufsize,
            ">rflags" => Self::Flags,
            "/log/class" => Self::ResponseClass,
            "/log/type" => Self::ResponseType,
            "/forward/upstream" => Self::Upstream,
            label if is_label(label) => Self::UnknownLabel,
            _ => return None,
        })
    }

    /// Appends the value to `line`.
    fn render(self, record: &QueryRecord<'_>, line: &mut String) {
        // Writing to memory does not fail.
        let _ = match self {
            Self::Qtype => line.write_str(record.qtype),
            Self::Name => line.write_str(record.name),
            Self::Qclass => line.write_str(record.qclass),
            Self::Proto => line.write_str(record.proto),
            Self::Size => write!(line, "{}", record.size),
            Self::Remote => write_address(record.client.ip(), line),
            Self::Port => write!(line, "{}", record.client.port()),
            Self::Local => write_address(record.local.ip(), line),
            Self::Rcode => line.write_str(record.rcode.unwrap_or(ABSENT)),
            Self::ResponseSize => write!(line, "{}", record.response_size),
            Self::Duration => write!(line, "{}s", record.duration.as_secs_f64()),
            Self::Id => write!(line, "{}", record.id),
            Self::Opcode => write!(line, "{}", record.opcode),
            Self::DnssecOk => write!(line, "{}", record.dnssec_ok),
            Self::Bufsize => write!(line, "{}", record.bufsize),
            Self::Flags => line.write_str(or_absent(record.flags)),
            Self::ResponseClass => line.write_str(record.response.class().as_str()),
            Self::ResponseType => line.write_str(record.response.as_str()),
            Self::Upstream => line.write_str(or_absent(record.upstream.unwrap_or_default())),
            Self::UnknownLabel => line.write_str(ABSENT),
        };
    }
}

/// Appends an address, an IPv6 address in brackets.
fn write_address(address: IpAddr, line: &mut String) -> std::fmt::Result {
    // A dual-stack socket shows IPv4 clients as mapped addresses.
    match address.to_canonical() {
        IpAddr::V4(address) => write!(line, "{address}"),
        IpAddr::V6(address) => write!(line, "[{address}]"),
    }
}

/// The text, or what stands for its absence.
fn or_absent(text: &str) -> &str {
    if text.is_empty() { ABSENT } else { text }
}

/// Whether `word` names metadata: a slash and words without white space,
/// quotes or braces, so that text of a format in JSON is none.
fn is_label(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    word.strip_prefix('/')
        .is_some_and(|label| !label.is_empty() && label.chars().all(plain))
}

/// Splits before the first `separator`.
fn split_at_char(text: &str, separator: char) -> Option<(&str, &str)> {
    text.find(separator)
        .and_then(|index| text.split_at_checked(index))
}

/// What is printed for a value that is not there.
const ABSENT: &str = "-";
