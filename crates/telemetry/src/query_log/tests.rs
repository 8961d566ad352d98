//! Formats and the lines they give.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::log::testing::capture;
use crate::log::{LogConfig, LogFormat};

use super::*;

#[test]
fn the_default_line_is_the_one_of_coredns() {
    let line = Template::default().render(&record());

    assert_eq!(
        line,
        "127.0.0.1:51004 - 39638 \"A IN a.home. udp 35 false 1232\" NOERROR qr,aa,rd 68 \
         0.000171456s"
    );
}

#[test]
fn a_dropped_query_has_no_rcode_and_no_flags() {
    let dropped = QueryRecord {
        rcode: None,
        flags: "",
        response_size: 0,
        duration: Duration::from_micros(80),
        response: ResponseType::OtherError,
        ..record()
    };

    let line = Template::default().render(&dropped);

    assert!(line.ends_with("\" - - 0 0.00008s"), "{line}");
}

#[test]
fn placeholders() {
    let cases = [
        ("{type}", "A"),
        ("{name}", "a.home."),
        ("{class}", "IN"),
        ("{proto}", "udp"),
        ("{size}", "35"),
        ("{remote}", "127.0.0.1"),
        ("{port}", "51004"),
        ("{local}", "[::1]"),
        ("{rcode}", "NOERROR"),
        ("{rsize}", "68"),
        ("{duration}", "0.000171456s"),
        ("{>id}", "39638"),
        ("{>opcode}", "0"),
        ("{>do}", "false"),
        ("{>bufsize}", "1232"),
        ("{>rflags}", "qr,aa,rd"),
        ("{/log/class}", "success"),
        ("{/log/type}", "NOERROR"),
        ("{/forward/upstream}", "192.0.2.53:53"),
        ("{/other/label}", "-"),
        ("{/foo}", "-"),
        // What is no placeholder is text.
        ("", ""),
        ("plain", "plain"),
        ("{}", "{}"),
        ("{/}", "{/}"),
        ("{x}", "{x}"),
        ("{>x}", "{>x}"),
        ("{Name}", "{Name}"),
        ("{name", "{name"),
        ("name}", "name}"),
        ("{ name }", "{ name }"),
        ("{{name}}", "{a.home.}"),
        ("{type}{name}", "Aa.home."),
        ("ä {name} ö", "ä a.home. ö"),
        (
            r#"{"name":"{name}","size":{size}}"#,
            r#"{"name":"a.home.","size":35}"#,
        ),
        (r#"{"path":{"/":"{port}"}}"#, r#"{"path":{"/":"51004"}}"#),
    ];
    for (format, expected) in cases {
        assert_eq!(
            Template::parse(format).render(&record()),
            expected,
            "{format:?}"
        );
    }
}

#[test]
fn named_formats_may_be_part_of_a_longer_one() {
    let common = Template::default().render(&record());
    let cases = [
        ("{common}", common.clone()),
        ("{combined}", format!("{common} \"0\"")),
        ("< {common} {/log/type} >", format!("< {common} NOERROR >")),
        ("{combined}{common}", format!("{common} \"0\"{common}")),
    ];
    for (format, expected) in cases {
        assert_eq!(
            Template::parse(format).render(&record()),
            expected,
            "{format:?}"
        );
    }
}

#[test]
fn values_that_a_placeholder_brings_are_not_parsed_again() {
    let odd = QueryRecord {
        name: "{common}.",
        ..record()
    };

    assert_eq!(Template::parse("{name}").render(&odd), "{common}.");
}

#[test]
fn addresses_are_printed_as_in_coredns() {
    let cases = [
        ("192.0.2.1:53", "192.0.2.1:53"),
        ("[2001:db8::1]:53", "[2001:db8::1]:53"),
        ("[::ffff:192.0.2.1]:53", "192.0.2.1:53"),
    ];
    let template = Template::parse("{remote}:{port}");
    for (client, expected) in cases {
        let record = QueryRecord {
            client: address(client),
            ..record()
        };
        assert_eq!(template.render(&record), expected, "{client}");
    }
}

#[test]
fn durations_have_full_precision() {
    let cases = [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(1), "0.000000001s"),
        (Duration::from_nanos(37_990_251), "0.037990251s"),
        (Duration::from_secs(2), "2s"),
        (Duration::from_millis(2_500), "2.5s"),
    ];
    let template = Template::parse("{duration}");
    for (duration, expected) in cases {
        assert_eq!(
            template.render(&QueryRecord {
                duration,
                ..record()
            }),
            expected
        );
    }
}

#[test]
fn responses_fall_into_classes() {
    let cases = [
        (
            Some(0),
            true,
            false,
            false,
            ResponseType::NoError,
            ResponseClass::Success,
        ),
        (
            Some(0),
            true,
            true,
            false,
            ResponseType::NoError,
            ResponseClass::Success,
        ),
        (
            Some(0),
            false,
            true,
            false,
            ResponseType::NoData,
            ResponseClass::Denial,
        ),
        (
            Some(0),
            false,
            false,
            true,
            ResponseType::Delegation,
            ResponseClass::Success,
        ),
        (
            Some(0),
            false,
            false,
            false,
            ResponseType::NoError,
            ResponseClass::Success,
        ),
        (
            Some(3),
            false,
            true,
            false,
            ResponseType::NxDomain,
            ResponseClass::Denial,
        ),
        (
            Some(3),
            false,
            false,
            false,
            ResponseType::NxDomain,
            ResponseClass::Denial,
        ),
        (
            Some(2),
            false,
            false,
            false,
            ResponseType::ServerError,
            ResponseClass::Error,
        ),
        (
            Some(4),
            false,
            false,
            false,
            ResponseType::ServerError,
            ResponseClass::Error,
        ),
        (
            Some(5),
            false,
            false,
            false,
            ResponseType::OtherError,
            ResponseClass::Error,
        ),
        (
            None,
            false,
            false,
            false,
            ResponseType::OtherError,
            ResponseClass::Error,
        ),
    ];
    for (rcode, answer, soa, ns, expected, class) in cases {
        let response = ResponseType::of(rcode, answer, soa, ns);
        assert_eq!(
            (response, response.class()),
            (expected, class),
            "{rcode:?} {soa} {ns}"
        );
    }
}

#[test]
fn json_fields_are_typed() {
    let lines = logged(LogFormat::Json, |template| {
        emit(
            template,
            &QueryRecord {
                upstream: None,
                ..record()
            },
        );
        let client = address("[2001:db8::1]:5");
        emit(
            template,
            &QueryRecord {
                rcode: None,
                plugin: None,
                client,
                ..record()
            },
        );
    });

    let mut answered: serde_json::Value = serde_json::from_str(&lines[0]).expect("valid JSON");
    let time = answered
        .as_object_mut()
        .and_then(|fields| fields.remove("time"));
    assert!(time.is_some());
    let expected = json!({
        "level": "INFO",
        "msg": Template::default().render(&record()),
        "client_ip": "127.0.0.1",
        "client_port": 51004,
        "qname": "a.home.",
        "qtype": "A",
        "qclass": "IN",
        "proto": "udp",
        "id": 39638,
        "opcode": 0,
        "size": 35,
        "dnssec_ok": false,
        "bufsize": 1232,
        "rcode": "NOERROR",
        "rflags": "qr,aa,rd",
        "response_size": 68,
        "duration_seconds": 0.000_171_456,
        "plugin": "hosts",
    });
    assert_eq!(answered, expected);
    let dropped: serde_json::Value = serde_json::from_str(&lines[1]).expect("valid JSON");
    assert_eq!(dropped["rcode"], serde_json::Value::Null);
    assert_eq!(dropped["client_ip"], "2001:db8::1");
    assert_eq!(dropped["upstream"], "192.0.2.53:53");
    assert_eq!(dropped.get("plugin"), None);
}

#[test]
fn the_text_form_is_level_and_line() {
    let lines = logged(LogFormat::Text, |template| emit(template, &record()));

    assert_eq!(
        lines,
        [format!("[INFO] {}", Template::default().render(&record()))]
    );
}

/// The example of CoreDNS.
fn record() -> QueryRecord<'static> {
    QueryRecord {
        client: address("127.0.0.1:51004"),
        local: address("[::1]:53"),
        id: 39638,
        qtype: "A",
        qclass: "IN",
        name: "a.home.",
        proto: "udp",
        size: 35,
        dnssec_ok: false,
        bufsize: 1232,
        opcode: 0,
        rcode: Some("NOERROR"),
        flags: "qr,aa,rd",
        response_size: 68,
        duration: Duration::from_nanos(171_456),
        response: ResponseType::NoError,
        plugin: Some("hosts"),
        upstream: Some("192.0.2.53:53"),
    }
}

/// The lines that `say` logs in the default format.
fn logged(format: LogFormat, say: impl FnOnce(&Template)) -> Vec<String> {
    let config = LogConfig {
        format,
        ..LogConfig::default()
    };
    let text = capture(config, || say(&Template::default()));
    text.lines().map(str::to_owned).collect()
}

/// Parses an address.
fn address(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}
