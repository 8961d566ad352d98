//! Lines as a reader of standard output sees them.

use std::io;
use std::time::Instant;

use serde_json::{Value, json};
use tracing::{debug, error, info, trace, warn};

use super::testing::{Sink, capture, with_log};
use super::*;

#[test]
fn json_fields_keep_their_types() {
    let lines = json_lines(LogConfig::default(), || {
        info!(
            count = 3_u64,
            signed = -4_i64,
            ratio = 0.5,
            on = true,
            name = "a.example.org.",
            shown = %"display",
            shape = ?Some(1),
            "ready to serve"
        );
    });

    let [line] = lines.as_slice() else {
        panic!("one line, not {lines:?}")
    };
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["msg"], "ready to serve");
    assert_eq!(line["count"], json!(3));
    assert_eq!(line["signed"], json!(-4));
    assert_eq!(line["ratio"], json!(0.5));
    assert_eq!(line["on"], json!(true));
    assert_eq!(line["name"], "a.example.org.");
    assert_eq!(line["shown"], "display");
    assert_eq!(line["shape"], "Some(1)");
}

#[test]
fn json_starts_with_time_level_and_message() {
    let text = capture(LogConfig::default(), || warn!(extra = 1, "text"));

    let (head, tail) = text.split_once(r#"","level":"#).expect("a level");
    let stamp = head
        .strip_prefix(r#"{"time":""#)
        .expect("the time comes first");
    assert_eq!(tail, "\"WARN\",\"msg\":\"text\",\"extra\":1}\n");
    assert_eq!(stamp.len(), "2026-08-01T12:00:00.000Z".len(), "{stamp}");
    assert!(humantime::parse_rfc3339(stamp).is_ok(), "{stamp}");
}

#[test]
fn json_escapes_what_would_break_a_line() {
    let text = capture(LogConfig::default(), || {
        info!(qname = "a\"b\n{\"level\":\"ERROR\"}\x1b", "line\nend");
    });

    assert_eq!(text.lines().count(), 1);
    let line: Value = serde_json::from_str(&text).expect("valid JSON");
    assert_eq!(line["qname"], "a\"b\n{\"level\":\"ERROR\"}\x1b");
    assert_eq!(line["msg"], "line\nend");
    assert!(!text.contains('\x1b'));
}

#[test]
fn json_keys_of_the_line_are_not_shadowed() {
    let lines = json_lines(LogConfig::default(), || {
        info!(level = "fake", time = 1, msg = "fake", "true");
    });

    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["msg"], "true");
    assert_eq!(lines[0]["level_"], "fake");
    assert_eq!(lines[0]["time_"], 1);
}

#[test]
fn json_without_a_message_has_an_empty_one() {
    let lines = json_lines(LogConfig::default(), || info!(count = 1));

    assert_eq!(lines[0]["msg"], "");
    assert_eq!(lines[0]["count"], 1);
}

#[test]
fn json_turns_an_empty_rcode_into_null() {
    let lines = json_lines(LogConfig::default(), || {
        info!(target: QUERY_TARGET, rcode = "", rflags = "", "dropped");
        info!(target: QUERY_TARGET, rcode = "NOERROR", "answered");
    });

    assert_eq!(lines[0]["rcode"], Value::Null);
    assert_eq!(lines[0]["rflags"], "");
    assert_eq!(lines[1]["rcode"], "NOERROR");
}

#[test]
fn json_turns_a_number_that_is_none_into_null() {
    let lines = json_lines(LogConfig::default(), || info!(ratio = f64::NAN, "text"));

    assert_eq!(lines[0]["ratio"], Value::Null);
}

#[test]
fn text_lines_look_like_coredns() {
    let text = capture(TEXT, || {
        info!("Reloading");
        info!(plugin = "reload", hash = "ab12", "Running configuration");
        warn!(plugin = "health", "slow");
        error!(plugin = "errors", "2 example.org. A: read udp: i/o timeout");
        info!(count = 2, on = true, path = "/a b", "with fields");
    });

    let expected = "\
        [INFO] Reloading\n\
        [INFO] plugin/reload: Running configuration hash=ab12\n\
        [WARNING] plugin/health: slow\n\
        [ERROR] plugin/errors: 2 example.org. A: read udp: i/o timeout\n\
        [INFO] with fields count=2 on=true path=\"/a b\"\n";
    assert_eq!(text, expected);
}

#[test]
fn text_cannot_be_forged() {
    let text = capture(TEXT, || {
        info!(
            plugin = "x\n[ERROR] y",
            qname = "b\n[ERROR] c",
            "a\n[ERROR] fake"
        );
    });

    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn text_of_a_query_is_its_message_alone() {
    let text = capture(TEXT, || {
        info!(target: QUERY_TARGET, client_ip = %"::1", plugin = "hosts", id = 1, "[::1]:5 - 1");
    });

    assert_eq!(text, "[INFO] [::1]:5 - 1\n");
}

#[test]
fn the_banner_is_bare_and_can_be_left_out() {
    let say = || info!(target: BANNER_TARGET, ".:54");
    let quiet = LogConfig {
        quiet: true,
        ..TEXT
    };

    assert_eq!(capture(TEXT, say), ".:54\n");
    assert_eq!(capture(quiet, say), "");
}

#[test]
fn levels_depend_on_who_speaks() {
    let say = || {
        trace!("ours trace");
        debug!("ours debug");
        info!("ours info");
        debug!(target: "plugin", "plugin debug");
        info!(target: "plugin", "plugin info");
        info!(target: "hyper::client", "library info");
        warn!(target: "bollard::docker", "library warning");
        info!(target: "query", "query");
    };
    let debug = LogConfig {
        debug: true,
        ..TEXT
    };

    let expected = "\
        [INFO] ours info\n\
        [INFO] plugin info\n\
        [WARNING] library warning\n\
        [INFO] query\n";
    assert_eq!(capture(TEXT, say), expected);
    let expected = "\
        [DEBUG] ours debug\n\
        [INFO] ours info\n\
        [DEBUG] plugin debug\n\
        [INFO] plugin info\n\
        [WARNING] library warning\n\
        [INFO] query\n";
    assert_eq!(capture(debug, say), expected);
}

#[test]
fn the_level_changes_while_running() {
    let sink = Sink::default();
    let guard = with_log(TEXT, sink.clone(), |guard| {
        debug!("before");
        guard.set_debug(true);
        debug!("while");
        guard.set_debug(false);
        debug!("after");
    });
    drop(guard);

    assert_eq!(sink.text(), "[DEBUG] while\n");
}

#[test]
fn a_value_from_the_network_is_bounded() {
    let text = capture(LogConfig::default(), || {
        info!(qname = "x".repeat(1 << 20), "{}", "y".repeat(1 << 20));
    });

    assert!(text.len() < 10_000, "{}", text.len());
    assert!(serde_json::from_str::<Value>(&text).is_ok());
}

#[test]
fn a_stalled_reader_does_not_block_those_who_log() {
    let (_reader, writer) = io::pipe().expect("a pipe");
    let start = now();

    let guard = with_log(LogConfig::default(), writer, |_| {
        for number in 0..100_000 {
            info!(
                number,
                "a line that nobody reads, long enough to fill the queue"
            );
        }
    });
    let dropped = guard.dropped_lines();
    drop(guard);

    assert!(dropped.get() > 0);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

/// The defaults, as text.
const TEXT: LogConfig = LogConfig {
    format: LogFormat::Text,
    debug: false,
    quiet: false,
};

/// All that `say` logs, parsed.
fn json_lines(config: LogConfig, say: impl FnOnce()) -> Vec<Value> {
    let text = capture(config, say);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("valid JSON"))
        .collect()
}

/// The time, to measure with.
#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}
