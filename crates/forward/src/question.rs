//! What is asked of an upstream.

use portolan_proto::Class;
use portolan_proto::Flags;
use portolan_proto::HEADER_LEN;
use portolan_proto::MAX_NAME;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::OPTION_TCP_KEEPALIVE;
use portolan_proto::Opcode;
use portolan_proto::Qname;
use portolan_proto::Query;
use portolan_proto::Rcode;
use portolan_proto::ResponseWriter;
use portolan_proto::Rtype;

/// A question of a client, with all that shapes the query to an upstream.
///
/// What is asked stands here twice, in lower case and as it was spelled:
/// [`Self::with_name`] and [`Self::with_type`] change both.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name asked for, in lower case.
    pub qname: Qname,
    /// Type asked for.
    pub qtype: Rtype,
    /// Class asked for.
    pub qclass: Class,
    /// RD of the client, copied upstream.
    pub recursion_desired: bool,
    /// DO of the client, copied upstream; part of the cache key.
    pub dnssec_ok: bool,
    /// CD of the client, copied upstream; part of the cache key.
    pub checking_disabled: bool,
    /// AD of the client: it wants to see AD (RFC 6840 §5.7).
    pub authentic_data: bool,
    /// How the client asked.
    pub transport: Transport,
    /// Name, type and class in wire form, spelled as the client did.
    octets: [u8; MAX_NAME + 4],
    /// How much of `octets` is the question.
    length: usize,
}

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A connection with a length before each message (RFC 1035 §4.2.2).
    Tcp,
}

/// How a query goes to an upstream: what its OPT has for this hop alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// In a datagram.
    Udp,
    /// On a connection.
    Tcp,
    /// On an encrypted connection.
    Tls,
    /// In an HTTP request.
    Https,
}

/// Octets that padded queries are a multiple of (RFC 8467 §4.1).
const BLOCK: usize = 128;

/// The option that pads (RFC 7830 §3).
const OPTION_PADDING: u16 = 12;

/// What a datagram is to a question.
pub(crate) enum Reading {
    /// A response to it.
    Answer(Message),
    /// A header that refuses to read the query.
    HeaderError,
    /// Nothing: it is not to this question, or not a message.
    Stray,
}

// === impl Question ===

impl Question {
    /// Takes the question of a client.
    pub fn from_query(query: &Query<'_>, transport: Transport) -> Self {
        let mut question = Self::default();
        question.refill(query, transport);
        question
    }

    /// Takes the question of a client, in place of this one.
    pub fn refill(&mut self, query: &Query<'_>, transport: Transport) {
        self.qname.copy_from(&query.qname);
        self.qtype = query.qtype;
        self.qclass = query.qclass;
        self.recursion_desired = query.flags.has(Flags::RECURSION_DESIRED);
        self.dnssec_ok = query.dnssec_ok();
        self.checking_disabled = query.flags.has(Flags::CHECKING_DISABLED);
        self.authentic_data = query.flags.has(Flags::AUTHENTIC_DATA);
        self.transport = transport;
        self.spell(query.question);
    }

    /// A question of our own: recursion desired, over UDP, no other flag.
    pub fn new(name: &Name, qtype: Rtype, qclass: Class) -> Self {
        let mut question = Self {
            qname: Qname::from(name),
            qtype,
            qclass,
            recursion_desired: true,
            ..Self::default()
        };
        question.spell_name(name);
        question
    }

    /// The same question about another name, such as the target of an alias.
    pub fn with_name(&self, name: &Name) -> Self {
        let mut question = self.clone();
        question.qname = Qname::from(name);
        question.spell_name(name);
        question
    }

    /// The same question about another type.
    pub fn with_type(&self, qtype: Rtype) -> Self {
        let mut question = self.clone();
        question.qtype = qtype;
        let type_at = self.qname.as_wire().len();
        if let Some(octets) = question.octets.get_mut(type_at..type_at + 2) {
            octets.copy_from_slice(&qtype.0.to_be_bytes());
        }
        question
    }

    /// Name, type and class in wire form, spelled as the client did.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// Whether AD of a response is for this client to see (RFC 6840 §5.8).
    pub fn wants_authentic_data(&self) -> bool {
        self.dnssec_ok || self.authentic_data
    }

    /// Writes the query to an upstream; `edns` is the UDP payload to offer.
    /// Only a query with EDNS has something for the hop.
    pub(crate) fn write_query(&self, out: &mut Vec<u8>, id: u16, edns: Option<u16>, hop: Hop) {
        // RFC 6840 §5.7: AD asks for AD, which the cache keeps for those who
        // want it.
        let mut bits = Flags::AUTHENTIC_DATA;
        if self.recursion_desired {
            bits |= Flags::RECURSION_DESIRED;
        }
        // RFC 6840 §5.9: CD is copied, the client validates.
        if self.checking_disabled {
            bits |= Flags::CHECKING_DISABLED;
        }
        let edns = edns.map(|payload| (payload, self.dnssec_ok));
        ResponseWriter::query(out, id, bits, self.octets(), edns);
        if edns.is_some() {
            add_options(out, hop);
        }
    }

    /// Whether a message is a response to this question under `id`; see
    /// [`is_answered_by`].
    pub(crate) fn is_answered_by(&self, message: &[u8], id: u16) -> bool {
        is_answered_by(self.octets(), message, id)
    }

    /// What a datagram is to the query under `id`.
    pub(crate) fn read(&self, datagram: &[u8], id: u16) -> Reading {
        read(self.octets(), datagram, id)
    }

    /// The same question, each letter of its name in upper or lower case by
    /// chance (draft-vixie-dnsext-dns0x20).
    pub(crate) fn in_random_case(&self) -> Self {
        let mut question = self.clone();
        let mut chance = [0_u8; MAX_NAME.div_ceil(8)];
        rand::fill(&mut chance);
        let name = question.length.saturating_sub(4);
        for (index, octet) in question.octets.iter_mut().take(name).enumerate() {
            let upper = chance.get(index / 8).copied().unwrap_or_default() >> (index % 8) & 1;
            // No length of a label is a letter: those are 63 at most.
            if octet.is_ascii_alphabetic() {
                *octet = octet.to_ascii_lowercase() ^ upper << 5;
            }
        }
        question
    }

    /// Whether a message that answers this question spells it alike.
    pub(crate) fn is_spelled_by(&self, message: &[u8]) -> bool {
        message.get(HEADER_LEN..HEADER_LEN + self.length) == Some(self.octets())
    }

    /// Takes over the spelling of a question.
    fn spell(&mut self, question: &[u8]) {
        if let Some(target) = self.octets.get_mut(..question.len()) {
            target.copy_from_slice(question);
            self.length = question.len();
        }
    }

    /// Spells the question about a name.
    fn spell_name(&mut self, name: &Name) {
        let mut octets = name.as_wire().to_vec();
        octets.extend_from_slice(&self.qtype.0.to_be_bytes());
        octets.extend_from_slice(&self.qclass.0.to_be_bytes());
        self.spell(&octets);
    }
}

/// About the root, of no type, in room for any question.
impl Default for Question {
    fn default() -> Self {
        Self {
            qname: Qname::default(),
            qtype: Rtype(0),
            qclass: Class::IN,
            recursion_desired: false,
            dnssec_ok: false,
            checking_disabled: false,
            authentic_data: false,
            transport: Transport::Udp,
            octets: [0; MAX_NAME + 4],
            length: 0,
        }
    }
}

// === impl Hop ===

impl Hop {
    /// Whether the upstream is asked how long the connection may be idle (RFC
    /// 7828 §3.2.1: never in a datagram; HTTP has means of its own).
    fn asks_for_keepalive(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether the query is made longer, so that its length says nothing: to
    /// the next multiple of [`BLOCK`].
    fn pads(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }
}

/// Adds what is for the hop to a query that ends with an OPT without options.
fn add_options(query: &mut Vec<u8>, hop: Hop) {
    let start = query.len();
    if hop.asks_for_keepalive() {
        query.extend_from_slice(&OPTION_TCP_KEEPALIVE.to_be_bytes());
        query.extend_from_slice(&[0, 0]);
    }
    if hop.pads() {
        let padded = (query.len() + 4).next_multiple_of(BLOCK);
        let octets = u16::try_from(padded - query.len() - 4).unwrap_or(0);
        query.extend_from_slice(&OPTION_PADDING.to_be_bytes());
        query.extend_from_slice(&octets.to_be_bytes());
        query.resize(padded, 0);
    }
    // The length of the options is what the OPT ended with.
    let length = u16::try_from(query.len() - start).unwrap_or(0);
    if let Some(octets) = query.get_mut(start - 2..start) {
        octets.copy_from_slice(&length.to_be_bytes());
    }
}

/// What a datagram is to the query under `id` with a question: name, type and
/// class in wire form.
pub(crate) fn read(question: &[u8], datagram: &[u8], id: u16) -> Reading {
    if is_answered_by(question, datagram, id) {
        Message::parse(datagram.to_vec()).map_or(Reading::Stray, Reading::Answer)
    } else if is_header_error(datagram, id) {
        Reading::HeaderError
    } else {
        Reading::Stray
    }
}

/// Whether a message is a response to a question under `id`: QR, the same id,
/// name, type and class (RFC 5452 §9.1). The name may come back in another
/// spelling.
fn is_answered_by(question: &[u8], message: &[u8], id: u16) -> bool {
    let Some(body) = response_body(message, id) else {
        return false;
    };
    let received = body.get(..question.len());
    let received = received.and_then(<[u8]>::split_last_chunk::<4>);
    let Some((sent, received)) = question.split_last_chunk::<4>().zip(received) else {
        return false;
    };
    has_question(message) && sent.0.eq_ignore_ascii_case(received.0) && sent.1 == received.1
}

/// Whether a message refuses to read the query under `id`: a header alone with
/// FORMERR or NOTIMP, as a server without EDNS may send it.
pub(crate) fn is_header_error(message: &[u8], id: u16) -> bool {
    response_body(message, id).is_some_and(<[u8]>::is_empty)
        && message
            .get(3)
            .is_some_and(|octet| matches!(octet & 0x0f, 1 | 4))
}

/// What follows the header of a response with an id.
pub(crate) fn response_body(message: &[u8], id: u16) -> Option<&[u8]> {
    let (header, body) = message.split_first_chunk::<HEADER_LEN>()?;
    let [i0, i1, f0, f1, ..] = *header;
    let flags = Flags(u16::from_be_bytes([f0, f1]));
    // RFC 1035 §4.1.1: the opcode of a response is that of its query.
    let response = flags.has(Flags::RESPONSE) && flags.opcode() == Opcode::QUERY;
    (response && u16::from_be_bytes([i0, i1]) == id).then_some(body)
}

/// The code of a response with an id, if it is one.
pub(crate) fn response_rcode(message: &[u8], id: u16) -> Option<Rcode> {
    response_body(message, id)?;
    let code = message.get(3)? & 0x0f;
    Some(Rcode(u16::from(code)))
}

/// Whether a message has exactly one question.
fn has_question(message: &[u8]) -> bool {
    message.get(4..6) == Some(&[0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_matches_in_any_spelling() {
        let question = question("Www.Example.org", Rtype::HTTPS);
        let message = response(7, b"\x03wWW\x07eXAMPLE\x03ORG\0\0\x41\0\x01");
        assert!(question.is_answered_by(&message, 7));
    }

    #[test]
    fn what_differs_is_no_answer() {
        let question = question("www.example.org", Rtype::HTTPS);
        for (message, why) in [
            (
                response(8, b"\x03www\x07example\x03org\0\0\x41\0\x01"),
                "id",
            ),
            (
                response(7, b"\x03www\x07example\x03com\0\0\x41\0\x01"),
                "name",
            ),
            (
                response(7, b"\x03www\x07example\x03org\0\0\x61\0\x01"),
                "type, other case of the octet",
            ),
            (
                response(7, b"\x03www\x07example\x03org\0\0\x41\0\x03"),
                "class",
            ),
            (response(7, b"\x03www\x07example\x03org\0\0\x41\0"), "cut"),
            (response(7, b""), "no question"),
            (b"\0\x07\x80\0".to_vec(), "short"),
        ] {
            assert!(!question.is_answered_by(&message, 7), "{why}");
        }
        let mut query = response(7, b"\x03www\x07example\x03org\0\0\x41\0\x01");
        query[2] = 0;
        assert!(!question.is_answered_by(&query, 7), "QR is not set");
        // An update is answered, not a query.
        query[2] = 0xa8;
        assert!(!question.is_answered_by(&query, 7), "opcode");
    }

    #[test]
    fn a_bare_format_error_is_told_from_other_headers() {
        let mut bare = b"\0\x07\x80\x01\0\0\0\0\0\0\0\0".to_vec();
        assert!(is_header_error(&bare, 7));
        assert!(!is_header_error(&bare, 8));
        bare[3] = 5;
        assert!(!is_header_error(&bare, 7));
    }

    #[test]
    fn a_query_copies_do_cd_and_rd_and_offers_1232() {
        let mut question = question("example.org", Rtype::A);
        question.dnssec_ok = true;
        question.checking_disabled = true;
        let mut out = Vec::new();
        question.write_query(&mut out, 0x1234, Some(1232), Hop::Udp);
        let query = Query::read(&out).unwrap();
        assert_eq!(query.id, 0x1234);
        assert!(
            query
                .flags
                .has(Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED | Flags::AUTHENTIC_DATA)
        );
        assert_eq!(query.edns.unwrap().udp_payload, 1232);
        assert!(query.dnssec_ok());
        question.recursion_desired = false;
        question.write_query(&mut out, 1, None, Hop::Tls);
        let query = Query::read(&out).unwrap();
        assert!(!query.flags.has(Flags::RECURSION_DESIRED));
        assert!(query.edns.is_none());
    }

    #[test]
    fn padded_queries_have_a_multiple_of_128_octets_and_can_be_read() {
        for (length, hop) in (1..=63).flat_map(|length| [(length, Hop::Tls), (length, Hop::Https)])
        {
            let name = format!("{}.example.org", "a".repeat(length));
            let mut out = Vec::new();
            question(&name, Rtype::A).write_query(&mut out, 7, Some(1232), hop);
            assert_eq!(out.len(), 128, "{name}");
            let query = Query::read(&out).unwrap();
            let padding = query.edns.unwrap().options.find(OPTION_PADDING).unwrap();
            assert!(padding.iter().all(|&octet| octet == 0));
        }
        let name = [["a"; 31].join("a"), ["b"; 31].join("b")].join(".");
        let mut out = Vec::new();
        question(&name, Rtype::A).write_query(&mut out, 7, Some(1232), Hop::Tls);
        assert_eq!(out.len(), 256);
    }

    #[test]
    fn only_a_connection_is_asked_how_long_it_may_be_idle() {
        let question = question("example.org", Rtype::A);
        for (hop, asks) in [
            (Hop::Udp, false),
            (Hop::Tcp, true),
            (Hop::Tls, true),
            (Hop::Https, false),
        ] {
            let mut out = Vec::new();
            question.write_query(&mut out, 7, Some(1232), hop);
            let options = Query::read(&out).unwrap().edns.unwrap().options;
            // RFC 7828 §3.2.1: a query says no time.
            let expected = asks.then_some(&[][..]);
            assert_eq!(options.find(OPTION_TCP_KEEPALIVE), expected, "{hop:?}");
        }
    }

    #[test]
    fn a_random_case_is_another_spelling_of_the_same_name() {
        let plain = question("www.Example-1.org", Rtype::HTTPS);
        let mut spellings = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let random = plain.in_random_case();
            assert!(random.octets().eq_ignore_ascii_case(plain.octets()));
            let (_, sent) = random.octets().split_last_chunk::<4>().unwrap();
            let (_, type_and_class) = plain.octets().split_last_chunk::<4>().unwrap();
            assert_eq!(sent, type_and_class);
            let echo = response(7, random.octets());
            assert!(random.is_answered_by(&echo, 7) && random.is_spelled_by(&echo));
            let lower = response(7, &random.octets().to_ascii_lowercase());
            assert!(!random.is_spelled_by(&lower) || random.octets() == &lower[12..]);
            spellings.insert(random.octets().to_vec());
        }
        assert!(spellings.len() > 40, "{}", spellings.len());
    }

    #[test]
    fn another_name_is_asked_in_the_same_way() {
        let mut question = question("a.example", Rtype::AAAA);
        question.checking_disabled = true;
        let other = question.with_name(&"b.example.org".parse().unwrap());
        assert_eq!(other.octets(), b"\x01b\x07example\x03org\0\0\x1c\0\x01");
        assert!(other.checking_disabled);
        let other = other.with_type(Rtype::HTTPS);
        assert_eq!(other.octets(), b"\x01b\x07example\x03org\0\0\x41\0\x01");
        assert_eq!(other.qtype, Rtype::HTTPS);
    }

    /// A question of our own.
    fn question(name: &str, qtype: Rtype) -> Question {
        Question::new(&name.parse().unwrap(), qtype, Class::IN)
    }

    /// A response with an id and one question, or none if it is empty.
    fn response(id: u16, question: &[u8]) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend_from_slice(&[0x80, 0, 0, u8::from(!question.is_empty())]);
        message.extend_from_slice(&[0; 6]);
        message.extend_from_slice(question);
        message
    }
}
