//! The properties of a `forward` stanza.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;

use portolan_proto::Name;
use portolan_proto::Rcode;

use crate::diagnostic::ConfigError;
use crate::directive::forward::AllowFrom;
use crate::directive::forward::DohMethod;
use crate::directive::forward::Forward;
use crate::directive::forward::ForwardPolicy;
use crate::directive::forward::HealthCheck;
use crate::directive::forward::TlsFiles;
use crate::directive::loadbalance::network;
use crate::token::Token;
use crate::words::Words;

/// Reads one property.
pub(super) fn read(words: &mut Words<'_>, forward: &mut Forward) -> Result<(), ConfigError> {
    let property = words.current();
    if let Some(flag) = flag(forward, &property.text) {
        words.end()?;
        *flag = true;
        return Ok(());
    }
    match property.text.as_str() {
        "except" => {
            let tokens = words.some()?;
            forward.except.extend(words.zones(tokens)?);
        }
        "expire" => forward.expire = words.duration("expire")?,
        "max_age" => {
            forward.max_age = Some(words.duration("max_age")?).filter(|age| !age.is_zero());
        }
        "max_idle_conns" => {
            forward.max_idle_connections =
                Some(words.count("max_idle_conns")?).filter(|count| *count > 0);
        }
        "read_timeout" => {
            forward.read_timeout = words.duration("read_timeout")?;
            if forward.read_timeout.is_zero() {
                return Err(words.error("read_timeout must be positive"));
            }
        }
        "max_fails" => forward.max_fails = words.count("max_fails")?,
        "max_connect_attempts" => {
            forward.max_connect_attempts = Some(words.count("max_connect_attempts")?);
        }
        "max_concurrent" => {
            forward.max_concurrent =
                Some(words.count("max_concurrent")?).filter(|count| *count > 0);
        }
        "health_check" => forward.health_check = read_health_check(words)?,
        "policy" => forward.policy = read_policy(words)?,
        "next" => forward.next.extend(read_rcodes(words)?),
        "failover" => {
            let codes = read_rcodes(words)?;
            if codes.contains(&Rcode::NOERROR) {
                return Err(words.error("NOERROR cannot be used in failover"));
            }
            forward.failover.extend(codes);
        }
        _ => return read_rare(words, forward),
    }
    Ok(())
}

/// The property of this name, if it has no value.
fn flag<'f>(forward: &'f mut Forward, property: &str) -> Option<&'f mut bool> {
    Some(match property {
        "force_tcp" => &mut forward.force_tcp,
        "prefer_udp" => &mut forward.prefer_udp,
        "case_randomization" => &mut forward.case_randomization,
        "forward_special_names" => &mut forward.forward_special_names,
        "next_on_nodata" => &mut forward.next_on_nodata,
        "failfast_all_unhealthy_upstreams" => &mut forward.failfast,
        _ => return None,
    })
}

/// Reads a property of encrypted upstreams, of addresses or of clients.
fn read_rare(words: &mut Words<'_>, forward: &mut Forward) -> Result<(), ConfigError> {
    match words.current().text.as_str() {
        "tls" => forward.tls = Some(read_tls(words)?),
        "tls_servername" => forward.tls_server_name = Some(words.expect()?.text.clone()),
        "doh_method" => {
            let token = words.expect()?;
            forward.doh_method = match token.text.to_ascii_uppercase().as_str() {
                "POST" => DohMethod::Post,
                "GET" => DohMethod::Get,
                _ => {
                    return Err(words.error(format!(
                        "unknown doh_method '{}' (valid: POST, GET)",
                        token.text
                    )));
                }
            };
        }
        "source_address" => {
            let token = words.expect()?;
            let address = token.text.parse().map_err(|_| {
                words.error(format!(
                    "source_address: invalid IP address: {:?}",
                    token.text
                ))
            })?;
            forward.source_address = Some(address);
        }
        "resolver" => {
            for token in words.some()? {
                forward.resolvers.push(read_resolver(words, token)?);
            }
        }
        "allow_from" => read_allow_from(words, &mut forward.allow_from)?,
        _ => return Err(words.unknown_property(PROPERTIES)),
    }
    Ok(())
}

/// Reads `DURATION [no_rec] [domain FQDN] [strict]`.
fn read_health_check(words: &mut Words<'_>) -> Result<HealthCheck, ConfigError> {
    let mut check = HealthCheck {
        interval: words.duration("health_check")?,
        recursion_desired: true,
        qname: Name::root(),
        strict: false,
    };
    while let Some(option) = words.take() {
        match option.text.as_str() {
            "no_rec" => check.recursion_desired = false,
            "strict" => check.strict = true,
            "domain" => {
                let token = words.expect()?;
                check.qname = Name::from_ascii_or_idn(&token.text).map_err(|error| {
                    words.error(format!(
                        "health_check: invalid domain name {}: {error}",
                        token.text
                    ))
                })?;
            }
            other => {
                return Err(words.error(format!(
                    "health_check: unknown option {other} (valid: no_rec, domain FQDN, strict)"
                )));
            }
        }
    }
    Ok(check)
}

/// Reads the name of a policy.
fn read_policy(words: &mut Words<'_>) -> Result<ForwardPolicy, ConfigError> {
    let token = words.expect()?;
    Ok(match token.text.as_str() {
        "random" => ForwardPolicy::Random,
        "round_robin" => ForwardPolicy::RoundRobin,
        "sequential" => ForwardPolicy::Sequential,
        "fastest" => ForwardPolicy::Fastest,
        other => {
            return Err(words.error(format!(
                "unknown policy '{other}' (valid: random, round_robin, sequential, fastest)"
            )));
        }
    })
}

/// Reads `RCODE…`.
fn read_rcodes(words: &mut Words<'_>) -> Result<BTreeSet<Rcode>, ConfigError> {
    words
        .some()?
        .iter()
        .map(|token| {
            token
                .text
                .parse()
                .map_err(|_| words.error_at(token, format!("{} is not a valid rcode", token.text)))
        })
        .collect()
}

/// Reads `[CERT KEY] [CA]`.
fn read_tls(words: &mut Words<'_>) -> Result<TlsFiles, ConfigError> {
    let path = |token: &Token| PathBuf::from(&token.text);
    Ok(match words.rest() {
        [] => TlsFiles::default(),
        [ca] => TlsFiles {
            identity: None,
            authority: Some(path(ca)),
        },
        [cert, key] => TlsFiles {
            identity: Some((path(cert), path(key))),
            authority: None,
        },
        [cert, key, ca] => TlsFiles {
            identity: Some((path(cert), path(key))),
            authority: Some(path(ca)),
        },
        _ => return Err(words.argument_error()),
    })
}

/// The address of a resolver, whose port is 53 unless given.
fn read_resolver(words: &Words<'_>, token: &Token) -> Result<SocketAddr, ConfigError> {
    let text = token.text.as_str();
    text.parse::<SocketAddr>()
        .or_else(|_| {
            text.parse::<IpAddr>()
                .map(|address| SocketAddr::new(address, 53))
        })
        .map_err(|_| words.error_at(token, format!("resolver: invalid IP address: {text:?}")))
}

/// Reads `any` or `CIDR…`.
fn read_allow_from(
    words: &mut Words<'_>,
    allow_from: &mut Option<AllowFrom>,
) -> Result<(), ConfigError> {
    for token in words.some()? {
        if token.text == "any" {
            *allow_from = Some(AllowFrom::Any);
            continue;
        }
        let network = network(words, token)?;
        match allow_from {
            Some(AllowFrom::Any) => {}
            Some(AllowFrom::Networks(networks)) => networks.push(network),
            None => *allow_from = Some(AllowFrom::Networks(vec![network])),
        }
    }
    Ok(())
}

/// The properties, for suggestions.
const PROPERTIES: &[&str] = &[
    "except",
    "force_tcp",
    "prefer_udp",
    "case_randomization",
    "forward_special_names",
    "expire",
    "max_age",
    "max_idle_conns",
    "read_timeout",
    "max_fails",
    "max_connect_attempts",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "next",
    "next_on_nodata",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "doh_method",
    "source_address",
    "resolver",
    "allow_from",
];
