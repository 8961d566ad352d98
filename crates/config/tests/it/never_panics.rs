//! No text, and no environment, makes the loader panic or run for ever.

use portolan_config::Options;
use portolan_config::load_corefile;
use portolan_config::load_toml;
use proptest::prelude::*;

/// Loads a text in both forms; any result will do.
fn load_both(text: &str) {
    let env = |name: &str| (name == "X").then(|| text.to_owned());
    let options = Options {
        default_port: None,
        env: &env,
    };
    let corefile = load_corefile("Corefile", text, &options);
    if let Err(errors) = corefile {
        assert!(errors.iter().count() > 0);
        assert!(!errors.to_string().is_empty());
    }
    let toml = load_toml("portolan.toml", text, &options);
    if let Err(errors) = toml {
        assert!(errors.iter().count() > 0);
    }
}

/// Pieces that a Corefile is made of, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        load_both(&String::from_utf8_lossy(&octets));
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in proptest::collection::vec((piece(), any::<bool>()), 0..60)) {
        let mut text = String::new();
        for (piece, spaced) in pieces {
            text.push_str(&piece);
            if spaced {
                text.push(' ');
            }
        }
        load_both(&text);
        load_both(&format!(". {{\n{text}"));
    }

    #[test]
    fn quoted_words_survive(word in "[^\"\\\\]{1,20}") {
        // Any text in quotes is one word: the name of a file here.
        let text = format!(". {{\n hosts \"{word}\"\n}}");
        let env = |_: &str| None;
        let loaded = load_corefile("Corefile", &text, &Options { default_port: None, env: &env });
        if !word.contains("{$") && !word.contains("{%") {
            let loaded = loaded.expect("accepted");
            let hosts = loaded.config.blocks[0].hosts.clone().expect("hosts");
            prop_assert_eq!(hosts.files[0].to_string_lossy(), word);
        }
    }
}

#[test]
fn texts_that_once_did_harm_elsewhere() {
    for octets in [
        &b"\\\\\\\\\xc8\xb6.\nacl\n"[..],
        b"\xD9//\nhosts#\x90\xD0{lc\x0C{",
        b"\xD9//\nhosts#\x90\xD0{lc\x0C{\xe2\x80\xa6",
        b"{",
        b"}",
        b"{}",
        b"()",
        b"() {",
        b"(",
        b"import",
        b". {\nimport",
        b".{",
        b"\"",
        b",",
        b". , {",
    ] {
        load_both(&String::from_utf8_lossy(octets));
    }
}

#[test]
fn deep_and_long_texts_end() {
    load_both(&"{".repeat(20_000));
    load_both(&"{ ".repeat(20_000));
    load_both(&format!(". {}", "{\nhosts ".repeat(5_000)));
    load_both(&"a,".repeat(20_000));
    load_both(&format!(
        ". {{\n forward . {}\n}}",
        "1.1.1.1 ".repeat(5_000)
    ));
    load_both(&"{$X}".repeat(200));
}

/// Words that a Corefile is made of, right and wrong.
const WORDS: &[&str] = &[
    ".",
    "{",
    "}",
    "{}",
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "\r\n",
    "\"",
    "\\\"",
    "#",
    ",",
    "(s)",
    "s",
    "import",
    "{$X}",
    "{%X%}",
    "{$X:a b}",
    "{$",
    "{$}",
    "example.org",
    ":53",
    ".:53",
    "a:b:c",
    "10.0.0.0/22",
    "::/0",
    "0.0.0.0/1",
    "tls://",
    "foo://.",
    "cache",
    "forward",
    "hosts",
    "log",
    "errors",
    "health",
    "ready",
    "prometheus",
    "reload",
    "bind",
    "loadbalance",
    "whoami",
    "any",
    "debug",
    "docker-cluster",
    "traefik-externals",
    "kubernetes",
    "success",
    "prefetch",
    "serve_stale",
    "verify",
    "policy",
    "consolidate",
    "class",
    "fallthrough",
    "ttl",
    "reload",
    "label",
    "host_ip",
    "1",
    "-1",
    "5s",
    "1h",
    "99999999999999999999",
    "1.1.1.1",
    "[::1]:53",
    "%eth0",
    "tls://1.1.1.1%a",
    "weighted",
    "prefer",
    "é",
    "\u{feff}",
    "\0",
];
