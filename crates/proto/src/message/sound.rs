//! Whether the names of a record can be read.
//!
//! What an upstream says passes through as octets, and whoever reads it next
//! may follow a pointer for ever, or find a name to be longer than its data.
//! A message with such a name is none (RFC 9267 §2, §5). Neither is one with a
//! name in octets that we write anew, TTLs and addresses: it would be another
//! name then, or none.

use std::ops::Range;

use super::MAX_POINTERS;
use super::Span;
use crate::query::RawRecord;
use crate::{HEADER_LEN, MAX_NAME, Rtype};

/// Whether the owner of the record at `at` can be read, and the names in its
/// data. Only the types that may hold compressed names are looked into
/// (RFC 3597 §4): the data of others has no pointers.
pub(super) fn is_sound(message: &[u8], before: &[Span], at: usize, record: &RawRecord<'_>) -> bool {
    let stays = |octets: &Range<usize>| stays(message, before, record, octets);
    let (fixed, names, after) = match record.rtype {
        Rtype::CNAME | Rtype::NS | Rtype::PTR | Rtype::DNAME => (0, 1, 0),
        Rtype::MX => (2, 1, 0),
        Rtype::SRV => (6, 1, 0),
        Rtype::SOA => (0, 2, 20),
        _ => (0, 0, record.rdata.len()),
    };
    if name_end(message, at, stays).is_none() {
        return false;
    }
    let mut next = record.end - record.rdata.len() + fixed;
    for _ in 0..names {
        match name_end(message, next, stays) {
            Some(end) => next = end,
            None => return false,
        }
    }
    next + after == record.end
}

/// Whether octets stay as they are, whatever becomes of the TTLs and of the
/// order of the addresses of this record and of those before it.
fn stays(message: &[u8], before: &[Span], record: &RawRecord<'_>, octets: &Range<usize>) -> bool {
    let meets = |start: usize, end: usize| octets.start < end && start < octets.end;
    let is_past = |span: &Span| usize::from(span.end) <= octets.start;
    let begins_before = |span: &&Span| usize::from(span.start) < octets.end;
    let mut met = match before.first() {
        Some(span) if begins_before(&span) => &before[before.partition_point(is_past)..],
        // The question, as a rule.
        _ => &[],
    }
    .iter()
    .take_while(begins_before);
    let changes = met.any(|span| {
        let ttl_at = usize::from(span.ttl_at);
        let is_address = || {
            let rtype = message.get(ttl_at - 4..ttl_at - 2);
            rtype.is_some_and(|rtype| ADDRESSES.iter().any(|a| rtype == a.0.to_be_bytes()))
        };
        meets(ttl_at, ttl_at + 4) || meets(ttl_at + 6, usize::from(span.end)) && is_address()
    });
    !changes && !meets(record.ttl_at, record.ttl_at + 4)
}

/// Where the name at `at` ends, if it can be read to its root and stays what
/// it is. Each pointer has to point before the labels it ends, so that the
/// walk ends.
fn name_end(message: &[u8], at: usize, stays: impl Fn(&Range<usize>) -> bool) -> Option<usize> {
    let (mut next, mut limit, mut length) = (at, at, 0);
    let mut end = None;
    for _ in 0..=MAX_POINTERS {
        loop {
            let octet = *message.get(next)?;
            match octet {
                0 => {
                    return stays(&(next..next + 1)).then(|| end.unwrap_or(next + 1));
                }
                1..=63 => {
                    let label = next..next + 1 + usize::from(octet);
                    length += label.len();
                    if length >= MAX_NAME || !stays(&label) {
                        return None;
                    }
                    next = label.end;
                }
                0xc0.. => {
                    let low = *message.get(next + 1)?;
                    if !stays(&(next..next + 2)) {
                        return None;
                    }
                    let target = usize::from(u16::from_be_bytes([octet & 0x3f, low]));
                    if !(HEADER_LEN..limit).contains(&target) {
                        return None;
                    }
                    end = end.or(Some(next + 2));
                    (next, limit) = (target, target);
                    break;
                }
                64..=0xbf => return None,
            }
        }
    }
    None
}

/// Types whose data is put in another order.
const ADDRESSES: [Rtype; 2] = [Rtype::A, Rtype::AAAA];

#[cfg(test)]
mod tests {
    use crate::{HEADER_LEN, Message, Rtype};

    /// Where the record begins in [`message`].
    const OWNER: u8 = 12 + 3 + 4;

    /// A response about `a.` with one record.
    fn message(owner: &[u8], rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
        let mut wire = b"\0\x01\x80\0\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        wire.extend_from_slice(owner);
        wire.extend_from_slice(&rtype.0.to_be_bytes());
        wire.extend_from_slice(b"\0\x01\0\0\0\x3c");
        wire.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        wire.extend_from_slice(rdata);
        wire
    }

    #[test]
    fn names_that_can_be_read_pass() {
        for (owner, rtype, rdata) in [
            (&b"\xc0\x0c"[..], Rtype::CNAME, &b"\xc0\x0c"[..]),
            (b"\x01b\xc0\x0c", Rtype::NS, b"\x01c\xc0\x13"),
            (b"\0", Rtype::MX, b"\0\x01\x01m\xc0\x0c"),
            (b"\x01a\0", Rtype::SRV, b"\0\0\0\0\0\0\0"),
            (
                b"\xc0\x0c",
                Rtype::SOA,
                &[&b"\xc0\x0c\xc0\x0c"[..], &[0; 20]].concat(),
            ),
            // What has no names may look as it likes.
            (b"\xc0\x0c", Rtype(65280), b"\xc0\xff"),
            (b"\xc0\x0c", Rtype::A, b"\xc0\xff\0\0"),
        ] {
            let wire = message(owner, rtype, rdata);
            let parsed = Message::parse(wire).unwrap();
            assert_eq!(
                parsed.records().count(),
                1,
                "{owner:02x?} {rtype} {rdata:02x?}"
            );
        }
    }

    #[test]
    fn names_that_cannot_be_read_make_no_message() {
        let rdata = OWNER + 2 + 10;
        let label = [&[63][..], &[b'x'; 63]].concat();
        let long = [&label.repeat(4)[..], b"\0"].concat();
        for (rtype, data, why) in [
            (Rtype::CNAME, vec![0xc0, rdata], "points to itself"),
            (
                Rtype::CNAME,
                vec![1, b'b', 0xc0, rdata],
                "points to its own label",
            ),
            (Rtype::CNAME, vec![0xc0, rdata + 2, 0], "points ahead"),
            (Rtype::CNAME, vec![0xc0, 4], "points into the header"),
            (Rtype::CNAME, vec![], "has no name"),
            (Rtype::CNAME, vec![1, b'b'], "ends in a name"),
            (Rtype::CNAME, vec![0, 0], "goes on behind its name"),
            (Rtype::CNAME, vec![0x40, 0], "has a label of no type"),
            (Rtype::PTR, long, "has a name of 257 octets"),
            (Rtype::MX, vec![0], "is too short for a preference"),
            (Rtype::SRV, vec![0; 6], "has no target"),
            (
                Rtype::SOA,
                [&[0xc0, 0x0c][..], &[0; 20]].concat(),
                "has one name",
            ),
        ] {
            let wire = message(b"\xc0\x0c", rtype, &data);
            assert!(Message::parse(wire).is_err(), "{rtype} {why}");
        }
        assert_eq!(usize::from(OWNER), HEADER_LEN + 7);
    }

    #[test]
    fn a_loop_through_data_of_another_record_is_found() {
        // The data of the first record, of no known type, points to itself;
        // the owner of the second points there.
        let rdata = OWNER + 2 + 10;
        let mut wire = message(b"\xc0\x0c", Rtype(65280), &[0xc0, rdata]);
        wire[7] = 2;
        wire.extend_from_slice(&[0xc0, rdata, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        assert!(Message::parse(wire).is_err());
    }

    #[test]
    fn names_where_we_write_make_no_message() {
        // The first record's TTL and data hold a name each, and so does its
        // owner; the second record has the name at one of these places.
        let address = usize::from(OWNER) + 3 + 10;
        for (at, rtype, is_sound) in [
            (usize::from(OWNER), Rtype::A, true),
            (address - 6, Rtype::A, false),
            (address - 5, Rtype::A, false),
            (address - 3, Rtype::A, false),
            (address, Rtype::A, false),
            (address + 2, Rtype::AAAA, false),
            (address, Rtype(65280), true),
        ] {
            let mut wire = message(b"\x01b\0", rtype, b"\x01x\x01y\0");
            wire[7] = 2;
            wire[address - 6..address - 2].copy_from_slice(b"\x01x\x01\0");
            wire.extend_from_slice(&[0xc0, u8::try_from(at).unwrap()]);
            wire.extend_from_slice(b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
            assert_eq!(Message::parse(wire).is_ok(), is_sound, "{rtype} at {at}");
        }
    }
}
