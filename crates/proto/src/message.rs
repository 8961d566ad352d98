//! Reading a response from elsewhere, and keeping it as octets.

mod cut;
mod expand;
mod reorder;
mod sound;

use crate::query::{RawRecord, name_length, skip_name};
use crate::{
    Class, Ede, Edns, Flags, HEADER_LEN, MAX_NAME, Name, OPTION_EDE, OPTION_TCP_KEEPALIVE, Qname,
    Rcode, Rtype,
};

/// A response as it came, its records located and its OPT taken out.
///
/// The octets are never taken apart and put together again: unknown types,
/// flags and the compression of the sender pass through. What concerns only
/// one hop, the OPT record, is read and removed (RFC 6891 §6.2.1).
#[derive(Clone, Debug)]
pub struct Message {
    /// The message without its OPT.
    wire: Vec<u8>,
    /// Where the question ends, if there is one.
    question_end: usize,
    /// Where each record stands, in order.
    spans: Vec<Span>,
    /// The response code, extended by the OPT.
    rcode: Rcode,
    /// Whether there was an OPT.
    edns: bool,
    /// The first extended error of the OPT.
    ede: Option<Ede>,
    /// Idle time of the connection that the OPT offers.
    tcp_keepalive: Option<u16>,
}

/// Section of a message that holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Answer section.
    Answer,
    /// Authority section.
    Authority,
    /// Additional section.
    Additional,
}

/// One record of a [`Message`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The message it stands in.
    message: &'a [u8],
    /// Where it begins.
    start: usize,
    /// Where its data begins.
    rdata_at: usize,
    /// Where it ends.
    end: usize,
    /// Section.
    pub section: Section,
    /// Type.
    pub rtype: Rtype,
    /// Class.
    pub class: Class,
    /// TTL in seconds, as sent; 0 where the top bit is set (RFC 2181 §8).
    pub ttl: u32,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// First octet of the owner.
    start: u16,
    /// First octet of the TTL.
    ttl_at: u16,
    /// One past the last octet.
    end: u16,
    /// Section.
    section: Section,
}

/// Why octets are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Shorter than a header, or longer than 65,535 octets.
    #[error("impossible length")]
    Length,
    /// QR is not set.
    #[error("not a response")]
    NotResponse,
    /// More than one question, or one that cannot be read.
    #[error("malformed question")]
    Question,
    /// A record cannot be read.
    #[error("malformed record")]
    Record,
}

// === impl Message ===

impl Message {
    /// Reads a response.
    ///
    /// Octets after the last record are dropped. A response with TC set whose
    /// records break off loses its records and keeps its header.
    ///
    /// # Errors
    ///
    /// See [`MessageError`].
    pub fn parse(mut wire: Vec<u8>) -> Result<Self, MessageError> {
        if wire.len() > usize::from(u16::MAX) {
            return Err(MessageError::Length);
        }
        let header = wire
            .first_chunk::<HEADER_LEN>()
            .ok_or(MessageError::Length)?;
        let [_, _, f0, f1, q0, q1, counts @ ..] = *header;
        let flags = Flags(u16::from_be_bytes([f0, f1]));
        if !flags.has(Flags::RESPONSE) {
            return Err(MessageError::NotResponse);
        }
        let question_end = question_end(&wire, u16::from_be_bytes([q0, q1]))?;
        let walk = match walk(&wire, question_end, counts) {
            Some(walk) => walk,
            None if flags.has(Flags::TRUNCATED) => Walk::default(),
            None => return Err(MessageError::Record),
        };
        let end = walk
            .spans
            .last()
            .map_or(question_end, |span| usize::from(span.end));
        wire.truncate(end);
        let mut message = Self {
            wire,
            question_end,
            rcode: Rcode(flags.rcode().0 | u16::from(walk.extended_rcode) << 4),
            spans: walk.spans,
            edns: walk.edns,
            ede: walk.ede,
            tcp_keepalive: walk.tcp_keepalive,
        };
        message.write_counts();
        Ok(message)
    }

    /// Message id.
    pub fn id(&self) -> u16 {
        let [i0, i1, ..] = *self.header();
        u16::from_be_bytes([i0, i1])
    }

    /// Header flags.
    pub fn flags(&self) -> Flags {
        let [_, _, f0, f1, ..] = *self.header();
        Flags(u16::from_be_bytes([f0, f1]))
    }

    /// Response code, extended ones included.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Whether the sender spoke EDNS.
    pub fn has_edns(&self) -> bool {
        self.edns
    }

    /// The extended error the sender gave.
    pub fn ede(&self) -> Option<Ede> {
        self.ede
    }

    /// How long the sender lets the connection be idle, in units of 100 ms, if
    /// it says so (RFC 7828 §3.1). Over UDP that means nothing.
    pub fn tcp_keepalive(&self) -> Option<u16> {
        self.tcp_keepalive
    }

    /// The question, if there is one: name, type, class.
    pub fn question(&self) -> Option<(Qname, Rtype, Class)> {
        let octets = self.wire.get(HEADER_LEN..self.question_end)?;
        let qname = Qname::read(octets)?;
        let (_, fixed) = octets.split_last_chunk::<4>()?;
        let [t0, t1, c0, c1] = *fixed;
        Some((
            qname,
            Rtype(u16::from_be_bytes([t0, t1])),
            Class(u16::from_be_bytes([c0, c1])),
        ))
    }

    /// The records in order, without the OPT.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.spans.iter().filter_map(|span| {
            let start = usize::from(span.start);
            let raw = RawRecord::read(&self.wire, start)?;
            Some(Record {
                message: &self.wire,
                start,
                rdata_at: usize::from(span.ttl_at) + 6,
                end: raw.end,
                section: span.section,
                rtype: raw.rtype,
                class: raw.class,
                // RFC 2181 §8: a TTL with the top bit set is zero.
                ttl: if raw.ttl > 0x7fff_ffff { 0 } else { raw.ttl },
            })
        })
    }

    /// Replaces every TTL by what `change` makes of it.
    pub fn map_ttls(&mut self, change: impl Fn(u32) -> u32) {
        for span in &self.spans {
            change_ttl(&mut self.wire, span, &change);
        }
    }

    /// Lowers every TTL of a section to `most`.
    pub fn cap_ttls(&mut self, section: Section, most: u32) {
        for span in self.spans.iter().filter(|span| span.section == section) {
            change_ttl(&mut self.wire, span, |ttl| ttl.min(most));
        }
    }

    /// Replaces every TTL by what `change` makes of it in a copy of the message
    /// or of its beginning, up to `end`.
    pub(crate) fn change_ttls(&self, copy: &mut [u8], end: usize, change: impl Fn(u32) -> u32) {
        let before = |span: &&Span| usize::from(span.end) <= end;
        for span in self.spans.iter().take_while(before) {
            change_ttl(copy, span, &change);
        }
    }

    /// The octets, without the OPT.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Where the records begin.
    pub(crate) fn question_end(&self) -> usize {
        self.question_end
    }

    /// Octets of each piece that is held on the heap.
    pub fn heap_sizes(&self) -> [usize; 2] {
        let spans = self.spans.capacity() * size_of::<Span>();
        [self.wire.capacity(), spans]
    }

    /// Gives back what the vectors hold in reserve, before keeping it long.
    pub fn shrink(&mut self) {
        self.wire.shrink_to_fit();
        self.spans.shrink_to_fit();
    }

    /// How many records each section has.
    fn counts(&self) -> [u16; 3] {
        let [_, _, _, _, _, _, a0, a1, n0, n1, r0, r1] = *self.header();
        [[a0, a1], [n0, n1], [r0, r1]].map(u16::from_be_bytes)
    }

    /// The header.
    fn header(&self) -> &[u8; HEADER_LEN] {
        self.wire.first_chunk().expect("a message has a header")
    }

    /// Writes the counts of the records that are left.
    fn write_counts(&mut self) {
        let mut counts = [0u16; 3];
        for span in &self.spans {
            counts[span.section as usize] += 1;
        }
        for (index, count) in counts.into_iter().enumerate() {
            let at = HEADER_LEN - 6 + 2 * index;
            if let Some(octets) = self.wire.get_mut(at..at + 2) {
                octets.copy_from_slice(&count.to_be_bytes());
            }
        }
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    /// The owner; `None` if its compression loops or is too long.
    pub fn owner(&self) -> Option<Name> {
        read_name(self.message, self.start)
    }

    /// The data.
    pub fn rdata(&self) -> &'a [u8] {
        self.message
            .get(self.rdata_at..self.end)
            .unwrap_or_default()
    }

    /// The name that the data begins with: what a CNAME, NS or PTR points to;
    /// `None` if it does not end within the data (RFC 9267 §5).
    pub fn rdata_name(&self) -> Option<Name> {
        skip_name(self.message, self.rdata_at).filter(|&end| end <= self.end)?;
        read_name(self.message, self.rdata_at)
    }

    /// The last field of a SOA, for how long its absence may be believed
    /// (RFC 2308 §4).
    pub fn soa_minimum(&self) -> Option<u32> {
        if self.rtype != Rtype::SOA {
            return None;
        }
        self.rdata()
            .last_chunk::<4>()
            .map(|octets| u32::from_be_bytes(*octets))
    }
}

// === Walk ===

/// What one pass over the records found.
#[derive(Default)]
struct Walk {
    /// The records before the OPT, or all if the OPT is last or absent.
    spans: Vec<Span>,
    /// Upper bits of the response code.
    extended_rcode: u8,
    /// Whether there is an OPT.
    edns: bool,
    /// First extended error.
    ede: Option<Ede>,
    /// Idle time of the connection.
    tcp_keepalive: Option<u16>,
}

/// Replaces the TTL of a record by what `change` makes of it.
fn change_ttl(wire: &mut [u8], span: &Span, change: impl Fn(u32) -> u32) {
    let octets = wire.get_mut(usize::from(span.ttl_at)..);
    if let Some(octets) = octets.and_then(|tail| tail.first_chunk_mut::<4>()) {
        let ttl = u32::from_be_bytes(*octets);
        // RFC 2181 §8: a TTL with the top bit set is zero.
        let ttl = if ttl > 0x7fff_ffff { 0 } else { ttl };
        *octets = change(ttl).to_be_bytes();
    }
}

/// Where the question ends.
fn question_end(wire: &[u8], count: u16) -> Result<usize, MessageError> {
    match count {
        0 => Ok(HEADER_LEN),
        1 => {
            let body = wire.get(HEADER_LEN..).ok_or(MessageError::Question)?;
            let length = name_length(body).ok_or(MessageError::Question)?;
            let end = HEADER_LEN + length + 4;
            if end > wire.len() {
                Err(MessageError::Question)
            } else {
                Ok(end)
            }
        }
        _ => Err(MessageError::Question),
    }
}

/// Locates the records; `None` if one cannot be read.
///
/// The OPT is taken out by ending the message before it. What stands behind
/// an OPT goes with it: additional data that nothing depends on, or a
/// signature of the hop (TSIG, SIG(0)). RFC 6891 §6.1.1: there is one OPT, in
/// the additional section, owned by the root.
fn walk(wire: &[u8], start: usize, counts: [u8; 6]) -> Option<Walk> {
    let [a0, a1, n0, n1, r0, r1] = counts;
    let mut walk = Walk::default();
    let mut at = start;
    for (section, count) in [
        (Section::Answer, u16::from_be_bytes([a0, a1])),
        (Section::Authority, u16::from_be_bytes([n0, n1])),
        (Section::Additional, u16::from_be_bytes([r0, r1])),
    ] {
        for _ in 0..count {
            let record = RawRecord::read(wire, at)?;
            if !sound::is_sound(wire, &walk.spans, at, &record) {
                return None;
            }
            if record.rtype == Rtype::OPT {
                if walk.edns || !record.root_owner || section != Section::Additional {
                    return None;
                }
                walk.edns = true;
                // The code counts even where the options are malformed.
                walk.extended_rcode = record.ttl.to_be_bytes()[0];
                (walk.ede, walk.tcp_keepalive) = read_options(&record);
            } else if !walk.edns {
                walk.spans.push(Span {
                    start: u16::try_from(at).ok()?,
                    ttl_at: u16::try_from(record.ttl_at).ok()?,
                    end: u16::try_from(record.end).ok()?,
                    section,
                });
            }
            at = record.end;
        }
    }
    Some(walk)
}

/// The first extended error of an OPT, and the idle time.
fn read_options(opt: &RawRecord<'_>) -> (Option<Ede>, Option<u16>) {
    let Some(edns) = Edns::read(opt.class.0, opt.ttl, opt.rdata) else {
        return (None, None);
    };
    let options = edns.options;
    let number = |octets: &[u8; 2]| u16::from_be_bytes(*octets);
    let ede = options.find(OPTION_EDE).and_then(<[u8]>::first_chunk);
    let idle = options.find(OPTION_TCP_KEEPALIVE);
    // RFC 7828 §3.1: a response has two octets there.
    let idle = idle.and_then(|data| <&[u8; 2]>::try_from(data).ok());
    (ede.map(|code| Ede(number(code))), idle.map(number))
}

/// Reads a name that may be compressed. Each pointer has to point before the
/// labels it ends, so the walk ends; a name of 127 labels has no use for more
/// than [`MAX_POINTERS`], so it ends soon (RFC 9267 §2).
fn read_name(message: &[u8], at: usize) -> Option<Name> {
    let mut wire = Vec::with_capacity(64);
    let mut next = at;
    let mut limit = at;
    let mut pointers = 0;
    loop {
        let length = *message.get(next)?;
        match length {
            0 => {
                wire.push(0);
                return Name::from_wire(&wire).ok();
            }
            1..=63 => {
                let label = message.get(next..=next + usize::from(length))?;
                wire.extend_from_slice(label);
                next += label.len();
            }
            0xc0.. => {
                let low = *message.get(next + 1)?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                pointers += 1;
                if !(HEADER_LEN..limit).contains(&target) || pointers > MAX_POINTERS {
                    return None;
                }
                limit = target;
                next = target;
            }
            64..=0xbf => return None,
        }
        if wire.len() >= MAX_NAME {
            return None;
        }
    }
}

/// Most compression pointers that are followed for one name.
const MAX_POINTERS: usize = 127;

#[cfg(test)]
mod tests;
