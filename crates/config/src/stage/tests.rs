//! Tests of the order and the reach of stages.

use super::*;
use crate::load::Options;
use crate::load::load_corefile;

/// The stages of the first block: name, and `-` before one never reached.
fn stages(text: &str) -> Vec<String> {
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    let loaded = load_corefile("Corefile", text, &options).expect("a configuration");
    let block = loaded.config.blocks.first().expect("a block");
    let mark = |stage: StageInfo| {
        if stage.reached {
            stage.name.to_owned()
        } else {
            format!("-{}", stage.name)
        }
    };
    block.stages().into_iter().map(mark).collect()
}

#[test]
fn the_order_is_fixed_whatever_the_text_says() {
    let text = ". {
        whoami
        forward example.org 192.0.2.1
        forward example.net 192.0.2.2
        cache
        traefik-externals {
            host_ip 192.0.2.9
            fallthrough
        }
        docker-cluster { fallthrough }
        hosts /dev/null { fallthrough }
        errors
        log
        loadbalance
    }";
    assert_eq!(
        stages(text),
        [
            "loadbalance",
            "log",
            "errors",
            "hosts",
            "docker-cluster",
            "traefik-externals",
            "cache",
            "forward",
            "forward",
            "whoami",
        ]
    );
}

#[test]
fn what_can_never_be_reached_is_marked() {
    for (text, expected) in [
        // docker-cluster decides every unknown name.
        (
            ". { docker-cluster\n forward . 192.0.2.1\n cache\n whoami\n }",
            &["docker-cluster", "-cache", "-forward", "-whoami"][..],
        ),
        (
            ". { docker-cluster { fallthrough }\n forward . 192.0.2.1\n cache\n }",
            &["docker-cluster", "cache", "forward"],
        ),
        (
            ". { docker-cluster { fallthrough }\n traefik-externals { host_ip 192.0.2.9 }\n \
             forward . 192.0.2.1\n }",
            &["docker-cluster", "traefik-externals", "-forward"],
        ),
        // Only names within example.org go on.
        (
            ". { docker-cluster { fallthrough example.org }\n forward example.net 192.0.2.1\n \
             forward a.example.org 192.0.2.1\n }",
            &["docker-cluster", "-forward", "forward"],
        ),
        // The first forward takes everything.
        (
            ". { forward . 192.0.2.1\n forward example.org 192.0.2.2\n whoami\n }",
            &["forward", "-forward", "-whoami"],
        ),
        (
            ". { forward example.org 192.0.2.2\n forward . 192.0.2.1\n }",
            &["forward", "forward"],
        ),
        (
            ". { forward . 192.0.2.1 { next NXDOMAIN }\n forward . 192.0.2.2\n }",
            &["forward", "forward"],
        ),
        (
            ". { forward . 192.0.2.1 { except example.org }\n forward example.org 192.0.2.2\n \
             whoami\n }",
            &["forward", "forward", "-whoami"],
        ),
        (
            ". { forward . 192.0.2.1 { except example.org }\n whoami\n }",
            &["forward", "whoami"],
        ),
        // A zone elsewhere.
        (
            "example.org { forward example.net 192.0.2.1\n }",
            &["-forward"],
        ),
        (
            "example.org { forward a.example.org 192.0.2.1\n }",
            &["forward"],
        ),
        // hosts is in charge of its zones only.
        (
            ". { hosts /dev/null example.org\n forward . 192.0.2.1\n }",
            &["hosts", "forward"],
        ),
        // Reverse names still pass.
        (
            ". { hosts /dev/null\n forward . 192.0.2.1\n }",
            &["hosts", "forward"],
        ),
    ] {
        assert_eq!(stages(text), expected, "{text}");
    }
}

#[test]
fn the_note_names_the_stage_in_the_way() {
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    for (text, fragment) in [
        (
            ". {\n docker-cluster\n forward . 192.0.2.1\n}",
            "'forward' is never reached: 'docker-cluster' at Corefile:2:2 decides unknown names",
        ),
        (
            ". {\n forward . 192.0.2.1\n whoami\n}",
            "'whoami' is never reached: 'forward' at Corefile:2:2 takes every name",
        ),
        (
            ". {\n hosts /dev/null\n forward . 192.0.2.1\n}",
            "'forward': reverse (PTR) queries only: 'hosts' at Corefile:2:2",
        ),
    ] {
        let loaded = load_corefile("Corefile", text, &options).expect("a configuration");
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings.iter().any(|w| w.contains(fragment)),
            "{warnings:?}"
        );
    }
}
