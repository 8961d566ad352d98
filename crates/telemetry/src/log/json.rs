//! The JSON form of a log line.
//!
//! `{"time":…,"level":…,"msg":…,…fields}`, the shape that Go's `slog` gives and
//! that CoreDNS's JSON log has.

use std::fmt;
use std::io::Write as _;
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::value::{VALUE_BYTES, debug_text, truncate};

/// Appends the fields of one event to a JSON object under construction.
struct JsonFields<'a> {
    /// The line so far, an object that is not closed yet.
    line: &'a mut Vec<u8>,
    /// The message was among the fields.
    has_message: bool,
}

/// Formats `event` as one line with its line end.
pub(super) fn format(event: &Event<'_>, time: SystemTime) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    let stamp = humantime::format_rfc3339_millis(time);
    let level = level_name(*event.metadata().level());
    // Writing to memory does not fail, here and below.
    let _ = write!(line, r#"{{"time":"{stamp}","level":"{level}""#);
    let mut fields = JsonFields {
        line: &mut line,
        has_message: false,
    };
    event.record(&mut fields);
    if !fields.has_message {
        line.extend_from_slice(br#","msg":"""#);
    }
    line.extend_from_slice(b"}\n");
    line
}

// === impl JsonFields ===

impl JsonFields<'_> {
    /// Appends the key of `field` with its separators.
    fn key(&mut self, field: &Field) {
        let name = match field.name() {
            "message" => {
                self.has_message = true;
                "msg"
            }
            // The keys of the line itself appear once.
            "time" => "time_",
            "level" => "level_",
            "msg" => "msg_",
            name => name.trim_start_matches("r#"),
        };
        self.line.push(b',');
        let _ = serde_json::to_writer(&mut *self.line, name);
        self.line.push(b':');
    }

    /// Appends a string value; control characters are escaped.
    fn string(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut *self.line, truncate(text, VALUE_BYTES));
    }

    /// Appends a number.
    fn number(&mut self, field: &Field, number: impl fmt::Display) {
        self.key(field);
        let _ = write!(self.line, "{number}");
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field);
        // JSON has no infinities: they become null.
        let _ = serde_json::to_writer(&mut *self.line, &Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        let _ = write!(self.line, "{value}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        if field.name() == "rcode" && value.is_empty() {
            // A query that was dropped has no rcode.
            self.line.extend_from_slice(b"null");
        } else {
            self.string(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.key(field);
        self.string(&debug_text(value));
    }
}

/// The name that `slog` gives a level.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}
