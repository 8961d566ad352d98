//! Local names: what the record table says, layer after layer.

use portolan_proto::Name;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::RrsetRef;
use portolan_proto::Rtype;
use portolan_table::Holdings;
use portolan_table::LayerId;
use portolan_table::Lookup;
use portolan_table::MAX_CHAIN;
use portolan_table::Snapshot;

/// One layer of the table as a stage of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLayer {
    /// The layer.
    pub layer: LayerId,
    /// Directive it belongs to, for metrics and logs.
    pub plugin: &'static str,
    /// The layer is asked for names in these zones only.
    pub zones: Vec<Name>,
    /// Which unknown names go on to the next stage.
    pub fallthrough: Fallthrough,
    /// Types other than A, AAAA and PTR of a known name fall through, too.
    pub fallthrough_unsupported: bool,
    /// What is done about an unknown name that does not go on.
    pub unknown: UnknownAction,
    /// Unknown PTR names go on whatever `fallthrough` says, as those of the
    /// `hosts` directive do.
    pub unknown_ptr_falls_through: bool,
    /// Seconds for which a negative answer may be cached.
    pub negative_ttl: u32,
}

/// Which names go on to the next stage when they are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallthrough {
    /// None.
    #[default]
    Never,
    /// Those within one of these zones.
    Within(Vec<Name>),
}

/// What is done about a name that no local layer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAction {
    /// No response at all.
    Drop,
    /// NXDOMAIN with a SOA.
    NxDomain,
    /// REFUSED.
    Refused,
    /// NOERROR without records, with a SOA.
    NoData,
    /// SERVFAIL.
    ServFail,
}

/// What the local layers say about a question.
#[derive(Debug)]
pub(crate) enum Local<'a> {
    /// The name is known: a chain of CNAMEs, then what it ends in.
    Known {
        /// The layer that knows the first name.
        layer: &'a LocalLayer,
        /// CNAMEs on the way, first one first.
        chain: Vec<RrsetRef<'a>>,
        /// What the chain ends in.
        end: End<'a>,
    },
    /// The name is unknown, and a layer decides what that means.
    Unknown {
        /// The layer that decides.
        layer: &'a LocalLayer,
        /// Whether it exists all the same: names below it are known
        /// (RFC 8020), or other types of it, which a layer passed on.
        exists: bool,
    },
    /// The name is unknown, and the next stage is asked.
    Next,
}

/// End of a chain of CNAMEs.
#[derive(Debug)]
pub(crate) enum End<'a> {
    /// The records asked for.
    Answer(RrsetRef<'a>),
    /// The name has no records of that type.
    NoData,
    /// QTYPE is ANY.
    Any,
    /// The last CNAME points to a name that is not local.
    Outside(Name),
    /// The chain does not end.
    Loop,
}

// === impl Local ===

impl Local<'_> {
    /// The directive that knows the name.
    pub(crate) fn plugin(&self) -> Option<&'static str> {
        match self {
            Self::Known { layer, .. } => Some(layer.plugin),
            Self::Unknown { .. } | Self::Next => None,
        }
    }
}

// === impl Fallthrough ===

impl Fallthrough {
    /// Whether an unknown `qname` goes on.
    fn covers(&self, qname: &Qname) -> bool {
        match self {
            Self::Never => false,
            Self::Within(zones) => zones.iter().any(|zone| qname.is_within(zone)),
        }
    }
}

// === impl LocalLayer ===

impl LocalLayer {
    /// Whether the layer is asked at all.
    fn serves(&self, qname: &Qname) -> bool {
        self.zones.iter().any(|zone| qname.is_within(zone))
    }

    /// The code of the answer about an unknown name, if there is to be one
    /// with a SOA. `exists` is as in [`Local::Unknown`].
    pub(crate) fn denial(&self, exists: bool) -> Option<Rcode> {
        match self.unknown {
            // RFC 8020 §2: NXDOMAIN would deny the name's other types, and the
            // names below it, as well.
            UnknownAction::NxDomain if exists => Some(Rcode::NOERROR),
            UnknownAction::NxDomain => Some(Rcode::NXDOMAIN),
            UnknownAction::NoData => Some(Rcode::NOERROR),
            UnknownAction::Drop | UnknownAction::Refused | UnknownAction::ServFail => None,
        }
    }

    /// Whether an unknown name goes on to the next stage.
    fn passes(&self, qname: &Qname, qtype: Rtype) -> bool {
        self.fallthrough.covers(qname) || self.unknown_ptr_falls_through && qtype == Rtype::PTR
    }
}

/// Asks the layers; `find` tells what `qname` holds, once, if there is one to
/// be asked. The first that knows the name answers for it; an unknown name is
/// decided after all of them, by the first that does not let it pass.
pub(crate) fn look_up<'a>(
    layers: &'a [LocalLayer],
    snapshot: &'a Snapshot,
    find: impl Fn() -> Holdings<'a>,
    qname: &Qname,
    qtype: Rtype,
) -> Local<'a> {
    let mut holdings = None;
    let mut decider: Option<&LocalLayer> = None;
    let mut exists = false;
    for layer in layers.iter().filter(|layer| layer.serves(qname)) {
        let holdings = *holdings.get_or_insert_with(&find);
        match snapshot.lookup_in(holdings, layer.layer, qname.as_wire(), qtype) {
            Lookup::Answer(set) => {
                return Local::Known {
                    layer,
                    chain: Vec::new(),
                    end: End::Answer(set),
                };
            }
            Lookup::Cname(set) => {
                let (chain, end) = chase(layers, snapshot, set, qtype);
                return Local::Known { layer, chain, end };
            }
            Lookup::Any => {
                return Local::Known {
                    layer,
                    chain: Vec::new(),
                    end: End::Any,
                };
            }
            Lookup::NoData
            | Lookup::EmptyNonTerminal {
                under_wildcard: true,
            } => {
                let supported = matches!(qtype, Rtype::A | Rtype::AAAA | Rtype::PTR);
                if layer.fallthrough_unsupported && !supported && layer.fallthrough.covers(qname) {
                    exists = true;
                    continue;
                }
                return Local::Known {
                    layer,
                    chain: Vec::new(),
                    end: End::NoData,
                };
            }
            Lookup::EmptyNonTerminal {
                under_wildcard: false,
            } => exists = true,
            Lookup::Unknown => {}
        }
        if decider.is_none() && !layer.passes(qname, qtype) {
            decider = Some(layer);
        }
    }
    match decider {
        Some(layer) => Local::Unknown { layer, exists },
        None => Local::Next,
    }
}

/// Follows a CNAME through the layers of one snapshot.
fn chase<'a>(
    layers: &[LocalLayer],
    snapshot: &'a Snapshot,
    first: RrsetRef<'a>,
    qtype: Rtype,
) -> (Vec<RrsetRef<'a>>, End<'a>) {
    let mut chain = vec![first];
    let mut last = first;
    while chain.len() <= MAX_CHAIN {
        let Some(target) = last.target() else {
            return (chain, End::NoData);
        };
        let found = layers
            .iter()
            .filter(|layer| layer.zones.iter().any(|zone| target.is_within(zone)))
            .map(|layer| snapshot.lookup(layer.layer, target.as_wire(), qtype))
            .find(|found| {
                !matches!(
                    found,
                    Lookup::Unknown
                        | Lookup::EmptyNonTerminal {
                            under_wildcard: false
                        }
                )
            });
        match found {
            Some(Lookup::Answer(set)) => return (chain, End::Answer(set)),
            Some(Lookup::Cname(set)) => {
                chain.push(set);
                last = set;
            }
            Some(_) => return (chain, End::NoData),
            None => return (chain, End::Outside(target.to_name())),
        }
    }
    (chain, End::Loop)
}

#[cfg(test)]
mod tests;
