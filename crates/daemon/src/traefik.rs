//! From the `traefik-externals` directive to its source.

use std::sync::Arc;

use portolan_config as config;
use portolan_files::traefik::{Config, Families, Variables};
use portolan_proto::Rtype;
use portolan_server::LookupLog;
use portolan_table::LayerId;

use crate::host_ips;
use crate::host_ips::HostIps;

/// Counts the queries that reach the directive.
pub(crate) struct Queries(pub(crate) Families);

/// Name of the directive.
pub(crate) const PLUGIN: &str = "traefik-externals";

/// For how long clients may remember that a name has no other types.
pub(crate) const NEGATIVE_TTL: u32 = 30;

// === impl Queries ===

impl LookupLog for Queries {
    fn looked_up(&self, qtype: Rtype, plugin: Option<&'static str>) {
        // It is the last to be asked: what nobody knows is unknown to it.
        if plugin.is_none_or(|plugin| plugin == PLUGIN) {
            self.0.count_query(qtype, plugin.is_some());
        }
    }
}

/// What a source is told.
pub(crate) fn config(
    directive: &config::TraefikExternals,
    host_ips: &HostIps,
    layer: LayerId,
) -> Config {
    let lost = "names of Traefik's files have no address and are not served";
    host_ips::report(PLUGIN, lost, &directive.host, host_ips);
    let directory = directive.directory.to_string_lossy().into_owned();
    let env_file = directive.env_file.as_deref();
    Config {
        env_file: env_file.map(|path| path.to_string_lossy().into_owned()),
        variables: Arc::new(variables()),
        ttl: directive.ttl,
        ..Config::new(layer, directory, host_ips.clone().unwrap_or_default())
    }
}

/// The environment of the process, as far as it is text.
fn variables() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
