//! What upstreams send.

use super::Seeds;
use super::wire::QNAME;
use super::wire::header;
use super::wire::name;
use super::wire::opt;
use super::wire::option;
use super::wire::pointer;
use super::wire::question;
use super::wire::record;

/// All of them.
pub(crate) fn all() -> Seeds {
    [types(), answers(), odd()].concat()
}

/// One of each type.
fn types() -> Seeds {
    let host = [&[4], b"mail".as_slice(), &parent()].concat();
    let signature = [
        vec![0, 1, 13, 3, 0, 0, 1, 44, 0x70, 0, 0, 0, 0x60, 0, 0, 0, 1, 2],
        name("example.org"),
        vec![7; 64],
    ]
    .concat();
    let parameters = b"\0\x01\0\x03\x02h2\0\x04\0\x04\xc0\0\x02\x01";
    let service = [&[0, 1, 0], parameters.as_slice()].concat();
    let naptr = [
        b"\0\x64\0\x0a\x01s\x07SIP+D2U\0".to_vec(),
        name("_sip._udp.example.org"),
    ]
    .concat();
    let text = [&[255], [b't'; 255].as_slice(), &[0]].concat();
    vec![
        ("a", of_type(1, &[192, 0, 2, 1])),
        (
            "aaaa",
            of_type(
                28,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ),
        ),
        ("ns", of_type(2, &host)),
        ("ptr", of_type(12, &host)),
        ("mx", of_type(15, &[&[0, 10], host.as_slice()].concat())),
        (
            "srv",
            of_type(33, &[&[0, 1, 0, 2, 0, 53], host.as_slice()].concat()),
        ),
        ("txt", of_type(16, &text)),
        ("caa", of_type(257, b"\0\x05issueca.example.net")),
        ("naptr", of_type(35, &naptr)),
        ("https", of_type(65, &service)),
        (
            "ds",
            of_type(43, &[vec![1, 2, 13, 2], vec![9; 32]].concat()),
        ),
        (
            "dnskey",
            of_type(48, &[vec![1, 1, 3, 13], vec![9; 64]].concat()),
        ),
        (
            "nsec",
            of_type(47, &[name("x.example.org"), vec![0, 2, 0x60, 1]].concat()),
        ),
        (
            "signed",
            reply(1, &[address(1), record(&own(), 46, &signature)]),
        ),
        ("unknown-type", of_type(65_280, b"\x07anything")),
    ]
}

/// Answers of several records, and those without any.
fn answers() -> Seeds {
    let alias = record(&own(), 5, &name("x.example.net"));
    let chain = [
        alias.clone(),
        record(&pointer(QNAME + 21 + 12), 5, &name("y.example.net")),
        record(&name("y.example.net"), 1, &[192, 0, 2, 1]),
    ];
    let referral = [
        header(0x8000, [1, 0, 1, 1]),
        question(OWNER, 1),
        record(&parent(), 2, &name("ns.example.org")),
        record(&name("ns.example.org"), 1, &[192, 0, 2, 53]),
    ];
    let ede = option(15, &[&[0, 6], b"bogus".as_slice()].concat());
    let with_opt = [
        header(OK, [1, 1, 0, 1]),
        question(OWNER, 1),
        address(1),
        opt(1232, 0, 0x8000, &ede),
    ];
    let badvers = [
        header(OK, [1, 0, 0, 1]),
        question(OWNER, 1),
        opt(1232, 0x0100, 0, &[]),
    ];
    let many: Vec<_> = (1..100).map(address).collect();
    vec![
        ("addresses", reply(1, &many)),
        ("alias", reply(1, &chain)),
        ("alias-of-itself", reply(1, &[record(&own(), 5, &own())])),
        (
            "dname",
            reply(1, &[record(&parent(), 39, &name("example.net")), alias]),
        ),
        ("no-data", negative(OK)),
        ("no-name", negative(OK | 3)),
        (
            "no-name-without-soa",
            [header(OK | 3, [1, 0, 0, 0]), question(OWNER, 1)].concat(),
        ),
        (
            "servfail",
            [header(OK | 2, [1, 0, 0, 0]), question(OWNER, 1)].concat(),
        ),
        ("refused-without-question", header(OK | 5, [0, 0, 0, 0])),
        ("referral", referral.concat()),
        ("opt-and-ede", with_opt.concat()),
        ("badvers", badvers.concat()),
    ]
}

/// What is no response, or was cut or damaged.
fn odd() -> Seeds {
    // Sixteen octets behind the question.
    let second = QNAME + 21 + 16;
    vec![
        (
            "cut",
            [header(OK | 0x0200, [1, 0, 0, 0]), question(OWNER, 1)].concat(),
        ),
        (
            "more-than-there-is",
            [header(OK, [1, 9, 0, 0]), question(OWNER, 1), address(1)].concat(),
        ),
        (
            "octets-behind",
            [reply(1, &[address(1)]), vec![0; 9]].concat(),
        ),
        (
            "pointer-to-itself",
            reply(1, &[record(&pointer(QNAME + 21), 1, &[192, 0, 2, 1])]),
        ),
        (
            "pointer-ahead",
            reply(
                1,
                &[record(&pointer(second), 1, &[192, 0, 2, 1]), address(2)],
            ),
        ),
        (
            "pointer-into-an-address",
            reply(
                1,
                &[
                    record(&own(), 1, &[1, b'x', 0, 1]),
                    record(&pointer(second - 4), 1, &[9, 0, 2, 1]),
                ],
            ),
        ),
        (
            "pointer-into-the-header",
            reply(1, &[record(&pointer(4), 1, &[192, 0, 2, 1])]),
        ),
        ("data-too-short", of_type(1, &[192, 0, 2])),
        (
            "data-that-breaks-off",
            reply(15, &[record(&own(), 15, &[0, 10, 4, b'm'])]),
        ),
        (
            "query",
            [header(0x0100, [1, 0, 0, 0]), question(OWNER, 1)].concat(),
        ),
    ]
}

/// The name of the question.
fn own() -> Vec<u8> {
    pointer(QNAME)
}

/// The name above it.
fn parent() -> Vec<u8> {
    pointer(QNAME + 4)
}

/// An address.
fn address(last: u8) -> Vec<u8> {
    record(&own(), 1, &[192, 0, 2, last])
}

/// A response with answers.
fn reply(qtype: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(answers.len()).expect("seeds are short");
    let head = [header(OK, [1, count, 0, 0]), question(OWNER, qtype)];
    [head.concat(), answers.concat()].concat()
}

/// A response with an answer.
fn of_type(rtype: u16, rdata: &[u8]) -> Vec<u8> {
    reply(rtype, &[record(&own(), rtype, rdata)])
}

/// A response with the SOA of its zone and no answer.
fn negative(flags: u16) -> Vec<u8> {
    let data = [name("ns.example.org"), parent(), vec![0; 20]].concat();
    let soa = record(&parent(), 6, &data);
    [header(flags, [1, 0, 1, 0]), question(OWNER, 1), soa].concat()
}

/// A name of which the parent is at [`QNAME`] and four.
const OWNER: &str = "web.example.org";

/// QR, RD and RA, in the flags.
const OK: u16 = 0x8180;
