//! One file to the names of its routers.

use std::collections::BTreeMap;
use std::collections::HashSet;

use portolan_proto::Name;
use portolan_traefik::BadName;
use portolan_traefik::Rule;
use portolan_traefik::RuleError;
use portolan_traefik::template;
use portolan_traefik::template::TemplateError;

use super::config::Variables;
use super::document::Document;
use super::document::TooComplex;
use super::yaml;
use super::yaml::YamlError;

/// What the routers of a file say.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The names they are for, each once, in the order of the file.
    pub(crate) names: Vec<Name>,
    /// Variables without a value, and how many routers are left out for each.
    pub(crate) missing: BTreeMap<String, usize>,
    /// How many routers were left out, or have a text that is no name.
    pub(crate) bad_count: usize,
    /// The first [`MAX_REPORTED`] of them, those apart that lack a variable.
    pub(crate) bad_routers: Vec<BadRouter>,
    /// Whether a router is for names that match a pattern.
    pub(crate) has_pattern: bool,
}

/// A router that was left out, wholly or in part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRouter {
    /// Its name, as far as it is fit for a log.
    pub(crate) router: String,
    /// What is wrong with it.
    pub(crate) error: RouterError,
}

/// What is wrong with a router.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouterError {
    /// Its rule is none.
    #[error("{0}")]
    Rule(#[from] RuleError),
    /// One of its names is none; the others count.
    #[error("bad name: {0}")]
    Name(BadName),
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It is no text.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// It has an action that is not understood.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// It is no YAML.
    #[error("{0}")]
    Yaml(#[from] YamlError),
    /// It is no TOML.
    #[error("line {line}: {message}")]
    Toml {
        /// Where; the first line is 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads a file. Its extension says what it is.
pub(crate) fn parse(path: &str, text: &[u8], variables: &Variables) -> Result<Parsed, FileError> {
    let text = str::from_utf8(text).map_err(|_| FileError::NotUtf8)?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = template::expand(text, &|name| variables.get(name).cloned())?;
    let mut reader = Reader::default();
    if path.ends_with(".toml") {
        read_toml(&text, &mut reader)?;
    } else {
        read_yaml(&yaml::parse(&text)?, &mut reader).map_err(YamlError::from)?;
    }
    Ok(reader.parsed)
}

/// The routers so far.
#[derive(Default)]
struct Reader {
    /// Result so far.
    parsed: Parsed,
    /// The names so far.
    seen: HashSet<Name>,
}

// === impl Reader ===

impl Reader {
    /// Takes a router.
    fn router(&mut self, router: &str, rule: &str) {
        if let Some(variable) = template::missing(rule) {
            *self.parsed.missing.entry(short(variable)).or_default() += 1;
            self.parsed.bad_count += 1;
            return;
        }
        match Rule::parse(rule) {
            Ok(rule) => {
                self.parsed.has_pattern |= rule.has_pattern;
                for name in rule.names {
                    if self.seen.insert(name.clone()) {
                        self.parsed.names.push(name);
                    }
                }
                for bad in rule.bad_names {
                    self.report(router, RouterError::Name(bad));
                }
            }
            Err(error) => self.report(router, error.into()),
        }
    }

    /// Counts what is wrong, and keeps it if it is among the first.
    fn report(&mut self, router: &str, error: RouterError) {
        self.parsed.bad_count += 1;
        if self.parsed.bad_routers.len() < MAX_REPORTED {
            let router = short(router);
            self.parsed.bad_routers.push(BadRouter { router, error });
        }
    }
}

/// Takes the routers of a YAML document.
fn read_yaml(document: &Document<'_>, reader: &mut Reader) -> Result<(), TooComplex> {
    let Some(root) = document.root() else {
        return Ok(());
    };
    for section in SECTIONS {
        let Some(section) = document.value(root, section)? else {
            continue;
        };
        let Some(routers) = document.value(section, "routers")? else {
            continue;
        };
        for (name, router) in document.entries(routers)? {
            let rule = document.value(router, "rule")?;
            if let Some(rule) = rule.and_then(|rule| document.text(rule)) {
                reader.router(name, rule);
            }
        }
    }
    Ok(())
}

/// Takes the routers of a TOML text.
fn read_toml(text: &str, reader: &mut Reader) -> Result<(), FileError> {
    let root: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().iter().take(start);
        FileError::Toml {
            line: 1 + before.filter(|&&octet| octet == b'\n').count(),
            message: error.message().to_owned(),
        }
    })?;
    for section in SECTIONS {
        let section = member(&root, section).and_then(toml::Value::as_table);
        let routers = section.and_then(|section| member(section, "routers")?.as_table());
        for (name, router) in routers.into_iter().flatten() {
            let rule = router
                .as_table()
                .and_then(|router| member(router, "rule")?.as_str());
            if let Some(rule) = rule {
                reader.router(name, rule);
            }
        }
    }
    Ok(())
}

/// The value of a key, whatever its case: Traefik has it so.
fn member<'t>(table: &'t toml::Table, key: &str) -> Option<&'t toml::Value> {
    table
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value)
}

/// The beginning of a text.
fn short(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Where routers are that know names.
const SECTIONS: [&str; 2] = ["http", "tcp"];

/// Bad routers that are reported one by one.
pub(crate) const MAX_REPORTED: usize = 10;

/// Characters of a text that are shown.
const MAX_SHOWN: usize = 48;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &str = "\u{feff}";

#[cfg(test)]
mod tests;
