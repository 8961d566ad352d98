//! From the rows of several sources to the RRsets of one owner.

use portolan_proto::MAX_NAME;
use portolan_proto::Rrset;
use smallvec::SmallVec;

use crate::LayerId;
use crate::Reason;
use crate::claim::Claim;
use crate::claim::Claims;
use crate::claim::Kind;
use crate::shard::Slot;
use crate::shard::write_entry;

/// Merges the claims to one owner in one layer, which are sorted by value: an
/// RRset is the union of the values of all sources, smallest value first. The
/// RRsets are appended to `entries`. Gives how many claims are in none of
/// them.
pub(crate) fn merge(claims: &[Claim<'_>], layer: LayerId, entries: &mut Vec<u8>) -> usize {
    let verdicts = judge(claims);
    let shown: Claims<'_> = claims
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| verdict.is_none())
        .map(|(claim, _)| *claim)
        .collect();
    for of_kind in shown.chunk_by(|left, right| left.kind == right.kind) {
        write_entry(entries, layer, Slot::Own, |out| encode(of_kind, out));
    }
    claims.len() - shown.len()
}

/// Says of each claim to one owner in one layer why it is hidden, if it is.
/// The claims are sorted by value.
pub(crate) fn judge(claims: &[Claim<'_>]) -> SmallVec<[Option<Reason>; 4]> {
    let is_cname = |claim: &Claim<'_>| claim.kind == Kind::Cname;
    let has_other_data = !claims.iter().all(is_cname);
    let mut values = 0;
    let mut before: Option<&Claim<'_>> = None;
    let mut verdicts = SmallVec::with_capacity(claims.len());
    for claim in claims {
        if before.is_none_or(|before| before.kind != claim.kind) {
            values = 1;
        } else if before.is_some_and(|before| before.value != claim.value) {
            values += 1;
        }
        before = Some(claim);
        verdicts.push(match is_cname(claim) {
            // RFC 2181 §10.1: nothing stands beside a CNAME. An address is
            // worth more than an alias.
            true if has_other_data => Some(Reason::CnameBesideOtherData),
            true if values > 1 => Some(Reason::SeveralCnames),
            false if values > MAX_VALUES => Some(Reason::RrsetFull),
            _ => None,
        });
    }
    verdicts
}

/// Encodes claims of one owner and type, sorted by value.
fn encode(claims: &[Claim<'_>], records: &mut Vec<u8>) {
    // RFC 2181 §5.2: the TTLs of an RRset are the same; the smallest holds for
    // whoever asserts a value.
    let ttl = claims.iter().map(|claim| claim.ttl).min().unwrap_or(0);
    for same in claims.chunk_by(|left, right| left.value == right.value) {
        if let Some(claim) = same.first() {
            Rrset::write_record(records, claim.kind.rtype(), ttl, claim.value);
        }
    }
}

/// Most values of one RRset. More do not help a client, and an answer has to
/// fit a message.
pub const MAX_VALUES: usize = 128;

// Type, class, TTL, length, and a name at most: no RRset has to be cut.
const _: () = assert!(MAX_VALUES * (10 + MAX_NAME) <= Rrset::MAX_WIRE);
