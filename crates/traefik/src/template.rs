//! Traefik's files are templates of Go.
//!
//! Actions are evaluated in the text as it stands, before it is read as YAML
//! or TOML. Of all that Go offers, files of routers have use for one:
//! `{{ env "NAME" }}`. Comments count too; any other action is an error, since
//! nobody can say what the text around it means.
//!
//! ```text
//! action  = "{{" [ "-" space ] *space [ env / comment ] *space [ space "-" ] "}}"
//! env     = "env" *space quote name quote       ; " or \" or `
//! comment = "/*" ... "*/"
//! ```
//!
//! A variable that is missing or empty leaves a mark in the text: what becomes
//! of the router is for the reader of routers to decide, see [`missing`].

use std::borrow::Cow;

/// Why a text cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct TemplateError {
    /// Where; the first line is 1.
    pub line: usize,
    /// What is wrong.
    pub fault: TemplateFault,
}

/// What is wrong with an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateFault {
    /// It does not end.
    #[error("'{{{{' is not closed")]
    Open,
    /// It is not one of those understood.
    #[error("of template actions, only {{{{ env \"NAME\" }}}} is understood")]
    Unknown,
    /// No variable can have this name.
    #[error("the name of an environment variable has letters, digits, '_', '-' and '.'")]
    BadVariable,
    /// The values make the text too long.
    #[error("the text becomes longer than {MAX_EXPANDED} octets")]
    TooLong,
}

/// An action that was read.
enum Action<'a> {
    /// The value of a variable.
    Env(&'a str),
    /// Nothing.
    Comment,
}

/// Evaluates a text; `env` looks a variable up, an empty one counts as
/// missing.
///
/// # Errors
///
/// See [`TemplateFault`].
pub fn expand<'a>(
    text: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, TemplateError> {
    if !text.contains(OPEN) {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let fail = |fault| TemplateError {
            line: 1 + count_lines(text, text.len() - after.len()),
            fault,
        };
        let (after, trims) = match after.strip_prefix('-') {
            Some(body) if body.starts_with(is_space) => (body, true),
            _ => (after, false),
        };
        expanded.push_str(if trims {
            before.trim_end_matches(is_space)
        } else {
            before
        });
        let (action, after) = read_action(after).map_err(fail)?;
        if let Action::Env(name) = action {
            match env(name).filter(|value| !value.is_empty()) {
                Some(value) => expanded.push_str(&value),
                None => expanded.extend([MISSING_OPEN, name, MISSING_CLOSE]),
            }
        }
        rest = read_end(after).ok_or_else(|| fail(unclosed(after)))?;
        if expanded.len() + rest.len() > MAX_EXPANDED {
            return Err(fail(TemplateFault::TooLong));
        }
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

/// The first variable whose value is missing in a part of an evaluated text.
pub fn missing(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(MISSING_OPEN)?;
    rest.split_once(MISSING_CLOSE).map(|(name, _)| name)
}

/// Reads what an action does; the rest of the text.
fn read_action(text: &str) -> Result<(Action<'_>, &str), TemplateFault> {
    let body = text.trim_start_matches(is_space);
    if let Some(comment) = body.strip_prefix("/*") {
        let (_, rest) = comment.split_once("*/").ok_or(TemplateFault::Open)?;
        return Ok((Action::Comment, rest));
    }
    let Some(argument) = body.strip_prefix("env") else {
        return Err(unclosed(body));
    };
    let argument = argument.trim_start_matches(is_space);
    // A text within the double quotes of YAML has its own escaped.
    for quote in ["\\\"", "\"", "`"] {
        let Some(name) = argument.strip_prefix(quote) else {
            continue;
        };
        let (name, rest) = name.split_once(quote).ok_or(TemplateFault::Open)?;
        if name.is_empty() || name.len() > MAX_VARIABLE || !name.chars().all(is_variable) {
            return Err(TemplateFault::BadVariable);
        }
        return Ok((Action::Env(name), rest));
    }
    Err(unclosed(argument))
}

/// The text after the end of an action.
fn read_end(text: &str) -> Option<&str> {
    let body = text.trim_start_matches(is_space);
    if let Some(rest) = body.strip_prefix(CLOSE) {
        return Some(rest);
    }
    let rest = body.strip_prefix('-')?.strip_prefix(CLOSE)?;
    (body.len() < text.len()).then(|| rest.trim_start_matches(is_space))
}

/// What is wrong with the rest of an action.
fn unclosed(text: &str) -> TemplateFault {
    let line = text.lines().next().unwrap_or_default();
    if line.contains(CLOSE) {
        TemplateFault::Unknown
    } else {
        TemplateFault::Open
    }
}

/// How many lines end before an octet.
fn count_lines(text: &str, end: usize) -> usize {
    let octets = text.as_bytes().iter().take(end);
    octets.filter(|&&octet| octet == b'\n').count()
}

/// White space as Go's templates have it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Whether the name of a variable may have a character.
fn is_variable(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Begins an action.
const OPEN: &str = "{{";

/// Ends an action.
const CLOSE: &str = "}}";

/// Begins the name of a missing variable: a character for private use, which
/// YAML and TOML take within any text.
const MISSING_OPEN: &str = "\u{e000}";

/// Ends it.
const MISSING_CLOSE: &str = "\u{e001}";

/// Longest text that comes out of a template, in octets.
pub const MAX_EXPANDED: usize = 4 << 20;

/// Longest name of a variable, in octets.
const MAX_VARIABLE: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("no action", "no action"),
            ("{{env \"A\"}}.{{ env \"B\" }}", "one.two"),
            ("{{env   `A`}}", "one"),
            ("{{env\"A\"}}", "one"),
            (
                r#"rule: "Host(`{{ env \"A\" }}.x`)""#,
                "rule: \"Host(`one.x`)\"",
            ),
            ("{{\n env \"A\"\n}}", "one"),
            ("a {{- env \"A\" -}} b", "aoneb"),
            ("a {{/* {{ env }} */}}b{{- /* c */ -}} d", "a bd"),
            ("{ {A} }", "{ {A} }"),
            ("}}", "}}"),
            ("{{env \"ACTION\"}}", "{{env \"A\"}}"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_missing_or_empty_variable_can_be_told() {
        for name in ["NONE", "EMPTY"] {
            let text = format!("Host(`{{{{env \"{name}\"}}}}.example`)");
            let expanded = expand(&text, &env).unwrap();
            assert_eq!(missing(&expanded), Some(name));
        }
        assert_eq!(missing(&expand("{{env \"A\"}}", &env).unwrap()), None);
        assert_eq!(missing("{{env"), None);
    }

    #[test]
    fn other_actions_are_errors_with_their_line() {
        for (text, line, fault) in [
            ("a\nb {{ range $i := x }}", 2, TemplateFault::Unknown),
            ("{{ env \"A\" | upper }}", 1, TemplateFault::Unknown),
            ("{{env \"A\"}}\n\n{{.Name}}", 3, TemplateFault::Unknown),
            ("{{ environment \"A\" }}", 1, TemplateFault::Unknown),
            ("{{ env }}", 1, TemplateFault::Unknown),
            ("{{ env 'A' }}", 1, TemplateFault::Unknown),
            ("{{}}", 1, TemplateFault::Unknown),
            ("\n{{ env \"A\"", 2, TemplateFault::Open),
            ("{{ env \"A", 1, TemplateFault::Open),
            ("{{/* a }}", 1, TemplateFault::Open),
            ("{{", 1, TemplateFault::Open),
            ("{{env \"A}}\" }}", 1, TemplateFault::BadVariable),
            ("{{env \"\"}}", 1, TemplateFault::BadVariable),
            ("{{env \"X:-d\"}}", 1, TemplateFault::BadVariable),
            ("{{env \"A\"-}}", 1, TemplateFault::Unknown),
        ] {
            assert_eq!(
                expand(text, &env),
                Err(TemplateError { line, fault }),
                "{text}"
            );
        }
    }

    #[test]
    fn the_length_is_bounded() {
        let error = expand(&"{{env \"LONG\"}}".repeat(5_000), &env).unwrap_err();
        assert_eq!(error.fault, TemplateFault::TooLong);
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the time it takes is what is tested"
    )]
    fn a_mebibyte_is_evaluated_in_linear_time() {
        let start = std::time::Instant::now();
        for part in [
            "{{",
            "{",
            "{{env \"A\"}}",
            "{{- env \"A\" -}} ",
            "{{/*",
            "{{env \"",
            " \n",
            "{{/**/}}",
        ] {
            let _ = expand(&part.repeat((1 << 20) / part.len()), &env);
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            parts in prop::collection::vec(prop::sample::select(PARTS), 0..30),
        ) {
            let text = parts.concat();
            if let Ok(expanded) = expand(&text, &env) {
                let _ = missing(&expanded);
            }
        }
    }

    /// The environment of these tests.
    fn env(name: &str) -> Option<String> {
        let value = match name {
            "A" => "one".to_owned(),
            "B" => "two".to_owned(),
            "ACTION" => "{{env \"A\"}}".to_owned(),
            "EMPTY" => String::new(),
            "LONG" => "x".repeat(1000),
            _ => return None,
        };
        Some(value)
    }

    /// Parts of templates.
    const PARTS: &[&str] = &[
        "{{", "}}", "env", " ", "\"", "\\\"", "`", "A", "NONE", "-", "/*", "*/", "\n", "é",
        "\u{e000}", "\u{e001}",
    ];
}
