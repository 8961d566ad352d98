//! Field values on their way into a line.

use std::fmt::{self, Write as _};

/// Text that takes a bounded number of bytes and drops the rest.
pub(super) struct Bounded<'a> {
    /// What was taken so far.
    text: &'a mut String,
    /// Bytes that still fit.
    room: usize,
}

// === impl Bounded ===

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = truncate(text, self.room);
        self.text.push_str(taken);
        self.room -= taken.len();
        if taken.len() < text.len() {
            self.room = 0;
            // Ends the formatting; the rest would be dropped anyway.
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Formats `value` in at most [`VALUE_BYTES`] bytes.
pub(super) fn debug_text(value: &dyn fmt::Debug) -> String {
    let mut text = String::new();
    let mut bounded = Bounded {
        text: &mut text,
        room: VALUE_BYTES,
    };
    // An error means that the bound was met: what fits is kept.
    let _ = write!(bounded, "{value:?}");
    text
}

/// The beginning of `text` that fits into `room` bytes.
pub(super) fn truncate(text: &str, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    text.get(..text.floor_char_boundary(room))
        .unwrap_or_default()
}

/// The longest field value of a line; names and errors come from the network.
pub(super) const VALUE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_a_character() {
        assert_eq!(truncate("abc", 3), "abc");
        assert_eq!(truncate("abc", 2), "ab");
        assert_eq!(truncate("aäb", 2), "a");
        assert_eq!(truncate("äb", 0), "");
    }

    #[test]
    fn formatted_values_are_bounded() {
        let text = debug_text(&format_args!("{}{}", "x".repeat(3000), "y".repeat(3000)));

        assert_eq!(text.len(), VALUE_BYTES);
        assert!(text.starts_with("xxx") && text.ends_with("yyy"));
    }
}
