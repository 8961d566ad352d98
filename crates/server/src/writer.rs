//! Responses about local names.

use portolan_proto::Ede;
use portolan_proto::EdnsReply;
use portolan_proto::Qname;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::ResponseHead;
use portolan_proto::ResponseWriter;
use portolan_proto::RrsetRef;
use portolan_proto::Section;
use portolan_proto::Soa;

use crate::LoadBalance;
use crate::local::LocalLayer;

/// Largest UDP response and largest UDP query this server takes, in octets:
/// what passes every path without fragments (RFC 9715 §3.2).
pub(crate) const UDP_PAYLOAD: u16 = 1232;

/// What a response has beyond its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Most octets of the response.
    pub(crate) limit: usize,
    /// Whether names are resolved elsewhere, too.
    pub(crate) recursion_available: bool,
    /// Idle time of the connection in units of 100 ms, if the client asked.
    pub(crate) tcp_keepalive: Option<u16>,
    /// Extended error.
    pub(crate) ede: Option<(Ede, &'a str)>,
}

/// The start of a negative answer's SOA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negative {
    /// Octets of the absent name before the apex.
    pub(crate) apex_offset: u16,
    /// Octets of the apex.
    pub(crate) apex_length: usize,
    /// Version of the table.
    pub(crate) serial: u32,
    /// Seconds for which absence may be believed.
    pub(crate) ttl: u32,
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// The same with an extended error.
    pub(crate) fn with_ede(self, ede: Ede, text: &'a str) -> Self {
        Self {
            ede: Some((ede, text)),
            ..self
        }
    }

    /// What the OPT says.
    pub(crate) fn edns(&self) -> EdnsReply<'a> {
        EdnsReply {
            udp_payload: UDP_PAYLOAD,
            ede: self.ede,
            tcp_keepalive: self.tcp_keepalive,
        }
    }

    /// Head of a response.
    pub(crate) fn head(&self, rcode: Rcode, authoritative: bool) -> ResponseHead {
        ResponseHead {
            authoritative,
            recursion_available: self.recursion_available,
            ..ResponseHead::new(rcode)
        }
    }
}

// === impl Negative ===

impl Negative {
    /// What a layer says about a name that is absent. The SOA is owned by the
    /// zone; in the root zone by the name itself, so that the answer covers
    /// just that name.
    pub(crate) fn about(absent: &Qname, layer: &LocalLayer, serial: u32) -> Self {
        let length = absent.as_wire().len();
        let zone = layer
            .zones
            .iter()
            .filter(|zone| !zone.is_root() && absent.is_within(zone))
            .map(|zone| zone.as_wire().len())
            .max();
        let apex_length = zone.unwrap_or(length);
        Self {
            apex_offset: u16::try_from(length - apex_length).unwrap_or(0),
            apex_length,
            serial,
            ttl: layer.negative_ttl,
        }
    }

    /// The SOA; the absent name stands at `name`.
    pub(crate) fn soa(self, name: u16) -> Soa {
        Soa {
            apex: name.saturating_add(self.apex_offset),
            apex_length: self.apex_length,
            serial: self.serial,
            negative_ttl: self.ttl,
        }
    }
}

/// Writes a chain of CNAMEs and the records at its end.
pub(crate) fn positive(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    chain: &[RrsetRef<'_>],
    end: Option<RrsetRef<'_>>,
    order: Option<&LoadBalance>,
    rotation: usize,
) {
    let edns = frame.edns();
    let head = frame.head(Rcode::NOERROR, true);
    let mut writer = ResponseWriter::new(out, query, head, frame.limit, &edns);
    let owner = write_chain(&mut writer, chain);
    if let Some((set, owner)) = end.zip(owner) {
        match order {
            Some(order) => {
                let owner_name = chain
                    .last()
                    .and_then(|set| set.target())
                    .unwrap_or(query.qname)
                    .to_name();
                for index in order.order_of(&owner_name, set, rotation) {
                    writer.record(Section::Answer, owner, set.record(index));
                }
            }
            None => {
                for record in set.rotated(rotation) {
                    writer.record(Section::Answer, owner, record);
                }
            }
        }
    }
    writer.finish(query, Rcode::NOERROR, &edns);
}

/// Writes CNAMEs, each owned by the target of the one before. Gives where the
/// last target stands, unless a CNAME did not fit.
pub(crate) fn write_chain(writer: &mut ResponseWriter<'_>, chain: &[RrsetRef<'_>]) -> Option<u16> {
    let mut owner = ResponseWriter::QNAME;
    for set in chain {
        owner = writer.record(Section::Answer, owner, set.record(0))?;
    }
    Some(owner)
}

/// Writes a NODATA or NXDOMAIN answer about a local name, after the CNAMEs
/// that lead to it. The SOA is about the last name, the one that is absent
/// (RFC 2308 §2).
pub(crate) fn negative(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    rcode: Rcode,
    chain: &[RrsetRef<'_>],
    negative: Negative,
) {
    let edns = frame.edns();
    let head = frame.head(rcode, true);
    let mut writer = ResponseWriter::new(out, query, head, frame.limit, &edns);
    if let Some(owner) = write_chain(&mut writer, chain) {
        writer.soa(negative.soa(owner));
    }
    writer.finish(query, rcode, &edns);
}

/// Writes a response without records.
pub(crate) fn empty(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    frame: &Frame<'_>,
    rcode: Rcode,
    authoritative: bool,
) {
    let edns = frame.edns();
    let head = frame.head(rcode, authoritative);
    ResponseWriter::new(out, query, head, frame.limit, &edns).finish(query, rcode, &edns);
}

/// Writes the one HINFO that answers ANY (RFC 8482 §4.2).
pub(crate) fn any(out: &mut Vec<u8>, query: &Query<'_>, frame: &Frame<'_>) {
    // Type HINFO, class IN, 3,600 seconds, 9 octets: CPU "RFC8482", no OS.
    const RECORD: &[u8] = b"\x00\x0d\x00\x01\x00\x00\x0e\x10\x00\x09\x07RFC8482\x00";
    let edns = frame.edns();
    let head = frame.head(Rcode::NOERROR, true);
    let mut writer = ResponseWriter::new(out, query, head, frame.limit, &edns);
    writer.record(Section::Answer, ResponseWriter::QNAME, RECORD);
    writer.finish(query, Rcode::NOERROR, &edns);
}
