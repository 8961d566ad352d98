//! The names of directives.

/// The directives this server understands, sorted.
pub fn directive_names() -> &'static [&'static str] {
    SUPPORTED
}

/// The directive of this name, if the server understands it.
pub(crate) fn supported(name: &str) -> Option<&'static str> {
    SUPPORTED.iter().find(|known| **known == name).copied()
}

/// Whether the server understands a directive.
pub(crate) fn is_supported(name: &str) -> bool {
    supported(name).is_some()
}

/// Whether CoreDNS has this directive and this server has not.
pub(crate) fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name)
}

/// Whether the name is that of any directive, ours or CoreDNS's.
pub(crate) fn is_directive(name: &str) -> bool {
    is_supported(name) || is_foreign(name)
}

/// ` (did you mean 'X'?)` for the nearest of the candidates, or nothing if
/// none is near.
pub(crate) fn suggestion<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    // Far longer words are near nothing, and the distance costs time.
    if word.len() > MAX_SUGGESTED {
        return String::new();
    }
    let lower = word.to_lowercase().replace('-', "_");
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.replace('-', "_"));
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, nearest)| format!(" (did you mean '{nearest}'?)"))
        .unwrap_or_default()
}

/// Where it is written what the server understands.
pub(crate) const DIRECTIVES_PAGE: &str = "docs/directives.md";

/// Longest word for which a likely one is looked for.
const MAX_SUGGESTED: usize = 64;

/// The directives this server understands.
const SUPPORTED: &[&str] = &[
    "any",
    "bind",
    "cache",
    "debug",
    "docker-cluster",
    "errors",
    "forward",
    "health",
    "hosts",
    "loadbalance",
    "log",
    "loop",
    "multisocket",
    "prometheus",
    "ready",
    "reload",
    "traefik-externals",
    "whoami",
];

/// Directives of CoreDNS, today's and yesterday's, that this server lacks.
const FOREIGN: &[&str] = &[
    "acl",
    "auto",
    "autopath",
    "azure",
    "bufsize",
    "cancel",
    "chaos",
    "clouddns",
    "dns64",
    "dnssec",
    "dnstap",
    "erratic",
    "etcd",
    "federation",
    "file",
    "geoip",
    "grpc",
    "grpc_server",
    "header",
    "https",
    "https3",
    "k8s_external",
    "kubernetes",
    "local",
    "metadata",
    "minimal",
    "nomad",
    "nsid",
    "on",
    "pprof",
    "proxy",
    "proxyproto",
    "quic",
    "rewrite",
    "root",
    "route53",
    "secondary",
    "shed",
    "shutdown",
    "sign",
    "startup",
    "template",
    "timeouts",
    "tls",
    "trace",
    "transfer",
    "tsig",
    "view",
];
