//! From the rows of several sources to the RRsets of one owner.

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Rrset;
use smallvec::SmallVec;

use crate::LayerId;
use crate::Reason;
use crate::Row;
use crate::shard::Kind;

/// A row and who asserts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// Layer of the source.
    pub(crate) layer: LayerId,
    /// Number of the source.
    pub(crate) source: u32,
    /// The row.
    pub(crate) row: &'a Row,
}

/// The RRsets of one owner in one layer.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// The RRsets, by type.
    pub(crate) rrsets: SmallVec<[(Kind, Rrset); 2]>,
    /// How many rows are in none of them.
    pub(crate) hidden: usize,
}

/// Claims of one owner, mostly few.
pub(crate) type Claims<'a> = SmallVec<[Claim<'a>; 4]>;

/// Merges the claims to one owner in one layer: an RRset is the union of the
/// values of all sources, smallest value first. It is kept by the name in
/// whose run it will stand: the owner, or its parent if it is a wildcard.
pub(crate) fn merge(mut claims: Claims<'_>, keeper: &Name) -> Merged {
    claims.sort_unstable_by_key(|claim| &claim.row.rdata);
    let verdicts = judge(&claims);
    let shown: SmallVec<[&Row; 4]> = claims
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| verdict.is_none())
        .map(|(claim, _)| claim.row)
        .collect();
    let hidden = claims.len() - shown.len();
    let rrsets = shown
        .chunk_by(|left, right| left.rdata.rtype() == right.rdata.rtype())
        .filter_map(|rows| encode(rows, keeper))
        .collect();
    Merged { rrsets, hidden }
}

/// Says of each claim to one owner in one layer why it is hidden, if it is.
/// The claims are sorted by value.
pub(crate) fn judge(claims: &[Claim<'_>]) -> SmallVec<[Option<Reason>; 4]> {
    let is_cname = |claim: &Claim<'_>| matches!(claim.row.rdata, Rdata::Cname(_));
    let has_other_data = !claims.iter().all(is_cname);
    let mut values = 0;
    let mut before: Option<&Rdata> = None;
    let mut verdicts = SmallVec::with_capacity(claims.len());
    for claim in claims {
        let value = &claim.row.rdata;
        if before.is_none_or(|before| before.rtype() != value.rtype()) {
            values = 1;
        } else if before != Some(value) {
            values += 1;
        }
        before = Some(value);
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

/// Encodes rows of one owner and type, sorted by value.
fn encode(rows: &[&Row], keeper: &Name) -> Option<(Kind, Rrset)> {
    let kind = Kind::from(&rows.first()?.rdata);
    // RFC 2181 §5.2: the TTLs of an RRset are the same; the smallest holds for
    // whoever asserts a value.
    let ttl = rows.iter().map(|row| row.ttl).min()?;
    let values = rows
        .chunk_by(|left, right| left.rdata == right.rdata)
        .filter_map(|same| same.first())
        .map(|row| &row.rdata);
    Some((kind, Rrset::encode_of(keeper, values, ttl)?))
}

/// Most values of one RRset. More do not help a client, and an answer has to
/// fit a message.
pub const MAX_VALUES: usize = 128;
