use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::LazyLock;

use portolan_proto::Class;
use portolan_proto::Rdata;
use portolan_table::Table;
use prometheus::Encoder as _;
use prometheus::Registry;
use prometheus::TextEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Fallthrough;
use crate::Families;
use crate::Hooks;
use crate::Transport;
use crate::UnknownAction;
use crate::handle;
use crate::handle::Received;
use crate::handle::Step;
use crate::rotation::Rotation;
use crate::testing::a;
use crate::testing::block;
use crate::testing::cname;
use crate::testing::layer;
use crate::testing::name;
use crate::testing::query_of;
use crate::testing::received;
use crate::testing::table;

proptest! {
    #[test]
    fn both_ways_say_and_count_the_same(messages in vec(message(), 1..24)) {
        let table = names();
        let (mut short, mut long) = (Way::new(&table, true), Way::new(&table, false));
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let (by_short, by_long) = (short.ask_all(&messages), long.ask_all(&messages));
        for ((message, short), long) in messages.iter().zip(by_short).zip(by_long) {
            prop_assert_eq!(short.0, long.0, "{:?}", message);
        }
        prop_assert_eq!(short.counts(), long.counts());
    }
}

#[test]
fn the_ordinary_query_takes_the_short_way() {
    let mut way = Way::new(&names(), true);
    let small = Some(opt_of(512, 0x80, &[0, 10, 0, 2, 1, 2]));
    for (what, owner, qtype, opt, counts) in [
        ("one address", "one.test", Rtype::A, None, [1, 0]),
        (
            "another spelling",
            "oNe.tEST",
            Rtype::A,
            Some(usual()),
            [1, 0],
        ),
        ("options", "one.test", Rtype::A, small, [1, 0]),
        ("two addresses", "two.test", Rtype::A, None, [2, 0]),
        ("IPv6", "two.test", Rtype::AAAA, None, [2, 0]),
        ("many", "many.test", Rtype::A, Some(usual()), [59, 0]),
        ("wildcard", "x.wild.test", Rtype::A, None, [1, 0]),
        ("an alias itself", "alias.test", Rtype::CNAME, None, [1, 0]),
        ("the second layer", "second.test", Rtype::A, None, [1, 0]),
        ("the other block", "one.other", Rtype::A, None, [1, 0]),
        (
            "no such type",
            "one.test",
            Rtype::AAAA,
            Some(usual()),
            [0, 1],
        ),
        ("nor below", "x.wild.test", Rtype::AAAA, None, [0, 1]),
        ("no such name", "none.test", Rtype::A, Some(usual()), [0, 1]),
        ("nor there", "none.second.test", Rtype::A, None, [0, 1]),
        ("names below", "wild.test", Rtype::A, None, [0, 1]),
        ("not said", "none.other", Rtype::A, None, [0, 1]),
        ("as much as fits", FITS, Rtype::A, None, [30, 0]),
    ] {
        let message = query_of(owner, qtype, Class::IN, &opt.unwrap_or_default());
        let (Some(response), true) = way.ask(&message) else {
            panic!("{what}");
        };
        let [answers, authorities] = counts;
        assert_eq!(response[6..10], [0, answers, 0, authorities], "{what}");
    }
}

#[test]
fn what_is_not_ordinary_takes_the_long_way() {
    let mut way = Way::new(&names(), true);
    let other = Some([&[0, 41, 4, 208, 0, 1, 0, 0, 0, 0][..]].concat());
    for (what, owner, qtype, class, opt) in [
        ("another class", "one.test", Rtype::A, Class::CH, None),
        ("another version", "one.test", Rtype::A, Class::IN, other),
        ("more than fits", "many.test", Rtype::A, Class::IN, None),
        ("a little more", FITS_NOT, Rtype::A, Class::IN, None),
        ("an alias", "alias.test", Rtype::A, Class::IN, None),
        ("a transfer", "one.test", Rtype::AXFR, Class::IN, None),
        ("refused", "none.refused", Rtype::A, Class::IN, None),
    ] {
        let message = query_of(owner, qtype, class, &opt.unwrap_or_default());
        let (response, is_short) = way.ask(&message);
        assert!(response.is_some() && !is_short, "{what}");
    }
}

#[test]
fn what_trips_over_a_defect_is_left_out_and_nothing_else() {
    let mut seen = Vec::new();
    for_each(0..6, |number| {
        assert!(number % 2 == 0, "a defect");
        seen.push(number);
    });
    assert_eq!(seen, [0, 2, 4]);
}

/// A server that is asked by one of the two ways.
struct Way {
    /// Whether the short way is tried.
    is_short: bool,
    /// What is counted.
    registry: Registry,
    /// What all listeners share.
    shared: Shared,
    /// Two blocks.
    routing: Routing,
    /// What is at hand.
    desk: Desk,
    /// How many were asked.
    asked: usize,
}

impl Way {
    /// A server of names.
    fn new(table: &Arc<Table>, is_short: bool) -> Self {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let zones = [
            ("test", UnknownAction::NxDomain),
            ("other", UnknownAction::NoData),
            ("refused", UnknownAction::Refused),
            ("failed", UnknownAction::ServFail),
            ("dropped", UnknownAction::Drop),
        ];
        let zones = zones.map(|(zone, unknown)| {
            let first = LocalLayer {
                zones: vec![name(zone)],
                fallthrough: Fallthrough::Within(vec![name("second.test")]),
                unknown,
                ..layer(0)
            };
            let mut block = block(vec![first, layer(1)]);
            block.hooks = Hooks {
                metrics: Some(families.block("dns://:53", zone)),
                ..Hooks::default()
            };
            (name(zone), Arc::new(block))
        });
        let unrouted = families.block("dns://:53", "");
        Self {
            is_short,
            shared: Shared {
                table: Arc::clone(table),
                families,
                rotation: Rotation::default(),
            },
            routing: Routing::new(zones, Some(unrouted)),
            registry,
            desk: Desk::default(),
            asked: 0,
        }
    }

    /// The response to a message, and whether it came by the short way.
    fn ask(&mut self, message: &[u8]) -> (Option<Vec<u8>>, bool) {
        self.ask_all(&[message]).remove(0)
    }

    /// The responses to messages that arrived together. Clients of both
    /// families take turns.
    fn ask_all(&mut self, messages: &[&[u8]]) -> Vec<(Option<Vec<u8>>, bool)> {
        let snapshot = self.shared.table.load();
        let batch = Batch {
            shared: &self.shared,
            routing: &self.routing,
            snapshot: &snapshot,
        };
        let Desk {
            qnames,
            response,
            tallies,
            ..
        } = &mut self.desk;
        let ahead = batch.read(messages.iter().copied(), qnames);
        let mut responses = Vec::new();
        for (message, read) in messages.iter().zip(ahead.queries(qnames)) {
            let ips = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let client = SocketAddr::new(ips[self.asked % 2], 4000);
            self.asked += 1;
            // What is in the buffer already stays there.
            let mut out = b"before".to_vec();
            let fate = read
                .filter(|_| self.is_short)
                .map(|read| batch.answer(read, message.len(), client.ip(), tallies, &mut out));
            assert_eq!(out[..6], *b"before");
            if let Some(Fate::Response) = fate {
                responses.push((Some(out.split_off(6)), true));
                continue;
            }
            assert_eq!(out, b"before");
            let received = Received {
                client,
                ..received(message, Transport::Udp)
            };
            let (shared, routing, tallies) = (&self.shared, &self.routing, Some(&mut *tallies));
            match handle::handle(
                shared, routing, &snapshot, &received, response, &mut None, tallies,
            ) {
                Step::Respond => responses.push((Some(response.clone()), false)),
                Step::Silent => responses.push((None, false)),
                Step::Resolve(pending) => panic!("an upstream is to be asked: {pending:?}"),
            }
        }
        responses
    }

    /// All that is counted.
    fn counts(&mut self) -> String {
        self.desk.tallies.flush(std::time::Duration::from_micros(7));
        let mut text = Vec::new();
        let families = self.registry.gather();
        TextEncoder::new().encode(&families, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

/// A table of all that there is to answer with.
fn names() -> Arc<Table> {
    static NAMES: LazyLock<Arc<Table>> = LazyLock::new(build);
    Arc::clone(&NAMES)
}

/// Builds it.
fn build() -> Arc<Table> {
    let v6 = |last| Rdata::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let mut rows = vec![
        (0, "one.test", a(1)),
        (0, "two.test", a(1)),
        (0, "two.test", a(2)),
        (0, "two.test", v6(1)),
        (0, "two.test", v6(2)),
        (0, "*.wild.test", a(3)),
        (0, "alias.test", cname("two.test")),
        (0, "loop.test", cname("loop.test")),
        (0, "outside.test", cname("example.org")),
        (0, "1.2.0.192.test", Rdata::Ptr(name("one.test"))),
        (0, "1.2.0.192.test", Rdata::Ptr(name("longer.one.test"))),
        (0, "one.other", a(4)),
        (1, "second.test", a(5)),
        (1, "one.test", a(6)),
    ];
    rows.extend((1..60).map(|last| (0, "many.test", a(last))));
    // Responses of 512 octets, and of one more.
    for owner in [FITS, FITS_NOT] {
        rows.extend((1..31).map(|last| (0, owner, a(last))));
    }
    table(&rows)
}

/// A message: a query of some kind, here and there with a defect.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let owner = prop::sample::select(vec![
        "one.test",
        "two.test",
        "many.test",
        FITS,
        FITS_NOT,
        "x.wild.test",
        "alias.test",
        "loop.test",
        "outside.test",
        "1.2.0.192.test",
        "one.other",
        "second.test",
        "none.test",
        "none.second.test",
        "none.other",
        "none.refused",
        "none.failed",
        "none.dropped",
        LONGEST,
        "test",
        "wild.test",
        "elsewhere",
        "",
    ]);
    let qtype = prop_oneof![
        6 => Just(Rtype::A),
        2 => Just(Rtype::AAAA),
        1 => prop::sample::select(vec![
            Rtype::CNAME, Rtype::PTR, Rtype::DS, Rtype::ANY, Rtype::AXFR, Rtype::OPT, Rtype(0),
        ]),
    ];
    let class = prop_oneof![9 => Just(Class::IN), 1 => any::<u16>().prop_map(Class)];
    let opt = (
        // Those in the middle are about what `many.test` takes.
        prop_oneof![
            Just(512_u16),
            Just(1232),
            Just(4096),
            970_u16..995,
            any::<u16>()
        ],
        prop_oneof![9 => Just(0_u8), 1 => any::<u8>()],
        prop_oneof![Just(0_u8), Just(0x80), any::<u8>()],
        prop_oneof![
            3 => Just(Vec::new()),
            // A cookie, client subnet, padding; and what is no option.
            1 => Just(vec![0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            1 => Just(vec![0, 8, 0, 4, 0, 1, 0, 0, 0, 12, 0, 1, 0]),
            1 => vec(any::<u8>(), 0..20),
        ],
    );
    let opt = prop::option::of(opt.prop_map(|(payload, version, high, options)| {
        let mut octets = opt_of(payload, high, &options);
        octets[5] = version;
        octets
    }));
    let flags = prop_oneof![4 => Just(0x0100_u16), 1 => any::<u16>()];
    let query = (owner, qtype, class, opt, flags, any::<u64>(), any::<u16>()).prop_map(
        |(owner, qtype, class, opt, flags, case, id)| {
            let mut message = query_of(owner, qtype, class, &opt.unwrap_or_default());
            message[..2].copy_from_slice(&id.to_be_bytes());
            message[2..4].copy_from_slice(&flags.to_be_bytes());
            for (index, octet) in message[12..=12 + owner.len()].iter_mut().enumerate() {
                if octet.is_ascii_lowercase() && case >> (index % 64) & 1 == 1 {
                    octet.make_ascii_uppercase();
                }
            }
            message
        },
    );
    let defect = prop_oneof![
        6 => Just(Defect::None),
        1 => (4_usize..12, 0_u8..3).prop_map(|(at, octet)| Defect::Octet(at, octet)),
        1 => (12_usize..60, any::<u8>()).prop_map(|(at, octet)| Defect::Octet(at, octet)),
        // A pointer where a label should be.
        1 => (12_usize..40, 0_u8..40).prop_map(|(at, to)| Defect::Pointer(at, to)),
        1 => (0_usize..60).prop_map(Defect::Cut),
        1 => (0_usize..4, prop::sample::select(more())).prop_map(|(section, octets)| {
            Defect::More(section, octets)
        }),
        1 => vec(any::<u8>(), 1..24).prop_map(Defect::Behind),
    ];
    (query, defect).prop_map(|(mut message, defect)| {
        defect.apply(&mut message);
        message
    })
}

/// The OPT that most clients send.
fn usual() -> Vec<u8> {
    opt_of(1232, 0, &[])
}

/// A name that leaves no room for a mailbox in its SOA.
const LONGEST: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.",
    "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.",
    "ddddddddddddddddddddddddddddddddddddddddddddd.second.test",
);

/// What may stand behind a question, and should perhaps not.
fn more() -> Vec<Vec<u8>> {
    let question = b"\x03one\x04test\0\0\x01\0\x01";
    let address = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let signature = b"\0\0\xfa\0\xff\0\0\0\0\0\0";
    let root = b"\xc0\x15\0\x29\x04\xd0\0\0\0\0\0\0";
    vec![
        question.to_vec(),
        b"\xc0\x0c\0\x01\0\x01".to_vec(),
        address.to_vec(),
        signature.to_vec(),
        [vec![0], opt_of(1232, 0x80, &[])].concat(),
        // An OPT that finds its name, the root, at the end of another.
        root.to_vec(),
    ]
}

/// What is wrong with a message.
#[derive(Clone, Debug)]
enum Defect {
    /// Nothing.
    None,
    /// One octet, a count perhaps.
    Octet(usize, u8),
    /// A name is compressed.
    Pointer(usize, u8),
    /// It breaks off.
    Cut(usize),
    /// A section has one entry more, which stands at the end.
    More(usize, Vec<u8>),
    /// It has more octets than it should.
    Behind(Vec<u8>),
}

impl Defect {
    /// Brings it about.
    fn apply(self, message: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Octet(at, octet) => {
                if let Some(place) = message.get_mut(at) {
                    *place = octet;
                }
            }
            Self::Pointer(at, to) => {
                if let Some(place) = message.get_mut(at..at + 2) {
                    place.copy_from_slice(&[0xc0, to]);
                }
            }
            Self::Cut(length) => message.truncate(length),
            Self::More(section, octets) => {
                message[5 + section * 2] += 1;
                message.extend_from_slice(&octets);
            }
            Self::Behind(octets) => message.extend_from_slice(&octets),
        }
    }
}

/// The name of thirty addresses that take 512 octets in all.
const FITS: &str = "just-fits.test";

/// The same of one octet more.
const FITS_NOT: &str = "just-fits2.test";

/// An OPT from the type on.
fn opt_of(payload: u16, high: u8, options: &[u8]) -> Vec<u8> {
    let [p0, p1] = payload.to_be_bytes();
    let length = u8::try_from(options.len()).unwrap();
    [&[0, 41, p0, p1, 0, 0, high, 0, 0, length], options].concat()
}
