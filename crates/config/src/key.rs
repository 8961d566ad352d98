//! Keys of server blocks: `[scheme://]zone[:port]`.

use portolan_proto::Name;

use crate::catalog;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::position::Located;
use crate::token::Token;
use crate::zone::ZoneText;
use crate::zone::expand;
use crate::zone::is_preferred_syntax;

/// What a server block answers for, and on which port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The zones: one, or several for an address range.
    pub zones: Vec<Name>,
    /// UDP and TCP port, 0..=65535. 0 lets the system choose.
    pub port: u16,
}

/// The port of a key that names none.
pub const DEFAULT_PORT: u16 = 53;

/// Reads a key. A mistake is noted, and there is no key then.
pub(crate) fn read(token: &Token, default_port: u16, sink: &mut Sink) -> Option<Located<Key>> {
    let key = read_key(&token.text, default_port).map_err(|message| {
        let message = format!("error inspecting server blocks: {message}");
        ConfigError::parsing(&token.position, message)
    });
    let key = sink.keep(key)?;
    warn_about(token, &key, sink);
    Some(Located::new(key, &token.position))
}

/// Reads the text of a key.
fn read_key(text: &str, default_port: u16) -> Result<Key, String> {
    let parts = ZoneText::split(text).map_err(|error| error.to_string())?;
    check_scheme(parts.scheme)?;
    let port = match parts.port {
        Some(digits) => digits
            .parse()
            .map_err(|_| format!("address {digits}: invalid port (a number up to 65535)"))?,
        None => default_port,
    };
    if parts.zone.is_empty() {
        return Err(match parts.port {
            Some(port) => {
                format!("zone is not a valid domain name:  (empty zone; did you mean '.:{port}'?)")
            }
            None => "zone is not a valid domain name:  (empty zone; the root is '.')".to_owned(),
        });
    }
    let zones = expand(parts.zone).map_err(|error| error.to_string())?;
    Ok(Key { zones, port })
}

/// Refuses what is not plain DNS: to serve an encrypted scheme in the clear
/// would be worse than not to serve it.
fn check_scheme(scheme: Option<&str>) -> Result<(), String> {
    let Some(scheme) = scheme else { return Ok(()) };
    let lower = scheme.to_ascii_lowercase();
    if lower == "dns" {
        return Ok(());
    }
    if ENCRYPTED_SCHEMES.contains(&lower.as_str()) {
        return Err(format!(
            "'{scheme}://' server blocks are not supported yet (only dns://)"
        ));
    }
    let suggestion = catalog::suggestion(&lower, ["dns"]);
    Err(format!(
        "unknown scheme '{scheme}://'{suggestion}: a key is [dns://]zone[:port]"
    ))
}

/// Says what is legal and probably a mistake.
fn warn_about(token: &Token, key: &Key, sink: &mut Sink) {
    let zone = ZoneText::split(&token.text).map_or("", |parts| parts.zone);
    if catalog::is_directive(zone) {
        sink.warn(
            &token.position,
            format!(
                "'{zone}' is the name of a directive but stands where a zone is expected: \
                 it is served as the zone '{zone}.'"
            ),
        );
    }
    if zone.parse::<std::net::Ipv4Addr>().is_ok() {
        sink.warn(
            &token.position,
            format!("'{zone}' is served as the zone '{zone}.': the reverse zone is '{zone}/32'"),
        );
    }
    for zone in key.zones.iter().filter(|zone| !is_preferred_syntax(zone)) {
        sink.warn(
            &token.position,
            format!("Domain \"{zone}\" does not follow RFC1035 preferred syntax"),
        );
    }
}

/// Schemes CoreDNS has and this server does not serve.
const ENCRYPTED_SCHEMES: [&str; 5] = ["tls", "quic", "grpc", "https", "https3"];
