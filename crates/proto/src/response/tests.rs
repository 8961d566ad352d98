//! Tests of the response writer, octet by octet and against hickory-proto.

use std::net::Ipv4Addr;

use hickory_proto::op;
use hickory_proto::rr::{RData, RecordType};

use super::{MAX_OFFSET, ResponseHead, ResponseWriter, Soa};
use crate::{Ede, EdnsReply, Flags, Message, Name, Query, Rcode, Rdata, Rrset, Rtype, Section};

#[test]
fn an_address_answer_is_written_octet_by_octet() {
    let query_octets = query(0x0110, None);
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead {
        rcode: Rcode::NOERROR,
        authoritative: true,
        recursion_available: true,
        authentic_data: false,
    };
    let mut out = vec![0xee; 700];

    let mut writer = ResponseWriter::new(&mut out, &query, head, 512, &EdnsReply::default());
    let rdata_at = writer.record(
        Section::Answer,
        ResponseWriter::QNAME,
        addresses(&[1]).record(0),
    );
    writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());

    assert_eq!(rdata_at, Some(45));
    assert_eq!(
        out,
        [
            // QR, AA, RD, RA, CD; one question, one answer.
            b"\x12\x34\x85\x90\x00\x01\x00\x01\x00\x00\x00\x00".as_slice(),
            b"\x03wWw\x07example\x03org\x00\x00\x01\x00\x01",
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01",
        ]
        .concat()
    );
}

#[test]
fn an_opt_is_written_octet_by_octet() {
    let query_octets = query(0x0100, Some((4096, 0x8000)));
    let query = Query::read(&query_octets).unwrap();
    let edns = EdnsReply {
        udp_payload: 1232,
        ede: Some((Ede::PROHIBITED, "no")),
        tcp_keepalive: Some(300),
    };
    let mut out = Vec::new();

    let head = ResponseHead::new(Rcode::REFUSED);
    let writer = ResponseWriter::new(&mut out, &query, head, 1232, &edns);
    writer.finish(&query, Rcode::REFUSED, &edns);

    assert_eq!(
        out,
        [
            b"\x12\x34\x81\x05\x00\x01\x00\x00\x00\x00\x00\x01".as_slice(),
            b"\x03wWw\x07example\x03org\x00\x00\x01\x00\x01",
            // Root, OPT, payload, extended code, version, DO, length.
            b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0e",
            b"\x00\x0b\x00\x02\x01\x2c",
            b"\x00\x0f\x00\x04\x00\x12no",
        ]
        .concat()
    );
}

#[test]
fn a_chain_of_aliases_points_into_the_data_before() {
    let query_octets = query(0x0100, None);
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead::new(Rcode::NOERROR);
    let aliases = ["a.example.net", "b.example.com"].map(|target| {
        let target = Rdata::Cname(target.parse().unwrap());
        Rrset::encode([&target], 30).unwrap()
    });
    let mut out = Vec::new();

    let mut writer = ResponseWriter::new(&mut out, &query, head, 512, &EdnsReply::default());
    let mut owner = ResponseWriter::QNAME;
    for alias in &aliases {
        owner = writer
            .record(Section::Answer, owner, alias.record(0))
            .unwrap();
    }
    for record in addresses(&[1, 2]).rotated(1) {
        writer.record(Section::Answer, owner, record).unwrap();
    }
    writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());

    assert_eq!(
        answers(&decode(&out)),
        [
            "wWw.example.org. 30 CNAME a.example.net.",
            "a.example.net. 30 CNAME b.example.com.",
            "b.example.com. 60 A 192.0.2.2",
            "b.example.com. 60 A 192.0.2.1",
        ]
    );
}

#[test]
fn what_does_not_fit_truncates_and_the_opt_stays() {
    for (limit, edns, expected) in [
        (512, None, 29),
        (512, Some((512, 0)), 29),
        (49, None, 1),
        (48, None, 0),
        (60, Some((512, 0)), 1),
        (59, Some((512, 0)), 0),
        (0, Some((512, 0)), 0),
    ] {
        let query_octets = query(0x0100, edns);
        let query = Query::read(&query_octets).unwrap();
        let head = ResponseHead::new(Rcode::NOERROR);
        let reply = EdnsReply {
            udp_payload: 1232,
            ..EdnsReply::default()
        };
        let mut out = Vec::new();

        let mut writer = ResponseWriter::new(&mut out, &query, head, limit, &reply);
        let hosts: Vec<_> = (0..100).collect();
        for record in addresses(&hosts).rotated(0) {
            writer.record(Section::Answer, ResponseWriter::QNAME, record);
        }
        assert!(writer.full);
        writer.finish(&query, Rcode::NOERROR, &reply);

        let decoded = decode(&out);
        assert!(decoded.metadata.truncation, "{limit}");
        assert_eq!(decoded.answers.len(), expected, "{limit}");
        assert_eq!(decoded.edns.is_some(), edns.is_some(), "{limit}");
        if expected > 0 {
            assert!(out.len() <= limit, "{limit}");
        }
    }
}

#[test]
fn after_a_record_that_does_not_fit_none_follows() {
    let query_octets = query(0x0100, None);
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead::new(Rcode::NOERROR);
    let long: Name = ["a".repeat(63).as_str(); 3].join(".").parse().unwrap();
    let mut out = Vec::new();

    let mut writer = ResponseWriter::new(&mut out, &query, head, 100, &EdnsReply::default());
    writer.named_record(Section::Answer, &long, Rtype::A, 60, &[192, 0, 2, 1]);
    let small = addresses(&[1]);
    let written = writer.record(Section::Answer, ResponseWriter::QNAME, small.record(0));
    writer.named_record(Section::Authority, &Name::root(), Rtype::NS, 60, &[0]);
    writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());

    assert_eq!(written, None);
    let decoded = decode(&out);
    assert!(decoded.metadata.truncation);
    assert_eq!(decoded.all_sections().count(), 0);
}

#[test]
fn additional_data_is_left_out_without_tc() {
    let query_octets = query(0x0100, None);
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead::new(Rcode::NOERROR);
    let set = addresses(&[1]);
    let mut out = Vec::new();

    let mut writer = ResponseWriter::new(&mut out, &query, head, 70, &EdnsReply::default());
    for section in [Section::Answer, Section::Additional, Section::Additional] {
        writer.record(section, ResponseWriter::QNAME, set.record(0));
    }
    assert!(writer.full);
    writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());

    let decoded = decode(&out);
    assert!(!decoded.metadata.truncation);
    assert_eq!((decoded.answers.len(), decoded.additionals.len()), (1, 1));
}

#[test]
fn an_owner_that_no_pointer_reaches_truncates() {
    let query_octets = query(0x0100, None);
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead::new(Rcode::NOERROR);
    let set = addresses(&[1]);
    for (owner, fits) in [(MAX_OFFSET, true), (MAX_OFFSET + 1, false)] {
        let mut out = Vec::new();
        let mut writer =
            ResponseWriter::new(&mut out, &query, head, usize::MAX, &EdnsReply::default());
        let written = writer.record(Section::Answer, owner, set.record(0));
        assert_eq!(written.is_some(), fits, "{owner}");
        writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());
        assert_eq!(out[2] & 0x02 == 0, fits);
    }
}

#[test]
fn no_response_is_longer_than_a_message() {
    let query_octets = query(0x0100, Some((65_535, 0)));
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead::new(Rcode::NOERROR);
    let set = addresses(&[1]);
    let mut out = Vec::new();
    let mut writer = ResponseWriter::new(&mut out, &query, head, usize::MAX, &EdnsReply::default());
    for _ in 0..5000 {
        writer.record(Section::Answer, ResponseWriter::QNAME, set.record(0));
    }
    writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());
    assert!((65_500..=65_535).contains(&out.len()), "{}", out.len());
    assert!(decode(&out).metadata.truncation);
}

#[test]
fn a_soa_says_how_long_absence_may_be_believed() {
    for (apex_offset, apex) in [(0, "wWw.example.org."), (4, "example.org."), (16, ".")] {
        let query_octets = query(0x0100, None);
        let query = Query::read(&query_octets).unwrap();
        let head = ResponseHead {
            authoritative: true,
            ..ResponseHead::new(Rcode::NXDOMAIN)
        };
        let mut out = Vec::new();

        let mut writer = ResponseWriter::new(&mut out, &query, head, 512, &EdnsReply::default());
        writer.soa(Soa {
            apex: ResponseWriter::QNAME + apex_offset,
            apex_length: 17 - usize::from(apex_offset),
            serial: 2_024_010_203,
            negative_ttl: 15,
        });
        writer.finish(&query, Rcode::NXDOMAIN, &EdnsReply::default());

        let decoded = decode(&out);
        assert_eq!(decoded.metadata.response_code, op::ResponseCode::NXDomain);
        let [record] = decoded.authorities.as_slice() else {
            panic!("one record in {decoded:?}");
        };
        assert_eq!(record.name.to_string(), apex);
        assert_eq!(record.ttl, 15);
        let RData::SOA(soa) = &record.data else {
            panic!("a SOA in {decoded:?}");
        };
        assert_eq!(soa.mname.to_string(), apex);
        assert_eq!(
            soa.rname.to_string(),
            format!("hostmaster.{}", apex.trim_start_matches('.'))
        );
        assert_eq!(soa.serial, 2_024_010_203);
        assert_eq!((soa.refresh, soa.retry, soa.expire), (7200, 1800, 86400));
        assert_eq!(soa.minimum, 15);
    }
}

#[test]
fn the_mailbox_of_a_soa_is_a_name_under_the_longest_apex_too() {
    for length in 240..=254 {
        // `length` octets and the root label.
        let qname = [
            [&[59][..], &[b'a'; 59]].concat().repeat(4),
            labels_of(length - 240),
        ];
        let octets = [
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(),
            &qname.concat(),
            b"\x00\x00\x01\x00\x01",
        ]
        .concat();
        let query = Query::read(&octets).unwrap();
        let head = ResponseHead::new(Rcode::NOERROR);
        let mut out = Vec::new();

        let mut writer = ResponseWriter::new(&mut out, &query, head, 512, &EdnsReply::default());
        writer.soa(Soa {
            apex: ResponseWriter::QNAME,
            apex_length: length + 1,
            serial: 1,
            negative_ttl: 5,
        });
        writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());

        let decoded = decode(&out);
        let RData::SOA(soa) = &decoded.authorities[0].data else {
            panic!("a SOA in {decoded:?}");
        };
        let mailbox = soa.rname.iter().next() == Some(b"hostmaster");
        assert_eq!(mailbox, length <= 243, "{length}");
        assert_eq!(soa.minimum, 5);
        Message::parse(out).unwrap();
    }
}

#[test]
fn a_soa_that_does_not_fit_truncates() {
    let query_octets = query(0x0100, None);
    let query = Query::read(&query_octets).unwrap();
    let soa = Soa {
        apex: ResponseWriter::QNAME + 4,
        apex_length: 13,
        serial: 1,
        negative_ttl: 5,
    };
    for (limit, fits) in [(80, true), (79, false)] {
        let mut out = Vec::new();
        let head = ResponseHead::new(Rcode::NOERROR);
        let mut writer = ResponseWriter::new(&mut out, &query, head, limit, &EdnsReply::default());
        writer.soa(soa);
        writer.finish(&query, Rcode::NOERROR, &EdnsReply::default());
        let decoded = decode(&out);
        assert_eq!(decoded.metadata.truncation, !fits, "{limit}");
        assert_eq!(decoded.authorities.len(), usize::from(fits), "{limit}");
    }
}

#[test]
fn a_code_above_15_is_in_the_opt_or_is_servfail() {
    for (edns, rcode, expected) in [
        (Some((1232, 0x0001_0000)), Rcode::BADVERS, Rcode::BADVERS),
        (Some((1232, 0)), Rcode::BADCOOKIE, Rcode::BADCOOKIE),
        (Some((1232, 0)), Rcode::NXDOMAIN, Rcode::NXDOMAIN),
        (None, Rcode::BADVERS, Rcode::SERVFAIL),
        (None, Rcode::NXDOMAIN, Rcode::NXDOMAIN),
    ] {
        let query_octets = query(0x0100, edns);
        let query = Query::read(&query_octets).unwrap();
        let reply = EdnsReply {
            udp_payload: 1232,
            ..EdnsReply::default()
        };
        let mut out = Vec::new();
        let writer = ResponseWriter::new(&mut out, &query, ResponseHead::new(rcode), 512, &reply);
        writer.finish(&query, rcode, &reply);

        let decoded = decode(&out);
        let found = u16::from(decoded.metadata.response_code);
        assert_eq!(Rcode(found), expected, "{rcode}");
        if let Some(edns) = decoded.edns {
            // RFC 6891 §6.1.3: the version the server knows.
            assert_eq!(edns.version(), 0);
            assert_eq!(edns.max_payload(), 1232);
        }
    }
}

#[test]
fn flags_are_echoed_or_set_and_no_others() {
    // RFC 1035 §4.1.1 and RFC 4035 §3.2.2: RD and CD come back; AA, TC, RA,
    // Z and AD of a query mean nothing to us.
    for (sent, expected) in [
        (0x0000, 0x8000),
        (0x0100, 0x8100),
        (0x0010, 0x8010),
        (0x06e0, 0x8000),
        (0x07ff, 0x8110),
    ] {
        let query_octets = query(sent, None);
        let query = Query::read(&query_octets).unwrap();
        let mut out = Vec::new();
        let head = ResponseHead::new(Rcode::NOERROR);
        ResponseWriter::new(&mut out, &query, head, 512, &EdnsReply::default()).finish(
            &query,
            Rcode::NOERROR,
            &EdnsReply::default(),
        );
        assert_eq!(out[2..4], u16::to_be_bytes(expected), "{sent:x}");
    }
    let head = ResponseHead {
        rcode: Rcode::NXDOMAIN,
        authoritative: true,
        recursion_available: true,
        authentic_data: true,
    };
    assert_eq!(head.flags(Flags(0), false), 0x84a3);
}

#[test]
fn the_text_of_an_extended_error_is_cut_between_characters() {
    let long = "é".repeat(200);
    for (text, expected) in [
        ("", 0),
        ("upstream timed out", 18),
        (&"é".repeat(127), 254),
        (&long, 254),
        (&"a".repeat(300), 255),
    ] {
        let query_octets = query(0x0100, Some((1232, 0)));
        let query = Query::read(&query_octets).unwrap();
        let edns = EdnsReply {
            udp_payload: 1232,
            ede: Some((Ede::NETWORK_ERROR, text)),
            tcp_keepalive: None,
        };
        let mut out = Vec::new();
        let head = ResponseHead::new(Rcode::SERVFAIL);
        ResponseWriter::new(&mut out, &query, head, 1232, &edns).finish(
            &query,
            Rcode::SERVFAIL,
            &edns,
        );
        let decoded = decode(&out);
        let data = option(&decoded, 15).unwrap();
        assert_eq!(data[..2], [0, 23]);
        assert_eq!(data.len() - 2, expected);
        let told = std::str::from_utf8(&data[2..]).unwrap();
        assert!(text.starts_with(told));
    }
}

#[test]
fn the_text_of_an_extended_error_gives_way_to_the_limit() {
    // The longest question and the longest text exceed the smallest datagram.
    let octets = [
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".as_slice(),
        &labels_of(254),
        b"\x00\x00\x01\x00\x01",
        b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00",
    ]
    .concat();
    let query = Query::read(&octets).unwrap();
    let text = "a".repeat(255);
    let edns = EdnsReply {
        udp_payload: 1232,
        ede: Some((Ede::NETWORK_ERROR, &text)),
        tcp_keepalive: None,
    };
    let upstream = Message::parse([&octets[..2], b"\x81\x82", &octets[4..]].concat()).unwrap();
    let head = ResponseHead::new(Rcode::SERVFAIL);
    let mut written = Vec::new();
    ResponseWriter::new(&mut written, &query, head, 512, &edns).finish(
        &query,
        Rcode::SERVFAIL,
        &edns,
    );
    let mut relayed = Vec::new();
    ResponseWriter::relay(&mut relayed, &query, head, &upstream, 512, &edns);

    for out in [written, relayed] {
        assert!(out.len() <= 512);
        assert_eq!(option(&decode(&out), 15).unwrap(), [0, 23]);
    }
}

#[test]
fn a_bare_response_is_a_header() {
    for (flags, rcode, expected) in [
        (0x0100, Rcode::FORMERR, b"\x12\x34\x81\x01"),
        (0x2110, Rcode::NOTIMP, b"\x12\x34\xa1\x14"),
        (0x7fff, Rcode::NOTIMP, b"\x12\x34\xf9\x14"),
        (0x0000, Rcode::BADVERS, b"\x12\x34\x80\x02"),
    ] {
        let mut out = vec![1, 2, 3];
        ResponseWriter::bare(&mut out, 0x1234, Flags(flags), rcode);
        assert_eq!(out, [&expected[..], &[0; 8]].concat());
    }
}

#[test]
fn a_message_is_passed_on_under_the_question_of_the_client() {
    let upstream = upstream_message(2);
    let query_octets = query(0x0110, Some((4096, 0x8000)));
    let query = Query::read(&query_octets).unwrap();
    let head = ResponseHead {
        recursion_available: true,
        ..ResponseHead::new(Rcode::NOERROR)
    };
    let edns = EdnsReply {
        udp_payload: 1232,
        ..EdnsReply::default()
    };
    let mut out = Vec::new();

    ResponseWriter::relay(&mut out, &query, head, &upstream, 1232, &edns);

    assert_eq!(out[12..33], *query.question);
    let decoded = decode(&out);
    assert_eq!(decoded.metadata.id, 0x1234);
    assert!(decoded.metadata.checking_disabled);
    assert!(!decoded.metadata.authentic_data);
    assert!(!decoded.metadata.truncation);
    // Names that point to the question take its spelling.
    assert_eq!(
        answers(&decoded),
        [
            "wWw.example.org. 300 CNAME app.example.org.",
            "app.example.org. 60 A 192.0.2.0",
            "app.example.org. 60 A 192.0.2.1",
        ]
    );
    assert_eq!(decoded.authorities.len(), 1);
    assert_eq!(decoded.additionals.len(), 2);
    assert!(decoded.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn a_message_that_does_not_fit_is_cut_at_an_rrset() {
    let upstream = upstream_message(2);
    // The question ends at 33; CNAME, A, A, NS, A, A end where the table says.
    for (limit, edns, counts, truncated) in [
        (1232, false, [3, 1, 2], false),
        (132, false, [3, 1, 2], false),
        // Additional data goes without TC.
        (131, false, [3, 1, 0], false),
        (116, false, [3, 1, 0], false),
        (100, false, [3, 1, 0], false),
        (99, false, [3, 0, 0], true),
        (83, false, [3, 0, 0], true),
        (82, false, [1, 0, 0], true),
        (67, false, [1, 0, 0], true),
        (66, false, [1, 0, 0], true),
        (50, false, [0, 0, 0], true),
        (0, false, [0, 0, 0], true),
        (143, true, [3, 1, 3], false),
        (142, true, [3, 1, 1], false),
        (110, true, [3, 0, 1], true),
    ] {
        let query_octets = query(0x0100, edns.then_some((4096, 0)));
        let query = Query::read(&query_octets).unwrap();
        let head = ResponseHead::new(Rcode::NOERROR);
        let mut out = Vec::new();

        ResponseWriter::relay(
            &mut out,
            &query,
            head,
            &upstream,
            limit,
            &EdnsReply::default(),
        );

        let found = [7, 9, 11].map(|at| u16::from(out[at]));
        assert_eq!(found, counts, "{limit} {edns}");
        let decoded = decode(&out);
        assert_eq!(decoded.metadata.truncation, truncated, "{limit} {edns}");
        if limit > 50 {
            assert!(out.len() <= limit, "{limit} {edns}");
        }
    }
}

#[test]
fn the_tc_of_an_upstream_is_passed_on() {
    let octets = query(0x0100, None);
    let mut truncated = octets.clone();
    truncated[2] = 0x83;
    let upstream = Message::parse(truncated).unwrap();
    let query = Query::read(&octets).unwrap();
    let mut out = Vec::new();
    ResponseWriter::relay(
        &mut out,
        &query,
        ResponseHead::new(Rcode::NOERROR),
        &upstream,
        512,
        &EdnsReply::default(),
    );
    assert!(decode(&out).metadata.truncation);
}

#[test]
fn records_of_another_question_are_not_passed_on() {
    let upstream = upstream_message(2);
    for question in [
        b"\x04wwww\x07example\x03org\x00\x00\x01\x00\x01".as_slice(),
        b"\x00\x00\x01\x00\x01",
    ] {
        let octets = [
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".as_slice(),
            question,
        ]
        .concat();
        let query = Query::read(&octets).unwrap();
        let mut out = Vec::new();
        ResponseWriter::relay(
            &mut out,
            &query,
            ResponseHead::new(Rcode::SERVFAIL),
            &upstream,
            512,
            &EdnsReply::default(),
        );
        assert_eq!(decode(&out).all_sections().count(), 0);
    }
}

#[test]
fn a_query_to_an_upstream_is_read_back() {
    let client = query(0x0110, None);
    let question = Query::read(&client).unwrap().question;
    for edns in [None, Some((1232, false)), Some((1400, true))] {
        let mut out = vec![9; 3];
        ResponseWriter::query(&mut out, 0xbeef, 0x0130, question, edns);
        let query = Query::read(&out).unwrap();
        assert_eq!(query.id, 0xbeef);
        assert_eq!(query.flags, Flags(0x0130));
        assert_eq!(query.question, question);
        assert_eq!(
            query.edns.map(|edns| (edns.udp_payload, edns.dnssec_ok)),
            edns
        );
    }
}

/// A query for `wWw.example.org A` with id 0x1234, and an OPT of the payload
/// and TTL given.
fn query(flags: u16, edns: Option<(u16, u32)>) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34];
    octets.extend_from_slice(&flags.to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    octets.extend_from_slice(b"\x03wWw\x07example\x03org\x00\x00\x01\x00\x01");
    if let Some((payload, ttl)) = edns {
        octets.extend_from_slice(&[0, 0, 41]);
        octets.extend_from_slice(&payload.to_be_bytes());
        octets.extend_from_slice(&ttl.to_be_bytes());
        octets.extend_from_slice(&[0, 0]);
    }
    octets
}

/// The RRset of 192.0.2.`host` for each host.
fn addresses(hosts: &[u8]) -> Rrset {
    let values: Vec<_> = hosts
        .iter()
        .map(|&host| Rdata::A(Ipv4Addr::new(192, 0, 2, host)))
        .collect();
    Rrset::encode(&values, 60).unwrap()
}

/// Labels of `length` octets together, without the root label. A single octet
/// is no label and gives none.
fn labels_of(length: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut left = length;
    while left > 1 {
        let label = match left {
            65 => 62,
            _ => left.min(64) - 1,
        };
        octets.push(u8::try_from(label).unwrap());
        octets.extend(vec![b'b'; label]);
        left -= label + 1;
    }
    octets
}

/// A response of an upstream to `www.example.org A`: an alias, `count`
/// addresses, a name server, two addresses of it.
fn upstream_message(count: u8) -> Message {
    let mut octets = b"\xab\xcd\x85\xa0\x00\x01\x00\x00\x00\x01\x00\x02".to_vec();
    octets[7] = count + 1;
    octets.extend_from_slice(b"\x03www\x07example\x03org\x00\x00\x01\x00\x01");
    octets.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x06\x03app\xc0\x10");
    for host in 0..count {
        octets.extend_from_slice(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02");
        octets.push(host);
    }
    octets.extend_from_slice(b"\xc0\x10\x00\x02\x00\x01\x00\x00\x01\x2c\x00\x05\x02ns\xc0\x10");
    for host in [53, 54] {
        octets.extend_from_slice(b"\xc0\x5f\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\xc0\x00\x02");
        octets.push(host);
    }
    Message::parse(octets).unwrap()
}

/// What hickory makes of a response.
fn decode(octets: &[u8]) -> op::Message {
    op::Message::from_vec(octets).unwrap()
}

/// The answer section as lines.
fn answers(message: &op::Message) -> Vec<String> {
    let line = |record: &hickory_proto::rr::Record| {
        let rtype: RecordType = record.record_type();
        format!("{} {} {rtype} {}", record.name, record.ttl, record.data)
    };
    message.answers.iter().map(line).collect()
}

/// The data of an option of the OPT.
fn option(message: &op::Message, code: u16) -> Option<Vec<u8>> {
    let option = message.edns.as_ref()?.option(code.into())?;
    Vec::try_from(option).ok()
}
