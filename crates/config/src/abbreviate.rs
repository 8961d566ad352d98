//! Messages that quote the configuration, kept to a length that can be read.
//!
//! A word of a configuration may have any length: a file given by mistake is one
//! of megabytes.

use std::borrow::Cow;

/// A message whose long words, and which itself, have lost their middle. What
/// stands around a word, such as the quotes and the remedy, is kept.
pub(crate) fn abbreviate(message: String) -> String {
    if message.len() <= AS_IT_IS {
        return message;
    }
    let mut short = String::new();
    for piece in message.split_inclusive(char::is_whitespace) {
        short.push_str(&without_middle(piece, WORD));
    }
    without_middle(&short, MESSAGE).into_owned()
}

/// A text of `limit` characters at most, or its beginning and its end.
fn without_middle(text: &str, limit: usize) -> Cow<'_, str> {
    let tail = limit / 4;
    let mut from = text.char_indices().skip(limit - tail);
    let beginning = from.next().and_then(|(index, _)| text.get(..index));
    if from.nth(tail - 1).is_none() {
        return Cow::Borrowed(text);
    }
    let until = text.char_indices().nth_back(tail - 1);
    let end = until.and_then(|(index, _)| text.get(index..));
    Cow::Owned([beginning.unwrap_or(text), "...", end.unwrap_or_default()].concat())
}

/// Messages of so many octets are left as they are.
const AS_IT_IS: usize = 300;

/// Characters of a word in a longer one.
const WORD: usize = 80;

/// Characters of a message.
const MESSAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_ordinary_length_is_left_as_it_is() {
        let path = "/a".repeat(120);
        let message = format!("'{path}' cannot be read now: no such file");
        assert_eq!(abbreviate(message.clone()), message);
    }

    #[test]
    fn a_long_word_loses_its_middle_and_keeps_its_surroundings() {
        let message = format!("unknown word '{}' (did you mean 'é'?)", "é".repeat(5_000));
        let (start, end) = ("é".repeat(59), "é".repeat(18));
        assert_eq!(
            abbreviate(message),
            format!("unknown word '{start}...{end}' (did you mean 'é'?)"),
        );
    }

    #[test]
    fn many_words_lose_their_middle_together() {
        let message = format!("unknown word '{}' (write 'a')", "a ".repeat(100_000));
        let short = abbreviate(message);
        assert_eq!(short.chars().count(), MESSAGE + "...".len());
        assert!(short.starts_with("unknown word 'a a a "), "{short}");
        assert!(short.ends_with(" a a ' (write 'a')"), "{short}");
    }
}
