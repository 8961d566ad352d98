//! What a snapshot says about a name.

use portolan_proto::MAX_NAME;
use portolan_proto::RrsetRef;
use portolan_proto::Rtype;

use crate::Holdings;
use crate::LayerId;
use crate::Snapshot;
use crate::WildcardDepth;
use crate::shard::Run;
use crate::shard::Slot;
use crate::wire;

/// What one layer says about a name and a type.
///
/// The RRset of a wildcard is given as it is: the owner to be written is the
/// query name in any case (RFC 4592 §3.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The RRset that was asked for.
    Answer(RrsetRef<'a>),
    /// The name is an alias, and its CNAME was not what was asked for: the
    /// lookup goes on at [`RrsetRef::target`], at most [`MAX_CHAIN`] times.
    Cname(RrsetRef<'a>),
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
    #[inline]
    pub fn lookup(&self, layer: LayerId, qname: &[u8], qtype: Rtype) -> Lookup<'_> {
        self.lookup_in(self.find(qname), layer, qname, qtype)
    }

    /// Looks a name up in one layer, what it holds being known.
    #[inline]
    pub fn lookup_in<'s>(
        &'s self,
        holdings: Holdings<'s>,
        layer: LayerId,
        qname: &[u8],
        qtype: Rtype,
    ) -> Lookup<'s> {
        let mut exists = None;
        for entry in holdings.0.entries() {
            if entry.layer < layer {
                continue;
            }
            // What the wildcard below the name holds is not the name's.
            if entry.layer > layer || entry.slot == Slot::Wildcard {
                break;
            }
            if entry.slot == Slot::Empty {
                let under_wildcard = self.is_covered(layer, qname);
                return Lookup::EmptyNonTerminal { under_wildcard };
            }
            let found = answer(entry.rrset, qtype);
            if matches!(found, Lookup::Answer(_)) {
                return found;
            }
            exists = Some(found);
        }
        exists.unwrap_or_else(|| self.synthesize(layer, qname, qtype))
    }

    /// What a wildcard says about a name that does not exist.
    #[inline(never)]
    fn synthesize(&self, layer: LayerId, qname: &[u8], qtype: Rtype) -> Lookup<'_> {
        let mut exists = Lookup::Unknown;
        for entry in self.closest_encloser(layer, qname).of_slot(Slot::Wildcard) {
            exists = answer(entry.rrset, qtype);
            if matches!(exists, Lookup::Answer(_)) {
                break;
            }
        }
        exists
    }

    /// The entries of the name whose wildcard, if it has one, matches `qname`,
    /// which does not exist.
    fn closest_encloser(&self, layer: LayerId, qname: &[u8]) -> Run<'_> {
        let Some(view) = self.wildcards_of(layer) else {
            return Run::default();
        };
        let Some(parent) = wire::parent(qname) else {
            return Run::default();
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
    fn nearest_existing(&self, layer: LayerId, name: &[u8]) -> Run<'_> {
        let mut starts = [0u8; MAX_NAME / 2];
        let mut count = 0;
        for (start, above) in starts.iter_mut().zip(wire::ancestors(name)) {
            *start = u8::try_from(name.len() - above.len()).unwrap_or(u8::MAX);
            count += 1;
        }
        let (mut low, mut high, mut nearest) = (0usize, count, Run::default());
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
            .find(|run| run.entries().any(|entry| entry.slot != Slot::Empty))
            .is_some_and(|run| run.of_slot(Slot::Wildcard).next().is_some())
    }
}

/// What one RRset of an owner says about a type.
#[inline]
fn answer(rrset: RrsetRef<'_>, qtype: Rtype) -> Lookup<'_> {
    match rrset.rtype() {
        rtype if rtype == qtype => Lookup::Answer(rrset),
        // RFC 1034 §3.6.2: a CNAME stands alone and restarts the query, unless
        // CNAME or ANY is what was asked for.
        _ if qtype == Rtype::ANY => Lookup::Any,
        Rtype::CNAME => Lookup::Cname(rrset),
        _ => Lookup::NoData,
    }
}

/// Most CNAMEs that one answer follows. A loop ends here.
pub const MAX_CHAIN: usize = 8;

#[cfg(test)]
mod tests;
