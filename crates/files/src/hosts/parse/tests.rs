use std::time::Duration;

use portolan_table::LayerId;

use super::*;

#[test]
fn lines_become_rows() {
    for (text, expected) in [
        ("", ""),
        ("# all comment\n\n   \n", ""),
        (
            "192.0.2.1 a.example.org",
            "a.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR a.example.org.",
        ),
        (
            "  192.0.2.1\ta.example.org b.example.org # note\r\n",
            "a.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR a.example.org.; \
             b.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR b.example.org.",
        ),
        (
            "192.0.2.1 a.example.org#b.example.org",
            "a.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR a.example.org.",
        ),
        (
            "192.0.2.1 A.Example.ORG.",
            "a.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR a.example.org.",
        ),
        ("192.0.2.1 *.example.org", "*.example.org. A 192.0.2.1"),
        ("192.0.2.1 outside.example.com", ""),
        ("192.0.2.1 badexample.org", ""),
        (
            "::ffff:192.0.2.1 a.example.org",
            "a.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR a.example.org.",
        ),
        (
            "\u{feff}192.0.2.1 _x.example.org",
            "_x.example.org. A 192.0.2.1; 1.2.0.192.in-addr.arpa. PTR _x.example.org.",
        ),
        (
            "192.0.2.1 bücher.example.org",
            "xn--bcher-kva.example.org. A 192.0.2.1; \
             1.2.0.192.in-addr.arpa. PTR xn--bcher-kva.example.org.",
        ),
    ] {
        let parsed = parse_file(text.as_bytes(), &options());
        assert_eq!(shown(&parsed), expected, "{text:?}");
        assert_eq!(parsed.bad_lines, [], "{text:?}");
    }
}

#[test]
fn the_zone_of_an_ipv6_address_is_cut() {
    let parsed = parse_file(b"fe80::1%eth0 a.example.org", &options());
    assert_eq!(
        parsed.rows.first().unwrap().rdata,
        Rdata::Aaaa("fe80::1".parse().unwrap())
    );
    assert_eq!(parsed.rows.len(), 2);
}

#[test]
fn bad_lines_are_left_out_and_reported() {
    let good = "192.0.2.1 a.example.org";
    for (bad, expected) in [
        (&b"192.0.2.300 x.example.org"[..], LineError::BadAddress),
        (b"010.0.0.1 x.example.org", LineError::BadAddress),
        (b"x.example.org 192.0.2.1", LineError::BadAddress),
        (b"192.0.2.9", LineError::NoName),
        (b"192.0.2.9   # x.example.org", LineError::NoName),
        (b"192.0.2.9 x\xff.example.org", LineError::NotUtf8),
        (
            b"192.0.2.9 x..example.org",
            LineError::BadName(NameError::EmptyLabel),
        ),
    ] {
        let text = [good.as_bytes(), b"\n", bad, b"\n192.0.2.2 b.example.org\n"].concat();
        let parsed = parse_file(&text, &options());
        assert_eq!(parsed.rows.len(), 4, "{}", bad.escape_ascii());
        assert_eq!(parsed.bad_count, 1);
        assert_eq!(
            parsed.bad_lines,
            [BadLine {
                number: 2,
                error: expected
            }]
        );
    }
}

#[test]
fn octets_that_are_no_text_are_fine_in_a_comment() {
    let parsed = parse_file(b"192.0.2.1 a.example.org # caf\xe9", &options());
    assert_eq!(parsed.bad_count, 0);
    assert_eq!(parsed.rows.len(), 2);
}

#[test]
fn the_good_names_of_a_line_survive_a_bad_one() {
    let parsed = parse_file(b"192.0.2.1 a..b x.example.org c..d", &options());
    assert_eq!(parsed.rows.len(), 2);
    assert_eq!(parsed.bad_count, 1);
}

#[test]
fn only_the_first_bad_lines_are_reported_but_all_are_counted() {
    let parsed = parse_file("nonsense\n".repeat(25).as_bytes(), &options());
    assert_eq!(parsed.bad_count, 25);
    assert_eq!(parsed.bad_lines.len(), MAX_REPORTED);
    assert_eq!(parsed.bad_lines.last().unwrap().number, MAX_REPORTED);
}

#[test]
fn names_beyond_the_bound_are_left_out() {
    let names: Vec<String> = (0..=MAX_NAMES_PER_LINE)
        .map(|n| format!("n{n}.example.org"))
        .collect();
    let line = format!("192.0.2.1 {}", names.join(" "));
    let parsed = parse_file(line.as_bytes(), &options());
    assert_eq!(parsed.rows.len(), 2 * MAX_NAMES_PER_LINE);
    assert_eq!(
        parsed.bad_lines,
        [BadLine {
            number: 1,
            error: LineError::TooManyNames
        }]
    );
}

#[test]
fn one_address_points_to_a_bounded_number_of_names() {
    let text: String = (0..MAX_NAMES_PER_POINTER + 100)
        .map(|n| format!("0.0.0.0 n{n}.example.org\n"))
        .collect();
    let parsed = parse_file(text.as_bytes(), &options());
    let pointers = parsed
        .rows
        .iter()
        .filter(|row| matches!(row.rdata, Rdata::Ptr(_)))
        .count();
    assert_eq!(pointers, MAX_NAMES_PER_POINTER);
    assert_eq!(
        parsed.rows.len(),
        2 * MAX_NAMES_PER_POINTER + 100,
        "the names themselves are all served"
    );
}

#[test]
fn an_address_points_to_its_names_in_the_order_of_the_lines() {
    let parsed = parse_file(
        b"192.0.2.1 b.example.org\n192.0.2.2 z.example.org\n192.0.2.1 a.example.org",
        &options(),
    );
    let pointers: Vec<String> = parsed
        .rows
        .iter()
        .filter(|row| row.owner.to_string() == "1.2.0.192.in-addr.arpa.")
        .map(|row| format!("{:?}", row.rdata))
        .collect();
    assert_eq!(pointers, ["Ptr(b.example.org.)", "Ptr(a.example.org.)"]);
}

#[test]
fn a_repeated_row_stands_once_where_it_stood_first() {
    let parsed = parse_file(
        b"192.0.2.2 a.example.org\n192.0.2.1 a.example.org\n192.0.2.2 a.example.org A.example.org",
        &no_reverse(),
    );
    assert_eq!(
        shown(&parsed),
        "a.example.org. A 192.0.2.2; a.example.org. A 192.0.2.1"
    );
}

#[test]
fn without_zones_every_name_is_kept() {
    let options = Options::new(&Config::new(LayerId(0)));
    let parsed = parse_file(b"192.0.2.1 a b.example.com", &options);
    assert_eq!(parsed.rows.len(), 4);
    assert_eq!(parsed.rows.first().unwrap().ttl, crate::hosts::DEFAULT_TTL);
}

#[test]
fn any_octets_are_read_without_a_panic() {
    let mut state = 1u32;
    let mut text = Vec::new();
    for _ in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let octets = b"192.0.2.1 a:%#\n\t\xc3\xbc\xff*\0-_z";
        text.push(octets[(state >> 16) as usize % octets.len()]);
    }
    let parsed = parse_file(&text, &no_reverse());
    assert!(parsed.bad_count > 0);
}

fn options() -> Options {
    Options::new(&config())
}

fn no_reverse() -> Options {
    Options::new(&Config {
        reverse: false,
        ..config()
    })
}

fn config() -> Config {
    Config {
        zones: vec!["example.org".parse().unwrap()],
        ttl: 60,
        reload: Some(Duration::from_secs(1)),
        ..Config::new(LayerId(0))
    }
}

/// The rows as one line of text.
fn shown(parsed: &Parsed) -> String {
    let rows: Vec<String> = parsed
        .rows
        .iter()
        .map(|row| match &row.rdata {
            Rdata::A(address) => format!("{} A {address}", row.owner),
            Rdata::Aaaa(address) => format!("{} AAAA {address}", row.owner),
            Rdata::Cname(name) => format!("{} CNAME {name}", row.owner),
            Rdata::Ptr(name) => format!("{} PTR {name}", row.owner),
        })
        .collect();
    rows.join("; ")
}
