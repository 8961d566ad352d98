//! Tests of the structure alone; names of directives do not matter here.

use super::*;

/// A block as one line: `keys{name args[block lines];…}`.
fn shape(text: &str) -> Result<Vec<String>, String> {
    let env = |name: &str| match name {
        "KEYS" => Some("a b".to_owned()),
        _ => None,
    };
    let mut sink = Sink::default();
    let blocks = parse("Corefile", text, &env, &mut sink);
    let shown = blocks.iter().map(show).collect();
    match sink.finish(shown) {
        Ok((shown, _)) => Ok(shown),
        Err(errors) => Err(errors.to_string()),
    }
}

/// Words with spaces between them.
fn join<'t>(tokens: impl IntoIterator<Item = &'t Token>) -> String {
    tokens
        .into_iter()
        .map(|token| token.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A block as one line.
fn show(block: &RawBlock) -> String {
    let directives: Vec<String> = block
        .directives
        .iter()
        .map(|directive| {
            let words = join(std::iter::once(&directive.name).chain(&directive.arguments));
            let Some(lines) = &directive.block else {
                return words;
            };
            let lines: Vec<String> = lines
                .iter()
                .map(|line| join(std::iter::once(&line.name).chain(&line.arguments)))
                .collect();
            format!("{words}[{}]", lines.join(";"))
        })
        .collect();
    format!("{}{{{}}}", join(&block.keys), directives.join(";"))
}

#[test]
fn structure_is_read_as_coredns_reads_it() {
    for (text, expected) in [
        ("", &[][..]),
        ("# only comment", &[]),
        ("\n", &[]),
        ("\"\"", &[]),
        ("localhost\n  dir1", &["localhost{dir1}"]),
        (
            "localhost:1234\n dir1 foo bar",
            &["localhost:1234{dir1 foo bar}"],
        ),
        (
            "http://a, https://b {\n d x\n}",
            &["http://a https://b{d x}"],
        ),
        ("h1.com,\n h2.com,\n h3.com", &["h1.com h2.com h3.com{}"]),
        (".\n{\n whoami\n}", &[".{whoami}"]),
        (
            ". {\n a\n b {\n  c d\n  e\n }\n}\nx {\n}",
            &[".{a;b[c d;e]}", "x{}"],
        ),
        // One-line blocks.
        (". { whoami }", &[".{whoami}"]),
        (". {\n whoami }", &[".{whoami}"]),
        (". { cache { success 1000 } }", &[".{cache[success 1000]}"]),
        (
            ". {\n forward . x { max_fails 2 }\n}",
            &[".{forward . x[max_fails 2]}"],
        ),
        ("a { } b { }", &["a{}", "b{}"]),
        ("example.org {}", &["example.org{}"]),
        (". {\n cache {}\n errors\n}", &[".{cache[];errors}"]),
        // Braces that are text.
        (". {\n log . \"{\" {common}\n}", &[".{log . { {common}}"]),
        ("{$KEYS} {\n x\n}", &["a b{x}"]),
        // Snippets.
        ("(s) {\n log\n}\n. {\n import s\n}", &[".{log}"]),
        (
            "(s) { errors }\n. {\n import s\n import s\n}",
            &[".{errors;errors}"],
        ),
        (
            "(s) {\n ttl 5\n}\n. {\n hosts {\n  import s\n  a b\n }\n}",
            &[".{hosts[ttl 5;a b]}"],
        ),
        ("(k) {\n a\n}\nimport k\n{\n x\n}", &["a{x}"]),
        ("(s) {}\n. {\n import s\n x\n}", &[".{x}"]),
        (
            ". {\n basicauth / import password\n}",
            &[".{basicauth / import password}"],
        ),
        ("\"a b\" {\n \"x y\" z\n}", &["a b{x y z}"]),
    ] {
        let shown = shape(text);
        assert_eq!(
            shown.as_deref(),
            Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
            "{text:?}"
        );
    }
}

#[test]
fn mistakes_in_the_structure_are_told() {
    for (text, fragments) in [
        (
            "a.com, {\n}",
            &[
                "Corefile:1:8 - Error during parsing: Expected another address but had '{' - check for extra comma",
            ][..],
        ),
        (
            "a, b,",
            &["Corefile:1:4 - Error during parsing: Unexpected EOF"],
        ),
        (
            ". {\n forward . x\n {\n max_fails 3\n }\n}",
            &[
                "plugin/forward: Corefile:3:2 - Error during parsing: Unexpected token '{', expecting argument",
            ],
        ),
        (
            ". {\n errors\n",
            &["Corefile:2:2 - Syntax error: Unexpected token 'errors', expecting '}'"],
        ),
        (
            ". {\n forward . x {\n max_fails 3\n",
            &["Corefile:3:12 - Error during parsing: Unexpected EOF"],
        ),
        (
            ". {\n errors\n}\n}",
            &[
                "Corefile:4:1 - Error during parsing: Unexpected '}' because no matching opening brace",
            ],
        ),
        (
            ".\n whoami\n}",
            &[
                "Corefile:3:1 - Error during parsing: Unexpected '}' because no matching opening brace",
            ],
        ),
        (
            ".:5310{\n whoami\n}\nx {\n {\n}\n}",
            &[
                "Corefile:1:1 - Error during parsing: error inspecting server blocks: zone is not a valid domain name: .:5310{ (missing space before '{'",
                "Corefile:5:2 - Error during parsing: Unexpected token '{'",
            ],
        ),
        (
            ". {\n cache{\n success 1\n }\n}",
            &["Corefile:2:2 - Error during parsing: missing space before '{'"],
        ),
        (
            ". {\n forward . x{\n a 1\n }\n errors x{\n}\n}",
            &["Corefile:2:12", "Corefile:5:9"],
        ),
        (
            ". {\n hosts {\n a {\n b\n }\n }\n}",
            &["Corefile:3:4 - Error during parsing: Unexpected token '{'"],
        ),
        (
            ". {\n hosts { } errors\n}",
            &["Corefile:2:12 - Error during parsing: Unexpected token 'errors' after '}'"],
        ),
        (
            "{\n whoami\n}",
            &["Corefile:1:1 - Error during parsing: Expected a zone before '{'"],
        ),
    ] {
        assert_told(text, fragments);
    }
}

#[test]
fn mistakes_in_snippets_and_imports_are_told() {
    for (text, fragments) in [
        (
            "(s) {\n}\n\n(s) {\n}",
            &[
                "Corefile:4:1 - Error during parsing: redeclaration of previously declared snippet s",
            ][..],
        ),
        (
            "(s) {\n log",
            &["Corefile:2:2 - Syntax error: Unexpected token 'log', expecting '}'"],
        ),
        (
            "(s)\nlog",
            &["Corefile:1:1 - Syntax error: Unexpected token '(s)', expecting '{'"],
        ),
        (
            "(loop) {\n import loop\n}\n. {\n import loop\n}",
            &["maximum snippet import depth (10000) exceeded"],
        ),
        (
            ". {\n import s\n}\n(s) {\n}",
            &["Corefile:2:9 - Error during parsing: File to import not found: s"],
        ),
        (
            ". {\n import\n}",
            &[
                "Corefile:2:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'",
            ],
        ),
        (
            ". {\n import a b\n}",
            &[
                "Corefile:2:11 - Error during parsing: Import takes only one argument (glob pattern or file)",
            ],
        ),
        (
            ". {\n import {$UNSET}\n}",
            &["Corefile:2:9 - Error during parsing: Import requires a non-empty filepath"],
        ),
        (
            ". {\n import x/*.c*\n}",
            &["Glob pattern may only contain one wildcard (*), but has others: x/*.c*"],
        ),
        (
            ". {\n import x/[a-z]\n}",
            &["Glob pattern may only contain one wildcard (*), but has others: x/[a-z]"],
        ),
    ] {
        assert_told(text, fragments);
    }
}

#[test]
fn doubling_imports_end() {
    let text = "(a) {\n import a\n import a\n}\n. {\n import a\n}";
    let errors = shape(text).expect_err("an error");
    assert!(errors.contains("maximum snippet import depth"), "{errors}");
}

/// Checks that a text has errors with these fragments.
fn assert_told(text: &str, fragments: &[&str]) {
    let errors = shape(text).expect_err(text);
    for fragment in fragments {
        assert!(errors.contains(fragment), "{text:?}: {errors}");
    }
}
