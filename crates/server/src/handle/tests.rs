mod forwarding;

use std::sync::Mutex;

use portolan_proto::Class;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Section;

use super::*;
use crate::Fallthrough;
use crate::Hooks;
use crate::QueryLog;
use crate::testing::Errors;
use crate::testing::a;
use crate::testing::answer;
use crate::testing::ask;
use crate::testing::block;
use crate::testing::cname;
use crate::testing::layer;
use crate::testing::name;
use crate::testing::query;
use crate::testing::query_of;
use crate::testing::received;
use crate::testing::routing;
use crate::testing::shared;
use crate::testing::table;

/// A query log that keeps who answered, with which code and size.
#[derive(Default)]
struct Log(Mutex<Vec<(String, Option<Rcode>, usize)>>);

impl QueryLog for Log {
    fn log(&self, event: &Event<'_>) {
        let entry = (event.plugin.to_owned(), event.rcode, event.response.len());
        self.0.lock().unwrap().push(entry);
    }
}

/// OPT from the type on: a version, and 1232 octets.
fn opt(version: u8) -> Vec<u8> {
    vec![0, 41, 4, 208, 0, version, 0, 0, 0, 0]
}

/// The addresses of an answer section, by their last octet.
fn addresses(message: &Message) -> Vec<u8> {
    message
        .records()
        .filter_map(|record| record.rdata().last().copied())
        .collect()
}

/// Owner, TTL and minimum of the SOA in an authority section.
fn soa(message: &Message) -> (String, u32, Option<u32>) {
    let mut authorities = message
        .records()
        .filter(|record| record.section == Section::Authority);
    let record = authorities.next().unwrap();
    assert_eq!((record.rtype, authorities.count()), (Rtype::SOA, 0));
    (
        record.owner().unwrap().to_string(),
        record.ttl,
        record.soa_minimum(),
    )
}

#[test]
fn what_is_no_query_is_ignored_or_answered_with_a_header() {
    let shared = shared(table(&[]));
    let routing = routing(block(vec![layer(0)]));
    let sound = query("x.test", Rtype::A);
    let with = |at: usize, octet: u8| {
        let mut message = sound.clone();
        message[at] = octet;
        message
    };
    for (message, flags) in [
        (Vec::new(), None),
        (sound[..11].to_vec(), None),
        (with(2, 0x81), None),
        // NOTIMP, opcode and RD echoed.
        (with(2, 0x11), Some([0x91, 4])),
        (with(2, 0x29), Some([0xa9, 4])),
        // FORMERR.
        (sound[..12].to_vec(), Some([0x81, 1])),
        (with(5, 0), Some([0x81, 1])),
        (with(5, 2), Some([0x81, 1])),
        (sound[..sound.len() - 1].to_vec(), Some([0x81, 1])),
    ] {
        let expected = flags.map(|[high, low]| vec![0, 7, high, low, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            answer(&shared, &routing, &message),
            expected,
            "{message:02x?}"
        );
    }
    assert_eq!(shared.families.malformed.get(), 9);
}

#[test]
fn a_name_of_no_zone_is_refused() {
    let shared = shared(table(&[]));
    let zones = [(name("test"), Arc::new(block(vec![layer(0)])))];
    let metrics = shared.families.block("dns://:54", "dropped");
    let routing = Routing::new(zones, Some(metrics));
    let response = ask(&shared, &routing, "x.example", Rtype::A).unwrap();
    assert_eq!(response.rcode(), Rcode::REFUSED);
    assert_eq!(response.records().count(), 0);
    let response = ask(&shared, &routing, "x.test", Rtype::A).unwrap();
    assert_eq!(response.rcode(), Rcode::NXDOMAIN);
}

#[test]
fn a_block_that_answers_nothing_refuses() {
    let shared = shared(table(&[]));
    let response = ask(&shared, &routing(block(Vec::new())), "x.test", Rtype::A).unwrap();
    assert_eq!(response.rcode(), Rcode::REFUSED);
}

#[test]
fn a_name_that_no_stage_answers_fails_and_says_so() {
    let shared = shared(table(&[]));
    let errors = Arc::new(Errors::default());
    let passing = LocalLayer {
        fallthrough: Fallthrough::Within(vec![Name::root()]),
        ..layer(0)
    };
    let hooks = Hooks {
        errors: Some(Arc::clone(&errors) as Arc<_>),
        ..Hooks::default()
    };
    let routing = routing(Block {
        hooks,
        ..block(vec![passing])
    });
    let response = ask(&shared, &routing, "X.test", Rtype::AAAA).unwrap();
    assert_eq!(response.rcode(), Rcode::SERVFAIL);
    assert_eq!(
        errors.lines(),
        ["x.test. AAAA: SERVFAIL: no next plugin found"]
    );
}

#[test]
fn another_version_of_edns_is_refused_before_anything_else() {
    let shared = shared(table(&[(0, "x.test", a(1))]));
    let block = Arc::new(block(vec![layer(0)]));
    let routing = Routing::new([(name("test"), block)], None);
    for (qname, qtype, class) in [
        ("x.test", Rtype::A, Class::IN),
        ("x.test", Rtype::AXFR, Class::IN),
        ("x.test", Rtype::A, Class(3)),
        ("x.example", Rtype::A, Class::IN),
    ] {
        let message = query_of(qname, qtype, class, &opt(1));
        let response = Message::parse(answer(&shared, &routing, &message).unwrap()).unwrap();
        assert_eq!(response.rcode(), Rcode::BADVERS, "{qname} {qtype} {class}");
        assert!(response.has_edns());
        assert_eq!(response.records().count(), 0);
    }
}

#[test]
fn a_response_has_an_opt_if_the_query_has_one() {
    let shared = shared(table(&[(0, "x.test", a(1))]));
    let routing = routing(block(vec![layer(0)]));
    for (message, expected) in [
        (query("x.test", Rtype::A), false),
        (query_of("x.test", Rtype::A, Class::IN, &opt(0)), true),
        (query("y.test", Rtype::A), false),
        (query_of("y.test", Rtype::A, Class::IN, &opt(0)), true),
    ] {
        let response = Message::parse(answer(&shared, &routing, &message).unwrap()).unwrap();
        assert_eq!(response.has_edns(), expected);
    }
}

#[test]
fn the_question_is_echoed_octet_by_octet() {
    let shared = shared(table(&[(0, "www.test", a(1))]));
    let routing = routing(block(vec![layer(0)]));
    let message = query("wWw.TeSt", Rtype::A);
    let response = answer(&shared, &routing, &message).unwrap();
    assert_eq!(response[12..message.len()], message[12..]);
}

#[test]
fn zone_transfers_and_other_classes_are_refused() {
    let shared = shared(table(&[(0, "x.test", a(1))]));
    let routing = routing(Block {
        whoami: true,
        ..block(vec![layer(0)])
    });
    for (qtype, class) in [
        (Rtype::AXFR, Class::IN),
        (Rtype::IXFR, Class::IN),
        (Rtype::A, Class(3)),
        (Rtype::TXT, Class(3)),
        (Rtype::A, Class(255)),
    ] {
        let message = query_of("x.test", qtype, class, &[]);
        let response = Message::parse(answer(&shared, &routing, &message).unwrap()).unwrap();
        assert_eq!(response.rcode(), Rcode::REFUSED, "{qtype} {class}");
        assert_eq!(response.records().count(), 0);
    }
}

#[test]
fn a_known_name_is_answered_with_authority_and_in_turn() {
    let rows = [
        (0, "x.test", a(1)),
        (0, "x.test", a(2)),
        (0, "x.test", a(3)),
    ];
    let shared = shared(table(&rows));
    let routing = routing(block(vec![layer(0)]));
    let turns: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            let response = ask(&shared, &routing, "x.test", Rtype::A).unwrap();
            assert!(
                response
                    .flags()
                    .has(Flags::AUTHORITATIVE | Flags::RECURSION_DESIRED)
            );
            addresses(&response)
        })
        .collect();
    assert_eq!(turns, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
}

#[test]
fn both_families_rotate_where_clients_ask_for_them_in_turn() {
    let v6 = |last: u16| Rdata::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into());
    let rows = [
        (0, "x.test", a(1)),
        (0, "x.test", a(2)),
        (0, "x.test", v6(1)),
        (0, "x.test", v6(2)),
    ];
    let shared = shared(table(&rows));
    let routing = routing(block(vec![layer(0)]));
    let mut first = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        for (qtype, first) in [Rtype::A, Rtype::AAAA].into_iter().zip(&mut first) {
            let response = ask(&shared, &routing, "x.test", qtype).unwrap();
            first.push(addresses(&response)[0]);
        }
    }
    assert_eq!(first, [[1, 2, 1, 2], [1, 2, 1, 2]]);
}

#[test]
fn a_type_that_a_known_name_lacks_is_nodata_with_a_soa() {
    let shared = shared(table(&[(0, "x.test", a(1))]));
    for (zones, apex) in [
        (vec![Name::root()], "x.test."),
        (vec![name("test")], "test."),
    ] {
        let routing = routing(block(vec![LocalLayer { zones, ..layer(0) }]));
        for qtype in [Rtype::AAAA, Rtype::TXT, Rtype::SOA, Rtype(65280)] {
            let response = ask(&shared, &routing, "x.test", qtype).unwrap();
            assert_eq!(response.rcode(), Rcode::NOERROR);
            assert!(response.flags().has(Flags::AUTHORITATIVE));
            assert_eq!(soa(&response), (apex.to_owned(), 30, Some(30)));
            assert_eq!(response.records().count(), 1);
        }
    }
}

#[test]
fn any_is_answered_with_one_hinfo() {
    let shared = shared(table(&[(0, "x.test", a(1)), (0, "x.test", a(2))]));
    let routing = routing(block(vec![layer(0)]));
    let response = ask(&shared, &routing, "x.test", Rtype::ANY).unwrap();
    let types: Vec<Rtype> = response.records().map(|record| record.rtype).collect();
    assert_eq!(types, [Rtype::HINFO]);
}

#[test]
fn an_unknown_name_is_treated_as_configured() {
    let shared = shared(table(&[(0, "a.b.test", a(1))]));
    let log = Arc::new(Log::default());
    for (action, qname, expected) in [
        (UnknownAction::Drop, "x.test", None),
        (
            UnknownAction::NxDomain,
            "x.test",
            Some((Rcode::NXDOMAIN, true)),
        ),
        (
            UnknownAction::NxDomain,
            "b.test",
            Some((Rcode::NOERROR, true)),
        ),
        (
            UnknownAction::NoData,
            "x.test",
            Some((Rcode::NOERROR, true)),
        ),
        (
            UnknownAction::Refused,
            "x.test",
            Some((Rcode::REFUSED, false)),
        ),
        (
            UnknownAction::ServFail,
            "x.test",
            Some((Rcode::SERVFAIL, false)),
        ),
    ] {
        let local = vec![LocalLayer {
            unknown: action,
            ..layer(0)
        }];
        let hooks = Hooks {
            log: Some(Arc::clone(&log) as Arc<_>),
            ..Hooks::default()
        };
        let routing = routing(Block {
            hooks,
            ..block(local)
        });
        let response = ask(&shared, &routing, qname, Rtype::A);
        let found = response.as_ref().map(|response| {
            assert_eq!(
                response.flags().has(Flags::AUTHORITATIVE),
                expected.unwrap().1
            );
            (
                response.rcode(),
                response.records().any(|record| record.rtype == Rtype::SOA),
            )
        });
        assert_eq!(found, expected, "{action:?} {qname}");
    }
    let log = log.0.lock().unwrap();
    assert_eq!(log.len(), 6);
    assert_eq!(log[0], ("hosts".to_owned(), None, 0));
}

#[test]
fn an_alias_comes_with_what_it_leads_to() {
    let rows = [
        (0, "www.test", cname("host.test")),
        (0, "host.test", a(7)),
        (0, "out.test", cname("elsewhere.example")),
    ];
    let shared = shared(table(&rows));
    let routing = routing(block(vec![layer(0)]));
    let response = ask(&shared, &routing, "www.test", Rtype::A).unwrap();
    let answers: Vec<(String, Rtype)> = response
        .records()
        .map(|record| (record.owner().unwrap().to_string(), record.rtype))
        .collect();
    let owned = |owner: &str, rtype| (owner.to_owned(), rtype);
    assert_eq!(
        answers,
        [
            owned("www.test.", Rtype::CNAME),
            owned("host.test.", Rtype::A)
        ]
    );

    // Nobody can be asked about the target: the alias alone is the answer.
    let response = ask(&shared, &routing, "out.test", Rtype::A).unwrap();
    let types: Vec<Rtype> = response.records().map(|record| record.rtype).collect();
    assert_eq!(
        (response.rcode(), types),
        (Rcode::NOERROR, vec![Rtype::CNAME])
    );
}

#[test]
fn the_soa_after_an_alias_is_about_its_target() {
    let rows = [
        (0, "www.test", cname("host.b.example")),
        (0, "host.b.example", a(7)),
    ];
    let shared = shared(table(&rows));
    for (zones, apex) in [
        (vec![Name::root()], "host.b.example."),
        (
            vec![name("test"), name("b.example"), name("example")],
            "b.example.",
        ),
    ] {
        let routing = routing(block(vec![LocalLayer { zones, ..layer(0) }]));
        let response = ask(&shared, &routing, "www.test", Rtype::AAAA).unwrap();
        assert_eq!(soa(&response), (apex.to_owned(), 30, Some(30)));
        assert_eq!(response.records().count(), 2);
    }
}

#[test]
fn a_chain_that_does_not_end_fails_and_is_counted() {
    let rows = [
        (0, "a.test", cname("b.test")),
        (0, "b.test", cname("a.test")),
    ];
    let shared = shared(table(&rows));
    let routing = routing(block(vec![layer(0)]));
    let response = ask(&shared, &routing, "a.test", Rtype::A).unwrap();
    assert_eq!(response.rcode(), Rcode::SERVFAIL);
    assert_eq!(shared.families.cname_loops.get(), 1);
}

#[test]
fn responses_fit_the_transport() {
    let rows: Vec<_> = (0..=127).map(|last| (0, "x.test", a(last))).collect();
    let shared = shared(table(&rows));
    let routing = routing(block(vec![layer(0)]));
    let large = [0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    for (message, transport, limit) in [
        (query("x.test", Rtype::A), Transport::Udp, 512),
        (
            query_of("x.test", Rtype::A, Class::IN, &opt(0)),
            Transport::Udp,
            1232,
        ),
        (
            query_of("x.test", Rtype::A, Class::IN, &large),
            Transport::Udp,
            1232,
        ),
        (query("x.test", Rtype::A), Transport::Tcp, 65_535),
    ] {
        let mut out = Vec::new();
        let step = handle(
            &shared,
            &routing,
            &shared.table.load(),
            &received(&message, transport),
            &mut out,
            &mut None,
            None,
        );
        assert!(matches!(step, Step::Respond));
        let whole = transport == Transport::Tcp;
        assert!(
            out.len() <= limit && (whole || out.len() + 16 > limit),
            "{}",
            out.len()
        );
        let response = Message::parse(out).unwrap();
        assert_eq!(response.flags().has(Flags::TRUNCATED), !whole);
        assert_eq!(response.records().count() == 128, whole);
    }
}

#[test]
fn keepalive_is_answered_over_tcp_to_those_who_ask() {
    let shared = shared(table(&[(0, "x.test", a(1))]));
    let routing = routing(block(vec![layer(0)]));
    let asking = [0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 11, 0, 0];
    let keepalive = [0, 11, 0, 2, 0, 100];
    for (opt, transport, expected) in [
        (&asking[..], Transport::Tcp, true),
        (&asking[..], Transport::Udp, false),
        (&opt(0)[..], Transport::Tcp, false),
    ] {
        let message = query_of("x.test", Rtype::A, Class::IN, opt);
        let mut out = Vec::new();
        handle(
            &shared,
            &routing,
            &shared.table.load(),
            &received(&message, transport),
            &mut out,
            &mut None,
            None,
        );
        assert_eq!(
            out.ends_with(&keepalive),
            expected,
            "{transport:?} {out:02x?}"
        );
    }
}

#[test]
fn whoami_says_who_the_client_is() {
    let shared = shared(table(&[]));
    let routing = routing(Block {
        whoami: true,
        ..block(Vec::new())
    });
    for (transport, service) in [
        (Transport::Udp, "_udp.x.test."),
        (Transport::Tcp, "_tcp.x.test."),
    ] {
        let message = query("x.test", Rtype::MX);
        let mut out = Vec::new();
        handle(
            &shared,
            &routing,
            &shared.table.load(),
            &received(&message, transport),
            &mut out,
            &mut None,
            None,
        );
        let response = Message::parse(out).unwrap();
        assert!(response.flags().has(Flags::AUTHORITATIVE));
        let records: Vec<_> = response
            .records()
            .map(|record| {
                (
                    record.section,
                    record.owner().unwrap(),
                    record.rdata().to_vec(),
                )
            })
            .collect();
        // Priority 0, weight 0, port 4000, no target.
        let port = vec![0, 0, 0, 0, 0x0f, 0xa0, 0];
        assert_eq!(
            records,
            [
                (Section::Additional, name("x.test"), vec![127, 0, 0, 1]),
                (Section::Additional, name(service), port),
            ]
        );
    }
}

#[test]
fn whoami_leaves_out_a_service_name_that_is_too_long() {
    let shared = shared(table(&[]));
    let routing = routing(Block {
        whoami: true,
        ..block(Vec::new())
    });
    let longest = [
        &"a".repeat(61),
        &"a".repeat(63),
        &"a".repeat(63),
        &"a".repeat(62),
    ];
    let longest = longest.map(String::as_str).join(".");
    let response = ask(&shared, &routing, &longest, Rtype::A).unwrap();
    assert_eq!(response.records().count(), 1);
}
