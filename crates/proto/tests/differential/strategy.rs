//! What the tests draw from.

use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::{op, rr};
use portolan_proto::Name;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// A name: any octets, up to the longest labels and names, mostly short.
pub(crate) fn name() -> impl Strategy<Value = rr::Name> {
    let label = prop_oneof![
        4 => "[a-zA-Z0-9_*-]{1,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..=63),
    ];
    vec(label, 0..8).prop_map(|labels| {
        let mut left = 254usize;
        let fitting = labels.into_iter().take_while(|label| {
            let fits = label.len() < left;
            left = left.saturating_sub(label.len() + 1);
            fits
        });
        let labels: Vec<Vec<u8>> = fitting.collect();
        rr::Name::from_labels(labels.iter().map(Vec::as_slice)).expect("labels that fit")
    })
}

/// The same name as ours.
pub(crate) fn ours(name: &rr::Name) -> Name {
    Name::from_wire(&wire(name)).expect("a name of hickory's is a name")
}

/// A name in wire form, in the spelling it has.
pub(crate) fn wire(name: &rr::Name) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name {
        wire.push(u8::try_from(label.len()).expect("a label is at most 63 octets"));
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// An OPT of a query.
pub(crate) fn edns() -> impl Strategy<Value = op::Edns> {
    let option = (any::<u16>(), vec(any::<u8>(), 0..24));
    (
        any::<u16>(),
        prop_oneof![4 => Just(0u8), 1 => any::<u8>()],
        any::<bool>(),
        vec(option, 0..4),
    )
        .prop_map(|(payload, version, dnssec_ok, options)| {
            let mut edns = op::Edns::new();
            edns.set_max_payload(payload);
            edns.set_version(version);
            edns.set_dnssec_ok(dnssec_ok);
            for (code, data) in options {
                edns.options_mut().insert(EdnsOption::Unknown(code, data));
            }
            edns
        })
}

/// A query of hickory's: one question of any name, type and class.
pub(crate) fn query() -> impl Strategy<Value = op::Message> {
    let question = (name(), any::<u16>(), any::<u16>());
    let flags = any::<[bool; 5]>();
    let edns = proptest::option::of(edns());
    (any::<u16>(), flags, question, edns).prop_map(|(id, flags, (name, rtype, class), edns)| {
        let mut message = op::Message::new(id, op::MessageType::Query, op::OpCode::Query);
        let metadata = &mut message.metadata;
        let [rd, cd, ad, tc, aa] = flags;
        metadata.recursion_desired = rd;
        metadata.checking_disabled = cd;
        metadata.authentic_data = ad;
        metadata.truncation = tc;
        metadata.authoritative = aa;
        let mut question = op::Query::query(name, rr::RecordType::from(rtype));
        question.set_query_class(rr::DNSClass::from(class));
        message.add_query(question);
        message.edns = edns;
        message
    })
}

/// A record of hickory's.
pub(crate) fn record() -> impl Strategy<Value = rr::Record> {
    (name(), any::<u32>(), rdata())
        .prop_map(|(name, ttl, rdata)| rr::Record::from_rdata(name, ttl, rdata))
}

/// Record data of the common types, and of types nobody knows.
fn rdata() -> impl Strategy<Value = rr::RData> {
    use rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, TXT};

    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| rr::RData::A(A(octets.into()))),
        any::<[u8; 16]>().prop_map(|octets| rr::RData::AAAA(AAAA(octets.into()))),
        name().prop_map(|name| rr::RData::CNAME(CNAME(name))),
        name().prop_map(|name| rr::RData::NS(NS(name))),
        name().prop_map(|name| rr::RData::PTR(PTR(name))),
        (any::<u16>(), name())
            .prop_map(|(preference, name)| rr::RData::MX(MX::new(preference, name))),
        "[ -~]{0,40}".prop_map(|text| rr::RData::TXT(TXT::new(vec![text]))),
        (name(), name(), any::<u32>(), any::<u32>()).prop_map(|(mname, rname, serial, minimum)| {
            rr::RData::SOA(SOA::new(mname, rname, serial, 7200, 1800, 86400, minimum))
        }),
        (65400u16..65535, vec(any::<u8>(), 1..40)).prop_map(|(rtype, octets)| {
            rr::RData::Unknown {
                code: rr::RecordType::from(rtype),
                rdata: NULL::with(octets),
            }
        }),
    ]
}

/// A response of hickory's to a query, with records in every section.
pub(crate) fn response() -> impl Strategy<Value = op::Message> {
    let sections = (
        vec(record(), 0..6),
        vec(record(), 0..3),
        vec(record(), 0..4),
    );
    (query(), sections, any::<[bool; 3]>(), 0u16..24).prop_map(
        |(query, (answers, authorities, additionals), [ra, ad, tc], rcode)| {
            let mut message = query;
            let metadata = &mut message.metadata;
            metadata.message_type = op::MessageType::Response;
            metadata.recursion_available = ra;
            metadata.authentic_data = ad;
            metadata.truncation = tc;
            let rcode = if message.edns.is_some() {
                rcode
            } else {
                rcode & 0xf
            };
            let (high, low) = (rcode >> 4, rcode & 0xf);
            message.metadata.response_code = op::ResponseCode::from(
                u8::try_from(high).expect("few bits"),
                u8::try_from(low).expect("few bits"),
            );
            message.add_answers(answers);
            message.add_authorities(authorities);
            message.add_additionals(additionals);
            message
        },
    )
}

/// A change to octets on their way.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Another value in one place.
    Set(usize, u8),
    /// One octet more.
    Insert(usize, u8),
    /// One octet less.
    Remove(usize),
    /// The end is missing.
    Truncate(usize),
    /// More octets at the end.
    Extend(Vec<u8>),
}

impl Mutation {
    /// Applies this to a message; places are taken modulo its length.
    pub(crate) fn apply(self, octets: &mut Vec<u8>) {
        let length = octets.len().max(1);
        match self {
            Self::Set(at, value) => {
                if let Some(octet) = octets.get_mut(at % length) {
                    *octet = value;
                }
            }
            Self::Insert(at, value) => octets.insert(at % (octets.len() + 1), value),
            Self::Remove(at) => {
                if !octets.is_empty() {
                    octets.remove(at % length);
                }
            }
            Self::Truncate(at) => octets.truncate(at % length),
            Self::Extend(more) => octets.extend(more),
        }
    }
}

/// One change; small numbers and pointers are likely.
pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let octet = prop_oneof![
        any::<u8>(),
        0u8..20,
        Just(0xc0),
        Just(41),
        Just(64),
        Just(255)
    ];
    let place = prop_oneof![any::<usize>(), 0usize..48];
    prop_oneof![
        6 => (place.clone(), octet.clone()).prop_map(|(at, value)| Mutation::Set(at, value)),
        1 => (place.clone(), octet).prop_map(|(at, value)| Mutation::Insert(at, value)),
        1 => place.clone().prop_map(Mutation::Remove),
        1 => place.prop_map(Mutation::Truncate),
        1 => vec(any::<u8>(), 0..24).prop_map(Mutation::Extend),
    ]
}
