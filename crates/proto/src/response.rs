//! Writing a response.

use crate::{EdnsReply, Flags, HEADER_LEN, MAX_NAME, Message, Name, Query, Rcode, Rtype, Section};

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

/// The SOA that negative answers about local names carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Where the apex stands in the response: in the query name, or in the
    /// target of a CNAME.
    pub apex: u16,
    /// Octets of the apex.
    pub apex_length: usize,
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
    /// Most octets of the whole response.
    limit: usize,
    /// Octets of it that are set aside for the OPT.
    reserve: usize,
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

    /// The flags of a response to a query with `flags`, that has an OPT or
    /// has none.
    #[inline]
    pub(crate) fn flags(self, flags: Flags, edns: bool) -> u16 {
        // RFC 6895 §2.3: a code above 15 needs an OPT. Its lower bits alone
        // are another code: BADVERS would read NOERROR.
        let rcode = if self.rcode.0 > 15 && !edns {
            Rcode::SERVFAIL
        } else {
            self.rcode
        };
        // RFC 1035 §4.1.1 and RFC 4035 §3.2.2: opcode, RD and CD are echoed.
        let echoed = flags.0 & (0x7800 | Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
        let mut bits = Flags::RESPONSE | echoed | rcode.0 & 0x0f;
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

// === impl Soa ===

impl Soa {
    /// Octets of the record.
    #[inline]
    pub fn wire_len(self) -> usize {
        2 + 10 + self.rdata_len()
    }

    /// Octets of its data.
    #[inline]
    fn rdata_len(self) -> usize {
        2 + self.mailbox().len() + 2 + 20
    }

    /// What RNAME has before the apex: RNAME is hostmaster at the apex, or the
    /// apex where that would be too long a name.
    #[inline]
    fn mailbox(self) -> &'static [u8] {
        if self.apex_length + HOSTMASTER.len() > MAX_NAME {
            b""
        } else {
            HOSTMASTER
        }
    }

    /// Appends the record. MNAME is the apex.
    #[inline]
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        let [a0, a1] = pointer(self.apex);
        let [s0, s1] = Rtype::SOA.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.negative_ttl.to_be_bytes();
        let [l0, l1] = u16::try_from(self.rdata_len()).unwrap_or(0).to_be_bytes();
        out.extend_from_slice(&[a0, a1, s0, s1, 0, 1, t0, t1, t2, t3, l0, l1, a0, a1]);
        out.extend_from_slice(self.mailbox());
        out.extend_from_slice(&[a0, a1]);
        for field in [self.serial, 7200, 1800, 86400, self.negative_ttl] {
            out.extend_from_slice(&field.to_be_bytes());
        }
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
        let limit = limit.min(MAX_MESSAGE);
        begin(out, query, head.flags(query.flags, query.edns.is_some()));
        let reserve = opt_reserve(query, edns, limit.saturating_sub(out.len()));
        Self {
            out,
            limit,
            reserve,
            counts: [0; 3],
            full: false,
        }
    }

    /// Appends a record whose octets from the type on are `record`, owned by
    /// the name at offset `owner`. Gives where its data begins, or `None` if
    /// it does not fit.
    pub fn record(&mut self, section: Section, owner: u16, record: &[u8]) -> Option<u16> {
        let start = self.out.len();
        // RFC 1035 §4.1.4: an offset has 14 bits; what stands behind cannot
        // be pointed to.
        if owner > MAX_OFFSET {
            self.overflow(section);
            return None;
        }
        if !self.claim(section, 2 + record.len()) {
            return None;
        }
        self.out.extend_from_slice(&pointer(owner));
        self.out.extend_from_slice(record);
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
        let Ok(rdata_length) = u16::try_from(rdata.len()) else {
            self.overflow(section);
            return;
        };
        if !self.claim(section, owner.as_wire().len() + 10 + rdata.len()) {
            return;
        }
        self.out.extend_from_slice(owner.as_wire());
        self.out.extend_from_slice(&rtype.0.to_be_bytes());
        self.out.extend_from_slice(&[0, 1]);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&rdata_length.to_be_bytes());
        self.out.extend_from_slice(rdata);
    }

    /// Appends the SOA of a negative answer to the authority section
    /// (RFC 2308 §3).
    pub fn soa(&mut self, soa: Soa) {
        // RFC 1035 §4.1.4: see `record`.
        if soa.apex > MAX_OFFSET {
            self.overflow(Section::Authority);
            return;
        }
        if self.claim(Section::Authority, soa.wire_len()) {
            soa.write_to(self.out);
        }
    }

    /// Ends the response: counts, and an OPT if the query has one.
    pub fn finish(self, query: &Query<'_>, rcode: Rcode, edns: &EdnsReply<'_>) {
        end(self.out, query, rcode, edns, self.counts, self.limit);
    }

    /// Sets TC: what there is to say is more than was written (RFC 2181 §9).
    pub fn truncate(&mut self) {
        set_truncated(self.out);
    }

    /// Counts a record of `length` octets if it fits; if not, notes that it
    /// is left out.
    fn claim(&mut self, section: Section, length: usize) -> bool {
        if self.full || self.out.len() + length + self.reserve > self.limit {
            self.overflow(section);
            return false;
        }
        self.counts[section as usize] += 1;
        true
    }

    /// Notes that a record did not fit.
    fn overflow(&mut self, section: Section) {
        self.full = true;
        if section != Section::Additional {
            set_truncated(self.out);
        }
    }

    /// Writes a response that is a header alone, to what could not be read.
    pub fn bare(out: &mut Vec<u8>, id: u16, flags: Flags, rcode: Rcode) {
        out.clear();
        out.extend_from_slice(&id.to_be_bytes());
        let flags = ResponseHead::new(rcode).flags(flags, false);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
    }

    /// Writes a response that passes on a message from an upstream: its
    /// records as they are, under the id, question, RD, CD and OPT of this
    /// hop. The first RRset that does not fit is left out with all that follow.
    pub fn relay(
        out: &mut Vec<u8>,
        query: &Query<'_>,
        head: ResponseHead,
        message: &Message,
        limit: usize,
        edns: &EdnsReply<'_>,
    ) {
        pass_on(
            out,
            query,
            head,
            (message, None::<fn(u32) -> u32>),
            limit,
            edns,
        );
    }

    /// The same, with the TTLs that `ttl` makes of those of the message: those
    /// of an answer which was kept for a while.
    pub fn relay_kept(
        out: &mut Vec<u8>,
        query: &Query<'_>,
        head: ResponseHead,
        (message, ttl): (&Message, impl Fn(u32) -> u32),
        limit: usize,
        edns: &EdnsReply<'_>,
    ) {
        pass_on(out, query, head, (message, Some(ttl)), limit, edns);
    }

    /// Writes a query to an upstream: the second 16 bits of the header and the
    /// question as given, and an OPT of a UDP payload and DO, if given.
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

/// Passes a message on, with its own TTLs or with what is made of them.
fn pass_on(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    head: ResponseHead,
    (message, ttl): (&Message, Option<impl Fn(u32) -> u32>),
    limit: usize,
    edns: &EdnsReply<'_>,
) {
    let limit = limit.min(MAX_MESSAGE);
    let upstream_truncated = message.flags().0 & Flags::TRUNCATED;
    let flags = head.flags(query.flags, query.edns.is_some()) | upstream_truncated;
    begin(out, query, flags);
    let reserve = opt_reserve(query, edns, limit.saturating_sub(out.len()));
    let mut counts = [0u16; 3];
    // Offsets within the records hold only under a question of the same
    // length; without one there is nothing to pass on.
    if message.question_end() == out.len() {
        let cut = message.cut(limit.saturating_sub(reserve));
        if cut.truncated {
            set_truncated(out);
        }
        let records = message.wire().get(message.question_end()..cut.end);
        out.extend_from_slice(records.unwrap_or_default());
        if let Some(ttl) = ttl {
            message.change_ttls(out, cut.end, ttl);
        }
        counts = cut.counts;
    }
    end(out, query, head.rcode, edns, counts, limit);
}

/// Begins a response: header without counts, and question.
fn begin(out: &mut Vec<u8>, query: &Query<'_>, flags: u16) {
    out.clear();
    out.extend_from_slice(&query.id.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(query.question);
}

/// Octets to set aside for the OPT, of `room` that are left.
fn opt_reserve(query: &Query<'_>, edns: &EdnsReply<'_>, room: usize) -> usize {
    match query.edns {
        Some(_) => edns.fitted(room).wire_len(),
        None => 0,
    }
}

/// Ends a response: an OPT if the query has one (RFC 6891 §7), and the
/// counts.
fn end(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    rcode: Rcode,
    edns: &EdnsReply<'_>,
    mut counts: [u16; 3],
    limit: usize,
) {
    if query.edns.is_some() {
        let room = limit.saturating_sub(out.len());
        edns.fitted(room).write_to(out, rcode, query.dnssec_ok());
        counts[Section::Additional as usize] += 1;
    }
    write_counts(out, counts);
}

/// A compression pointer (RFC 1035 §4.1.4): two set bits and an offset.
fn pointer(offset: u16) -> [u8; 2] {
    (0xc000 | offset & MAX_OFFSET).to_be_bytes()
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

/// Most octets of a message (RFC 1035 §4.2.2).
const MAX_MESSAGE: usize = 65_535;

/// Largest offset that a compression pointer holds.
const MAX_OFFSET: u16 = 0x3fff;

/// First label of the mailbox in a SOA.
const HOSTMASTER: &[u8] = b"\x0ahostmaster";

#[cfg(test)]
mod tests;
