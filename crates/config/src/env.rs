//! References to the environment: `{%NAME%}`, `{$NAME}`, `{$NAME:default}`.
//!
//! `{%NAME%}` is replaced before `{$NAME}`, and until none is left. A variable
//! that is not set is the empty word, with a warning; `{$NAME:default}` takes
//! the default when the variable is not set or empty. A word without quotes
//! whose value holds white space becomes several words.

use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::token::Token;

/// Looks a variable of the environment up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the references in every word.
pub(crate) fn expand_all(tokens: Vec<Token>, env: Env<'_>, sink: &mut Sink) -> Vec<Token> {
    let mut expanded = Vec::with_capacity(tokens.len());
    for token in tokens {
        expand(token, env, sink, &mut expanded);
    }
    expanded
}

/// Replaces the references in a word, which may become several.
fn expand(token: Token, env: Env<'_>, sink: &mut Sink, into: &mut Vec<Token>) {
    if !token.text.contains("{$") && !token.text.contains("{%") {
        into.push(token);
        return;
    }
    let text = match replace_all(&token, env, sink) {
        Ok(text) => text,
        Err(error) => {
            sink.error(error);
            return;
        }
    };
    // A reference that was never closed is still there, word for word.
    let literal = token.literal || text != token.text;
    if token.literal || !text.contains(char::is_whitespace) {
        into.push(Token {
            text,
            literal,
            ..token
        });
        return;
    }
    let before = into.len();
    for word in text.split_whitespace() {
        let first_on_line = token.first_on_line && into.len() == before;
        into.push(Token {
            text: word.to_owned(),
            first_on_line,
            literal,
            ..token.clone()
        });
    }
    if into.len() == before {
        into.push(Token {
            text: String::new(),
            literal,
            ..token
        });
    }
}

/// The text of a word with every reference replaced.
fn replace_all(token: &Token, env: Env<'_>, sink: &mut Sink) -> Result<String, ConfigError> {
    let percent = replace(token.text.clone(), ("{%", "%}"), token, |name| {
        look_up(name, token, env, sink)
    })?;
    replace(percent, ("{$", "}"), token, |body| {
        match body.split_once(':') {
            Some((name, default)) => env(name)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.to_owned()),
            None => look_up(body, token, env, sink),
        }
    })
}

/// Replaces references of one form, first to last, until none is left.
fn replace(
    mut text: String,
    (open, close): (&str, &str),
    token: &Token,
    mut value_of: impl FnMut(&str) -> String,
) -> Result<String, ConfigError> {
    for _ in 0..MAX_ROUNDS {
        let Some((before, rest)) = text.split_once(open) else {
            return Ok(text);
        };
        let Some((body, after)) = rest.split_once(close) else {
            return Ok(text);
        };
        if body.is_empty() {
            return Ok(text);
        }
        let replaced = format!("{before}{}{after}", value_of(body));
        if replaced.len() > MAX_LENGTH {
            break;
        }
        text = replaced;
    }
    Err(ConfigError::parsing(
        &token.position,
        format!(
            "environment references in '{}' refer to one another without end",
            token.text
        ),
    ))
}

/// The value of a variable; the empty text and a warning if it is not set.
fn look_up(name: &str, token: &Token, env: Env<'_>, sink: &mut Sink) -> String {
    env(name).unwrap_or_else(|| {
        sink.warn(
            &token.position,
            format!("environment variable '{name}' is not set: read as empty (a default: {{${name}:value}})"),
        );
        String::new()
    })
}

/// So many references are replaced in one word.
const MAX_ROUNDS: usize = 100;

/// So long, in octets, may a word become.
const MAX_LENGTH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lexer::lex;

    /// The environment of these tests.
    fn env(name: &str) -> Option<String> {
        let value = match name {
            "ADDRESS" => "servername.com",
            "PORT" => "8080",
            "F" => "foobar",
            "PART" => "r1",
            "TWO" => "8.8.8.8 1.1.1.1",
            "BLANK" => "  ",
            "EMPTY" => "",
            "BRACE" => "{",
            "NEST" => "{$PORT}",
            "SELF" => "{$SELF}",
            "GROW" => "{$GROW}{$GROW}",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// The words of a text after expansion, and how many doubts there are.
    fn expanded(text: &str) -> (Vec<String>, usize) {
        let mut sink = Sink::default();
        let tokens = lex(&Arc::from("Corefile"), text, &mut sink);
        let tokens = expand_all(tokens, &env, &mut sink);
        let ((), warnings) = sink.finish(()).expect("no errors");
        (
            tokens.into_iter().map(|token| token.text).collect(),
            warnings.len(),
        )
    }

    #[test]
    fn replaces_as_coredns_does() {
        for (text, expected) in [
            ("{$ADDRESS}:{%PORT%}", &["servername.com:8080"][..]),
            ("{%ADDRESS%}:{$PORT}", &["servername.com:8080"]),
            ("di{$PART}", &["dir1"]),
            ("\"Test {$F} test\"", &["Test foobar test"]),
            ("\"{{ .Name }} {$F}\"", &["{{ .Name }} foobar"]),
            ("{%ADDRESS}", &["{%ADDRESS}"]),
            ("{$}", &["{$}"]),
            ("{$X", &["{$X"]),
            ("{$NEST}", &["8080"]),
        ] {
            assert_eq!(expanded(text).0, expected, "{text}");
        }
    }

    #[test]
    fn an_unset_variable_is_the_empty_word_and_a_warning() {
        assert_eq!(
            expanded("a {$UNSET} b"),
            (vec!["a".into(), String::new(), "b".into()], 1)
        );
        assert_eq!(expanded(":{$PORT$}"), (vec![":".into()], 1));
        assert_eq!(expanded("{$EMPTY}"), (vec![String::new()], 0));
    }

    #[test]
    fn a_default_is_taken_when_the_variable_is_unset_or_empty() {
        for (text, expected) in [
            ("{$PORT:9}", &["8080"][..]),
            ("{$UNSET:9}", &["9"]),
            ("{$EMPTY:9}", &["9"]),
            ("{$UNSET:}", &[""]),
            ("{$UNSET:8.8.8.8 1.1.1.1}", &["8.8.8.8", "1.1.1.1"]),
            ("\"{$UNSET:a b}\"", &["a b"]),
            ("{$UNSET:tcp://host:1}", &["tcp://host:1"]),
        ] {
            assert_eq!(
                expanded(text),
                (expected.iter().map(|&w| w.into()).collect(), 0),
                "{text}"
            );
        }
    }

    #[test]
    fn white_space_splits_a_word_without_quotes() {
        assert_eq!(expanded("{$TWO}").0, ["8.8.8.8", "1.1.1.1"]);
        assert_eq!(expanded("\"{$TWO}\"").0, ["8.8.8.8 1.1.1.1"]);
        assert_eq!(expanded("x{$TWO}y").0, ["x8.8.8.8", "1.1.1.1y"]);
        assert_eq!(expanded("{$BLANK}").0, [""]);
    }

    #[test]
    fn a_brace_out_of_the_environment_is_text() {
        let mut sink = Sink::default();
        let tokens = lex(&Arc::from("Corefile"), "{$BRACE}", &mut sink);
        let tokens = expand_all(tokens, &env, &mut sink);
        assert!(!tokens.first().expect("a word").opens());
    }

    #[test]
    fn endless_references_are_an_error() {
        for text in ["{$SELF}", "{$GROW}"] {
            let mut sink = Sink::default();
            let tokens = lex(&Arc::from("Corefile"), text, &mut sink);
            expand_all(tokens, &env, &mut sink);
            assert!(sink.finish(()).is_err(), "{text}");
        }
    }
}
