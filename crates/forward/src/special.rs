//! Names that are not for upstreams: special-use names and the reverse zones
//! of addresses that are nobody's.
//!
//! They would be of no use to upstreams, and tell them what goes on here.
//! Those that no server ever has are answered here always (RFC 6761, RFC
//! 7686, RFC 9462). Those that a private network may have are answered here
//! unless an upstream that may know them is asked: one that a stanza for more
//! than the root names, or one at a private address, such as a router
//! (RFC 6303 §3, RFC 8375, RFC 6762 §22.1).
//!
//! What local sources know has been answered before.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use portolan_proto::Class;
use portolan_proto::Flags;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Rtype;

use crate::Answer;
use crate::Question;

/// What a special zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This host (RFC 6761 §6.3).
    Localhost,
    /// The reverse zone of this host's own addresses (RFC 6303 §4.2).
    Loopback,
    /// Nobody has it.
    Never,
    /// It says nothing, but is there (RFC 9462 §6.4).
    Resolver,
    /// A private network may have it.
    Private,
}

/// A special zone that a name is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone<'q> {
    /// Its apex, in wire form.
    apex: &'q [u8],
    /// What it is for.
    pub(crate) kind: Kind,
}

/// The zone that a name is in, if that is a special one.
pub(crate) fn zone(qname: &Qname) -> Option<Zone<'_>> {
    let mut rest = qname.as_wire();
    // Nearly all names are seen by their last label to be in none.
    if !TOP.contains(last_label(rest)) {
        return None;
    }
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        if let Some(&kind) = ZONES.get(rest) {
            return Some(Zone { apex: rest, kind });
        }
        rest = tail.get(usize::from(length)..).unwrap_or_default();
    }
    None
}

/// The last label of a name in wire form, with its length and the root label.
fn last_label(name: &[u8]) -> &[u8] {
    let (mut last, mut rest) = (name, name);
    while let Some((&length, tail)) = rest.split_first()
        && length > 0
    {
        last = rest;
        rest = tail.get(usize::from(length)..).unwrap_or_default();
    }
    last
}

/// Whether an upstream at this address may know the names of private
/// networks.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The answer to a question about a name in a special zone; `None` for a
/// class that has none.
pub(crate) fn answer(question: &Question, zone: Zone<'_>) -> Option<Answer> {
    if question.qclass != Class::IN {
        return None;
    }
    let is_apex = question.qname.as_wire() == zone.apex;
    let data: Option<Vec<u8>> = match (zone.kind, question.qtype) {
        (Kind::Localhost, Rtype::A) => Some(vec![127, 0, 0, 1]),
        (Kind::Localhost, Rtype::AAAA) => {
            Some(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        }
        (Kind::Loopback, Rtype::PTR) if is_own_address(&question.qname) => Some(LOCALHOST.to_vec()),
        (_, Rtype::SOA) if is_apex => Some(soa(zone.apex)),
        _ => None,
    };
    let exists = is_apex
        || match zone.kind {
            Kind::Localhost | Kind::Resolver => true,
            Kind::Loopback => is_own_address(&question.qname),
            Kind::Never | Kind::Private => false,
        };
    let rcode = if exists {
        Rcode::NOERROR
    } else {
        Rcode::NXDOMAIN
    };
    let flags = Flags::RESPONSE | Flags::AUTHORITATIVE | Flags::RECURSION_AVAILABLE | rcode.0;
    let mut wire = vec![0, 0];
    wire.extend_from_slice(&flags.to_be_bytes());
    let (answers, authorities) = if data.is_some() { (1, 0) } else { (0, 1) };
    wire.extend_from_slice(&[0, 1, 0, answers, 0, authorities, 0, 0]);
    wire.extend_from_slice(question.octets());
    match data {
        Some(data) => record(&mut wire, &[0xc0, 12], question.qtype, &data),
        None => record(&mut wire, zone.apex, Rtype::SOA, &soa(zone.apex)),
    }
    Some(Answer {
        message: Message::parse(wire).ok()?,
        ede: None,
        authentic_data: false,
        from_cache: false,
        upstream: None,
    })
}

/// Appends a record.
fn record(wire: &mut Vec<u8>, owner: &[u8], rtype: Rtype, data: &[u8]) {
    wire.extend_from_slice(owner);
    wire.extend_from_slice(&rtype.0.to_be_bytes());
    wire.extend_from_slice(&Class::IN.0.to_be_bytes());
    wire.extend_from_slice(&TTL.to_be_bytes());
    let length = u16::try_from(data.len()).expect("these records are short");
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(data);
}

/// The SOA of an empty zone (RFC 6303 §3).
fn soa(apex: &[u8]) -> Vec<u8> {
    let mut data = apex.to_vec();
    data.extend_from_slice(b"\x06nobody\x07invalid\0");
    for field in [1, 3600, 1200, 604_800, TTL] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    data
}

/// Whether a reverse name is that of 127.0.0.1 or `::1`.
fn is_own_address(qname: &Qname) -> bool {
    OWN.iter().any(|name| qname.as_wire() == name.as_wire())
}

/// TTL of what is said here, in seconds (RFC 6303 §3).
const TTL: u32 = 10_800;

/// `localhost`, in wire form.
const LOCALHOST: &[u8] = b"\x09localhost\0";

/// The reverse names of 127.0.0.1 and `::1`.
static OWN: LazyLock<[Name; 2]> = LazyLock::new(|| {
    ["127.0.0.1", "::1"].map(|text| Name::reverse(text.parse().expect("a constant address")))
});

/// The special zones, by their apex in wire form.
static ZONES: LazyLock<BTreeMap<Box<[u8]>, Kind>> = LazyLock::new(|| {
    let reverse = |prefix: String| format!("{prefix}.in-addr.arpa");
    let mut zones: Vec<(String, Kind)> = [
        ("localhost", Kind::Localhost),
        ("127.in-addr.arpa", Kind::Loopback),
        (LOOPBACK_6, Kind::Loopback),
        // RFC 6761 §6.4, RFC 7686, RFC 9462 §6.4.
        ("invalid", Kind::Never),
        ("onion", Kind::Never),
        ("resolver.arpa", Kind::Resolver),
        // RFC 6303 §4.2, §4.3: addresses that no host has.
        ("0.in-addr.arpa", Kind::Never),
        ("255.255.255.255.in-addr.arpa", Kind::Never),
        (UNSPECIFIED_6, Kind::Never),
        // RFC 6762 §22.1, RFC 8375.
        ("local", Kind::Private),
        ("home.arpa", Kind::Private),
        // RFC 6303 §4.1, §4.2: private, link-local and documentation.
        ("10.in-addr.arpa", Kind::Private),
        ("168.192.in-addr.arpa", Kind::Private),
        ("254.169.in-addr.arpa", Kind::Private),
        ("2.0.192.in-addr.arpa", Kind::Private),
        ("100.51.198.in-addr.arpa", Kind::Private),
        ("113.0.203.in-addr.arpa", Kind::Private),
        // RFC 6303 §4.4 to §4.6.
        ("d.f.ip6.arpa", Kind::Private),
        ("8.e.f.ip6.arpa", Kind::Private),
        ("9.e.f.ip6.arpa", Kind::Private),
        ("a.e.f.ip6.arpa", Kind::Private),
        ("b.e.f.ip6.arpa", Kind::Private),
        ("8.b.d.0.1.0.0.2.ip6.arpa", Kind::Private),
    ]
    .map(|(zone, kind)| (zone.to_owned(), kind))
    .to_vec();
    zones.extend((16..32).map(|octet| (reverse(format!("{octet}.172")), Kind::Private)));
    // RFC 7793: shared addresses.
    zones.extend((64..128).map(|octet| (reverse(format!("{octet}.100")), Kind::Private)));
    zones
        .into_iter()
        .map(|(zone, kind)| {
            let name: Name = zone.parse().expect("a constant name");
            (name.as_wire().into(), kind)
        })
        .collect()
});

/// The last labels of the special zones.
static TOP: LazyLock<BTreeSet<&'static [u8]>> =
    LazyLock::new(|| ZONES.keys().map(|apex| last_label(apex)).collect());

/// The reverse name of `::1`.
const LOOPBACK_6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// The reverse name of `::`.
const UNSPECIFIED_6: &str =
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_are_told_from_others() {
        for (name, kind) in [
            ("localhost", Some(Kind::Localhost)),
            ("a.b.localhost", Some(Kind::Localhost)),
            ("x.invalid", Some(Kind::Never)),
            ("x.onion", Some(Kind::Never)),
            ("_dns.resolver.arpa", Some(Kind::Resolver)),
            ("printer.local", Some(Kind::Private)),
            ("nas.home.arpa", Some(Kind::Private)),
            ("1.1.168.192.in-addr.arpa", Some(Kind::Private)),
            ("1.1.31.172.in-addr.arpa", Some(Kind::Private)),
            ("1.1.100.100.in-addr.arpa", Some(Kind::Private)),
            ("1.0.0.127.in-addr.arpa", Some(Kind::Loopback)),
            ("1.1.32.172.in-addr.arpa", None),
            ("1.1.63.100.in-addr.arpa", None),
            ("8.8.8.8.in-addr.arpa", None),
            ("in-addr.arpa", None),
            ("arpa", None),
            ("localhost.example", None),
            ("mylocalhost", None),
            ("example.test", None),
            (".", None),
        ] {
            let name: Name = name.parse().unwrap();
            let found = zone(&Qname::from(&name)).map(|zone| zone.kind);
            assert_eq!(found, kind, "{name}");
        }
    }

    #[test]
    fn answers_are_those_of_the_rfcs() {
        for (name, qtype, rcode, rtype) in [
            ("localhost", Rtype::A, Rcode::NOERROR, Rtype::A),
            ("x.localhost", Rtype::AAAA, Rcode::NOERROR, Rtype::AAAA),
            ("localhost", Rtype::MX, Rcode::NOERROR, Rtype::SOA),
            (
                "1.0.0.127.in-addr.arpa",
                Rtype::PTR,
                Rcode::NOERROR,
                Rtype::PTR,
            ),
            (
                "2.0.0.127.in-addr.arpa",
                Rtype::PTR,
                Rcode::NXDOMAIN,
                Rtype::SOA,
            ),
            (LOOPBACK_6, Rtype::PTR, Rcode::NOERROR, Rtype::PTR),
            ("onion", Rtype::A, Rcode::NOERROR, Rtype::SOA),
            ("x.onion", Rtype::A, Rcode::NXDOMAIN, Rtype::SOA),
            ("10.in-addr.arpa", Rtype::SOA, Rcode::NOERROR, Rtype::SOA),
            ("_dns.resolver.arpa", Rtype(64), Rcode::NOERROR, Rtype::SOA),
        ] {
            let question = Question::new(&name.parse().unwrap(), qtype, Class::IN);
            let zone = zone(&question.qname).unwrap();
            let answer = answer(&question, zone).unwrap();
            assert_eq!(answer.message.rcode(), rcode, "{name}");
            assert!(answer.head().authoritative, "{name}");
            let record = answer.message.records().next().unwrap();
            assert_eq!(record.rtype, rtype, "{name}");
            assert_eq!(record.ttl, TTL);
            if rtype == Rtype::SOA {
                assert_eq!(record.soa_minimum(), Some(TTL), "{name}");
            }
        }
    }

    #[test]
    fn another_class_has_no_special_names() {
        let question = Question::new(&"localhost".parse().unwrap(), Rtype::A, Class::CH);
        assert!(answer(&question, zone(&question.qname).unwrap()).is_none());
    }

    #[test]
    fn private_upstreams_are_told_from_public_ones() {
        for (address, expected) in [
            ("192.168.1.1", true),
            ("127.0.0.53", true),
            ("100.64.0.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("::ffff:10.0.0.1", true),
            ("9.9.9.9", false),
            ("100.128.0.1", false),
            ("2620:fe::fe", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }
}
