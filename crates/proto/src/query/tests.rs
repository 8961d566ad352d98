//! Tests of the query reader.

use super::{Flags, HEADER_LEN, Qname, Query, ReadError};
use crate::{Class, Name, Rcode, Rtype};

#[test]
fn a_plain_query_is_read_field_by_field() {
    let message = plain();

    let query = Query::read(&message).unwrap();

    assert_eq!(query.id, 0x1234);
    assert_eq!(query.flags, Flags(0x0100));
    assert_eq!(query.qname.to_string(), "www.example.org.");
    assert_eq!(query.qtype, Rtype::A);
    assert_eq!(query.qclass, Class::IN);
    assert_eq!(query.question, &message[HEADER_LEN..]);
    assert_eq!(query.edns, None);
    assert_eq!(query.size, 33);
    assert!(!query.dnssec_ok());
}

#[test]
fn an_opt_is_read_field_by_field() {
    let options = [0, 10, 0, 2, 7, 8, 0, 3, 0, 0];
    let message = with_additional(&[opt(1232, 0x0002_8001, &options)]);

    let edns = Query::read(&message).unwrap().edns.unwrap();

    assert_eq!(edns.udp_payload, 1232);
    assert_eq!(edns.extended_rcode, 0);
    // The version is the server's business: it answers BADVERS.
    assert_eq!(edns.version, 2);
    assert!(edns.dnssec_ok);
    assert_eq!(
        edns.options.iter().collect::<Vec<_>>(),
        [(10, &[7, 8][..]), (3, &[])]
    );
}

#[test]
fn the_spelling_of_the_question_is_kept_and_its_name_is_lower_case() {
    let mut message = header(0x0100, [1, 0, 0, 0]);
    message.extend_from_slice(b"\x03wWw\x07eXaMpLe\x03ORG\x00\x00\x1c\x00\x01");

    let query = Query::read(&message).unwrap();

    assert_eq!(
        query.question,
        b"\x03wWw\x07eXaMpLe\x03ORG\x00\x00\x1c\x00\x01"
    );
    assert_eq!(query.qname.as_wire(), WWW);
    assert_eq!(query.qtype, Rtype::AAAA);
}

#[test]
fn octets_of_every_value_are_legal_in_a_label() {
    for octet in 0..=255 {
        let message = query_for(&[1, octet, 0]);
        let query = Query::read(&message).unwrap();
        assert_eq!(
            query.qname.as_wire(),
            [1, octet.to_ascii_lowercase(), 0],
            "{octet}"
        );
    }
}

#[test]
fn responses_and_what_is_shorter_than_a_header_are_ignored() {
    let plain = plain();
    for length in 0..HEADER_LEN {
        assert_eq!(read(&plain[..length]), Err(ReadError::Ignore), "{length}");
    }
    for flags in [0x8000, 0x8180, 0xa800, 0xffff] {
        assert_eq!(
            read(&header(flags, [1, 0, 0, 0])),
            Err(ReadError::Ignore),
            "{flags:x}"
        );
    }
}

#[test]
fn every_opcode_but_query_is_notimp() {
    for opcode in 1..16u16 {
        let flags = Flags(opcode << 11 | 0x0100);
        // The rest does not matter: other kinds have other counts.
        let message = header(flags.0, [0, 7, 0, 0]);
        assert_eq!(
            read(&message),
            Err(ReadError::Answer {
                id: 0x1234,
                flags,
                rcode: Rcode::NOTIMP
            }),
            "{opcode}"
        );
        assert_eq!(u16::from(flags.opcode().0), opcode);
    }
}

#[test]
fn a_query_has_one_question_and_few_records() {
    for (counts, readable) in [
        ([1, 0, 0, 0], true),
        ([1, 1, 0, 0], true),
        ([1, 0, 1, 0], true),
        ([1, 0, 0, 1], true),
        ([1, 0, 0, 2], true),
        ([1, 1, 1, 2], true),
        // RFC 9619 §4: with opcode QUERY there is one question.
        ([0, 0, 0, 0], false),
        ([2, 0, 0, 0], false),
        ([256, 0, 0, 0], false),
        ([257, 0, 0, 0], false),
        ([1, 2, 0, 0], false),
        ([1, 0, 2, 0], false),
        ([1, 0, 0, 3], false),
        ([1, 256, 0, 0], false),
        ([1, 0, 256, 0], false),
        ([1, 0, 0, 256], false),
        ([65535, 65535, 65535, 65535], false),
    ] {
        let mut message = header(0x0100, counts);
        for _ in 0..counts[0].min(2) {
            message.extend_from_slice(&question(WWW));
        }
        for _ in 0..8 {
            message.extend_from_slice(&record(b"\xc0\x0c", 1, &[192, 0, 2, 1]));
        }
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&message), expected, "{counts:?}");
    }
}

#[test]
fn counts_that_promise_more_than_there_is_are_a_format_error() {
    for counts in [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]] {
        let mut message = header(0x0100, counts);
        message.extend_from_slice(&question(WWW));
        assert_eq!(read(&message), Err(FORMERR), "{counts:?}");
    }
    let mut one_of_two = with_additional(&[opt(1232, 0, &[])]);
    one_of_two[11] = 2;
    assert_eq!(read(&one_of_two), Err(FORMERR));
}

#[test]
fn an_opt_stands_once_in_the_additional_section_under_the_root() {
    let other = record(b"\xc0\x0c", 1, &[192, 0, 2, 1]);
    let good = opt(1232, 0, &[]);
    for (name, counts, records, readable) in [
        ("alone", [1, 0, 0, 1], vec![good.clone()], true),
        (
            "first",
            [1, 0, 0, 2],
            vec![good.clone(), other.clone()],
            true,
        ),
        ("last", [1, 0, 0, 2], vec![other, good.clone()], true),
        (
            "twice",
            [1, 0, 0, 2],
            vec![good.clone(), good.clone()],
            false,
        ),
        (
            "in the answer section",
            [1, 1, 0, 0],
            vec![good.clone()],
            false,
        ),
        (
            "in the authority section",
            [1, 0, 1, 0],
            vec![good.clone()],
            false,
        ),
        (
            "in answer and additional section",
            [1, 1, 0, 1],
            vec![good.clone(), good],
            false,
        ),
        (
            "owned by a name",
            [1, 0, 0, 1],
            vec![record(WWW, 41, &[])],
            false,
        ),
        (
            "owned by a pointer",
            [1, 0, 0, 1],
            vec![record(b"\xc0\x1c", 41, &[])],
            false,
        ),
    ] {
        let mut message = header(0x0100, counts);
        message.extend_from_slice(&question(WWW));
        message.extend(records.concat());
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&message), expected, "{name}");
    }
}

#[test]
fn options_whose_lengths_do_not_add_up_are_a_format_error() {
    for (options, readable) in [
        (&[][..], true),
        (&[0, 3, 0, 0], true),
        (&[255, 255, 0, 1, 7], true),
        (&[0, 3, 0, 0, 0, 10, 0, 1, 7], true),
        (&[0], false),
        (&[0, 3, 0], false),
        (&[0, 3, 0, 1], false),
        (&[0, 3, 255, 255, 1], false),
        (&[0, 3, 0, 0, 0, 10, 0, 2, 7], false),
    ] {
        let message = with_additional(&[opt(1232, 0, options)]);
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&message), expected, "{options:?}");
    }
}

#[test]
fn a_query_name_is_not_compressed_and_within_its_lengths() {
    let label = |length: u8| [vec![length], vec![b'a'; length.into()]].concat();
    let longest = [label(63), label(63), label(63), label(61), vec![0]].concat();
    let too_long = [label(63), label(63), label(63), label(62), vec![0]].concat();
    let many = [[1, b'a'].repeat(127), vec![0]].concat();
    let too_many = [[1, b'a'].repeat(128), vec![0]].concat();
    for (name, wire, readable) in [
        ("the root", vec![0], true),
        ("255 octets", longest, true),
        ("127 labels", many, true),
        ("256 octets", too_long, false),
        ("128 labels", too_many, false),
        ("label of 63", [label(63), vec![0]].concat(), true),
        ("label of 64", [label(64), vec![0]].concat(), false),
        ("label type 0b10", [label(0x80), vec![0]].concat(), false),
        ("pointer to itself", vec![0xc0, 0x0c], false),
        ("pointer into the header", vec![0xc0, 0x04], false),
        ("pointer forward", vec![0xc0, 0x10, 1, b'a', 0], false),
        ("label and pointer", vec![1, b'a', 0xc0, 0x0c], false),
    ] {
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&query_for(&wire)), expected, "{name}");
    }
}

/// The mistakes of RFC 9267, each in the owner of a record that is read past.
#[test]
fn owners_of_records_are_checked_as_rfc_9267_asks() {
    for (name, owner, readable) in [
        // The question is at 12, its root label at 28, the record at 33.
        ("§2 back to the question", &[0xc0, 0x0c][..], true),
        ("§2 back to a label within", &[1, b'a', 0xc0, 0x10], true),
        ("§2 to itself", &[0xc0, 0x21], false),
        ("§2 to its own labels", &[1, b'a', 0xc0, 0x21], false),
        ("§2 forward", &[0xc0, 0x23], false),
        ("§2 past the end", &[0xff, 0xff], false),
        ("§2 into the header", &[0xc0, 0x00], false),
        ("§2 into the counts", &[0xc0, 0x0b], false),
        ("§3 label type 0b01", &[0x41, b'a', 0], false),
        ("§3 label type 0b10", &[0x81, b'a', 0], false),
    ] {
        let message = with_additional(&[record(owner, 1, &[192, 0, 2, 1])]);
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&message), expected, "{name}");
    }
}

#[test]
fn an_owner_longer_than_a_name_is_a_format_error() {
    for (labels, readable) in [(127, true), (128, false), (200, false)] {
        let owner = [[1, b'a'].repeat(labels), vec![0]].concat();
        let message = with_additional(&[record(&owner, 1, &[192, 0, 2, 1])]);
        let expected = if readable { Ok(()) } else { Err(FORMERR) };
        assert_eq!(read(&message), expected, "{labels}");
    }
}

#[test]
fn a_message_that_breaks_off_anywhere_is_a_format_error() {
    let other = record(b"\x01a\xc0\x0c", 1, &[192, 0, 2, 1]);
    let message = with_additional(&[other, opt(1232, 0x8000, &[0, 10, 0, 2, 7, 8])]);
    assert_eq!(read(&message), Ok(()));
    for length in 0..message.len() {
        let expected = if length < HEADER_LEN {
            ReadError::Ignore
        } else {
            FORMERR
        };
        assert_eq!(read(&message[..length]), Err(expected), "{length}");
    }
}

#[test]
fn octets_behind_the_query_are_tolerated() {
    let mut message = with_additional(&[opt(1232, 0, &[])]);
    let length = message.len();
    message.extend_from_slice(&[0xff; 64]);

    let query = Query::read(&message).unwrap();

    assert_eq!(query.size, length + 64);
    assert_eq!(query.question, question(WWW));
}

#[test]
fn a_datagram_is_as_large_as_client_and_server_allow() {
    for (advertised, ceiling, expected) in [
        (None, 1232, 512),
        (None, 65535, 512),
        (Some(0), 1232, 512),
        (Some(511), 1232, 512),
        (Some(512), 1232, 512),
        (Some(900), 1232, 900),
        (Some(1232), 1232, 1232),
        (Some(4096), 1232, 1232),
        (Some(65535), 65535, 65535),
        (Some(4096), 100, 512),
    ] {
        let message = match advertised {
            Some(payload) => with_additional(&[opt(payload, 0, &[])]),
            None => plain(),
        };
        assert_eq!(
            Query::read(&message).unwrap().udp_limit(ceiling),
            expected,
            "{advertised:?} {ceiling}"
        );
    }
}

#[test]
fn flags_print_as_the_query_log_wants() {
    for (flags, expected) in [
        (0, ""),
        (0x0100, "rd"),
        (0x0120, "rd,ad"),
        (0x8180, "qr,rd,ra"),
        (0x87f0, "qr,aa,tc,rd,ra,z,ad,cd"),
    ] {
        assert_eq!(Flags(flags).to_string(), expected);
    }
    assert_eq!(Flags(0x8183).rcode(), Rcode::NXDOMAIN);
}

#[test]
fn a_query_name_and_a_name_are_the_same_thing() {
    let name: Name = "www.example.org".parse().unwrap();
    let qname = Qname::from(&name);
    assert_eq!(qname.to_name(), name);
    assert_eq!(qname, Query::read(&plain()).unwrap().qname);
    assert!(qname.is_within(&"example.org".parse().unwrap()));
    assert!(!qname.is_within(&"ample.org".parse().unwrap()));
    assert_eq!(format!("{qname:?}"), "www.example.org.");
}

/// `www.example.org` in wire form.
const WWW: &[u8] = b"\x03www\x07example\x03org\x00";

/// What the client of [`header`] is owed for a malformed query.
const FORMERR: ReadError = ReadError::Answer {
    id: 0x1234,
    flags: Flags(0x0100),
    rcode: Rcode::FORMERR,
};

/// Whether a message is read, and if not, why.
fn read(message: &[u8]) -> Result<(), ReadError> {
    Query::read(message).map(|_| ())
}

/// A header with id 0x1234.
fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [0x1234, flags]
        .into_iter()
        .chain(counts)
        .flat_map(u16::to_be_bytes)
        .collect()
}

/// A question for A IN.
fn question(name: &[u8]) -> Vec<u8> {
    [name, &[0, 1, 0, 1]].concat()
}

/// A query without records.
fn query_for(name: &[u8]) -> Vec<u8> {
    [header(0x0100, [1, 0, 0, 0]), question(name)].concat()
}

/// A query for `www.example.org`.
fn plain() -> Vec<u8> {
    query_for(WWW)
}

/// A query for `www.example.org` with additional records.
fn with_additional(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    [
        header(0x0100, [1, 0, 0, count]),
        question(WWW),
        records.concat(),
    ]
    .concat()
}

/// A record of class IN and TTL 60.
fn record(owner: &[u8], rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rdata.len()).unwrap();
    [
        owner,
        &rtype.to_be_bytes(),
        &[0, 1, 0, 0, 0, 60],
        &length.to_be_bytes(),
        rdata,
    ]
    .concat()
}

/// An OPT record.
fn opt(payload: u16, ttl: u32, options: &[u8]) -> Vec<u8> {
    let length = u16::try_from(options.len()).unwrap();
    [
        &[0, 0, 41][..],
        &payload.to_be_bytes(),
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        options,
    ]
    .concat()
}
