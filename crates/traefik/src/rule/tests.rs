use proptest::prelude::*;

use super::*;

#[test]
fn rules_of_both_versions_are_for_their_names() {
    for (text, expected) in [
        ("Host(`a.example`)", "a.example."),
        ("Host(\"a.example\")", "a.example."),
        ("Host(`a.example`, `b.example`)", "a.example. b.example."),
        (
            "Host( `a.example` ,\"b.example\", )",
            "a.example. b.example.",
        ),
        (
            "Host(`a.example`) || Host(`b.example`)",
            "a.example. b.example.",
        ),
        ("Host(`a.example`) && PathPrefix(`/x`)", "a.example."),
        ("PathPrefix(`/x`)", ""),
        (
            "(Host(`a.example`)||Host(`b.example`))&&Path(`/`)",
            "a.example. b.example.",
        ),
        ("((((Host(`a.example`)))))", "a.example."),
        ("HostSNI(`a.example`)", "a.example."),
        ("HostSNI(`*`)", ""),
        ("HostSNI(`*`) || HostSNI(`b.example`)", "b.example."),
        ("HostSNI(`*.w.example`)", "*.w.example."),
        ("Host(`*.w.example`)", "*.w.example."),
        ("Host(`A.Example.`) || host(`a.example`)", "a.example."),
        (
            "HOST(`a.example`) || hostsni(`b.example`)",
            "a.example. b.example.",
        ),
        ("HostHeader(`a.example`)", "a.example."),
        ("HeadersRegexp(`Host`, `a.example`)", ""),
        (
            "Host(`a.example`) &&\n  (Path(`/`) ||\n  Path(`/y`))\n",
            "a.example.",
        ),
        ("Host(`my_app.example`)", "my_app.example."),
        ("Host(`bücher.example`)", "xn--bcher-kva.example."),
        (
            "Query(`host`, `Host(\"b.example\")`) && Host(`a.example`)",
            "a.example.",
        ),
        ("ClientIP() && Host(`a.example`)", "a.example."),
        (
            "HeaderRegexp(`X`, \"\\\\d+\\.\") && Host(`a.example`)",
            "a.example.",
        ),
    ] {
        let rule = Rule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(names(&rule), expected, "{text}");
        assert_eq!(rule.bad_names, [], "{text}");
        assert!(!rule.has_pattern, "{text}");
    }
}

#[test]
fn a_name_that_is_excluded_is_not_published() {
    for (text, expected) in [
        ("!Host(`x.example`)", ""),
        ("!Host(`x.example`) && Host(`a.example`)", "a.example."),
        (
            "Host(`a.example`) && !Host(`x.example`, `y.example`)",
            "a.example.",
        ),
        (
            "!(Host(`x.example`) || Host(`y.example`)) || Host(`a.example`)",
            "a.example.",
        ),
        ("!(Path(`/`) && (Host(`x.example`)))", ""),
        ("!!Host(`a.example`)", "a.example."),
        ("!(!Host(`a.example`) || Host(`x.example`))", "a.example."),
        ("!(!(!Host(`x.example`)))", ""),
        ("!Path(`/`) && Host(`a.example`)", "a.example."),
        ("!Host(`a.example`) || Host(`a.example`)", "a.example."),
    ] {
        let rule = Rule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(names(&rule), expected, "{text}");
    }
}

#[test]
fn patterns_are_no_names() {
    for (text, expected) in [
        ("HostRegexp(`^.+\\.example$`)", true),
        (
            "HostRegexp(`{sub:[a-z]+}.example`) || Host(`a.example`)",
            true,
        ),
        ("hostsniregexp(`^.+$`)", true),
        ("Host(`a.example`) && !HostRegexp(`x`)", false),
    ] {
        let rule = Rule::parse(text).unwrap();
        assert_eq!(rule.has_pattern, expected, "{text}");
        assert_eq!(rule.bad_names, [], "{text}");
    }
}

#[test]
fn texts_that_are_no_names_are_told_apart_from_names() {
    for bad in [
        "",
        ".",
        "*",
        "a b.example",
        "a..example",
        "a:80",
        "{{ env }}.example",
        "a/b",
        "a*.example",
        "\\d.example",
    ] {
        let rule = Rule::parse(&format!("Host(\"{bad}\") || Host(`good.example`)")).unwrap();
        assert_eq!(names(&rule), "good.example.", "{bad}");
        let texts: Vec<&str> = rule.bad_names.iter().map(|bad| bad.text.as_str()).collect();
        assert_eq!(texts, [bad]);
    }
    let excluded = Rule::parse("!Host(`a b`)").unwrap();
    assert_eq!(excluded, Rule::default());
}

#[test]
fn a_bad_name_is_shown_escaped_and_short() {
    let rule = Rule::parse(&format!("Host(`a\n`, `{}`)", "x".repeat(100))).unwrap();
    let shown: Vec<String> = rule.bad_names.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown[0],
        r#""a\n": character '\n' is not allowed in a name"#
    );
    assert!(shown[1].ends_with("...\": label longer than 63 octets"));
}

#[test]
fn what_traefik_does_not_take_is_an_error() {
    for (text, expected) in [
        ("", RuleError::NoMatcher),
        ("  \n", RuleError::NoMatcher),
        ("!", RuleError::NoMatcher),
        ("()", RuleError::NoMatcher),
        ("a.example", RuleError::Character('.')),
        ("`a.example`", RuleError::NoMatcher),
        ("Host", RuleError::NoArguments),
        ("Host(`a`) &&", RuleError::NoMatcher),
        ("&& Host(`a`)", RuleError::NoMatcher),
        ("Host(`a`) Host(`b`)", RuleError::NoOperator),
        ("Host(`a`) ! Host(`b`)", RuleError::NoOperator),
        ("Host(`a`", RuleError::OpenGroup),
        ("Host(", RuleError::OpenGroup),
        ("(Host(`a`)", RuleError::OpenGroup),
        ("Host(`a`))", RuleError::StrayClose),
        ("Host(`a)", RuleError::OpenQuote),
        ("Host('a')", RuleError::SingleQuote),
        ("Host(a)", RuleError::BadArguments),
        ("Host(,)", RuleError::BadArguments),
        ("Host(`a` `b`)", RuleError::BadArguments),
        ("Host(Host(`a`))", RuleError::BadArguments),
        ("Host()", RuleError::NoName),
        ("HostRegexp()", RuleError::NoName),
        ("Host:a.example;PathPrefix:/", RuleError::Character(':')),
        ("Host(\\\"a\\\")", RuleError::Character('\\')),
        ("Host(`a`) & Host(`b`)", RuleError::Character('&')),
    ] {
        assert_eq!(Rule::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = |depth: usize| format!("{}Host(`a`){}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(names(&Rule::parse(&deep(MAX_DEPTH)).unwrap()), "a.");
    assert_eq!(Rule::parse(&deep(MAX_DEPTH + 1)), Err(RuleError::TooDeep));
    let long = format!("Host(`a`){}", " ".repeat(MAX_RULE));
    assert_eq!(Rule::parse(&long), Err(RuleError::TooLong));
    let inverted = format!("{}Host(`a`)", "!".repeat(60_000));
    assert_eq!(names(&Rule::parse(&inverted).unwrap()), "a.");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Rule::parse(&text);
    }

    #[test]
    fn no_sequence_of_words_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..60),
    ) {
        let text = words.concat();
        if let Ok(rule) = Rule::parse(&text) {
            // Nothing but what is written within quotes is ever a name.
            for name in rule.names {
                prop_assert!(text.contains(name.to_string().trim_end_matches('.')));
            }
        }
    }

    #[test]
    fn a_rule_is_for_the_names_outside_of_negations(expression in expression()) {
        let rule = Rule::parse(&expression.text).unwrap();
        let names: HashSet<String> = rule.names.iter().map(ToString::to_string).collect();
        prop_assert_eq!(names, expression.names, "{}", expression.text);
    }
}

/// A quadratic reader would take minutes for the longest rules.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the time it takes is what is tested"
)]
fn the_longest_rules_are_read_in_linear_time() {
    let start = std::time::Instant::now();
    for part in [
        "(",
        "!",
        "`",
        "\"\\",
        "Host(`a`)||",
        "Host(`a`,",
        "a",
        " ",
        "!(",
        "Host(`a b`)||",
        "&",
        "é",
    ] {
        let mut text = part.repeat(MAX_RULE / part.len());
        let _ = Rule::parse(&text);
        text.insert_str(0, "Host(");
        text.truncate(text.floor_char_boundary(MAX_RULE));
        let _ = Rule::parse(&text);
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

/// A rule, and what a reference says of it.
#[derive(Clone, Debug)]
struct Expression {
    text: String,
    /// Names that stand under an even number of negations.
    names: HashSet<String>,
    /// Names that stand under an odd number.
    excluded: HashSet<String>,
}

/// Any rule, built from the leaves up.
fn expression() -> impl Strategy<Value = Expression> {
    let host = (0..20u8).prop_map(|n| Expression {
        text: format!("Host(`n{n}.example`)"),
        names: HashSet::from([format!("n{n}.example.")]),
        excluded: HashSet::new(),
    });
    let other = Just(Expression {
        text: "PathPrefix(`/`)".to_owned(),
        names: HashSet::new(),
        excluded: HashSet::new(),
    });
    prop_oneof![3 => host, 1 => other].prop_recursive(6, 64, 2, |inner| {
        let group = inner.clone().prop_map(|one| Expression {
            text: format!("( {} )", one.text),
            ..one
        });
        let negation = inner.clone().prop_map(|one| Expression {
            text: format!("!({})", one.text),
            names: one.excluded,
            excluded: one.names,
        });
        let pair = (inner.clone(), inner, prop::bool::ANY).prop_map(|(a, b, and)| Expression {
            text: format!("{} {} {}", a.text, if and { "&&" } else { "||" }, b.text),
            names: a.names.union(&b.names).cloned().collect(),
            excluded: a.excluded.union(&b.excluded).cloned().collect(),
        });
        prop_oneof![group, negation, pair]
    })
}

fn names(rule: &Rule) -> String {
    let names: Vec<String> = rule.names.iter().map(Name::to_string).collect();
    names.join(" ")
}

/// Words of rules, and some that are not.
const WORDS: &[&str] = &[
    "Host",
    "HostSNI",
    "HostRegexp",
    "Path",
    "(",
    ")",
    "(`a`)",
    "(\"b\", `c`)",
    "`",
    "\"",
    "\\",
    ",",
    "!",
    "&&",
    "||",
    "&",
    " ",
    "\n",
    "é",
    "(`*`)",
    "'",
];
