//! The order in which the stages of a block are asked, and which of them can
//! be reached at all.
//!
//! The order is fixed; the order of the text counts only among several
//! `forward`. The names that hosts, docker-cluster and traefik-externals know
//! are answered there. A name that none of them knows goes on only if each of
//! them that is in charge of it lets it fall through.
//!
//! Whether a stage can be reached is decided on samples: every zone that is
//! mentioned anywhere in the block. A zone and the names just below it are
//! within the same zones, so no other names need to be looked at.

use std::collections::BTreeSet;
use std::slice;

use portolan_proto::Name;

use crate::config::ServerBlock;
use crate::directive::fallthrough::Fallthrough;
use crate::directive::forward::Forward;
use crate::position::Located;
use crate::position::Position;

/// One stage of a server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// The directive.
    pub name: &'static str,
    /// Where it is written.
    pub position: Position,
    /// What it does here, or why it cannot be reached.
    pub note: String,
    /// Whether any query can reach it.
    pub reached: bool,
}

/// A stage that knows names itself.
struct LocalStage<'a> {
    /// The directive.
    name: &'static str,
    /// Where it is written.
    position: &'a Position,
    /// The zones it is in charge of.
    zones: &'a [Name],
    /// Which unknown names go on.
    fallthrough: Option<&'a Fallthrough>,
    /// Whether unknown addresses (PTR) always go on.
    passes_reverse: bool,
}

/// What decides whether a name gets past the local stages.
struct Route<'a> {
    /// The local stages.
    locals: Vec<LocalStage<'a>>,
    /// Names to try, all within the block.
    samples: BTreeSet<&'a Name>,
}

// === impl ServerBlock ===

impl ServerBlock {
    /// The stages in the order they are asked.
    pub fn stages(&self) -> Vec<StageInfo> {
        let root = Name::root();
        let route = Route::of(self, slice::from_ref(&root));
        let mut stages = Vec::new();
        self.push_around(&mut stages);
        for local in &route.locals {
            stages.push(reached(local.name, local.position, local.describe()));
        }
        if let Some(traefik) = &self.traefik_externals
            && !traefik.enabled
        {
            let note = "switched off by TRAEFIK_EXTERNALS_ENABLED".to_owned();
            stages.push(StageInfo {
                reached: false,
                ..reached("traefik-externals", &traefik.position, note)
            });
        }
        if let Some(cache) = &self.cache {
            let covers = |name: &Name| cache.zones.iter().any(|zone| name.is_within(zone));
            let note = if self.forward.is_empty() {
                "nothing behind it is worth keeping".to_owned()
            } else {
                format!("keeps what is forwarded within {}", list(&cache.zones))
            };
            stages.push(route.judge("cache", &cache.position, note, covers));
        }
        for (index, forward) in self.forward.iter().enumerate() {
            let earlier = self.forward.get(..index).unwrap_or_default();
            stages.push(route.judge_forward(forward, earlier));
        }
        if let Some(whoami) = &self.whoami {
            let mut stage = route.judge("whoami", &whoami.position, "answers".to_owned(), |name| {
                !self.forward.iter().any(|forward| forward.covers(name))
            });
            if !stage.reached
                && let Some(forward) = self.forward.first()
                && route.passed().next().is_some()
            {
                stage.note = format!("'forward' at {} takes every name", forward.position);
            }
            stages.push(stage);
        }
        stages
    }

    /// Adds the directives that every query passes on its way in and out.
    fn push_around(&self, stages: &mut Vec<StageInfo>) {
        if let Some(balance) = &self.loadbalance {
            let note = "around: orders the addresses of an answer".to_owned();
            stages.push(reached("loadbalance", &balance.position, note));
        }
        for rule in &self.log {
            let note = format!("around: logs queries within {}", list(&rule.names));
            stages.push(reached("log", &rule.position, note));
        }
        if let Some(errors) = &self.errors {
            let note = "around: logs failed queries".to_owned();
            stages.push(reached("errors", &errors.position, note));
        }
    }

    /// Every zone that any stage mentions.
    fn mentioned(&self) -> impl Iterator<Item = &Name> {
        let hosts = self.hosts.iter().flat_map(|hosts| {
            hosts
                .zones
                .iter()
                .chain(hosts.fallthrough.iter().flat_map(|fall| &fall.zones))
        });
        let docker = self
            .docker_cluster
            .iter()
            .flat_map(|docker| docker.fallthrough.iter().flat_map(|fall| &fall.zones));
        let traefik = self
            .traefik_externals
            .iter()
            .flat_map(|traefik| traefik.fallthrough.iter().flat_map(|fall| &fall.zones));
        let cache = self.cache.iter().flat_map(|cache| &cache.zones);
        let forward = self
            .forward
            .iter()
            .flat_map(|forward| slice::from_ref(&forward.from).iter().chain(&forward.except));
        self.zones()
            .chain(hosts)
            .chain(docker)
            .chain(traefik)
            .chain(cache)
            .chain(forward)
    }
}

// === impl LocalStage ===

impl LocalStage<'_> {
    /// Whether an unknown name goes past this stage.
    fn passes(&self, name: &Name) -> bool {
        let in_charge = self.zones.iter().any(|zone| name.is_within(zone));
        !in_charge || self.fallthrough.is_some_and(|fall| fall.covers(name))
    }

    /// What becomes of unknown names.
    fn describe(&self) -> String {
        match self.fallthrough {
            Some(fall) => format!("unknown names within {} go on", list(&fall.zones)),
            None => "unknown names are decided here: no fallthrough".to_owned(),
        }
    }
}

// === impl Route ===

impl<'a> Route<'a> {
    /// Collects the local stages of a block. `everywhere` is the root zone.
    fn of(block: &'a ServerBlock, everywhere: &'a [Name]) -> Self {
        let mut locals = Vec::new();
        if let Some(hosts) = &block.hosts {
            locals.push(LocalStage {
                name: "hosts",
                position: &hosts.position,
                zones: &hosts.zones,
                fallthrough: hosts.fallthrough.as_ref(),
                passes_reverse: true,
            });
        }
        if let Some(docker) = &block.docker_cluster {
            locals.push(LocalStage {
                name: "docker-cluster",
                position: &docker.position,
                zones: everywhere,
                fallthrough: docker.fallthrough.as_ref(),
                passes_reverse: false,
            });
        }
        if let Some(traefik) = &block.traefik_externals
            && traefik.enabled
        {
            locals.push(LocalStage {
                name: "traefik-externals",
                position: &traefik.position,
                zones: everywhere,
                fallthrough: traefik.fallthrough.as_ref(),
                passes_reverse: false,
            });
        }
        let own: Vec<&Name> = block.zones().collect();
        let within = |name: &&Name| own.iter().any(|zone| name.is_within(zone));
        let samples = block.mentioned().filter(within).collect();
        Self { locals, samples }
    }

    /// The samples that get past every local stage.
    fn passed(&self) -> impl Iterator<Item = &'a Name> {
        self.samples
            .iter()
            .copied()
            .filter(|name| self.locals.iter().all(|l| l.passes(name)))
    }

    /// The first local stage that holds a name back, those apart that let
    /// unknown addresses pass.
    fn blocker(&self, name: &Name, reverse: bool) -> Option<&LocalStage<'a>> {
        self.locals
            .iter()
            .find(|local| !(local.passes(name) || reverse && local.passes_reverse))
    }

    /// Tells whether a stage that takes some names is reached.
    fn judge(
        &self,
        name: &'static str,
        position: &Position,
        note: String,
        takes: impl Fn(&Name) -> bool,
    ) -> StageInfo {
        if self.passed().any(&takes) {
            return reached(name, position, note);
        }
        let taken: Vec<&Name> = self
            .samples
            .iter()
            .copied()
            .filter(|name| takes(name))
            .collect();
        let Some(blocker) = taken.iter().find_map(|sample| self.blocker(sample, false)) else {
            let note = "no name of this block is within its zones".to_owned();
            return StageInfo {
                reached: false,
                ..reached(name, position, note)
            };
        };
        let held = format!(
            "'{}' at {} decides unknown names: it has no fallthrough for them",
            blocker.name, blocker.position
        );
        if taken
            .iter()
            .any(|sample| self.blocker(sample, true).is_none())
        {
            let note = format!("reverse (PTR) queries only: {held}");
            return reached(name, position, note);
        }
        StageInfo {
            reached: false,
            ..reached(name, position, held)
        }
    }

    /// Tells whether a `forward` is reached past those before it.
    fn judge_forward(&self, forward: &Located<Forward>, earlier: &[Located<Forward>]) -> StageInfo {
        let hands_over = |other: &Forward| !other.next.is_empty() || other.next_on_nodata;
        let left = |name: &Name| {
            forward.covers(name)
                && earlier
                    .iter()
                    .all(|other| !other.covers(name) || hands_over(other))
        };
        let note = format!("asks upstreams for names within {}", forward.from);
        let taker = earlier
            .iter()
            .find(|other| other.covers(&forward.from) && !hands_over(other));
        if let Some(taker) = taker
            && !self.samples.iter().any(|name| left(name))
        {
            let note = format!(
                "'forward {}' at {} takes its names",
                taker.from, taker.position
            );
            return StageInfo {
                reached: false,
                ..reached("forward", &forward.position, note)
            };
        }
        self.judge("forward", &forward.position, note, left)
    }
}

/// A stage that is reached.
fn reached(name: &'static str, position: &Position, note: String) -> StageInfo {
    StageInfo {
        name,
        position: position.clone(),
        note,
        reached: true,
    }
}

/// Zones as text.
fn list(zones: &[Name]) -> String {
    zones
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
