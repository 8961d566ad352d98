//! The text form of a log line, as CoreDNS writes it.
//!
//! `[INFO] plugin/NAME: text key=value`. The name is the event's field `plugin`;
//! all other fields follow the text. Control characters are escaped, so that a
//! name from the network cannot forge a line or speak to a terminal.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::value::{VALUE_BYTES, debug_text, truncate};
use super::{BANNER_TARGET, QUERY_TARGET};

/// The parts of a line, in the order in which they are printed.
#[derive(Default)]
struct TextFields {
    /// The field `plugin`, unescaped.
    plugin: String,
    /// The message, escaped.
    message: String,
    /// ` key=value` for each other field, escaped.
    rest: String,
    /// Other fields are not wanted.
    message_only: bool,
}

/// Formats `event` as one line with its line end.
pub(super) fn format(event: &Event<'_>) -> Vec<u8> {
    let target = event.metadata().target();
    let message_only = target == QUERY_TARGET || target == BANNER_TARGET;
    let mut fields = TextFields {
        message_only,
        ..TextFields::default()
    };
    event.record(&mut fields);

    let mut line = String::with_capacity(fields.message.len() + fields.rest.len() + 40);
    if target != BANNER_TARGET {
        line.push_str(level_prefix(*event.metadata().level()));
    }
    if !fields.plugin.is_empty() {
        line.push_str("plugin/");
        escape(&fields.plugin, &mut line);
        line.push_str(": ");
    }
    line.push_str(&fields.message);
    line.push_str(&fields.rest);
    line.push('\n');
    line.into_bytes()
}

// === impl TextFields ===

impl TextFields {
    /// Takes a value whose text needs neither quotes nor escapes.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        if !self.message_only {
            // Writing to memory does not fail.
            let _ = write!(self.rest, " {}={value}", key(field));
        }
    }

    /// Takes a value that may hold anything.
    fn text(&mut self, field: &Field, value: &str) {
        let value = truncate(value, VALUE_BYTES);
        match field.name() {
            "message" => escape(value, &mut self.message),
            _ if self.message_only => {}
            "plugin" => value.clone_into(&mut self.plugin),
            _ => {
                let _ = write!(self.rest, " {}=", key(field));
                quote(value, &mut self.rest);
            }
        }
    }
}

impl Visit for TextFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" || !self.message_only {
            self.text(field, &debug_text(value));
        }
    }
}

/// The name of a field as it is printed.
fn key(field: &Field) -> &str {
    field.name().trim_start_matches("r#")
}

/// Appends `text` with its control characters escaped.
pub fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Unicode's own line ends break lines in some viewers.
            '\u{2028}' | '\u{2029}' => out.extend(character.escape_unicode()),
            _ if character.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

/// Appends `text`, in quotes where it would not read as one value without.
fn quote(text: &str, out: &mut String) {
    let plain = |character: char| !character.is_whitespace() && !"\"=".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        escape(text, out);
        return;
    }
    out.push('"');
    escape(&text.replace('\\', "\\\\").replace('"', "\\\""), out);
    out.push('"');
}

/// The level as CoreDNS prints it, with the space that follows.
fn level_prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "[ERROR] ",
        Level::WARN => "[WARNING] ",
        Level::INFO => "[INFO] ",
        _ => "[DEBUG] ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let cases = [
            ("plain text", "plain text"),
            ("two\nlines\r\n", "two\\nlines\\r\\n"),
            ("tab\there", "tab\\there"),
            ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
            ("\u{9b}31m\x7f", "\\x9b31m\\x7f"),
            ("line\u{2028}end", "line\\u{2028}end"),
            ("b\\032ackslash", "b\\032ackslash"),
            ("münchen", "münchen"),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            escape(text, &mut out);
            assert_eq!(out, expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_quoted_where_needed() {
        let cases = [
            ("plain", "plain"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            (r#"say "hi" \o/"#, r#""say \"hi\" \\o/""#),
            ("line\nend", r#""line\nend""#),
        ];
        for (text, expected) in cases {
            let mut out = String::new();
            quote(text, &mut out);
            assert_eq!(out, expected, "{text:?}");
        }
    }
}
