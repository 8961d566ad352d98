//! The edge cases of the language, one after the other. Where CoreDNS
//! misreads a text silently, the mended behaviour is what is tested.

use crate::support::assert_refused;
use crate::support::assert_warned;
use crate::support::block;
use crate::support::config;
use crate::support::load;
use crate::support::load_with;

/// What becomes of a text.
enum Outcome {
    /// It is accepted; keys and the number of directives that answer.
    Accepted,
    /// It is accepted with a warning that has this in it.
    Warned(&'static str),
    /// It is refused with an error that has this in it.
    Refused(&'static str),
}

use Outcome::Accepted;
use Outcome::Refused;
use Outcome::Warned;

/// Number of the case, the text, and what becomes of it.
const CASES: &[(u32, &str, Outcome)] = &[
    (
        1,
        "",
        Refused("Corefile:1:1 - Error during parsing: there is no server block"),
    ),
    (1, "# only comment", Refused("there is no server block")),
    (1, "\n", Refused("there is no server block")),
    (1, "\"\"", Refused("there is no server block")),
    (2, "localhost\n  whoami", Accepted),
    (2, "localhost:1234\n log foo bar\n whoami", Accepted),
    (
        3,
        "h1.com,\n h2.com,\n h3.com",
        Warned("no directive of this block answers"),
    ),
    (
        4,
        "a.com, {\n}",
        Refused(
            "Corefile:1:8 - Error during parsing: Expected another address but had '{' - check for extra comma",
        ),
    ),
    (5, "a, b,", Refused("Unexpected EOF")),
    (
        6,
        "a.com b.com\nc.com",
        Refused("Corefile:2:1 - Error during parsing: Unknown directive 'c.com'"),
    ),
    (7, ". { whoami }", Accepted),
    (7, ". {\n whoami }", Accepted),
    (8, ".\n{\n whoami\n}", Accepted),
    (
        9,
        ". {\n forward . 8.8.8.8\n {\n max_fails 3\n }\n}",
        Refused(
            "plugin/forward: Corefile:3:2 - Error during parsing: Unexpected token '{', expecting argument",
        ),
    ),
    (10, ". {\n forward . 127.0.0.1 { max_fails 2 }\n}", Accepted),
    (
        10,
        ". {\n forward . 127.0.0.1 { max_fails 2 expire 5s }\n}",
        Accepted,
    ),
    (
        11,
        ". {\n forward . 192.0.2.1\n cache { success 1000 }\n}",
        Accepted,
    ),
    (
        12,
        ". {\n whoami log\n}",
        Refused(
            "plugin/whoami: Corefile:2:9 - Error during parsing: Wrong argument count or unexpected line ending after 'log' (one word too many; docs/directives.md has the syntax)",
        ),
    ),
    (
        13,
        ". {\n errors\n",
        Refused("Corefile:2:2 - Syntax error: Unexpected token 'errors', expecting '}'"),
    ),
    (
        14,
        ". {\n forward . 8.8.8.8 {\n max_fails 3\n",
        Refused("Corefile:3:12 - Error during parsing: Unexpected EOF"),
    ),
    (
        15,
        ". {\n errors\n}\n}",
        Refused(
            "Corefile:4:1 - Error during parsing: Unexpected '}' because no matching opening brace",
        ),
    ),
    (
        16,
        "whoami",
        Warned("Corefile:1:1 - Warning: 'whoami' is the name of a directive"),
    ),
    (
        17,
        ".:5310{\n whoami\n}",
        Refused("zone is not a valid domain name: .:5310{"),
    ),
    (
        18,
        "example.org:5310{\n whoami\n}",
        Refused("missing space before '{': write 'example.org:5310 {'"),
    ),
    (
        19,
        "localhost:abc {\n whoami\n}",
        Refused("port 'abc' is not a number"),
    ),
    (
        19,
        "foo://. {\n whoami\n}",
        Refused("unknown scheme 'foo://'"),
    ),
    (
        20,
        ".: {\n whoami\n}",
        Refused("expecting data after last colon: \".:\" (a port, as in '.:53')"),
    ),
    (
        21,
        ":53 {\n whoami\n}",
        Refused("zone is not a valid domain name:  (empty zone; did you mean '.:53'?)"),
    ),
    (
        22,
        ".:99999 {\n whoami\n}",
        Refused("address 99999: invalid port (a number up to 65535)"),
    ),
    (
        23,
        "example..org {\n whoami\n}",
        Refused("zone is not a valid domain name: example..org"),
    ),
    (
        24,
        ".:53 .:53 {\n whoami\n}",
        Refused("cannot serve dns://.:53 - it is already defined"),
    ),
    (
        24,
        ".:53 {\n whoami\n}\n.:53 {\n whoami\n}",
        Refused(
            "Corefile:4:1 - Error during parsing: cannot serve dns://.:53 - it is already defined",
        ),
    ),
    (25, ".:5310, example.org:5310 {\n whoami\n}", Accepted),
    (26, "EXAMPLE.org {\n whoami\n}", Accepted),
    (27, "10.0.0.0/22:53 {\n whoami\n}", Accepted),
    (27, "2001:db8::/32:53 {\n whoami\n}", Accepted),
    (27, "10.0.0.0/24 {\n whoami\n}", Accepted),
    (28, "(s) {\n log\n}\n. {\n import s\n whoami\n}", Accepted),
    (
        28,
        ". {\n import s\n whoami\n}\n(s) {\n log\n}",
        Refused("File to import not found: s"),
    ),
    (
        29,
        "(s) {\n log\n}\n(s) {\n log\n}",
        Refused(
            "Corefile:4:1 - Error during parsing: redeclaration of previously declared snippet s",
        ),
    ),
    (
        30,
        "(loop) {\n import loop\n}\n. {\n import loop\n}",
        Refused("maximum snippet import depth (10000) exceeded"),
    ),
    (
        31,
        ". {\n import\n}",
        Refused("Wrong argument count or unexpected line ending after 'import'"),
    ),
    (
        31,
        ". {\n import a b\n}",
        Refused("Import takes only one argument (glob pattern or file)"),
    ),
    (
        31,
        ". {\n import {$UNSET}\n}",
        Refused("Import requires a non-empty filepath"),
    ),
    (
        32,
        ". {\n import nope\n}",
        Refused("File to import not found: nope"),
    ),
    (
        32,
        ". {\n import /\n}",
        Refused("Could not import /: is a directory"),
    ),
    (
        32,
        ". {\n import x/*.c*\n}",
        Refused("Glob pattern may only contain one wildcard (*), but has others: x/*.c*"),
    ),
    (
        32,
        ". {\n import x/[a-z]\n}",
        Refused("Glob pattern may only contain one wildcard (*), but has others: x/[a-z]"),
    ),
    (
        33,
        ". {\n import /nope/*.conf\n whoami\n}",
        Warned("Corefile:2:9 - Warning: No files matching import glob pattern: /nope/*.conf"),
    ),
    (36, "{$ADDRESS}:{%PORT%} {\n who{$PART}\n}", Accepted),
    (37, ". {\n {$UNSET}\n}", Refused("Unknown directive ''")),
    (
        37,
        ". {\n forward . {$UNSET}\n}",
        Refused("plugin/forward: Corefile:2:12 - Error during parsing: invalid address: \"\""),
    ),
    (
        38,
        ". {\n log . \"quoted \\\"v\\\" x\"\n whoami\n}",
        Refused("zone is not a valid domain name: quoted \"v\" x"),
    ),
    (39, ". {\r\n log\r\n whoami\r\n}\r\n", Accepted),
    (39, "\u{feff}.:8080 {\n whoami\n}", Accepted),
    (
        40,
        ". {\n whoamii\n}",
        Refused(
            "Corefile:2:2 - Error during parsing: Unknown directive 'whoamii' (did you mean 'whoami'?)",
        ),
    ),
    (
        40,
        ". {\n errors\n kubernetes cluster.local {\n  pods verified\n }\n}",
        Refused(
            "Corefile:3:2 - Error during parsing: directive 'kubernetes' is a CoreDNS plugin this server does not support (see docs/directives.md)",
        ),
    ),
    (
        41,
        "example.org {\n log\n example.com {\n  log\n }\n}",
        Refused("Corefile:3:2 - Error during parsing: Unknown directive 'example.com'"),
    ),
    (
        42,
        ". {\n forward . 8.8.8.8 {\n foo\n}\n}",
        Refused("plugin/forward: Corefile:3:2 - Error during parsing: unknown property 'foo'"),
    ),
    (
        43,
        ". {\n forward . 8.8.8.8 {\n health_check 30\n}\n}",
        Refused(
            "plugin/forward: Corefile:3:15 - Error during parsing: time: missing unit in duration \"30\"",
        ),
    ),
    (
        43,
        ". {\n forward . 8.8.8.8 {\n expire 5\n}\n}",
        Refused("time: missing unit in duration \"5\""),
    ),
    (
        44,
        ". {\n forward . 8.8.8.8\n cache 5m\n}",
        Refused(
            "plugin/cache: Corefile:3:8 - Error during parsing: '5m' would be read as a zone: the TTL is in seconds (write 300)",
        ),
    ),
    (46, "\\\\\\\\ȶ.\nacl\n", Refused("directive 'acl'")),
];

#[test]
fn every_edge_case_has_its_outcome() {
    let variables = [
        ("ADDRESS", "example.org"),
        ("PORT", "5310"),
        ("PART", "ami"),
    ];
    for (number, text, outcome) in CASES {
        let loaded = load_with(text, &variables);
        match outcome {
            Accepted => assert!(loaded.is_ok(), "case {number} {text:?}: {loaded:?}"),
            Warned(fragment) => {
                let loaded = loaded.unwrap_or_else(|errors| panic!("case {number}: {errors}"));
                let found = loaded
                    .warnings
                    .iter()
                    .any(|w| w.to_string().contains(fragment));
                assert!(found, "case {number} {text:?}: {:?}", loaded.warnings);
            }
            Refused(fragment) => {
                let errors = loaded
                    .err()
                    .unwrap_or_else(|| panic!("case {number}: accepted"));
                assert!(
                    errors.contains(fragment),
                    "case {number} {text:?}: {errors}"
                );
            }
        }
    }
}

#[test]
fn every_directive_name_of_coredns_is_known() {
    let names = "root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts \
        nsid bufsize trace pprof shed dnstap local dns64 chaos tsig rewrite autopath \
        acl header dnssec tls minimal template transfer route53 azure clouddns k8s_external \
        kubernetes file auto secondary etcd grpc erratic on sign view nomad";
    for name in names.split_whitespace() {
        assert_refused(
            &format!(". {{\n {name} x y {{\n a b\n }}\n}}"),
            &[&format!(
                "directive '{name}' is a CoreDNS plugin this server does not support"
            )],
        );
    }
    for name in portolan_config::directive_names() {
        if let Err(errors) = load(&format!(". {{\n {name}\n}}")) {
            assert!(!errors.contains("Unknown directive"), "{errors}");
        }
    }
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_text() {
    let text = "\
.:53 {
    forwar . 8.8.8.8
    cache 0 {
        success x
        prefech 1
    }
    health 8080
}
example..org {
    log . {
        class bogus
    }
}
.:53 {
    whoami
}
}
";
    let errors = load(text).err().unwrap_or_default();
    let lines: Vec<&str> = errors.lines().collect();
    let expected = [
        "Corefile:2:5 - Error during parsing: Unknown directive 'forwar' (did you mean 'forward'?)",
        "plugin/cache: Corefile:3:11 - Error during parsing: cache TTL can not be zero or negative: 0",
        "plugin/cache: Corefile:4:17 - Error during parsing: 'x' is not a whole number",
        "plugin/cache: Corefile:5:9 - Error during parsing: Wrong argument count or unexpected line ending after 'prefech' (unknown property 'prefech' (did you mean 'prefetch'?))",
        "plugin/health: Corefile:7:12 - Error during parsing: address 8080: missing port in address (write HOST:PORT or :PORT)",
        "Corefile:9:1 - Error during parsing: error inspecting server blocks: zone is not a valid domain name: example..org (empty label)",
        "plugin/log: Corefile:11:15 - Error during parsing: invalid Class: bogus (valid: success, denial, error, all)",
        "Corefile:14:1 - Error during parsing: cannot serve dns://.:53 - it is already defined (at Corefile:1:1)",
        "Corefile:17:1 - Error during parsing: Unexpected '}' because no matching opening brace",
    ];
    assert_eq!(lines, expected, "\n{errors}");
}

#[test]
fn a_block_that_is_not_closed_is_found() {
    assert_refused(
        ". {\n forward . 192.0.2.1 {\n  max_fails 2\n\n cache 30\n errors\n}\n",
        &[
            "plugin/forward: Corefile:5:2 - Error during parsing: unknown property 'cache' (a directive: is the block of 'forward' closed?)",
            "Corefile:7:1 - Syntax error: Unexpected token '}', expecting '}' (the block that begins at Corefile:1:1 is not closed)",
        ],
    );
    assert_refused(
        ". {\n whoami\n}}\n",
        &["Unknown directive '}}' (a brace needs space around it)"],
    );
}

#[test]
fn warnings_stand_beside_the_errors_they_explain() {
    let env = |_: &str| None;
    let options = portolan_config::Options {
        default_port: None,
        env: &env,
    };
    let text = ". {\n forward . {$UP}\n}";
    let errors = portolan_config::load_corefile("Corefile", text, &options).expect_err("refused");
    assert!(errors.to_string().contains("invalid address: \"\""));
    assert!(
        errors
            .warnings()
            .iter()
            .any(|warning| warning.message.contains("'UP' is not set"))
    );
}

#[test]
fn silent_misreadings_are_told() {
    for (text, fragment) in [
        (". {\n log foo#bar baz\n whoami\n}", "begins a comment"),
        (
            ". {\n forward . 192.0.2.1\n cache {}\n}",
            "'{}' is read as an empty block",
        ),
        (
            "10.0.0.1 {\n whoami\n}",
            "the reverse zone is '10.0.0.1/32'",
        ),
        (
            "_x.example.org {\n whoami\n}",
            "Domain \"_x.example.org.\" does not follow RFC1035 preferred syntax",
        ),
        (
            ". {\n log {$UNSET}.\n whoami\n}",
            "environment variable 'UNSET' is not set",
        ),
        (
            ". {\n errors\n}",
            "no directive of this block answers queries",
        ),
    ] {
        assert_warned(text, &[fragment]);
    }
    for (text, fragment) in [
        (". {\n log \"{remote}\"\n whoami\n}", "write 'log . FORMAT'"),
        (
            ". {\n forward . 192.0.2.1\n cache a{}\n}",
            "zone is not a valid domain name: a{}",
        ),
        (
            "2001:db8::1 {\n whoami\n}",
            "its reverse zone is written 2001:db8::1/128",
        ),
        (
            ". {\n whoami\n \"x\n}",
            "the quote that begins here is never closed",
        ),
    ] {
        assert_refused(text, &[fragment]);
    }
}

#[test]
fn environment_goes_into_keys_names_and_arguments() {
    let text = "{$ZONES} {\n forward . {$DNS:8.8.8.8 1.1.1.1}\n {$EXTRA:whoami}\n}";
    let loaded = load_with(text, &[("ZONES", "example.org example.net")]).expect("accepted");
    let block = loaded.config.blocks.first().expect("a block");
    assert_eq!(block.zones().count(), 2);
    assert_eq!(block.forward.first().expect("a forward").to.len(), 2);
    assert!(block.whoami.is_some());
}

#[test]
fn a_one_line_snippet_twice_in_a_row_is_two_directives() {
    let block = block("(l) { log example.org }\n. {\n import l\n import l\n whoami\n}");
    assert_eq!(block.log.len(), 2);
}

#[test]
fn the_digest_ignores_places_and_comments_only() {
    let digest = |text: &str| config(text).digest;
    let plain = digest(". {\n forward . 192.0.2.1\n cache 30\n}");
    assert_eq!(plain.len(), 128);
    assert_eq!(
        plain,
        digest("# a comment\n\n.   {\n\n\tforward . \"192.0.2.1\" # here\n  cache 30 }\n")
    );
    assert_eq!(
        plain,
        digest("(s) {\n cache 30\n}\n. {\n forward . 192.0.2.1\n import s\n}")
    );
    for other in [
        ". {\n forward . 192.0.2.2\n cache 30\n}",
        ". {\n forward . 192.0.2.1\n cache 30 {\n }\n log\n}",
        ".:54 {\n forward . 192.0.2.1\n cache 30\n}",
        ". {\n cache 30\n forward . 192.0.2.1\n}",
    ] {
        assert_ne!(plain, digest(other), "{other}");
    }
}
