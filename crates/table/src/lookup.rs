//! What a snapshot says about a name.

use portolan_proto::MAX_NAME;
use portolan_proto::Rrset;
use portolan_proto::Rtype;

use crate::LayerId;
use crate::Snapshot;
use crate::WildcardDepth;
use crate::shard::Entry;
use crate::shard::Kind;
use crate::shard::Slot;
use crate::wire;

/// What one layer says about a name and a type.
///
/// The RRset of a wildcard is given as it is: the owner to be written is the
/// query name in any case (RFC 4592 §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The RRset that was asked for.
    Answer(&'a Rrset),
    /// The name is an alias, and its CNAME was not what was asked for: the
    /// lookup goes on at [`Rrset::target`], at most [`MAX_CHAIN`] times.
    Cname(&'a Rrset),
    /// The name exists and the type was ANY, for an answer as RFC 8482 has it.
    Any,
    /// The name exists and has no RRset of the type.
    NoData,
    /// The name itself holds nothing, but there are names below it.
    EmptyNonTerminal {
        /// Whether a wildcard would match the name if empty non-terminals did
        /// not block wildcards. Then this layer answers for the name, and it
        /// is NODATA (RFC 4592 §2.2.2). Otherwise the name is as good as
        /// unknown: a layer lies over other zones and knows only some of
        /// their names.
        under_wildcard: bool,
    },
    /// The layer does not have the name.
    Unknown,
}

// === impl Snapshot ===

impl Snapshot {
    /// Looks a name up in one layer. `qname` is in lower-case wire form.
    ///
    /// Nothing is allocated. A name that exists costs one probe; one that does
    /// not costs one more in a layer with wildcards if its parent exists, and
    /// otherwise about one for each doubling of its labels.
    pub fn lookup(&self, layer: LayerId, qname: &[u8], qtype: Rtype) -> Lookup<'_> {
        let run = self.run(layer, qname);
        match run.first().map(|entry| entry.slot) {
            Some(Slot::Own(_) | Slot::Wildcard(_)) => answer(own(run), qtype),
            Some(Slot::Empty) => Lookup::EmptyNonTerminal {
                under_wildcard: self.is_covered(layer, qname),
            },
            None => answer(wildcard(self.closest_encloser(layer, qname)), qtype),
        }
    }

    /// The entries of the name whose wildcard, if it has one, matches `qname`,
    /// which does not exist.
    fn closest_encloser(&self, layer: LayerId, qname: &[u8]) -> &[Entry] {
        let Some(view) = self.wildcards_of(layer) else {
            return &[];
        };
        let Some(parent) = wire::parent(qname) else {
            return &[];
        };
        let run = self.run(layer, parent);
        match view.wildcard_depth {
            WildcardDepth::Any if run.is_empty() => self.nearest_existing(layer, parent),
            WildcardDepth::Any | WildcardDepth::One => run,
        }
    }

    /// The entries of the nearest ancestor that exists (RFC 4592 §3.3.1).
    ///
    /// Whatever is above a name that exists exists too, so that halving finds
    /// it: a query name of 127 labels costs eight probes.
    fn nearest_existing(&self, layer: LayerId, name: &[u8]) -> &[Entry] {
        let mut starts = [0u8; MAX_NAME / 2];
        let mut count = 0;
        for (start, above) in starts.iter_mut().zip(wire::ancestors(name)) {
            *start = u8::try_from(name.len() - above.len()).unwrap_or(u8::MAX);
            count += 1;
        }
        let (mut low, mut high, mut nearest) = (0usize, count, &[][..]);
        while low < high {
            let middle = low.midpoint(high);
            let start = starts.get(middle).copied().map_or(0, usize::from);
            let run = self.run(layer, name.get(start..).unwrap_or_default());
            if run.is_empty() {
                low = middle + 1;
            } else {
                nearest = run;
                high = middle;
            }
        }
        nearest
    }

    /// Whether a wildcard would match an empty non-terminal if the nearest
    /// name above with data or a wildcard were the closest encloser.
    fn is_covered(&self, layer: LayerId, name: &[u8]) -> bool {
        let Some(view) = self.wildcards_of(layer) else {
            return false;
        };
        let reach = match view.wildcard_depth {
            WildcardDepth::One => 1,
            WildcardDepth::Any => usize::MAX,
        };
        wire::ancestors(name)
            .take(reach)
            .map(|above| self.run(layer, above))
            .find(|run| run.iter().any(|entry| entry.slot != Slot::Empty))
            .is_some_and(|run| !wildcard(run).is_empty())
    }
}

/// The part of a run that the owner holds itself.
fn own(run: &[Entry]) -> &[Entry] {
    run.get(..wildcard_start(run)).unwrap_or_default()
}

/// The part of a run that the wildcard below the owner holds.
fn wildcard(run: &[Entry]) -> &[Entry] {
    run.get(wildcard_start(run)..).unwrap_or_default()
}

/// Where the wildcard's part of a run begins.
fn wildcard_start(run: &[Entry]) -> usize {
    run.iter()
        .position(|entry| matches!(entry.slot, Slot::Wildcard(_)))
        .unwrap_or(run.len())
}

/// What the RRsets of one owner say about a type. No RRsets, no name.
fn answer(entries: &[Entry], qtype: Rtype) -> Lookup<'_> {
    if entries.is_empty() {
        return Lookup::Unknown;
    }
    if qtype == Rtype::ANY {
        return Lookup::Any;
    }
    for entry in entries {
        let Some(kind) = entry.slot.kind() else {
            continue;
        };
        if kind.rtype() == qtype {
            return Lookup::Answer(&entry.rrset);
        }
        // RFC 1034 §3.6.2: a CNAME stands alone and restarts the query, unless
        // CNAME is what was asked for.
        if kind == Kind::Cname {
            return Lookup::Cname(&entry.rrset);
        }
    }
    Lookup::NoData
}

/// Most CNAMEs that one answer follows. A loop ends here.
pub const MAX_CHAIN: usize = 8;

#[cfg(test)]
mod tests;
