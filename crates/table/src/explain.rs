//! Where the values of a name come from.

use std::fmt;

use portolan_proto::Name;
use portolan_proto::Rdata;

use crate::Builder;
use crate::LayerId;
use crate::Source;
use crate::merge;

/// One row of a name, who asserts it, and whether it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Layer of the source.
    pub layer: LayerId,
    /// Who asserts the row.
    pub source: Source,
    /// Its type and value.
    pub rdata: Rdata,
    /// The TTL the source gives it.
    pub ttl: u32,
    /// Why the value is not answered, if it is not. That an earlier layer has
    /// the name is not told here: the order of layers is the caller's.
    pub hidden: Option<Reason>,
}

/// Why a row is in no RRset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A CNAME, and the name has addresses or other data in the same layer.
    CnameBesideOtherData,
    /// A CNAME that is not the smallest of several.
    SeveralCnames,
    /// The RRset has [`MAX_VALUES`](crate::MAX_VALUES) smaller values.
    RrsetFull,
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CnameBesideOtherData => "a CNAME beside other data of the name",
            Self::SeveralCnames => "another CNAME of the name comes first",
            Self::RrsetFull => "too many values",
        })
    }
}

// === impl Builder ===

impl Builder {
    /// All rows of a name, by layer and value, as published last. Rows of a
    /// wildcard are told of the wildcard's own
    /// name.
    pub fn explain(&self, name: &Name) -> Vec<Explanation> {
        let claims = self.claims(name);
        let mut explanations = Vec::with_capacity(claims.len());
        for of_layer in claims.chunk_by(|left, right| left.layer == right.layer) {
            for (claim, hidden) in of_layer.iter().zip(merge::judge(of_layer)) {
                let (Some(source), Some(rdata)) = (self.source(claim.source), claim.rdata()) else {
                    continue;
                };
                explanations.push(Explanation {
                    layer: claim.layer,
                    source: source.clone(),
                    rdata,
                    ttl: claim.ttl,
                    hidden,
                });
            }
        }
        explanations
    }
}
