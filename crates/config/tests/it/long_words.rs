//! Words of any length are told of in lines of ordinary length.

use portolan_config::Errors;
use portolan_config::Options;
use portolan_config::Warning;
use portolan_config::load_corefile;
use portolan_config::load_toml;

/// Texts that are wrong, or doubtful, about the word that stands for `@`.
const COREFILES: &[&str] = &[
    "@",
    "@ {\n whoami\n}",
    "@://. {\n whoami\n}",
    ".:@ {\n whoami\n}",
    ". {\n @\n}",
    ". {\n import @\n}",
    ". {\n whoami @\n}",
    ". {\n health @\n}",
    ". {\n bind @\n}",
    ". {\n forward . @\n}",
    ". {\n forward @ 192.0.2.1\n}",
    ". {\n forward . 192.0.2.1 {\n  policy @\n }\n}",
    ". {\n forward . 192.0.2.1 {\n  @ 1\n }\n}",
    ". {\n cache @ {\n  success @\n }\n}",
    ". {\n hosts {\n  @ a\n }\n}",
    ". {\n log . @\n}",
    ". {\n errors {\n  consolidate @ @\n }\n}",
    ". {\n docker-cluster {\n  docker_socket @\n  host_ip @\n  ttl @\n  node_name @\n }\n}",
    ". {\n {$@}\n}",
    ". { whoami } @",
];

/// The same in TOML.
const TOMLS: &[&str] = &[
    "@ = 1",
    "[[server]]\nzones = [\"@\"]\n[server.cache]\nttl = \"@\"\n",
    "[[server]]\nzones = [\".\"]\n[server.\"@\"]\nttl = 1\n",
    "[[server]]\nzones = @",
];

#[test]
fn no_line_is_longer_than_a_screen() {
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    for word in ["x".repeat(100_000), "\"x y\" ".repeat(20_000)] {
        for text in COREFILES {
            let loaded = load_corefile("Corefile", &text.replace('@', &word), &options);
            check(text, loaded.map(|loaded| loaded.warnings));
        }
        for text in TOMLS {
            let loaded = load_toml("portolan.toml", &text.replace('@', &word), &options);
            check(text, loaded.map(|loaded| loaded.warnings));
        }
    }
}

/// Checks the length of everything that is told of a text.
fn check(text: &str, told: Result<Vec<Warning>, Errors>) {
    let (errors, warnings) = match told {
        Ok(warnings) => (String::new(), warnings),
        Err(errors) => (errors.to_string(), errors.warnings().to_vec()),
    };
    let warnings = warnings.iter().map(ToString::to_string);
    let lines: Vec<String> = errors.lines().map(str::to_owned).chain(warnings).collect();
    assert!(!lines.is_empty(), "nothing is told of {text:?}");
    for line in lines {
        assert!(line.chars().count() < 1_200, "{text:?}: {line:.300}");
    }
}
