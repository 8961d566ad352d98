//! `log`: queries are logged.

use std::collections::BTreeSet;

use portolan_proto::Name;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// A rule for logging queries. The first rule of a block that has the name
/// decides, also when its classes then suppress the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// Names it is for, with everything below them.
    pub names: Vec<Name>,
    /// The line, with placeholders. Default `{common}`.
    pub format: String,
    /// The responses it is for; empty for all.
    pub classes: BTreeSet<ResponseClass>,
}

/// What kind of response a query got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponseClass {
    /// Every response.
    All,
    /// An answer, or a referral.
    Success,
    /// The name or the type does not exist.
    Denial,
    /// Anything else, no response included.
    Error,
}

// === impl ResponseClass ===

impl ResponseClass {
    /// Reads the name of a class.
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "all" => Self::All,
            "success" => Self::Success,
            "denial" => Self::Denial,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// Reads the occurrences of `log`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Vec<Located<LogRule>> {
    let mut rules = Vec::with_capacity(written.len());
    for directive in written {
        let rule = read_arguments(&mut Words::arguments(scope.plugin, directive), scope);
        let mut classes = BTreeSet::new();
        scope.properties(directive, |words, _| match words.current().text.as_str() {
            "class" => read_classes(words, &mut classes),
            _ => Err(words.unknown_property(&["class"])),
        });
        if let Some((names, format)) = scope.sink.keep(rule) {
            let rule = LogRule {
                names,
                format,
                classes,
            };
            rules.push(Located::new(rule, &directive.name.position));
        }
    }
    rules
}

/// The rule that logs every query in a block that has none of its own.
pub(crate) fn everything() -> LogRule {
    LogRule {
        names: vec![Name::root()],
        format: DEFAULT_FORMAT.to_owned(),
        classes: BTreeSet::new(),
    }
}

/// Reads `[NAMES…] [FORMAT]`.
fn read_arguments(
    words: &mut Words<'_>,
    scope: &mut Scope<'_>,
) -> Result<(Vec<Name>, String), ConfigError> {
    let tokens = words.rest();
    let format_at = tokens.iter().position(|token| token.text.contains('{'));
    let (names, format) = tokens.split_at(format_at.unwrap_or(tokens.len()));
    if let ([], [first, ..]) = (names, format) {
        return Err(words.error_at(
            first,
            format!(
                "'{}' stands where a name is expected: write 'log . FORMAT'",
                first.text
            ),
        ));
    }
    let names = if names.is_empty() {
        vec![Name::root()]
    } else {
        words.zones(names)?
    };
    Ok((names, read_format(format, scope)))
}

/// The format that words say. Several are one format without its quotes.
fn read_format(words: &[Token], scope: &mut Scope<'_>) -> String {
    let Some(first) = words.first() else {
        return DEFAULT_FORMAT.to_owned();
    };
    let texts: Vec<&str> = words.iter().map(|token| token.text.as_str()).collect();
    let format = texts.join(" ");
    for placeholder in placeholders(&format) {
        if !placeholder.starts_with('/') && !PLACEHOLDERS.contains(&placeholder) {
            scope.sink.warn(
                &first.position,
                format!("'{{{placeholder}}}' is no placeholder: it is logged as it stands"),
            );
        }
    }
    format
}

/// What stands between braces.
fn placeholders(format: &str) -> impl Iterator<Item = &str> {
    format
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}').map(|(inner, _)| inner))
}

/// Reads `CLASS…`.
fn read_classes(
    words: &mut Words<'_>,
    classes: &mut BTreeSet<ResponseClass>,
) -> Result<(), ConfigError> {
    for token in words.some()? {
        let class = ResponseClass::parse(&token.text).ok_or_else(|| {
            words.error_at(
                token,
                format!(
                    "invalid Class: {} (valid: success, denial, error, all)",
                    token.text
                ),
            )
        })?;
        classes.insert(class);
    }
    Ok(())
}

/// The line where none is given.
const DEFAULT_FORMAT: &str = "{common}";

/// The placeholders there are, besides `{/label}`.
const PLACEHOLDERS: &[&str] = &[
    "common", "combined", "type", "class", "name", "proto", "size", "remote", "port", "local",
    "rcode", "rsize", "duration", ">id", ">opcode", ">do", ">bufsize", ">rflags",
];
