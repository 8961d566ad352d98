use proptest::prelude::*;

use super::*;

#[test]
fn routers_of_http_and_tcp_are_read() {
    let yaml = r#"
# Host(`comment.example`)
http:
  routers:
    plain:
      rule: Host(`a.example`)
      service: "Host(`elsewhere.example`)"
    double: { rule: "Host(`b.example`) || Host(\"c.example\")", entryPoints: [websecure] }
    single:
      rule: 'Host(`d.example`) && PathPrefix(`/#x`)' # and a comment
    folded:
      rule: >-
        Host(`e.example`)
        || Host(`f.example`)
    literal:
      rule: |
        Host(`g.example`) ||
        Host(`h.example`)
    none: {}
    number: { rule: [1, 2] }
  services:
    s: { loadBalancer: { servers: [{ url: "http://192.0.2.1" }] } }
    routers: { x: { rule: Host(`service.example`) } }
tcp:
  routers:
    sni: { rule: HostSNI(`i.example`) }
    any: { rule: HostSNI(`*`) }
udp:
  routers:
    u: { rule: Host(`udp.example`) }
routers:
  r: { rule: Host(`root.example`) }
"#;
    let toml = r#"
# Host(`comment.example`)
[http.routers.plain]
  rule = "Host(`a.example`)"
  service = "Host(`elsewhere.example`)"
[http.routers]
  double = { rule = "Host(`b.example`) || Host(\"c.example\")" }
[http.routers.single]
  rule = 'Host(`d.example`) && PathPrefix(`/#x`)'
[http.routers.folded]
  rule = """Host(`e.example`)
  || Host(`f.example`)"""
[http.routers.literal]
  rule = '''
Host(`g.example`) ||
Host(`h.example`)
'''
[http.routers.none]
[http.routers.number]
  rule = 1
[http.services.routers.x]
  rule = "Host(`service.example`)"
[tcp.routers.sni]
  rule = "HostSNI(`i.example`)"
[tcp.routers.any]
  rule = "HostSNI(`*`)"
[udp.routers.u]
  rule = "Host(`udp.example`)"
"#;
    for (path, text) in [("a.yml", yaml), ("a.yaml", yaml), ("a.toml", toml)] {
        let parsed = read(path, text);
        let mut found: Vec<String> = names(&parsed);
        found.sort_unstable();
        let expected: Vec<String> = ('a'..='i').map(|c| format!("{c}.example.")).collect();
        assert_eq!(found, expected, "{path}");
        assert_eq!(parsed.bad_count, 0, "{path}: {parsed:?}");
    }
}

#[test]
fn keys_are_found_in_any_case() {
    for (path, text) in [
        ("a.yml", "HTTP: {Routers: {r: {Rule: Host(`a.example`)}}}"),
        ("a.toml", "[Http.ROUTERS.r]\nRule = \"Host(`a.example`)\""),
    ] {
        assert_eq!(names(&read(path, text)), ["a.example."], "{path}");
    }
}

#[test]
fn aliases_and_merged_maps_are_followed() {
    let text = "
x-rule: &rule Host(`a.example`)
x-router: &router { rule: Host(`b.example`), service: s }
x-routers: &routers { merged: { rule: Host(`c.example`) }, hidden: { rule: Host(`no.example`) } }
http:
  routers:
    <<: *routers
    one: { rule: *rule }
    two: *router
    three: { <<: [{ rule: Host(`d.example`) }, *router] }
    four: { <<: *router, rule: Host(`e.example`) }
    hidden: { rule: Host(`f.example`) }
";
    let mut found = names(&read("a.yml", text));
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "a.example.",
            "b.example.",
            "c.example.",
            "d.example.",
            "e.example.",
            "f.example."
        ]
    );
}

#[test]
fn files_without_routers_have_no_names() {
    for (path, text) in [
        ("a.yml", ""),
        ("a.yml", "# nothing\n"),
        ("a.yml", "---\n...\n"),
        ("a.yml", "http:\n"),
        ("a.yml", "http: {routers: }"),
        ("a.yml", "- http\n- tcp\n"),
        ("a.yml", "text"),
        (
            "a.yml",
            "{}\n---\nhttp: {routers: {r: {rule: Host(`second.example`)}}}",
        ),
        ("a.toml", ""),
        ("a.toml", "http = 1"),
        ("a.toml", "[http]\nrouters = []"),
        ("a.yml", "\u{feff}a: b"),
    ] {
        assert_eq!(names(&read(path, text)), [""; 0], "{text}");
    }
}

#[test]
fn variables_are_filled_in_before_anything_is_read() {
    let yaml = r#"
http:
  routers:
    plain: { rule: 'Host(`{{env "APP"}}.{{ env "DOMAIN" }}`)' }
    escaped: { rule: "Host(`x.{{ env \"DOMAIN\" }}`)" }
    {{ env "APP" }}-key: { rule: Host(`y.{{env `DOMAIN`}}`) }
"#;
    assert_eq!(
        names(&read("a.yml", yaml)),
        ["app.example.org.", "x.example.org.", "y.example.org."]
    );
    let toml = "[http.routers.a]\nrule = 'Host(`{{ env \"APP\" }}.{{env \"DOMAIN\"}}`)'\n";
    assert_eq!(names(&read("a.toml", toml)), ["app.example.org."]);
}

#[test]
fn a_router_without_its_variable_is_left_out() {
    let text = r#"
http:
  routers:
    one: { rule: 'Host(`{{env "NONE"}}.example`) || Host(`two.example`)' }
    two: { rule: 'Host(`x.{{env "EMPTY"}}`)' }
    three: { rule: 'Host(`{{env "NONE"}}`)' }
    good: { rule: Host(`good.example`), service: '{{env "NONE"}}' }
"#;
    let parsed = read("a.yml", text);
    assert_eq!(names(&parsed), ["good.example."]);
    let missing = BTreeMap::from([("EMPTY".to_owned(), 1), ("NONE".to_owned(), 2)]);
    assert_eq!(parsed.missing, missing);
    assert_eq!((parsed.bad_count, parsed.bad_routers.len()), (3, 0));
}

#[test]
fn a_bad_router_costs_no_other() {
    let text = "
http:
  routers:
    broken: { rule: Host(`a.example` }
    partly: { rule: \"Host(`b c`) || Host(`good.example`)\" }
    pattern: { rule: HostRegexp(`.*`) }
    excluded: { rule: \"!Host(`x.example`)\" }
";
    let parsed = read("a.yml", text);
    assert_eq!(names(&parsed), ["good.example."]);
    assert!(parsed.has_pattern);
    let bad: Vec<String> = parsed
        .bad_routers
        .iter()
        .map(|bad| format!("{}: {}", bad.router, bad.error))
        .collect();
    assert_eq!(
        bad,
        [
            "broken: a parenthesis is not closed",
            "partly: bad name: \"b c\": character ' ' is not allowed in a name",
        ]
    );
}

#[test]
fn bad_routers_are_counted_and_the_first_are_reported() {
    let routers: String = (0..30)
        .map(|n| format!("    r{n}: {{ rule: Host( }}\n"))
        .collect();
    let parsed = read("a.yml", &format!("http:\n  routers:\n{routers}"));
    assert_eq!(
        (parsed.bad_count, parsed.bad_routers.len()),
        (30, MAX_REPORTED)
    );
}

#[test]
fn what_cannot_be_read_says_where() {
    for (path, text, expected) in [
        ("a.yml", "a: b\n  c: d\n", "line 2: "),
        (
            "a.yml",
            "http:\n  routers:\n    a:\n      rule: \"Host(`a",
            "line 4: ",
        ),
        ("a.yml", "a: [\n", "line "),
        ("a.yml", "a: *none\n", "line 1: "),
        (
            "a.yml",
            "\n\na: {{ range .X }}\n",
            "line 3: of template actions",
        ),
        ("a.toml", "a = 1\nb = \n", "line 2: "),
        ("a.toml", "[a\n", "line 1: "),
    ] {
        let error = parse(path, text.as_bytes(), &variables()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
    let error = parse("a.yml", b"a: \xff", &variables()).unwrap_err();
    assert!(matches!(error, FileError::NotUtf8));
}

/// Each of these would take hours or all memory if it were taken at its word.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the time it takes is what is tested"
)]
fn hostile_files_are_refused_or_read_in_a_moment() {
    let laughs: String = (1..30)
        .map(|n| format!("x{n}: &x{n} {{ <<: [*x{0}, *x{0}], k{n}: 1 }}\n", n - 1))
        .collect();
    let laughs = format!("x0: &x0 {{ rule: Host(`a.example`) }}\n{laughs}");
    let many: String = (0..60_000).map(|n| format!("k{n}: 1, ")).collect();
    let shared: String = (0..60_000).map(|n| format!("r{n}: *x, ")).collect();
    let depth = 200_000;
    for (path, text) in [
        ("a.yml", format!("{laughs}http: {{ routers: *x29 }}")),
        (
            "a.yml",
            format!("{laughs}http: {{ routers: {{ r: *x29 }} }}"),
        ),
        (
            "a.yml",
            format!("x: &x {{ {many} }}\nhttp: {{ routers: {{ {shared} }} }}"),
        ),
        (
            "a.yml",
            "http: &a { routers: { <<: *a, r: { <<: *a } } }".to_owned(),
        ),
        ("a.yml", "[".repeat(depth)),
        ("a.yml", "- ".repeat(depth)),
        ("a.yml", "? ".repeat(depth)),
        ("a.yml", "a: &x [*x, *x]\n".repeat(1000)),
        ("a.toml", format!("a = {}", "[".repeat(depth))),
        ("a.toml", format!("{}a = 1", "a.".repeat(depth))),
    ] {
        let start = std::time::Instant::now();
        let outcome = parse(path, text.as_bytes(), &variables());
        let elapsed = start.elapsed();
        let head: String = text.chars().take(30).collect();
        assert!(
            elapsed < std::time::Duration::from_secs(20),
            "{head} {elapsed:?}"
        );
        drop(outcome);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        parts in prop::collection::vec(prop::sample::select(PARTS), 0..40),
        is_toml in prop::bool::ANY,
    ) {
        let path = if is_toml { "a.toml" } else { "a.yml" };
        let _ = parse(path, parts.concat().as_bytes(), &variables());
    }
}

fn read(path: &str, text: &str) -> Parsed {
    parse(path, text.as_bytes(), &variables()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names(parsed: &Parsed) -> Vec<String> {
    parsed.names.iter().map(Name::to_string).collect()
}

fn variables() -> Variables {
    [("APP", "app"), ("DOMAIN", "example.org"), ("EMPTY", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Parts of files.
const PARTS: &[&str] = &[
    "http",
    "routers",
    "rule",
    "a",
    ":",
    " ",
    "\n",
    "  ",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<",
    "\"",
    "'",
    "|",
    ">",
    "#",
    "!t ",
    "---\n",
    "=",
    ".",
    "Host(`a`)",
    "{{env \"APP\"}}",
    "\t",
    "é",
    "%",
    "\"\"\"",
];
