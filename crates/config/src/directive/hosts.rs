//! `hosts`: names from files in the form of `/etc/hosts`.

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use portolan_proto::Name;

use crate::catalog;
use crate::diagnostic::ConfigError;
use crate::directive::fallthrough::Fallthrough;
use crate::directive::unknown_action::UnknownAction;
use crate::directive::unknown_action::VALID_ACTIONS;
use crate::duration::SignedDuration;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::Token;
use crate::words::Words;

/// Names from hosts files.
///
/// `hosts [FILE… [ZONES…]]`: the first argument is a file. What follows and
/// holds a `/` is a further file, unless it is a range of addresses such as
/// `10.0.0.0/8` or a reverse zone such as `0/25.2.0.192.in-addr.arpa`
/// (RFC 2317); the rest are zones. A file may be a directory, whose files
/// are all read, or a pattern such as `/etc/hosts.d/*.hosts`. The variable
/// `HOSTS_DIRECTORY` adds a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Files, directories and patterns. Default `/etc/hosts`.
    pub files: Vec<PathBuf>,
    /// Names outside these zones are not taken. Default the block's zones.
    pub zones: Vec<Name>,
    /// Lines written in the block itself.
    pub inline: Vec<Located<String>>,
    /// TTL in seconds, 1..=65535. Default 3600.
    pub ttl: u32,
    /// Whether addresses answer with their names (PTR). Default yes.
    pub reverse: bool,
    /// How often the files are looked at; `None` for never. Default 5 s.
    pub reload: Option<Duration>,
    /// Which unknown names the next stage is asked for.
    pub fallthrough: Option<Fallthrough>,
    /// Whether types other than A, AAAA and PTR of a known name go to the
    /// next stage.
    pub fallthrough_unsupported: bool,
    /// The answer to an unknown name. Default SERVFAIL, as CoreDNS has it.
    pub unknown_action: UnknownAction,
    /// TTL of a negative answer in seconds. Default 30.
    pub negative_ttl: u32,
}

/// Reads the occurrences of `hosts`.
pub(crate) fn setup(scope: &mut Scope<'_>, written: &[&Directive]) -> Option<Located<Hosts>> {
    let directive = scope.once(written)?;
    let mut hosts = Hosts {
        files: Vec::new(),
        zones: Vec::new(),
        inline: Vec::new(),
        ttl: 3600,
        reverse: true,
        reload: Some(Duration::from_secs(5)),
        fallthrough: None,
        fallthrough_unsupported: false,
        unknown_action: UnknownAction::ServFail,
        negative_ttl: 30,
    };
    let arguments = read_arguments(
        &mut Words::arguments(scope.plugin, directive),
        scope,
        &mut hosts,
    );
    scope.sink.keep(arguments);
    add_directory(scope, &mut hosts.files);
    let mut unsupported = None;
    scope.properties(directive, |words, scope| {
        match words.current().text.as_str() {
            "fallthrough_unsupported" => {
                unsupported = Some(words.current().clone());
                words.end()
            }
            _ => read_property(words, scope, &mut hosts),
        }
    });
    if let Some(token) = unsupported {
        hosts.fallthrough_unsupported = true;
        if hosts.fallthrough.is_none() {
            scope.error_at(&token, "fallthrough_unsupported requires fallthrough");
        }
    }
    Some(Located::new(hosts, &directive.name.position))
}

/// Reads `[FILE… [ZONES…]]`.
fn read_arguments(
    words: &mut Words<'_>,
    scope: &mut Scope<'_>,
    hosts: &mut Hosts,
) -> Result<(), ConfigError> {
    let tokens = words.rest();
    let (first, others) = match tokens.split_first() {
        Some((first, others)) => (Some(first), others),
        None => (None, tokens),
    };
    let (files, zones): (Vec<&Token>, Vec<&Token>) = others
        .iter()
        .partition(|token| is_further_file(&token.text));
    for token in first.into_iter().chain(files) {
        if token.text.is_empty() {
            return Err(words.error_at(token, "the name of the hosts file is empty"));
        }
        if !token.text.contains(['*', '?', '[']) && !Path::new(&token.text).exists() {
            let message = format!("File does not exist: {}", token.text);
            scope.sink.warn(&token.position, message);
        }
        hosts.files.push(PathBuf::from(&token.text));
    }
    if hosts.files.is_empty() {
        hosts.files.push(PathBuf::from(DEFAULT_FILE));
    }
    let zones: Vec<Token> = zones.into_iter().cloned().collect();
    hosts.zones = scope.zones_or_own(words, &zones)?;
    Ok(())
}

/// Adds the directory of the environment, whose files are read beside those
/// that are named. Joyride 1 read all of /etc/hosts.d, Joyride 2 one file.
fn add_directory(scope: &Scope<'_>, files: &mut Vec<PathBuf>) {
    if let Some(directory) = scope.variable("HOSTS_DIRECTORY").map(PathBuf::from) {
        // Its files are read once, also the one that is named.
        files.retain(|file| file.parent() != Some(&directory) && *file != directory);
        files.push(directory);
    }
}

/// Whether an argument after the first is a file rather than a zone.
fn is_further_file(text: &str) -> bool {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    text.contains('/') && text.parse::<IpNet>().is_err() && !name.ends_with(".in-addr.arpa")
}

/// Reads one property, or a line of data.
fn read_property(
    words: &mut Words<'_>,
    scope: &mut Scope<'_>,
    hosts: &mut Hosts,
) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "fallthrough" => hosts.fallthrough = Some(Fallthrough::read(words)?),
        "no_reverse" => {
            hosts.reverse = false;
            words.end()?;
        }
        "ttl" => hosts.ttl = read_ttl(words)?,
        "reload" => hosts.reload = read_reload(words)?,
        "unknown_action" => {
            let token = words.expect()?;
            hosts.unknown_action = UnknownAction::parse(&token.text).ok_or_else(|| {
                words.error(format!(
                    "invalid unknown_action: {} ({VALID_ACTIONS})",
                    token.text
                ))
            })?;
            words.end()?;
        }
        "negative_ttl" => {
            hosts.negative_ttl = words.count("negative_ttl")?;
            words.end()?;
        }
        _ if hosts.fallthrough.is_none() => read_line(words, scope, hosts),
        _ => return Err(words.unknown_property(PROPERTIES)),
    }
    Ok(())
}

/// Keeps a line of data.
fn read_line(words: &mut Words<'_>, scope: &mut Scope<'_>, hosts: &mut Hosts) {
    let first = words.current();
    let rest = words.rest();
    let address = first.text.split('%').next().unwrap_or_default();
    if address.parse::<IpAddr>().is_err() {
        let suggestion = catalog::suggestion(&first.text, PROPERTIES.iter().copied());
        scope.sink.warn(
            &first.position,
            format!(
                "'{}' is neither an address nor a property of hosts{suggestion}: \
                 the line is left out",
                first.text
            ),
        );
        return;
    }
    if rest.is_empty() {
        let message = format!("'{}' has no name: the line is left out", first.text);
        scope.sink.warn(&first.position, message);
        return;
    }
    let line: Vec<&str> = std::iter::once(first)
        .chain(rest)
        .map(|token| token.text.as_str())
        .collect();
    hosts
        .inline
        .push(Located::new(line.join(" "), &first.position));
}

/// Reads `SECONDS`.
fn read_ttl(words: &mut Words<'_>) -> Result<u32, ConfigError> {
    let Some(token) = words.take() else {
        return Err(words.error("ttl needs a time in second"));
    };
    let ttl: i64 = token
        .text
        .parse()
        .map_err(|_| words.error("ttl needs a number of second"))?;
    words.end()?;
    u32::try_from(ttl)
        .ok()
        .filter(|ttl| (1..=65535).contains(ttl))
        .ok_or_else(|| words.error(format!("ttl provided is invalid: {ttl} (1..=65535)")))
}

/// Reads `DURATION`; zero for never.
fn read_reload(words: &mut Words<'_>) -> Result<Option<Duration>, ConfigError> {
    let Some(token) = words.take() else {
        return Err(words.error("reload needs a duration (zero seconds to disable)"));
    };
    let duration = SignedDuration::parse(&token.text).map_err(|error| {
        words.error(format!(
            "invalid duration for reload '{}': {error}",
            token.text
        ))
    })?;
    words.end()?;
    let interval = duration.non_negative().ok_or_else(|| {
        words.error(format!(
            "invalid negative duration for reload '{}'",
            token.text
        ))
    })?;
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "/etc/hosts";

/// The properties, for suggestions.
const PROPERTIES: &[&str] = &[
    "ttl",
    "no_reverse",
    "reload",
    "fallthrough",
    "fallthrough_unsupported",
    "unknown_action",
    "negative_ttl",
];
