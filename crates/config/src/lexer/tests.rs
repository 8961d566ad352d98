//! Tests of the lexer.

use super::*;

/// A word as `line:column:text`.
fn words(text: &str) -> Vec<String> {
    let mut sink = Sink::default();
    let tokens = lex(&Arc::from("Corefile"), text, &mut sink);
    tokens
        .iter()
        .map(|t| format!("{}:{}:{}", t.position.line, t.position.column, t.text))
        .collect()
}

/// How many errors and warnings a text gives.
fn findings(text: &str) -> (usize, usize) {
    let mut sink = Sink::default();
    lex(&Arc::from("Corefile"), text, &mut sink);
    match sink.finish(()) {
        Ok(((), warnings)) => (0, warnings.len()),
        Err(errors) => (errors.iter().count(), 0),
    }
}

#[test]
fn words_carry_line_and_column() {
    for (text, expected) in [
        ("", &[][..]),
        ("a b", &["1:1:a", "1:3:b"]),
        ("a\n  b\n\nc", &["1:1:a", "2:3:b", "4:1:c"]),
        ("é b", &["1:1:é", "1:3:b"]),
        ("\u{feff}:8080", &["1:1::8080"]),
        (
            ". {\r\n log\r\n}\r\n",
            &["1:1:.", "1:3:{", "2:2:log", "3:1:}"],
        ),
        ("a\u{a0}b\u{2003}c", &["1:1:a", "1:3:b", "1:5:c"]),
        ("a\rb", &["1:1:ab"]),
    ] {
        assert_eq!(words(text), expected, "{text:?}");
    }
}

#[test]
fn quotes_hold_anything_and_escape_only_the_quote() {
    for (text, expected) in [
        (r#""quoted \"v\" x""#, &[r#"1:1:quoted "v" x"#][..]),
        (r#""don't\\escape""#, &[r"1:1:don't\\escape"]),
        (r#""C:\php\x""#, &[r"1:1:C:\php\x"]),
        ("\"a\nb\" c\nd", &["1:1:a\nb", "2:4:c", "3:1:d"]),
        (r#"a"b c"d"#, &["1:1:a\"b", "1:5:c\"d"]),
        (r#""a"b"#, &["1:1:a", "1:4:b"]),
        (r#""""#, &["1:1:"]),
        ("\"a # b\"", &["1:1:a # b"]),
    ] {
        assert_eq!(words(text), expected, "{text:?}");
    }
}

#[test]
fn a_quoted_line_break_is_no_new_line() {
    let mut sink = Sink::default();
    let tokens = lex(&Arc::from("Corefile"), "x \"a\nb\" c\nd", &mut sink);
    let first: Vec<bool> = tokens.iter().map(|t| t.first_on_line).collect();
    assert_eq!(first, [true, false, false, true]);
}

#[test]
fn a_comment_runs_to_the_end_of_the_line() {
    assert_eq!(words("# only comment"), [""; 0]);
    assert_eq!(words("a # b\nc"), ["1:1:a", "2:1:c"]);
    assert_eq!(words("log foo#bar baz\nx"), ["1:1:log", "1:5:foo", "2:1:x"]);
    assert_eq!(findings("log foo#bar baz"), (0, 1));
    assert_eq!(findings("log foo # bar"), (0, 0));
}

#[test]
fn an_open_quote_is_an_error() {
    assert_eq!(findings("a \"b\n}"), (1, 0));
}

#[test]
fn only_a_default_may_hold_white_space() {
    for (text, expected) in [
        (
            "{$DNS:8.8.8.8 1.1.1.1}:53 x",
            &["1:1:{$DNS:8.8.8.8 1.1.1.1}:53", "1:27:x"][..],
        ),
        ("{$A b}", &["1:1:{$A", "1:5:b}"]),
        ("{$A:b c", &["1:1:{$A:b", "1:7:c"]),
        ("{$A:b\nc}", &["1:1:{$A:b", "2:1:c}"]),
        ("{$:b c}", &["1:1:{$:b", "1:6:c}"]),
        (
            "{common} {{ .Name }}",
            &["1:1:{common}", "1:10:{{", "1:13:.Name", "1:19:}}"],
        ),
    ] {
        assert_eq!(words(text), expected, "{text:?}");
    }
}
