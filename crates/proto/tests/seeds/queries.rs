//! What clients send.

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
    [ordinary(), with_opt(), odd()].concat()
}

/// Queries without EDNS.
fn ordinary() -> Seeds {
    let longest = [[b'a'; 63].as_slice(); 3]
        .map(|label| String::from_utf8(label.to_vec()).expect("letters"))
        .join(".")
        + "."
        + &"b".repeat(61);
    let many_labels = ["a"; 127].join(".");
    vec![
        ("a", [one(RD), a()].concat()),
        (
            "a-of-mixed-case",
            [one(RD), question("wEb.ExAmPlE.oRg", 1)].concat(),
        ),
        ("aaaa", [one(RD), question(OWNER, 28)].concat()),
        (
            "ptr",
            [one(RD), question("7.2.0.192.in-addr.arpa", 12)].concat(),
        ),
        ("any", [one(RD), question(OWNER, 255)].concat()),
        ("axfr", [one(0), question(OWNER, 252)].concat()),
        (
            "srv-with-underscores",
            [one(RD), question("_dns._udp.example.org", 33)].concat(),
        ),
        ("root-ns", [one(RD), question("", 2)].concat()),
        ("longest-name", [one(RD), question(&longest, 1)].concat()),
        ("most-labels", [one(RD), question(&many_labels, 1)].concat()),
        (
            "chaos",
            [one(RD), name("version.bind"), vec![0, 16, 0, 3]].concat(),
        ),
        ("ad-and-cd", [one(RD | 0x0030), a()].concat()),
    ]
}

/// Queries with an OPT, or with something like it.
fn with_opt() -> Seeds {
    let with_opt = |opt: Vec<u8>| [header(RD, [1, 0, 0, 1]), a(), opt].concat();
    let cookie = option(10, b"8 octets");
    let subnet = option(8, &[0, 1, 24, 0, 192, 0, 2]);
    let padding = option(12, &[0; 32]);
    vec![
        ("opt", with_opt(opt(1232, 0, 0, &[]))),
        ("opt-do", with_opt(opt(4096, 0, 0x8000, &[]))),
        ("opt-of-little-room", with_opt(opt(0, 0, 0, &[]))),
        ("opt-of-another-version", with_opt(opt(1232, 1, 0, &[]))),
        ("opt-cookie", with_opt(opt(1232, 0, 0, &cookie))),
        ("opt-subnet", with_opt(opt(1232, 0, 0, &subnet))),
        ("opt-padding", with_opt(opt(1232, 0, 0, &padding))),
        ("opt-keepalive", with_opt(opt(1232, 0, 0, &option(11, &[])))),
        (
            "opt-options",
            with_opt(opt(1232, 0, 0x8000, &[cookie, subnet, padding].concat())),
        ),
        (
            "opt-half-an-option",
            with_opt(opt(1232, 0, 0, &[0, 10, 0, 8, 1])),
        ),
        (
            "opt-of-a-pointer",
            with_opt([pointer(28), opt(1232, 0, 0, &[])[1..].to_vec()].concat()),
        ),
        (
            "opt-among-answers",
            [header(RD, [1, 1, 0, 0]), a(), opt(1232, 0, 0, &[])].concat(),
        ),
        (
            "two-opts",
            [
                header(RD, [1, 0, 0, 2]),
                a(),
                opt(1232, 0, 0, &[]),
                opt(512, 0, 0, &[]),
            ]
            .concat(),
        ),
        (
            "opt-and-tsig",
            [header(RD, [1, 0, 0, 2]), a(), opt(1232, 0, 0, &[]), tsig()].concat(),
        ),
    ]
}

/// What is no query, or none that servers of this kind answer.
fn odd() -> Seeds {
    vec![
        ("tsig", [header(RD, [1, 0, 0, 1]), a(), tsig()].concat()),
        ("no-question", header(RD, [0, 0, 0, 0])),
        (
            "two-questions",
            [header(RD, [2, 0, 0, 0]), a(), question(OWNER, 28)].concat(),
        ),
        (
            "an-answer-in-a-query",
            [
                header(RD, [1, 1, 0, 0]),
                a(),
                record(&pointer(QNAME), 1, &[192, 0, 2, 1]),
            ]
            .concat(),
        ),
        (
            "name-of-a-pointer",
            [one(RD), pointer(QNAME), vec![0, 1, 0, 1]].concat(),
        ),
        (
            "name-with-a-pointer",
            [
                one(RD),
                vec![3],
                b"web".to_vec(),
                pointer(QNAME),
                vec![0, 1, 0, 1],
            ]
            .concat(),
        ),
        (
            "label-of-another-kind",
            [one(RD), vec![0x41, 1, 0, 0, 1, 0, 1]].concat(),
        ),
        (
            "name-that-breaks-off",
            [one(RD), vec![3, b'w', b'e']].concat(),
        ),
        ("header-that-breaks-off", one(RD)[..7].to_vec()),
        ("octets-behind", [one(RD), a(), vec![0; 5]].concat()),
        ("response", [one(RD | 0x8000), a()].concat()),
        ("notify", [one(0x2000), question(OWNER, 6)].concat()),
        (
            "update",
            [
                header(0x2800, [1, 0, 1, 0]),
                question("example.org", 6),
                record(&name(OWNER), 1, &[192, 0, 2, 1]),
            ]
            .concat(),
        ),
    ]
}

/// A question.
fn a() -> Vec<u8> {
    question(OWNER, 1)
}

/// The header of a message of one question.
fn one(flags: u16) -> Vec<u8> {
    header(flags, [1, 0, 0, 0])
}

/// A signature.
fn tsig() -> Vec<u8> {
    let data = [name("hmac-sha256"), vec![0; 16]].concat();
    record(&name("key.example.org"), 250, &data)
}

/// A name.
const OWNER: &str = "web.example.org";

/// RD, in the flags.
const RD: u16 = 0x0100;
