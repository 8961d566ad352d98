//! Files of environment variables, as compose files know them.
//!
//! ```text
//! # comment
//! NAME=value          # comment
//! export OTHER="with \"escapes\""
//! THIRD='taken as it is'
//! ```

use super::config::Variables;

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct EnvFile {
    /// The variables; of several with one name, the last counts.
    pub(crate) variables: Variables,
    /// Numbers of lines that say nothing; the first line is 1.
    pub(crate) bad_lines: Vec<usize>,
}

/// Reads a file.
pub(crate) fn parse(text: &[u8]) -> EnvFile {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut file = EnvFile::default();
    for (index, line) in text.split(|&octet| octet == b'\n').enumerate() {
        match str::from_utf8(line).ok().and_then(read_line) {
            Some(Some((name, value))) => {
                file.variables.insert(name.to_owned(), value);
            }
            Some(None) => {}
            None => file.bad_lines.push(index + 1),
        }
    }
    file
}

/// Reads a line: nothing if it is bad, and nothing within if it has no
/// variable.
#[expect(clippy::option_option, reason = "bad and empty are different things")]
fn read_line(line: &str) -> Option<Option<(&str, String)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Some(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => line,
    };
    let Some((name, value)) = line.split_once('=') else {
        // A name alone hands a variable of the process on, which counts anyway.
        return is_name(line).then_some(None);
    };
    let name = name.trim_end();
    if !is_name(name) {
        return None;
    }
    Some(Some((name, read_value(value.trim_start())?)))
}

/// Whether a text can be the name of a variable.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(is_part)
}

/// Reads a value, quoted or not.
fn read_value(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'')?;
        return is_over(rest).then(|| value.to_owned());
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = read_escaped(quoted)?;
        return is_over(rest).then_some(value);
    }
    // A comment is apart by white space.
    let mut before = ' ';
    let comment = text.find(|c: char| {
        let begins = c == '#' && before.is_whitespace();
        before = c;
        begins
    });
    let value = text.get(..comment.unwrap_or(text.len())).unwrap_or(text);
    Some(value.trim_end().to_owned())
}

/// Whether nothing follows a quoted value.
fn is_over(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

/// Reads up to a double quote; what follows.
fn read_escaped(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => return Some((value, rest.as_str())),
            '\\' => match rest.next()? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_are_read_as_compose_reads_them() {
        for (line, name, value) in [
            ("A=b", "A", "b"),
            ("A=", "A", ""),
            (" A = b c \r", "A", "b c"),
            ("export A=b", "A", "b"),
            ("export\tA=b", "A", "b"),
            ("exported=b", "exported", "b"),
            ("A=b # comment", "A", "b"),
            ("A=b#c", "A", "b#c"),
            ("A=#c", "A", ""),
            ("A='b # $c \\n'", "A", "b # $c \\n"),
            ("A=\"b # c\" # d", "A", "b # c"),
            (r#"A="b\"c\\d\$e\nf\g""#, "A", "b\"c\\d$e\nf\\g"),
            ("A=b=c", "A", "b=c"),
            ("\u{feff}A=b", "A", "b"),
        ] {
            let file = parse(line.as_bytes());
            let expected = Variables::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(file.variables, expected, "{line}");
            assert_eq!(file.bad_lines, [0; 0], "{line}");
        }
    }

    #[test]
    fn the_last_of_several_counts_and_comments_do_not() {
        let file = parse(b"# A=0\nA=1\n\n  # A=2\nPATH\nA=3\n");
        assert_eq!(file.variables, Variables::from([("A".into(), "3".into())]));
        assert_eq!(file.bad_lines, [0; 0]);
    }

    #[test]
    fn bad_lines_are_told_and_cost_no_other() {
        let file = parse(b"A=1\nno name=1\n=1\nB='x\nC=\"x\nD=\"x\" y\n\xff=1\nno name\nE=2\n");
        assert_eq!(file.bad_lines, [2, 3, 4, 5, 6, 7, 8]);
        let names: Vec<&str> = file.variables.keys().map(String::as_str).collect();
        assert_eq!(names, ["A", "E"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&text);
        }

        #[test]
        fn what_is_quoted_is_read_as_it_was(value in "[^'\\n\\r]*") {
            let file = parse(format!("A='{value}'").as_bytes());
            prop_assert_eq!(file.variables.get("A"), Some(&value));
        }
    }
}
