//! `traefik-externals`: names from the rules of Traefik's files.
//!
//! The environment comes after the file: what it sets replaces what the file
//! says, as in Joyride.

use std::path::PathBuf;

use crate::diagnostic::ConfigError;
use crate::directive::docker_cluster::HostAddresses;
use crate::directive::docker_cluster::host_of_environment;
use crate::directive::docker_cluster::parse_ttl;
use crate::directive::docker_cluster::read_host;
use crate::directive::docker_cluster::read_ttl;
use crate::directive::fallthrough::Fallthrough;
use crate::position::Located;
use crate::position::Position;
use crate::scope::Scope;
use crate::token::Directive;
use crate::words::Words;

/// Names from Traefik's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraefikExternals {
    /// Whether the directive is in force (`TRAEFIK_EXTERNALS_ENABLED`).
    pub enabled: bool,
    /// Directory of the files. Default `/etc/traefik/external-enabled`.
    pub directory: PathBuf,
    /// File of variables for templates.
    pub env_file: Option<PathBuf>,
    /// Where the names point.
    pub host: HostAddresses,
    /// TTL in seconds, 0..=2147483647. Default 60.
    pub ttl: u32,
    /// Which unknown names the next stage is asked for.
    pub fallthrough: Option<Fallthrough>,
}

/// Reads the occurrences of `traefik-externals`, which add up.
pub(crate) fn setup(
    scope: &mut Scope<'_>,
    written: &[&Directive],
) -> Option<Located<TraefikExternals>> {
    let position = &written.first()?.name.position;
    let mut traefik = TraefikExternals {
        enabled: true,
        directory: PathBuf::from("/etc/traefik/external-enabled"),
        env_file: None,
        host: HostAddresses::detected(),
        ttl: 60,
        fallthrough: None,
    };
    let mut has_host = false;
    for directive in written {
        for token in &directive.arguments {
            let message = format!(
                "argument '{}' has no effect: traefik-externals takes none",
                token.text
            );
            scope.sink.warn(&token.position, message);
        }
        scope.properties(directive, |words, _| {
            has_host |= words.current().text == "host_ip";
            read_property(words, &mut traefik)
        });
    }
    apply_environment(scope, position, &mut traefik, &mut has_host);
    if !has_host {
        scope.error_in(
            position,
            "host_ip is required (set in config or HOSTIP env var)",
        );
    }
    if !traefik.enabled {
        scope.sink.warn(
            position,
            "TRAEFIK_EXTERNALS_ENABLED is off: 'traefik-externals' has no effect",
        );
    }
    Some(Located::new(traefik, position))
}

/// Reads one property.
fn read_property(words: &mut Words<'_>, traefik: &mut TraefikExternals) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "directory" => traefik.directory = PathBuf::from(&words.expect()?.text),
        "env_file" => traefik.env_file = Some(PathBuf::from(&words.expect()?.text)),
        "host_ip" => traefik.host = read_host(words)?,
        "ttl" => traefik.ttl = read_ttl(words)?,
        "fallthrough" => traefik.fallthrough = Some(Fallthrough::read(words)?),
        _ => {
            return Err(words.unknown_property(&[
                "directory",
                "env_file",
                "host_ip",
                "ttl",
                "fallthrough",
            ]));
        }
    }
    words.end()
}

/// Applies the environment, which beats the file.
fn apply_environment(
    scope: &mut Scope<'_>,
    position: &Position,
    traefik: &mut TraefikExternals,
    has_host: &mut bool,
) {
    if let Some(host) = host_of_environment(scope, position) {
        *has_host = true;
        traefik.host = host;
    }
    if let Some(value) = scope.variable("TRAEFIK_EXTERNALS_ENABLED") {
        let off = ["false", "no", "0"]
            .iter()
            .any(|no| value.eq_ignore_ascii_case(no));
        traefik.enabled = !off;
    }
    if let Some(value) = scope.variable("TRAEFIK_EXTERNALS_DIRECTORY") {
        traefik.directory = PathBuf::from(value);
    }
    if let Some(value) = scope.variable("TRAEFIK_EXTERNALS_ENV_FILE") {
        traefik.env_file = Some(PathBuf::from(value));
    }
    if let Some(value) = scope.variable("TRAEFIK_EXTERNALS_TTL") {
        match parse_ttl(&value) {
            Some(ttl) => traefik.ttl = ttl,
            // Joyride passes over it, so setups that run have it.
            None => scope.sink.warn(
                position,
                format!("invalid TRAEFIK_EXTERNALS_TTL env var: {value}: it has no effect"),
            ),
        }
    }
}
