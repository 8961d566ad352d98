//! Tests of the response reader.

use super::{MAX_POINTERS, Message, MessageError, Section};
use crate::{Class, Ede, Flags, Name, Rcode, Rtype};

#[test]
fn records_are_located_section_by_section() {
    let wire = Wire::new(0x8180)
        .record(Section::Answer, b"\xc0\x0c", 5, 300, b"\x03app\xc0\x10")
        .record(Section::Answer, b"\xc0\x2d", 1, 60, &[192, 0, 2, 1])
        .record(Section::Authority, b"\xc0\x10", 2, 3600, b"\x02ns\xc0\x10")
        .record(
            Section::Additional,
            b"\x02ns\xc0\x10",
            1,
            5,
            &[192, 0, 2, 53],
        )
        .build();

    let message = Message::parse(wire.clone()).unwrap();

    assert_eq!(message.wire(), wire);
    assert_eq!(message.id(), 0x1234);
    assert_eq!(message.flags(), Flags(0x8180));
    assert_eq!(message.rcode(), Rcode::NOERROR);
    let (qname, qtype, qclass) = message.question().unwrap();
    assert_eq!(qname.to_string(), "www.example.org.");
    assert_eq!((qtype, qclass), (Rtype::A, Class::IN));
    assert_eq!(
        listing(&message),
        [
            "Answer www.example.org. 300 CNAME 03617070c010",
            "Answer app.example.org. 60 A c0000201",
            "Authority example.org. 3600 NS 026e73c010",
            "Additional ns.example.org. 5 A c0000235",
        ]
    );
    let targets: Vec<_> = message.records().map(|r| r.rdata_name()).collect();
    assert_eq!(targets[0], Some(name("app.example.org")));
    assert_eq!(targets[2], Some(name("ns.example.org")));
}

#[test]
fn a_response_without_a_question_has_none() {
    let mut wire = Wire::new(0x8185).build();
    wire.truncate(12);
    wire[5] = 0;

    let message = Message::parse(wire).unwrap();

    assert_eq!(message.question(), None);
    assert_eq!(message.rcode(), Rcode::REFUSED);
}

#[test]
fn what_is_no_response_is_refused() {
    let good = Wire::new(0x8180).a().build();
    let mut query = good.clone();
    query[2] = 0x01;
    let mut two_questions = good.clone();
    two_questions[5] = 2;
    let mut many_questions = good.clone();
    many_questions[4] = 1;
    let mut compressed = good.clone();
    compressed[12] = 0xc0;
    for (wire, expected) in [
        (Vec::new(), MessageError::Length),
        (good[..11].to_vec(), MessageError::Length),
        (vec![0x80; 65_536], MessageError::Length),
        (query, MessageError::NotResponse),
        (two_questions, MessageError::Question),
        (many_questions, MessageError::Question),
        (compressed, MessageError::Question),
        (good[..12].to_vec(), MessageError::Question),
        (good[..32].to_vec(), MessageError::Question),
    ] {
        assert_eq!(Message::parse(wire).unwrap_err(), expected);
    }
}

#[test]
fn a_response_that_breaks_off_anywhere_is_refused() {
    let wire = Wire::new(0x8180).a().opt(0, &[0, 15, 0, 2, 0, 22]).build();
    assert!(Message::parse(wire.clone()).is_ok());
    for length in 0..wire.len() {
        assert!(Message::parse(wire[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn a_truncated_response_that_breaks_off_keeps_its_header_and_question() {
    let wire = Wire::new(0x8380).a().a().opt(0, &[]).build();
    let intact = Message::parse(wire.clone()).unwrap();
    assert_eq!(intact.records().count(), 2);
    for length in 33..wire.len() {
        let message = Message::parse(wire[..length].to_vec()).unwrap();
        assert_eq!(message.records().count(), 0, "{length}");
        assert_eq!(message.wire().len(), 33, "{length}");
        assert_eq!(message.wire()[6..12], [0; 6], "{length}");
        assert!(message.flags().has(Flags::TRUNCATED));
        assert!(message.question().is_some());
    }
    assert_eq!(
        Message::parse(wire[..32].to_vec()).unwrap_err(),
        MessageError::Question
    );
}

#[test]
fn counts_that_promise_more_than_there_is_are_refused() {
    for at in [7, 9, 11] {
        let mut wire = Wire::new(0x8180).a().build();
        wire[at] += 1;
        assert_eq!(
            Message::parse(wire.clone()).unwrap_err(),
            MessageError::Record,
            "{at}"
        );
        wire[at - 1] = 0xff;
        assert_eq!(Message::parse(wire).unwrap_err(), MessageError::Record);
    }
}

#[test]
fn octets_behind_the_last_record_are_dropped() {
    let wire = Wire::new(0x8180).a().build();
    let message = Message::parse([&wire[..], &[1; 40]].concat()).unwrap();
    assert_eq!(message.wire(), wire);

    // Counts that promise less make what follows such octets.
    let mut fewer = Wire::new(0x8180).a().a().build();
    fewer[7] = 1;
    assert_eq!(Message::parse(fewer).unwrap().wire(), wire);
}

#[test]
fn the_opt_is_taken_out_wherever_it_stands() {
    let glue = |wire: Wire| wire.record(Section::Additional, b"\xc0\x10", 1, 5, &[192, 0, 2, 53]);
    let none = Wire::new(0x8180).a().build();
    let one = glue(Wire::new(0x8180).a()).build();
    for (place, wire, expected) in [
        ("alone", Wire::new(0x8180).a().opt(0, &[]), &none),
        ("last", glue(Wire::new(0x8180).a()).opt(0, &[]), &one),
        // What stands behind it goes with it.
        ("first", glue(Wire::new(0x8180).a().opt(0, &[])), &none),
        (
            "between",
            glue(glue(Wire::new(0x8180).a()).opt(0, &[])),
            &one,
        ),
    ] {
        let message = Message::parse(wire.build()).unwrap();
        assert!(message.has_edns(), "{place}");
        assert_eq!(message.wire(), expected, "{place}");
        assert!(message.records().all(|record| record.rtype != Rtype::OPT));
    }
    assert!(!Message::parse(none).unwrap().has_edns());
}

#[test]
fn an_opt_that_is_not_one_of_a_kind_under_the_root_is_refused() {
    let good = || Wire::new(0x8180).a();
    for (name, wire) in [
        ("twice", good().opt(0, &[]).opt(0, &[])),
        ("answer", good().record(Section::Answer, &[0], 41, 0, &[])),
        (
            "authority",
            good().record(Section::Authority, &[0], 41, 0, &[]),
        ),
        (
            "owned",
            good().record(Section::Additional, b"\xc0\x0c", 41, 0, &[]),
        ),
    ] {
        assert_eq!(
            Message::parse(wire.build()).unwrap_err(),
            MessageError::Record,
            "{name}"
        );
    }
}

#[test]
fn the_opt_extends_the_response_code() {
    for (flags, ttl, options, expected) in [
        (0x8180, 0x0000_0000, &[][..], Rcode::NOERROR),
        (0x8183, 0x0000_8000, &[], Rcode::NXDOMAIN),
        (0x8180, 0x0100_0000, &[], Rcode::BADVERS),
        (0x8187, 0x0100_0000, &[], Rcode::BADCOOKIE),
        (0x818f, 0xff00_0000, &[], Rcode(0xfff)),
        // Malformed options do not turn a failure into a success.
        (0x8180, 0x0100_0000, &[0, 15, 0, 9], Rcode::BADVERS),
    ] {
        let message = Message::parse(Wire::new(flags).opt(ttl, options).build()).unwrap();
        assert_eq!(message.rcode(), expected);
        assert_eq!(message.flags().rcode(), Rcode(flags & 0xf));
    }
}

#[test]
fn the_first_extended_error_is_told() {
    for (options, expected) in [
        (&[][..], None),
        (&[0, 15, 0, 2, 0, 22], Some(Ede::NO_REACHABLE_AUTHORITY)),
        (
            &[0, 10, 0, 1, 9, 0, 15, 0, 4, 0, 15, b'n', b'o'],
            Some(Ede(15)),
        ),
        (
            &[0, 15, 0, 2, 0, 3, 0, 15, 0, 2, 0, 4],
            Some(Ede::STALE_ANSWER),
        ),
        (&[0, 15, 0, 1, 0], None),
        (&[0, 15, 0, 0], None),
        (&[0, 15, 0, 3, 0, 22], None),
    ] {
        let message = Message::parse(Wire::new(0x8182).opt(0, options).build()).unwrap();
        assert_eq!(message.ede(), expected, "{options:?}");
        assert!(message.has_edns());
    }
}

#[test]
fn the_idle_time_of_the_connection_is_told() {
    for (options, expected) in [
        (&[][..], None),
        (&[0, 11, 0, 2, 1, 44], Some(300)),
        (&[0, 15, 0, 2, 0, 22, 0, 11, 0, 2, 0, 0], Some(0)),
        (&[0, 11, 0, 0], None),
        (&[0, 11, 0, 3, 0, 1, 0], None),
        (&[0, 11, 0, 2, 1], None),
    ] {
        let message = Message::parse(Wire::new(0x8180).opt(0, options).build()).unwrap();
        assert_eq!(message.tcp_keepalive(), expected, "{options:?}");
    }
}

/// The mistakes of RFC 9267 in the owner of a record.
#[test]
fn owners_that_cannot_be_read_are_refused() {
    let label = |length: u8| [vec![length], vec![b'a'; length.into()]].concat();
    for (name, owner) in [
        ("§2 to itself", vec![0xc0, 0x21]),
        ("§2 to its own labels", vec![1, b'a', 0xc0, 0x21]),
        ("§2 forward", vec![0xc0, 0x30]),
        ("§2 past the end", vec![0xff, 0xff]),
        ("§2 into the header", vec![0xc0, 0x02]),
        ("§3 label type 0b01", label(0x41)),
        ("§3 label type 0b10", label(0x81)),
        ("§3 256 octets", [label(63).repeat(4), vec![0]].concat()),
    ] {
        let wire = Wire::new(0x8180)
            .record(Section::Answer, &owner, 1, 60, &[192, 0, 2, 1])
            .build();
        assert_eq!(
            Message::parse(wire).unwrap_err(),
            MessageError::Record,
            "{name}"
        );
    }
}

#[test]
fn data_longer_than_the_message_is_refused() {
    let mut wire = Wire::new(0x8180).a().build();
    let at = wire.len() - 5;
    for length in [5, 6, 255] {
        wire[at] = length;
        assert_eq!(
            Message::parse(wire.clone()).unwrap_err(),
            MessageError::Record
        );
    }
}

/// Compression that can be walked over, but not read: the record is there and
/// has no owner.
#[test]
fn compression_that_leads_nowhere_gives_no_name() {
    // The data of the first record, at offset 45, is what the owner of the
    // second points to.
    for (name, target) in [
        ("loop", &[0xc0, 45][..]),
        ("loop through a label", &[1, b'a', 0xc0, 45]),
        ("forward", &[0xc0, 0x50, 0]),
        ("into the header", &[0xc0, 0x00]),
        ("reserved label type", &[0x80, 0]),
        ("to the end", &[63, b'a']),
    ] {
        let wire = Wire::new(0x8180)
            .record(Section::Answer, b"\xc0\x0c", 65280, 60, target)
            .record(Section::Answer, b"\xc0\x2d", 1, 60, &[192, 0, 2, 1])
            .build();
        assert_eq!(
            Message::parse(wire).err(),
            Some(MessageError::Record),
            "{name}"
        );
        let wire = Wire::new(0x8180)
            .record(Section::Answer, b"\xc0\x0c", 65280, 60, target)
            .build();
        let message = Message::parse(wire).unwrap();
        let record = message.records().next().unwrap();
        assert_eq!(record.rdata_name(), None, "{name}");
    }
}

#[test]
fn a_name_that_compression_makes_too_long_is_none() {
    let label = [vec![63], vec![b'a'; 63]].concat();
    let long = [label.repeat(3), vec![0xc0, 0x0c]].concat();
    let wire = Wire::new(0x8180).record(Section::Answer, &long, 1, 60, &[192, 0, 2, 1]);
    let message = Message::parse(wire.clone().build()).unwrap();
    let owner = message.records().next().unwrap().owner();
    assert_eq!(owner.unwrap().as_wire().len(), 3 * 64 + 17);
    for (length, readable) in [(45, true), (46, false)] {
        let longer = [&[length][..], &vec![b'b'; usize::from(length)], &[0xc0, 33]].concat();
        let wire = wire
            .clone()
            .record(Section::Answer, &longer, 1, 60, &[192, 0, 2, 1]);
        assert_eq!(Message::parse(wire.build()).is_ok(), readable, "{length}");
    }
}

#[test]
fn chains_of_pointers_are_followed_only_so_far() {
    // The data of one record is a chain of pointers, each to the one before.
    for (hops, readable) in [(MAX_POINTERS - 1, true), (MAX_POINTERS, false)] {
        let mut chain = vec![0xc0, 0x0c];
        for hop in 1..hops {
            chain.extend_from_slice(&pointer_to(45 + 2 * (hop - 1)));
        }
        let owner = pointer_to(45 + 2 * (hops - 1));
        let wire = Wire::new(0x8180)
            .record(Section::Answer, b"\xc0\x0c", 65280, 60, &chain)
            .record(Section::Answer, &owner, 1, 60, &[192, 0, 2, 1])
            .build();
        let owner = Message::parse(wire).map(|message| {
            let record = message.records().nth(1);
            record.and_then(|record| record.owner())
        });
        assert_eq!(matches!(owner, Ok(Some(_))), readable, "{hops}");
        assert_eq!(owner.is_err(), !readable, "{hops}");
    }
}

#[test]
fn the_name_in_data_ends_within_the_data() {
    for (rdata, expected) in [
        (&b"\x01b\xc0\x10"[..], Some("b.example.org")),
        (b"\x01b\x00", Some("b")),
        (b"", None),
        (b"\x01b", None),
        (b"\xc0", None),
        (b"\x05b", None),
    ] {
        let wire = Wire::new(0x8180)
            .record(Section::Answer, b"\xc0\x0c", 65280, 60, rdata)
            .record(Section::Answer, &[0], 16, 60, b"\x01a")
            .build();
        let message = Message::parse(wire).unwrap();
        let record = message.records().next().unwrap();
        assert_eq!(record.rdata_name(), expected.map(name), "{rdata:?}");
        assert_eq!(record.rdata(), rdata);
    }
}

#[test]
fn a_ttl_with_the_top_bit_set_is_zero() {
    let wire = Wire::new(0x8180)
        .record(Section::Answer, &[0], 1, 0x7fff_ffff, &[192, 0, 2, 1])
        .record(Section::Answer, &[0], 1, 0x8000_0000, &[192, 0, 2, 2])
        .record(Section::Answer, &[0], 1, u32::MAX, &[192, 0, 2, 3])
        .build();
    let mut message = Message::parse(wire).unwrap();
    let ttls = |message: &Message| -> Vec<u32> { message.records().map(|r| r.ttl).collect() };
    assert_eq!(ttls(&message), [0x7fff_ffff, 0, 0]);

    message.map_ttls(|ttl| ttl.min(100) + 1);

    assert_eq!(ttls(&message), [101, 1, 1]);
}

#[test]
fn ttls_change_in_every_section_and_nothing_else_does() {
    let wire = Wire::new(0x8180)
        .record(Section::Answer, b"\xc0\x0c", 1, 300, &[192, 0, 2, 1])
        .record(Section::Authority, b"\xc0\x10", 2, 10, b"\x02ns\xc0\x10")
        .record(
            Section::Additional,
            b"\x02ns\xc0\x10",
            1,
            5,
            &[192, 0, 2, 53],
        )
        .opt(0x0000_8000, &[])
        .build();
    let mut message = Message::parse(wire).unwrap();
    let before = message.wire().to_vec();

    message.map_ttls(|ttl| ttl.saturating_sub(7));

    assert_eq!(
        message.records().map(|r| r.ttl).collect::<Vec<_>>(),
        [293, 3, 0]
    );
    message.map_ttls(|ttl| match ttl {
        0 => 5,
        ttl => ttl + 7,
    });
    assert_eq!(message.wire(), before);
}

#[test]
fn unknown_types_and_classes_pass_as_they_are() {
    let mut wire = Wire::new(0x8180)
        .record(Section::Answer, b"\xc0\x0c", 65280, 60, b"\xc0\x0c\xff\x00")
        .build();
    wire[37] = 0x42;
    let message = Message::parse(wire.clone()).unwrap();
    let record = message.records().next().unwrap();
    assert_eq!(record.rtype, Rtype(65280));
    assert_eq!(record.class, Class(0x4201));
    assert_eq!(record.rdata(), b"\xc0\x0c\xff\x00");
    assert_eq!(message.wire(), wire);
}

#[test]
fn the_minimum_of_a_soa_is_its_last_field() {
    let rdata = [
        b"\x02ns\xc0\x10\x04host\xc0\x10".to_vec(),
        vec![0; 16],
        vec![0, 0, 1, 44],
    ];
    let wire = Wire::new(0x8183)
        .record(Section::Authority, b"\xc0\x10", 6, 3600, &rdata.concat())
        .record(Section::Authority, b"\xc0\x10", 16, 3600, &[0; 20])
        .build();
    let message = Message::parse(wire).unwrap();
    let minimums: Vec<_> = message.records().map(|r| r.soa_minimum()).collect();
    assert_eq!(minimums, [Some(300), None]);
}

#[test]
fn a_kept_message_holds_no_reserve() {
    let mut wire = Vec::with_capacity(65_535);
    wire.extend(Wire::new(0x8180).a().build());
    let mut message = Message::parse(wire).unwrap();
    assert!(message.heap_sizes().iter().sum::<usize>() > 65_000);

    message.shrink();

    let held: usize = message.heap_sizes().iter().sum();
    assert!(held < 200, "{held}");
    assert_eq!(message.records().count(), 1);
}

/// A name.
fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A pointer to an offset.
fn pointer_to(offset: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(offset).unwrap()).to_be_bytes()
}

/// Every record of a message as a line.
fn listing(message: &Message) -> Vec<String> {
    message
        .records()
        .map(|record| {
            let rdata: String = record.rdata().iter().map(|o| format!("{o:02x}")).collect();
            format!(
                "{:?} {} {} {} {rdata}",
                record.section,
                record.owner().unwrap(),
                record.ttl,
                record.rtype
            )
        })
        .collect()
}

/// A response to `www.example.org A` with id 0x1234, in the making. The
/// question is at 12, `example.org` at 16, the first record at 33.
#[derive(Clone)]
struct Wire {
    /// The octets, counts not written.
    octets: Vec<u8>,
    /// Records in each section.
    counts: [u16; 3],
}

impl Wire {
    /// A response without records.
    fn new(flags: u16) -> Self {
        let mut octets = vec![0x12, 0x34];
        octets.extend_from_slice(&flags.to_be_bytes());
        octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend_from_slice(b"\x03www\x07example\x03org\x00\x00\x01\x00\x01");
        Self {
            octets,
            counts: [0; 3],
        }
    }

    /// An address record in the answer section.
    fn a(self) -> Self {
        self.record(Section::Answer, b"\xc0\x0c", 1, 60, &[192, 0, 2, 1])
    }

    /// A record of class IN.
    fn record(
        mut self,
        section: Section,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Self {
        self.octets.extend_from_slice(owner);
        self.octets.extend_from_slice(&rtype.to_be_bytes());
        self.octets.extend_from_slice(&[0, 1]);
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        let length = u16::try_from(rdata.len()).unwrap();
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(rdata);
        self.counts[section as usize] += 1;
        self
    }

    /// An OPT.
    fn opt(self, ttl: u32, options: &[u8]) -> Self {
        self.record(Section::Additional, &[0], 41, ttl, options)
    }

    /// The octets.
    fn build(mut self) -> Vec<u8> {
        for (index, count) in self.counts.into_iter().enumerate() {
            self.octets[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        self.octets
    }
}
