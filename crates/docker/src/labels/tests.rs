use super::*;

#[test]
fn names_are_split_normalized_and_kept_in_order() {
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    for (text, expected) in [
        ("app.example.org", vec!["app.example.org."]),
        (
            "a.example, b.example ,c.example",
            vec!["a.example.", "b.example.", "c.example."],
        ),
        (
            "a.example b.example\tc.example",
            vec!["a.example.", "b.example.", "c.example."],
        ),
        ("a.example\nb.example\r\n", vec!["a.example.", "b.example."]),
        ("A.Example,a.example.,a.EXAMPLE", vec!["a.example."]),
        ("my_app.example", vec!["my_app.example."]),
        ("*.apps.example", vec!["*.apps.example."]),
        ("bücher.example", vec!["xn--bcher-kva.example."]),
        ("nas", vec!["nas."]),
        ("-a,192.0.2.1", vec!["-a.", "192.0.2.1."]),
        (longest.as_str(), vec![&*format!("{longest}.")]),
        (" , ,, ", vec![]),
        ("", vec![]),
    ] {
        let request = read_one(text);
        assert_eq!(texts(&request.names), expected, "{text:?}");
        assert_eq!(request.problems, Problems::default(), "{text:?}");
    }
}

#[test]
fn names_nobody_can_ask_for_are_skipped_and_counted() {
    let long_name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    let long_label = format!("{}.example", "a".repeat(64));
    for bad in [
        "a..example",
        ".example",
        ".",
        "..",
        "*",
        "a*.example",
        "a.*.example",
        "**.example",
        "be\u{7}ll.example",
        "nul\0.example",
        "esc\u{1b}[31m.example",
        "http://a.example",
        "{{name}}.example",
        "a/b.example",
        "a:80",
        "a\\.example",
        &long_name,
        &long_label,
    ] {
        let request = read_one(&format!("{bad},good.example"));
        assert_eq!(texts(&request.names), ["good.example."], "{bad:?}");
        assert_eq!(request.problems.count, 1, "{bad:?}");
        let shown = &request.problems.shown[0];
        assert!(
            shown.chars().all(|c| !c.is_control()) && shown.len() < 300,
            "{shown}"
        );
    }
}

#[test]
fn labels_are_read_in_the_order_configured() {
    let labels = labels([("second", "b.example a.example"), ("first", "a.example")]);
    let keys = ["first".to_owned(), "second".to_owned()];
    assert_eq!(
        texts(&read(&labels, wanted(&keys)).names),
        ["a.example.", "b.example."]
    );
    assert!(has_names(&labels, wanted(&keys)));
    assert!(!has_names(&labels, wanted(&["third".to_owned()])));
}

#[test]
fn rules_add_names_if_they_are_wanted() {
    let labels = labels([
        ("names", "a.example, b.example"),
        (
            "traefik.http.routers.z.rule",
            "Host(`z.example`) && !Host(`x.example`)",
        ),
        (
            "traefik.http.routers.b.rule",
            "Host(`B.example`) || Host(`c.example`)",
        ),
        ("traefik.tcp.routers.t.rule", "HostSNI(`*`)"),
    ]);
    let keys = keys();
    let without = read(&labels, wanted(&keys));
    assert_eq!(texts(&without.names), ["a.example.", "b.example."]);
    let with = Wanted {
        rules: true,
        ..wanted(&keys)
    };
    let request = read(&labels, with);
    assert_eq!(
        texts(&request.names),
        ["a.example.", "b.example.", "c.example.", "z.example."]
    );
    assert_eq!(request.problems, Problems::default());
    assert!(has_names(&labels, Wanted { keys: &[], ..with }));
    assert!(!has_names(&labels, wanted(&[])));
}

#[test]
fn bad_rules_are_counted_and_cost_no_other() {
    let labels = labels([
        ("traefik.http.routers.a.rule", "Host(`a.example`"),
        (
            "traefik.http.routers.b.rule",
            "Host(`b c`) || Host(`good.example`)",
        ),
        ("traefik.http.routers.c.rule", "HostRegexp(`.*`)"),
    ]);
    let wanted = Wanted {
        keys: &[],
        rules: true,
        max_names: 9,
    };
    let request = read(&labels, wanted);
    assert_eq!(texts(&request.names), ["good.example."]);
    assert_eq!(request.problems.count, 3);
}

#[test]
fn the_bound_of_names_counts_lists_and_rules_together() {
    let labels = labels([
        ("names", "a.example"),
        (
            "traefik.http.routers.r.rule",
            "Host(`b.example`, `c.example`, `d.example`)",
        ),
    ]);
    let wanted = Wanted {
        keys: &keys(),
        rules: true,
        max_names: 2,
    };
    let request = read(&labels, wanted);
    assert_eq!(texts(&request.names), ["a.example.", "b.example."]);
    assert_eq!(request.problems.count, 2);
}

#[test]
fn targets_are_addresses_or_one_name() {
    for (text, expected) in [
        ("192.0.2.7", Some("192.0.2.7")),
        (
            "192.0.2.7, 2001:db8::7 192.0.2.7",
            Some("192.0.2.7 2001:db8::7"),
        ),
        ("proxy.example.org", Some("proxy.example.org.")),
        ("", None),
    ] {
        let request = read_with(TARGET_LABEL, text);
        assert_eq!(target_text(&request), expected.map(str::to_owned), "{text}");
        assert_eq!(request.problems.count, 0, "{text}");
    }
}

#[test]
fn unusable_targets_are_ignored_with_a_warning() {
    for text in [
        "a.example b.example",
        "192.0.2.7 a.example",
        "0.0.0.0",
        "192.0.2.7 ::",
        "256.1.1.1",
        "*.example",
        "a..b",
        "192.0.2.7/24",
    ] {
        let request = read_with(TARGET_LABEL, text);
        assert_eq!(request.target, None, "{text}");
        assert_eq!(request.problems.count, 1, "{text}");
    }
}

#[test]
fn targets_beyond_the_bound_are_counted() {
    let text: Vec<String> = (0..70).map(|n| format!("192.0.2.{n}")).collect();
    let request = read_with(TARGET_LABEL, &text.join(" "));
    assert!(matches!(request.target, Some(Target::Addresses(some)) if some.len() == MAX_TARGETS));
    assert_eq!(request.problems.count, 6);
    assert_eq!(
        request.problems.shown,
        ["portolan.target: 6 more than the 64 a container may have"]
    );
}

#[test]
fn ttls_end_at_a_day() {
    for (text, expected, problems) in [
        ("0", Some(0), 0),
        (" 300 ", Some(300), 0),
        ("86400", Some(86_400), 0),
        ("86401", None, 1),
        ("-1", None, 1),
        ("5m", None, 1),
        ("", None, 1),
    ] {
        let request = read_with(TTL_LABEL, text);
        assert_eq!(
            (request.ttl, request.problems.count),
            (expected, problems),
            "{text:?}"
        );
    }
}

#[test]
fn ten_thousand_names_are_cut_to_the_first() {
    let text: Vec<String> = (0..10_000).map(|n| format!("n{n}.x")).collect();
    let keys = keys();
    let wanted = Wanted {
        max_names: 100,
        ..wanted(&keys)
    };
    let request = read(&labels([("names", &*text.join(","))]), wanted);
    assert_eq!(request.names.len(), 100);
    assert_eq!(request.names[99].to_string(), "n99.x.");
    assert!(request.problems.count > 5_000);
    assert!(request.problems.shown.len() <= MAX_PROBLEMS);
}

#[test]
fn a_huge_label_is_read_up_to_a_separator() {
    let text = format!("first.example {}", "é".repeat(MAX_LABEL_TEXT));
    let request = read_one(&text);
    assert_eq!(texts(&request.names), ["first.example."]);
    assert_eq!(request.problems.count, 1);
    assert_eq!(read_one(&"a".repeat(MAX_LABEL_TEXT + 1)).names, []);
}

#[test]
fn shown_texts_are_escaped_and_short() {
    assert_eq!(shown("a\n\u{1b}\"b"), "a\\n\\u{1b}\\\"b");
    assert_eq!(shown(&"x".repeat(10_000)).len(), MAX_SHOWN + 3);
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn keys() -> [String; 1] {
    ["names".to_owned()]
}

fn wanted(keys: &[String]) -> Wanted<'_> {
    Wanted {
        keys,
        rules: false,
        max_names: 1_000,
    }
}

fn read_one(text: &str) -> Request {
    read(&labels([("names", text)]), wanted(&keys()))
}

fn read_with(key: &str, text: &str) -> Request {
    read(
        &labels([("names", "app.example"), (key, text)]),
        wanted(&keys()),
    )
}

fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(Name::to_string).collect()
}

fn target_text(request: &Request) -> Option<String> {
    request.target.as_ref().map(|target| match target {
        Target::Alias(name) => name.to_string(),
        Target::Addresses(addresses) => {
            let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            texts.join(" ")
        }
    })
}
