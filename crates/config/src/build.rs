//! Server blocks as written to server blocks as meant.

use portolan_proto::Name;

use crate::catalog;
use crate::config::ServerBlock;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::directive::any;
use crate::directive::bind;
use crate::directive::cache;
use crate::directive::debug;
use crate::directive::docker_cluster;
use crate::directive::errors;
use crate::directive::forward;
use crate::directive::health;
use crate::directive::hosts;
use crate::directive::loadbalance;
use crate::directive::log;
use crate::directive::loop_detection;
use crate::directive::multisocket;
use crate::directive::prometheus;
use crate::directive::ready;
use crate::directive::reload;
use crate::directive::traefik_externals;
use crate::directive::whoami;
use crate::env::Env;
use crate::key;
use crate::position::Located;
use crate::scope::Scope;
use crate::token::Directive;
use crate::token::RawBlock;
use crate::words::is_true;

/// Gives a server block its meaning. Mistakes are noted; the result counts
/// only if there were none.
pub(crate) fn build(
    raw: &RawBlock,
    default_port: u16,
    env: Env<'_>,
    sink: &mut Sink,
) -> Located<ServerBlock> {
    let keys: Vec<_> = raw
        .keys
        .iter()
        .filter_map(|token| key::read(token, default_port, sink))
        .collect();
    let zones: Vec<Name> = keys.iter().flat_map(|key| key.zones.clone()).collect();
    refuse_unknown(raw, sink);
    let mut setup = Setup {
        raw,
        zones: &zones,
        env,
        sink,
    };
    let mut block = ServerBlock {
        keys,
        bind: setup.run("bind", bind::setup),
        multisocket: setup.run("multisocket", multisocket::setup),
        debug: setup.run("debug", debug::setup),
        any: setup.run("any", any::setup),
        loop_detection: setup.run("loop", loop_detection::setup),
        reload: setup.run("reload", reload::setup),
        health: setup.run("health", health::setup),
        ready: setup.run("ready", ready::setup),
        prometheus: setup.run("prometheus", prometheus::setup),
        errors: setup.run("errors", errors::setup),
        log: setup.run("log", log::setup),
        loadbalance: setup.run("loadbalance", loadbalance::setup),
        hosts: setup.run("hosts", hosts::setup),
        docker_cluster: setup.run("docker-cluster", docker_cluster::setup),
        traefik_externals: setup.run("traefik-externals", traefik_externals::setup),
        cache: setup.run("cache", cache::setup),
        forward: setup.run("forward", forward::setup),
        whoami: setup.run("whoami", whoami::setup),
    };
    apply_environment(&mut block, raw, env);
    Located::new(block, &raw.position)
}

/// Turns on the logs that the variables of Joyride 1 ask for.
fn apply_environment(block: &mut ServerBlock, raw: &RawBlock, env: Env<'_>) {
    let asked = |name: &str| env(name).is_some_and(|value| is_true(&value));
    if asked("JOYRIDE_LOG_QUERIES") && block.log.is_empty() {
        block.log = vec![Located::new(log::everything(), &raw.position)];
    }
    if asked("JOYRIDE_LOG_DEBUG") && block.debug.is_none() {
        block.debug = Some(Located::new((), &raw.position));
    }
}

/// What every setup of a block shares.
struct Setup<'a> {
    /// The block as written.
    raw: &'a RawBlock,
    /// Its zones.
    zones: &'a [Name],
    /// The environment.
    env: Env<'a>,
    /// Takes what is wrong.
    sink: &'a mut Sink,
}

// === impl Setup ===

impl Setup<'_> {
    /// Runs the setup of one directive over its occurrences.
    fn run<T>(
        &mut self,
        name: &'static str,
        setup: impl FnOnce(&mut Scope<'_>, &[&Directive]) -> T,
    ) -> T {
        let written: Vec<&Directive> = self
            .raw
            .directives
            .iter()
            .filter(|directive| directive.name.text == name)
            .collect();
        let mut scope = Scope {
            plugin: name,
            zones: self.zones,
            env: self.env,
            sink: &mut *self.sink,
        };
        setup(&mut scope, &written)
    }
}

/// Notes every directive that this server does not have.
fn refuse_unknown(raw: &RawBlock, sink: &mut Sink) {
    for directive in &raw.directives {
        let name = directive.name.text.as_str();
        if catalog::is_supported(name) {
            continue;
        }
        let message = if catalog::is_foreign(name) {
            format!(
                "directive '{name}' is a CoreDNS plugin this server does not support (see {})",
                catalog::DIRECTIVES_PAGE
            )
        } else if name.contains(['{', '}']) {
            format!("Unknown directive '{name}' (a brace needs space around it)")
        } else {
            let known = catalog::directive_names().iter().copied().chain(["import"]);
            format!(
                "Unknown directive '{name}'{}",
                catalog::suggestion(name, known)
            )
        };
        sink.error(ConfigError::parsing(&directive.name.position, message));
    }
}
