//! What a response says, read by neither of the codecs that made it.

use std::fmt;
use std::fmt::Write as _;

use anyhow::Context as _;
use anyhow::ensure;

/// Flags and fields of the second word of the header.
const FLAGS: [(&str, u16); 8] = [
    ("QR", 0x8000),
    ("AA", 0x0400),
    ("TC", 0x0200),
    ("RD", 0x0100),
    ("RA", 0x0080),
    ("Z", 0x0040),
    ("AD", 0x0020),
    ("CD", 0x0010),
];

/// TC.
pub(super) const TRUNCATED: u16 = 0x0200;

/// Type CNAME.
const CNAME: u16 = 5;

/// Type DNAME.
const DNAME: u16 = 39;

/// Type OPT.
const OPT: u16 = 41;

/// Option of the extended error.
const OPTION_EDE: u16 = 15;

/// Everything that a response says.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Second word of the header: flags, opcode, code.
    pub(super) flags: u16,
    /// How many octets it has.
    pub(super) length: usize,
    /// The question in octets.
    pub(super) question: Vec<u8>,
    /// Answer, authority and additional section, the OPT aside; in order of
    /// what they say.
    pub(super) sections: [Vec<Line>; 3],
    /// The OPT.
    pub(super) opt: Option<Opt>,
}

/// A record. Names are in lower case and not compressed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// Type.
    rtype: u16,
    /// Class.
    class: u16,
    /// Owner in octets.
    owner: Vec<u8>,
    /// Data in octets.
    data: Vec<u8>,
    /// TTL.
    ttl: u32,
}

/// What a record says: type, class, owner and data.
pub(super) type Content<'a> = (u16, u16, &'a [u8], &'a [u8]);

/// What the OPT says, its payload aside, which is each server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opt {
    /// Upper bits of the code, version and flags.
    ttl: u32,
    /// The extended errors.
    pub(super) errors: Vec<u16>,
}

// === impl Reading ===

impl Reading {
    /// Reads a response.
    pub(super) fn of(message: &[u8]) -> anyhow::Result<Self> {
        let mut reader = Reader { message, at: 2 };
        let flags = reader.word()?;
        let [questions, answers, authorities, additionals] = [
            reader.word()?,
            reader.word()?,
            reader.word()?,
            reader.word()?,
        ];
        for _ in 0..questions {
            reader.name()?;
            reader.octets(4)?;
        }
        let question = message.get(12..reader.at).unwrap_or_default().to_vec();
        let mut opt = None;
        let mut sections = [const { Vec::new() }; 3];
        for (section, count) in sections.iter_mut().zip([answers, authorities, additionals]) {
            for _ in 0..count {
                let (line, payload) = reader.line()?;
                if payload {
                    opt = Some(Opt::of(&line)?);
                } else {
                    section.push(line);
                }
            }
            section.sort();
        }
        ensure!(reader.at == message.len(), "octets after the last record");
        Ok(Self {
            flags,
            length: message.len(),
            question,
            sections,
            opt,
        })
    }

    /// Whether it is cut off.
    pub(super) fn is_truncated(&self) -> bool {
        self.flags & TRUNCATED != 0
    }

    /// Whether an alias in it was made of a DNAME, with a TTL that depends on
    /// the moment.
    pub(super) fn is_made(&self) -> bool {
        let [answers, ..] = &self.sections;
        let has = |rtype, is_old: fn(u32) -> bool| {
            let mut lines = answers.iter();
            lines.any(|line| line.rtype == rtype && is_old(line.ttl))
        };
        has(DNAME, |_| true) && has(CNAME, |ttl| ttl == 0)
    }

    /// The TTLs, in the order of what the records say.
    pub(super) fn ttls(&self) -> Vec<u64> {
        let lines = self.sections.iter().flatten();
        lines.map(|line| u64::from(line.ttl)).collect()
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", flags(self.flags))?;
        if let Some(opt) = &self.opt {
            write!(f, " OPT={:x}", opt.ttl)?;
            for error in &opt.errors {
                write!(f, " EDE={error}")?;
            }
        }
        for (name, section) in ["answer", "authority", "additional"]
            .iter()
            .zip(&self.sections)
        {
            if !section.is_empty() {
                write!(f, "; {name}:")?;
            }
            for line in section {
                write!(f, " [{line}]")?;
            }
        }
        Ok(())
    }
}

// === impl Line ===

impl Line {
    /// What it says, the TTL aside.
    pub(super) fn content(&self) -> Content<'_> {
        (self.rtype, self.class, &self.owner, &self.data)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = name_text(&self.owner);
        write!(f, "{owner} {} TYPE{} ", self.ttl, self.rtype)?;
        for octet in self.data.iter().take(SHOWN) {
            write!(f, "{octet:02x}")?;
        }
        if self.data.len() > SHOWN {
            write!(f, "...({})", self.data.len())?;
        }
        Ok(())
    }
}

// === impl Opt ===

impl Opt {
    /// Reads an OPT.
    fn of(line: &Line) -> anyhow::Result<Self> {
        let mut reader = Reader {
            message: &line.data,
            at: 0,
        };
        let mut errors = Vec::new();
        while reader.at < line.data.len() {
            let (code, length) = (reader.word()?, reader.word()?);
            let data = reader.octets(usize::from(length))?;
            if code == OPTION_EDE {
                let info = data.first_chunk::<2>().context("a short extended error")?;
                errors.push(u16::from_be_bytes(*info));
            }
        }
        Ok(Self {
            ttl: line.ttl,
            errors,
        })
    }
}

/// A place in a message.
struct Reader<'a> {
    /// The message.
    message: &'a [u8],
    /// The place.
    at: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The next octets.
    fn octets(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let octets = self.message.get(self.at..self.at + length);
        self.at += length;
        octets.context("the message breaks off")
    }

    /// The next 16 bits.
    fn word(&mut self) -> anyhow::Result<u16> {
        let octets = self.octets(2)?.first_chunk().context("two octets")?;
        Ok(u16::from_be_bytes(*octets))
    }

    /// A name, in lower case and not compressed.
    fn name(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut name = Vec::new();
        let mut back = None;
        loop {
            ensure!(name.len() < 256, "a name without end");
            let length = self.octets(1)?[0];
            match length {
                0 => break,
                1..=63 => {
                    name.push(length);
                    let label = self.octets(usize::from(length))?;
                    name.extend(label.to_ascii_lowercase());
                }
                _ => {
                    ensure!(length >= 0xc0, "no label");
                    let low = self.octets(1)?[0];
                    back.get_or_insert(self.at);
                    self.at = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    // Each pointer counts, so that a circle has an end.
                    ensure!(self.at < self.message.len(), "a pointer to nowhere");
                    ensure!(back.is_some_and(|back| self.at < back), "a pointer ahead");
                }
            }
        }
        name.push(0);
        self.at = back.unwrap_or(self.at);
        Ok(name)
    }

    /// A record, and whether it is the OPT.
    fn line(&mut self) -> anyhow::Result<(Line, bool)> {
        let owner = self.name()?;
        let (rtype, class) = (self.word()?, self.word()?);
        let (high, low) = (self.word()?, self.word()?);
        let end = usize::from(self.word()?) + self.at;
        let mut data = Vec::new();
        let (before, names) = names_in(rtype);
        if end > self.at {
            data.extend_from_slice(self.octets(before)?);
            for _ in 0..names {
                data.extend(self.name()?);
            }
        }
        ensure!(self.at <= end, "a name beyond its record");
        data.extend_from_slice(self.octets(end - self.at)?);
        let ttl = u32::from(high) << 16 | u32::from(low);
        let line = Line {
            rtype,
            class,
            owner,
            data,
            ttl,
        };
        Ok((line, rtype == OPT))
    }
}

/// Octets before the names in the data of a type, and how many names there
/// are: those that may be compressed, or were once (RFC 3597 §4).
fn names_in(rtype: u16) -> (usize, usize) {
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME.
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP.
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX.
        15 | 18 | 21 | 36 => (2, 1),
        // SRV.
        33 => (6, 1),
        _ => (0, 0),
    }
}

/// A name as text.
fn name_text(name: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some((&length, tail)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, tail) = tail.split_at(usize::from(length).min(tail.len()));
        // Writing to a string does not fail.
        let _ = write!(text, "{}.", label.escape_ascii());
        rest = tail;
    }
    if text.is_empty() {
        ".".to_owned()
    } else {
        text
    }
}

/// The flags and the code as text.
fn flags(word: u16) -> String {
    let set = FLAGS.iter().filter(|(_, bit)| word & bit != 0);
    let names: Vec<&str> = set.map(|(name, _)| *name).collect();
    format!(
        "opcode {} code {} {}",
        word >> 11 & 15,
        word & 15,
        names.join(" ")
    )
}

/// Octets of data that are shown.
const SHOWN: usize = 24;
