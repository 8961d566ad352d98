//! Reading a query.

use std::fmt;

use crate::{Class, Edns, MAX_LABEL, MAX_NAME, Name, Opcode, Rcode, Rtype, name};

/// Octets of a message header (RFC 1035 §4.1.1).
pub const HEADER_LEN: usize = 12;

/// The second 16 bits of a message header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

/// A query name in lower-case wire form, on the stack.
#[derive(Clone, Copy)]
pub struct Qname {
    /// The labels and the root label.
    wire: [u8; ROOM],
    /// How much of `wire` is the name.
    length: u8,
}

/// A query of one question, as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Message id, to be echoed.
    pub id: u16,
    /// Header flags.
    pub flags: Flags,
    /// Name asked for, in lower case.
    pub qname: Qname,
    /// Type asked for.
    pub qtype: Rtype,
    /// Class asked for.
    pub qclass: Class,
    /// The question as sent, for the response to echo octet by octet.
    pub question: &'a [u8],
    /// The OPT record, if the query has one.
    pub edns: Option<Edns<'a>>,
    /// Octets of the whole message.
    pub size: usize,
}

/// What to do about a message that is no query to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Say nothing: it is a response, or too short to be answered. An answer
    /// to an answer is a loop.
    Ignore,
    /// Answer with a header alone.
    Answer {
        /// Id of the message.
        id: u16,
        /// Its flags.
        flags: Flags,
        /// What is wrong with it.
        rcode: Rcode,
    },
}

// === impl Flags ===

impl Flags {
    /// QR: the message is a response.
    pub const RESPONSE: u16 = 0x8000;
    /// AA: the answer is authoritative.
    pub const AUTHORITATIVE: u16 = 0x0400;
    /// TC: the answer was cut to fit.
    pub const TRUNCATED: u16 = 0x0200;
    /// RD: the client wants recursion.
    pub const RECURSION_DESIRED: u16 = 0x0100;
    /// RA: the server offers recursion.
    pub const RECURSION_AVAILABLE: u16 = 0x0080;
    /// AD: the data was validated (RFC 4035 §3.2.3).
    pub const AUTHENTIC_DATA: u16 = 0x0020;
    /// CD: the client validates itself (RFC 4035 §3.2.2).
    pub const CHECKING_DISABLED: u16 = 0x0010;

    /// Whether all of `bits` are set.
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// The kind of message.
    pub fn opcode(self) -> Opcode {
        Opcode(self.0.to_be_bytes()[0] >> 3 & 0x0f)
    }

    /// The four bits of the RCODE.
    pub fn rcode(self) -> Rcode {
        Rcode(self.0 & 0x000f)
    }
}

/// As the query log prints them: `qr,aa,tc,rd,ra,z,ad,cd`.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in [
            (Self::RESPONSE, "qr"),
            (Self::AUTHORITATIVE, "aa"),
            (Self::TRUNCATED, "tc"),
            (Self::RECURSION_DESIRED, "rd"),
            (Self::RECURSION_AVAILABLE, "ra"),
            (0x0040, "z"),
            (Self::AUTHENTIC_DATA, "ad"),
            (Self::CHECKING_DISABLED, "cd"),
        ] {
            if self.has(bit) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

// === impl Qname ===

impl Qname {
    /// The name in lower-case wire form.
    pub fn as_wire(&self) -> &[u8] {
        self.wire
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Takes over another name, in place of this one.
    pub fn copy_from(&mut self, other: &Self) {
        let octets = usize::from(other.length);
        if let Some((own, others)) = self.wire.get_mut(..octets).zip(other.wire.get(..octets)) {
            own.copy_from_slice(others);
            self.length = other.length;
        }
    }

    /// The name, on the heap.
    pub fn to_name(self) -> Name {
        Name::from_wire(self.as_wire()).expect("a query name is a name")
    }

    /// Whether the name is `apex` or below it.
    pub fn is_within(&self, apex: &Name) -> bool {
        name::wire_is_within(self.as_wire(), apex.as_wire())
    }

    /// Reads an uncompressed name at the start of `octets`. The first name of
    /// a message has nothing to point back to (RFC 1035 §4.1.4).
    #[inline]
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let mut qname = Self::default();
        qname.refill(octets)?;
        Some(qname)
    }

    /// Reads a name as [`Self::read`] does, in place of this one. Gives its
    /// length. Where there is no name, what this one is does not matter any
    /// more.
    #[inline]
    pub(crate) fn refill(&mut self, octets: &[u8]) -> Option<usize> {
        let at = name_length(octets)?;
        let source = octets.get(..at)?;
        self.wire.get_mut(..at)?.copy_from_slice(source);
        // A whole register at a time; what is behind the name is not looked
        // at. No length of a label is an upper-case letter: those are 63 at
        // most.
        let whole = at.next_multiple_of(REGISTER);
        for register in self.wire.get_mut(..whole)?.as_chunks_mut::<REGISTER>().0 {
            register.make_ascii_lowercase();
        }
        self.length = u8::try_from(at).ok()?;
        Some(at)
    }
}

/// The root, in room for any name.
impl Default for Qname {
    fn default() -> Self {
        Self {
            wire: [0; ROOM],
            length: 1,
        }
    }
}

impl From<&Name> for Qname {
    fn from(name: &Name) -> Self {
        Self::read(name.as_wire()).expect("a name is a query name")
    }
}

impl PartialEq for Qname {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Qname {}

impl fmt::Display for Qname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_name(f, self.as_wire())
    }
}

impl fmt::Debug for Qname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Query ===

impl<'a> Query<'a> {
    /// Reads a message from a client.
    ///
    /// # Errors
    ///
    /// [`ReadError::Ignore`] for a response and for what is shorter than a
    /// header. Otherwise the response code that the client is owed: NOTIMP
    /// for any opcode but QUERY; FORMERR where the counts or the records are
    /// not those of a query (RFC 9619 §4: one question).
    pub fn read(message: &'a [u8]) -> Result<Self, ReadError> {
        let (header, body) = message
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ReadError::Ignore)?;
        let [i0, i1, f0, f1, counts @ ..] = *header;
        let id = u16::from_be_bytes([i0, i1]);
        let flags = Flags(u16::from_be_bytes([f0, f1]));
        if flags.has(Flags::RESPONSE) {
            return Err(ReadError::Ignore);
        }
        let answer = |rcode| ReadError::Answer { id, flags, rcode };
        if flags.opcode() != Opcode::QUERY {
            return Err(answer(Rcode::NOTIMP));
        }
        // It is large: it is filled where it stands.
        let mut query = Self {
            id,
            flags,
            qname: Qname::default(),
            qtype: Rtype(0),
            qclass: Class(0),
            question: &[],
            edns: None,
            size: message.len(),
        };
        match query.read_body(message, body, counts) {
            Some(()) => Ok(query),
            None => Err(answer(Rcode::FORMERR)),
        }
    }

    /// Reads what follows the header; `None` is a format error.
    #[inline]
    fn read_body(&mut self, message: &'a [u8], body: &'a [u8], counts: [u8; 8]) -> Option<()> {
        let [
            0,
            1,
            0,
            answers @ 0..=1,
            0,
            authorities @ 0..=1,
            0,
            additionals @ 0..=2,
        ] = counts
        else {
            return None;
        };
        let name_length = self.qname.refill(body)?;
        self.question = body.get(..name_length + 4)?;
        let (_, fixed) = self.question.split_last_chunk::<4>()?;
        let [t0, t1, c0, c1] = *fixed;
        self.qtype = Rtype(u16::from_be_bytes([t0, t1]));
        self.qclass = Class(u16::from_be_bytes([c0, c1]));
        let mut at = HEADER_LEN + self.question.len();
        for index in 0..answers + authorities + additionals {
            let record = RawRecord::read(message, at)?;
            at = record.end;
            if record.rtype == Rtype::OPT {
                // RFC 6891 §6.1.1: one OPT, in the additional section, owned
                // by the root.
                if self.edns.is_some() || !record.root_owner || index < answers + authorities {
                    return None;
                }
                self.edns = Some(Edns::read(record.class.0, record.ttl, record.rdata)?);
            }
        }
        Some(())
    }

    /// Largest response the client takes over UDP, in octets: what it
    /// advertises, at least 512 (RFC 6891 §6.2.3), at most `ceiling`.
    pub fn udp_limit(&self, ceiling: u16) -> usize {
        let advertised = self.edns.map_or(512, |edns| edns.udp_payload.max(512));
        usize::from(advertised.min(ceiling.max(512)))
    }

    /// Whether the client wants DNSSEC records.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }
}

// === RawRecord ===

/// One record of a message, located.
pub(crate) struct RawRecord<'a> {
    /// Whether the owner is the root, spelled as one zero octet.
    pub(crate) root_owner: bool,
    /// Type.
    pub(crate) rtype: Rtype,
    /// Class.
    pub(crate) class: Class,
    /// TTL in seconds.
    pub(crate) ttl: u32,
    /// Where the TTL stands.
    pub(crate) ttl_at: usize,
    /// Data.
    pub(crate) rdata: &'a [u8],
    /// Where the next record begins.
    pub(crate) end: usize,
}

impl<'a> RawRecord<'a> {
    /// Reads the record at `at`.
    pub(crate) fn read(message: &'a [u8], at: usize) -> Option<Self> {
        let fixed_at = skip_name(message, at)?;
        let (fixed, _) = message.get(fixed_at..)?.split_first_chunk::<10>()?;
        let [t0, t1, c0, c1, l0, l1, l2, l3, d0, d1] = *fixed;
        let rdata_at = fixed_at + 10;
        let end = rdata_at + usize::from(u16::from_be_bytes([d0, d1]));
        Some(Self {
            root_owner: fixed_at == at + 1,
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            ttl_at: fixed_at + 4,
            rdata: message.get(rdata_at..end)?,
            end,
        })
    }
}

/// The length of the name that octets begin with, the root label included;
/// `None` if there is no name, or a compressed one.
#[inline]
pub(crate) fn name_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*octets.get(at)?);
        if length > MAX_LABEL {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            return (at <= MAX_NAME).then_some(at);
        }
    }
}

/// Where the name at `at` ends. A pointer ends it and has to point back
/// (RFC 1035 §4.1.4: to a prior occurrence), though not into the header, which
/// holds no name and differs from hop to hop (RFC 9267 §2).
pub(crate) fn skip_name(message: &[u8], at: usize) -> Option<usize> {
    let mut next = at;
    loop {
        let length = *message.get(next)?;
        match length {
            0 => return Some(next + 1),
            1..=63 => next += 1 + usize::from(length),
            0xc0.. => {
                let low = *message.get(next + 1)?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                return (HEADER_LEN..at).contains(&target).then_some(next + 2);
            }
            64..=0xbf => return None,
        }
        if next - at >= MAX_NAME {
            return None;
        }
    }
}

/// Octets that are put into lower case at a time.
const REGISTER: usize = 16;

/// Octets of the longest name in whole registers.
const ROOM: usize = MAX_NAME.next_multiple_of(REGISTER);

#[cfg(test)]
mod tests;
