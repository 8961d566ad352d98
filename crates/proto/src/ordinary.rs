//! The ordinary query, and the answer to it: the short way.
//!
//! Nearly all queries are alike: one question of class IN, an OPT perhaps, and
//! nothing else. For these there is a reader that copies no more than the
//! name, and a writer that puts prebuilt records behind the question. What
//! they read and write is what [`Query::read`] and [`ResponseWriter`] do, to
//! the octet; whatever is not ordinary is theirs.
//!
//! [`Query::read`]: crate::Query::read
//! [`ResponseWriter`]: crate::ResponseWriter

use crate::{EdnsOptions, Flags, HEADER_LEN, Qname, ResponseHead, Rtype, Soa};

/// An ordinary query. Its name is kept beside it, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinary<'a> {
    /// Message id, to be echoed.
    pub id: u16,
    /// Header flags.
    pub flags: Flags,
    /// Type asked for.
    pub qtype: Rtype,
    /// The question as sent, for the response to echo octet by octet.
    pub question: &'a [u8],
    /// What the OPT says, if the query has one.
    pub opt: Option<Opt>,
}

/// What the OPT of an ordinary query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Largest UDP payload its sender can take, as sent.
    pub udp_payload: u16,
    /// The DO bit.
    pub dnssec_ok: bool,
}

// === impl Ordinary ===

impl<'a> Ordinary<'a> {
    /// Reads a message, and its name into `qname`; `None` if it is not
    /// ordinary, which says nothing about whether it is a query.
    #[inline]
    pub fn read(message: &'a [u8], qname: &mut Qname) -> Option<Self> {
        let (header, body) = message.split_first_chunk::<HEADER_LEN>()?;
        let [i0, i1, f0, f1, counts @ ..] = *header;
        let flags = Flags(u16::from_be_bytes([f0, f1]));
        // One question, and one additional record at most.
        let records = u64::from_be_bytes(counts) ^ 1 << 48;
        if records > 1 || flags.0 & (Flags::RESPONSE | OPCODE) != 0 {
            return None;
        }
        let length = qname.refill(body)?;
        let (question, rest) = body.split_at_checked(length + 4)?;
        let [.., t0, t1, 0, 1] = *question else {
            return None;
        };
        let opt = if records == 0 {
            None
        } else {
            Some(Opt::read(rest)?)
        };
        Some(Self {
            id: u16::from_be_bytes([i0, i1]),
            flags,
            qtype: Rtype(u16::from_be_bytes([t0, t1])),
            question,
            opt,
        })
    }

    /// Octets that the records of a response may have, their owners included.
    /// `ceiling` is what is sent over UDP at most.
    #[inline]
    pub fn room(&self, ceiling: u16) -> usize {
        let (advertised, opt) = match self.opt {
            Some(opt) => (opt.udp_payload.max(512), OPT_LEN),
            None => (512, 0),
        };
        let limit = usize::from(advertised.min(ceiling.max(512)));
        limit.saturating_sub(HEADER_LEN + self.question.len() + opt)
    }

    /// Appends a response of these records, each without its owner, which is
    /// the name asked for. They have to fit in [`Self::room`].
    #[inline]
    pub fn answer<'r>(
        &self,
        out: &mut Vec<u8>,
        head: ResponseHead,
        records: impl IntoIterator<Item = &'r [u8]>,
        udp_payload: u16,
    ) {
        let start = out.len();
        self.begin(out, head, 0);
        let mut count = 0_u16;
        for record in records {
            // RFC 1035 §4.1.4: the owner is the name of the question.
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(record);
            count = count.saturating_add(1);
        }
        if let Some(answers) = out.get_mut(start + 6..start + 8) {
            answers.copy_from_slice(&count.to_be_bytes());
        }
        self.end(out, udp_payload);
    }

    /// Appends a response without answers (RFC 2308 §3). The SOA has to fit in
    /// [`Self::room`].
    #[inline]
    pub fn deny(&self, out: &mut Vec<u8>, head: ResponseHead, soa: Soa, udp_payload: u16) {
        self.begin(out, head, 1);
        soa.write_to(out);
        self.end(out, udp_payload);
    }

    /// Appends header and question. There are no answers yet.
    #[inline]
    fn begin(&self, out: &mut Vec<u8>, head: ResponseHead, authorities: u8) {
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = head.flags(self.flags, self.opt.is_some()).to_be_bytes();
        let additional = u8::from(self.opt.is_some());
        out.extend_from_slice(&[i0, i1, f0, f1, 0, 1, 0, 0, 0, authorities, 0, additional]);
        out.extend_from_slice(self.question);
    }

    /// Appends an OPT, if the query has one.
    #[inline]
    fn end(&self, out: &mut Vec<u8>, udp_payload: u16) {
        if let Some(opt) = self.opt {
            let [p0, p1] = udp_payload.to_be_bytes();
            // The DO bit is echoed (RFC 3225 §3).
            let dnssec_ok = u8::from(opt.dnssec_ok) << 7;
            out.extend_from_slice(&[0, 0, OPT, p0, p1, 0, 0, dnssec_ok, 0, 0, 0]);
        }
    }

    /// Whether the client wants DNSSEC records.
    #[inline]
    pub fn dnssec_ok(&self) -> bool {
        self.opt.is_some_and(|opt| opt.dnssec_ok)
    }
}

// === impl Opt ===

impl Opt {
    /// Reads an OPT record of version 0.
    #[inline]
    fn read(octets: &[u8]) -> Option<Self> {
        let (fixed, rest) = octets.split_first_chunk::<OPT_LEN>()?;
        // RFC 6891 §6.1.2, §6.1.3: owner, type, payload, upper bits of the
        // RCODE, version, flags, length.
        let [0, 0, OPT, p0, p1, _, 0, high, _, l0, l1] = *fixed else {
            return None;
        };
        let options = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        EdnsOptions::read(options)?;
        Some(Self {
            udp_payload: u16::from_be_bytes([p0, p1]),
            dnssec_ok: high & 0x80 != 0,
        })
    }
}

/// The bits of the opcode; QUERY is 0.
const OPCODE: u16 = 0x7800;

/// Low octet of the type OPT.
const OPT: u8 = 41;

/// Octets of an OPT record without options.
const OPT_LEN: usize = 11;
