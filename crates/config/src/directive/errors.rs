//! `errors`: failed queries are logged.

use std::time::Duration;

use crate::diagnostic::ConfigError;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// How failed queries are logged.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ErrorLog {
    /// Whether a panic is logged with its stack.
    pub stacktrace: bool,
    /// Which errors are counted instead of logged one by one. The first whose
    /// pattern matches counts.
    pub consolidate: Vec<Located<Consolidate>>,
}

/// Errors that are counted and reported together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consolidate {
    /// How long errors are counted before the report.
    pub period: Duration,
    /// Which errors: a regular expression that is known to compile, at most
    /// 10000 characters.
    pub pattern: String,
    /// Level of the report. Default error.
    pub level: ReportLevel,
    /// Whether the first error of a period is logged as well.
    pub show_first: bool,
}

/// The level of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReportLevel {
    /// Broken.
    #[default]
    Error,
    /// Worth an alert.
    Warning,
    /// Worth knowing.
    Info,
    /// Worth knowing in a search for a cause.
    Debug,
}

/// Reads the occurrences of `errors`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<ErrorLog>> {
    let directive = scope.once(written)?;
    let arguments = read_arguments(&mut Words::arguments(scope.plugin, directive));
    scope.sink.keep(arguments);
    let mut log = ErrorLog::default();
    scope.properties(directive, |words, _| match words.current().text.as_str() {
        "stacktrace" => {
            log.stacktrace = true;
            words.end()
        }
        "consolidate" => {
            let position = words.current().position.clone();
            log.consolidate
                .push(Located::new(read_consolidate(words)?, &position));
            Ok(())
        }
        _ => Err(words.unknown_property(&["stacktrace", "consolidate"])),
    });
    Some(Located::new(log, &directive.name.position))
}

/// Reads `[stdout]`.
fn read_arguments(words: &mut Words<'_>) -> Result<(), ConfigError> {
    if let Some(token) = words.take() {
        words.end()?;
        if token.text != "stdout" {
            return Err(words.error(format!("invalid log file: {}", token.text)));
        }
    }
    Ok(())
}

/// Reads `DURATION REGEXP [LEVEL] [show_first]`.
fn read_consolidate(words: &mut Words<'_>) -> Result<Consolidate, ConfigError> {
    let [period, pattern, options @ ..] = words.rest() else {
        return Err(words.argument_error());
    };
    let mut consolidate = Consolidate {
        period: words.duration_of(period, "consolidate period")?,
        pattern: pattern.text.clone(),
        level: ReportLevel::default(),
        show_first: false,
    };
    check_pattern(words, pattern)?;
    let mut has_level = false;
    for option in options {
        let level = match option.text.as_str() {
            "warning" => ReportLevel::Warning,
            "error" => ReportLevel::Error,
            "info" => ReportLevel::Info,
            "debug" => ReportLevel::Debug,
            "show_first" if consolidate.show_first => return Err(words.argument_error()),
            "show_first" => {
                consolidate.show_first = true;
                continue;
            }
            other => {
                return Err(words.error_at(
                    option,
                    format!(
                        "unknown option in consolidate: {other} \
                         (a pattern with spaces stands in quotes)"
                    ),
                ));
            }
        };
        if has_level {
            return Err(words.error_at(option, "multiple log levels specified in consolidate"));
        }
        if consolidate.show_first {
            return Err(words.error_at(
                option,
                "log level must come before show_first in consolidate",
            ));
        }
        has_level = true;
        consolidate.level = level;
    }
    Ok(consolidate)
}

/// Checks that a pattern compiles.
fn check_pattern(words: &Words<'_>, pattern: &Token) -> Result<(), ConfigError> {
    let length = pattern.text.chars().count();
    if length > MAX_PATTERN {
        return Err(words.error_at(
            pattern,
            format!("consolidate pattern of {length} characters is longer than {MAX_PATTERN}"),
        ));
    }
    regex::Regex::new(&pattern.text)
        .map(|_| ())
        .map_err(|error| {
            // The reason stands in the last line, below a drawing of the place.
            let text = error.to_string();
            let reason = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            words.error_at(
                pattern,
                format!("error parsing regexp: {reason}: `{}`", pattern.text),
            )
        })
}

/// Longest pattern, in characters.
const MAX_PATTERN: usize = 10_000;
