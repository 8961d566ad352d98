//! Writing a response.

use crate::Ede;
use crate::Flags;
use crate::HEADER_LEN;
use crate::Message;
use crate::Name;
use crate::OPTION_EDE;
use crate::OPTION_TCP_KEEPALIVE;
use crate::Query;
use crate::Rcode;
use crate::Rtype;
use crate::Section;

/// What the header of a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Response code; above 15 only where the query has an OPT.
    pub rcode: Rcode,
    /// AA: the data is our own.
    pub authoritative: bool,
    /// RA: this server resolves names elsewhere too.
    pub recursion_available: bool,
    /// AD: the upstream that is trusted says it validated.
    pub authentic_data: bool,
}

/// What the OPT of a response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdnsReply<'a> {
    /// Largest UDP payload this server takes, in octets.
    pub udp_payload: u16,
    /// Extended error and its text, at most 255 octets of it.
    pub ede: Option<(Ede, &'a str)>,
    /// Idle time of the connection in units of 100 ms (RFC 7828 §3.1).
    pub tcp_keepalive: Option<u16>,
}

/// The SOA that negative answers about local names carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// How many octets of the query name stand before the apex.
    pub apex_offset: usize,
    /// Version of the data.
    pub serial: u32,
    /// Seconds for which absence may be believed (RFC 2308 §5).
    pub negative_ttl: u32,
}

/// Writes one response into a buffer, within a limit.
///
/// The space of the OPT is set aside first, so that it is always there. A
/// record that does not fit is left out with all that follow, and TC is set
/// (RFC 2181 §9) unless the record is additional.
#[derive(Debug)]
pub struct ResponseWriter<'b> {
    /// The response so far.
    out: &'b mut Vec<u8>,
    /// Most octets of records and what is before them.
    limit: usize,
    /// Records in each section.
    counts: [u16; 3],
    /// Whether a record was left out.
    full: bool,
}

// === impl ResponseHead ===

impl ResponseHead {
    /// A head with a code and no flag.
    pub fn new(rcode: Rcode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: false,
            authentic_data: false,
        }
    }

    /// The flags of a response to a query with `flags`.
    fn flags(self, flags: Flags) -> u16 {
        // RFC 1035 §4.1.1 and RFC 4035 §3.2.2: opcode, RD and CD are echoed.
        let echoed = flags.0 & (0x7800 | Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
        let mut bits = Flags::RESPONSE | echoed | self.rcode.0 & 0x0f;
        for (set, bit) in [
            (self.authoritative, Flags::AUTHORITATIVE),
            (self.recursion_available, Flags::RECURSION_AVAILABLE),
            (self.authentic_data, Flags::AUTHENTIC_DATA),
        ] {
            if set {
                bits |= bit;
            }
        }
        bits
    }
}

// === impl ResponseWriter ===

impl<'b> ResponseWriter<'b> {
    /// Where the query name stands in every response.
    pub const QNAME: u16 = 12;

    /// Begins a response: header and question. `limit` is in octets.
    pub fn new(
        out: &'b mut Vec<u8>,
        query: &Query<'_>,
        head: ResponseHead,
        limit: usize,
        edns: &EdnsReply<'_>,
    ) -> Self {
        out.clear();
        out.extend_from_slice(&query.id.to_be_bytes());
        out.extend_from_slice(&head.flags(query.flags).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(query.question);
        let reserve = if query.edns.is_some() {
            edns.wire_len()
        } else {
            0
        };
        Self {
            out,
            limit: limit.saturating_sub(reserve),
            counts: [0; 3],
            full: false,
        }
    }

    /// Appends a record whose octets from the type on are `record`, owned by
    /// the name at offset `owner`. Gives where its data begins, or `None` if
    /// it does not fit.
    pub fn record(&mut self, section: Section, owner: u16, record: &[u8]) -> Option<u16> {
        let start = self.out.len();
        if self.full || start + 2 + record.len() > self.limit {
            self.overflow(section);
            return None;
        }
        // RFC 1035 §4.1.4: a pointer is two set bits and an offset.
        self.out
            .extend_from_slice(&(0xc000 | owner & 0x3fff).to_be_bytes());
        self.out.extend_from_slice(record);
        self.counts[section as usize] += 1;
        u16::try_from(start + 12).ok()
    }

    /// Appends a record with a name of its own as owner.
    pub fn named_record(
        &mut self,
        section: Section,
        owner: &Name,
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) {
        let length = owner.as_wire().len() + 10 + rdata.len();
        let Some(rdata_length) = u16::try_from(rdata.len())
            .ok()
            .filter(|_| self.out.len() + length <= self.limit)
        else {
            self.overflow(section);
            return;
        };
        if self.full {
            return;
        }
        self.out.extend_from_slice(owner.as_wire());
        self.out.extend_from_slice(&rtype.0.to_be_bytes());
        self.out.extend_from_slice(&[0, 1]);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&rdata_length.to_be_bytes());
        self.out.extend_from_slice(rdata);
        self.counts[section as usize] += 1;
    }

    /// Appends the SOA of a negative answer to the authority section
    /// (RFC 2308 §3).
    pub fn soa(&mut self, soa: Soa) {
        let apex = Self::QNAME + u16::try_from(soa.apex_offset).unwrap_or(0);
        let pointer = (0xc000 | apex & 0x3fff).to_be_bytes();
        let mut record = Vec::with_capacity(48);
        record.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
        record.extend_from_slice(&[0, 1]);
        record.extend_from_slice(&soa.negative_ttl.to_be_bytes());
        record.extend_from_slice(&[0, 35]);
        // MNAME is the apex, RNAME is hostmaster at the apex.
        record.extend_from_slice(&pointer);
        record.extend_from_slice(b"\x0ahostmaster");
        record.extend_from_slice(&pointer);
        for field in [soa.serial, 7200, 1800, 86400, soa.negative_ttl] {
            record.extend_from_slice(&field.to_be_bytes());
        }
        self.record(Section::Authority, apex, &record);
    }

    /// Ends the response: counts, and an OPT if the query has one.
    pub fn finish(self, query: &Query<'_>, rcode: Rcode, edns: &EdnsReply<'_>) {
        let mut counts = self.counts;
        if query.edns.is_some() {
            edns.write_to(self.out, rcode, query.dnssec_ok());
            counts[2] += 1;
        }
        write_counts(self.out, counts);
    }

    /// Whether a record was left out so far.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Notes that a record did not fit.
    fn overflow(&mut self, section: Section) {
        self.full = true;
        if section != Section::Additional {
            set_truncated(self.out);
        }
    }

    /// Writes a response that is a header and the question, if any.
    pub fn bare(out: &mut Vec<u8>, id: u16, flags: Flags, rcode: Rcode) {
        out.clear();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&ResponseHead::new(rcode).flags(flags).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
    }

    /// Writes a response that passes on a message from an upstream: its
    /// records as they are, under the id, question, RD, CD and OPT of this
    /// hop.
    pub fn relay(
        out: &mut Vec<u8>,
        query: &Query<'_>,
        head: ResponseHead,
        message: &Message,
        limit: usize,
        edns: &EdnsReply<'_>,
    ) {
        out.clear();
        let reserve = if query.edns.is_some() {
            edns.wire_len()
        } else {
            0
        };
        let limit = limit.saturating_sub(reserve);
        let upstream_truncated = message.flags().0 & Flags::TRUNCATED;
        let flags = head.flags(query.flags) | upstream_truncated;
        out.extend_from_slice(&query.id.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(query.question);
        let mut counts = [0u16; 3];
        // Offsets within the records hold only under a question of the same
        // length; without one there is nothing to pass on.
        if message.question_end() == out.len() {
            let mut end = message.question_end();
            for (next, section) in message.ends() {
                if next > limit {
                    if section != Section::Additional {
                        set_truncated(out);
                    }
                    break;
                }
                end = next;
                counts[section as usize] += 1;
            }
            let records = message
                .wire()
                .get(message.question_end()..end)
                .unwrap_or_default();
            out.extend_from_slice(records);
        }
        if query.edns.is_some() {
            edns.write_to(out, head.rcode, query.dnssec_ok());
            counts[2] += 1;
        }
        write_counts(out, counts);
    }

    /// Writes a query to an upstream: the question in the spelling given, RD
    /// and CD as asked, AD set (RFC 6840 §5.7: we understand it), and an OPT.
    pub fn query(
        out: &mut Vec<u8>,
        id: u16,
        bits: u16,
        question: &[u8],
        edns: Option<(u16, bool)>,
    ) {
        out.clear();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&bits.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
        out.extend_from_slice(question);
        if let Some((udp_payload, dnssec_ok)) = edns {
            let reply = EdnsReply {
                udp_payload,
                ede: None,
                tcp_keepalive: None,
            };
            reply.write_to(out, Rcode::NOERROR, dnssec_ok);
        }
    }
}

// === impl EdnsReply ===

impl EdnsReply<'_> {
    /// Octets of the OPT.
    fn wire_len(&self) -> usize {
        let ede = self.ede.map_or(0, |(_, text)| 6 + ede_text(text).len());
        11 + ede + self.tcp_keepalive.map_or(0, |_| 6)
    }

    /// Appends the OPT.
    fn write_to(&self, out: &mut Vec<u8>, rcode: Rcode, dnssec_ok: bool) {
        out.push(0);
        out.extend_from_slice(&Rtype::OPT.0.to_be_bytes());
        out.extend_from_slice(&self.udp_payload.to_be_bytes());
        // RFC 6891 §6.1.3: upper bits of the RCODE, version 0, DO, zero. The
        // DO bit is echoed (RFC 3225 §3).
        out.push(u8::try_from(rcode.0 >> 4 & 0xff).unwrap_or(0));
        out.extend_from_slice(&[0, u8::from(dnssec_ok) << 7, 0]);
        let length = u16::try_from(self.wire_len() - 11).unwrap_or(0);
        out.extend_from_slice(&length.to_be_bytes());
        if let Some(timeout) = self.tcp_keepalive {
            out.extend_from_slice(&OPTION_TCP_KEEPALIVE.to_be_bytes());
            out.extend_from_slice(&[0, 2]);
            out.extend_from_slice(&timeout.to_be_bytes());
        }
        if let Some((ede, text)) = self.ede {
            let text = ede_text(text);
            out.extend_from_slice(&OPTION_EDE.to_be_bytes());
            let length = u16::try_from(2 + text.len()).unwrap_or(2);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&ede.0.to_be_bytes());
            out.extend_from_slice(text);
        }
    }
}

/// As much of an error text as is sent.
fn ede_text(text: &str) -> &[u8] {
    let octets = text.as_bytes();
    octets.get(..255).unwrap_or(octets)
}

/// Sets TC in a response.
fn set_truncated(out: &mut [u8]) {
    if let Some(octet) = out.get_mut(2) {
        *octet |= 0x02;
    }
}

/// Writes the counts of the sections that hold records.
fn write_counts(out: &mut [u8], counts: [u16; 3]) {
    for (index, count) in counts.into_iter().enumerate() {
        let at = HEADER_LEN - 6 + 2 * index;
        if let Some(octets) = out.get_mut(at..at + 2) {
            octets.copy_from_slice(&count.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
