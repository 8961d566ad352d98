//! Blocks that stand in one another's way: the same zone twice on a listener,
//! or a port that is bound to addresses by one block and to all by another.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use portolan_proto::Name;

use crate::config::ServerBlock;
use crate::diagnostic::ConfigError;
use crate::diagnostic::Sink;
use crate::directive::bind::BindTarget;
use crate::position::Located;
use crate::position::Position;

/// Where a zone is served: on an address, or on all.
type Served<'a> = BTreeMap<Option<BindTarget>, &'a Position>;

/// Notes every conflict between blocks.
pub(crate) fn check(blocks: &[Located<ServerBlock>], sink: &mut Sink) {
    let mut conflicts = BTreeSet::new();
    let mut served: BTreeMap<(u16, &Name), Served<'_>> = BTreeMap::new();
    for block in blocks {
        let targets = targets_of(block);
        for key in &block.keys {
            for zone in &key.zones {
                let entry = served.entry((key.port, zone)).or_default();
                for target in &targets {
                    if let Some(message) = conflict(key.port, zone, target.as_ref(), entry) {
                        conflicts.insert(key.port);
                        sink.error(ConfigError::parsing(&key.position, message));
                    }
                    entry.entry(target.clone()).or_insert(&key.position);
                }
            }
        }
    }
    check_ports(blocks, &conflicts, sink);
}

/// The addresses a block listens on; `None` for all.
fn targets_of(block: &ServerBlock) -> Vec<Option<BindTarget>> {
    let mut targets = Vec::new();
    for bind in &block.bind {
        let kept = bind
            .addresses
            .iter()
            .filter(|address| !bind.except.contains(address));
        targets.extend(kept.cloned().map(Some));
    }
    if block.bind.is_empty() {
        targets.push(None);
    }
    targets
}

/// What is wrong with serving a zone on a target besides what is served.
fn conflict(
    port: u16,
    zone: &Name,
    target: Option<&BindTarget>,
    served: &Served<'_>,
) -> Option<String> {
    let this = listener(port, zone, target);
    for (other, position) in served {
        if other.as_ref() == target {
            return Some(format!(
                "cannot serve {this} - it is already defined (at {position})"
            ));
        }
        if other.is_none() != target.is_none() {
            let other = listener(port, zone, other.as_ref());
            return Some(format!(
                "cannot serve {this} - zone overlap listener capacity with {other} \
                 (at {position})"
            ));
        }
    }
    None
}

/// A zone on a target as CoreDNS writes it.
fn listener(port: u16, zone: &Name, target: Option<&BindTarget>) -> String {
    match target {
        Some(target) => format!("dns://{zone}:{port} on {target}"),
        None => format!("dns://{zone}:{port}"),
    }
}

/// Notes ports that some blocks bind and others do not: the kernel would
/// split the queries between them.
fn check_ports(blocks: &[Located<ServerBlock>], reported: &BTreeSet<u16>, sink: &mut Sink) {
    let mut seen: BTreeMap<u16, (bool, &Position)> = BTreeMap::new();
    let mut reported = reported.clone();
    for block in blocks {
        let bound = !block.bind.is_empty();
        for key in &block.keys {
            let (first_bound, first) = *seen.entry(key.port).or_insert((bound, &key.position));
            if first_bound != bound && reported.insert(key.port) {
                let (this, other) = if bound {
                    ("has", "has none")
                } else {
                    ("lacks", "has one")
                };
                sink.error(ConfigError::parsing(
                    &key.position,
                    format!(
                        "this block {this} 'bind' and the one at {first} {other}: blocks on \
                         port {} must all have it or none",
                        key.port
                    ),
                ));
            }
        }
    }
}
