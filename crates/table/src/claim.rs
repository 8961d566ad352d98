//! What is known of the rows of a name beside its RRsets.
//!
//! Mostly one source asserts all that a name has, and says of it what the
//! RRsets say: then its number is kept and nothing else. What is shared,
//! hidden or of different TTLs is kept row by row.

use portolan_proto::Name;
use portolan_proto::Rdata;
use portolan_proto::Rtype;
use smallvec::SmallVec;

use crate::LayerId;
use crate::packed::PackedRow;
use crate::shard::Run;
use crate::shard::Shard;
use crate::shard::Slot;
use crate::shard::Word;

/// A row of a name and who asserts it. Claims are ordered by layer and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim<'a> {
    /// Layer of the source.
    pub(crate) layer: LayerId,
    /// Type of the value.
    pub(crate) kind: Kind,
    /// The value in wire form.
    pub(crate) value: &'a [u8],
    /// Number of the source.
    pub(crate) source: u32,
    /// The TTL the source gives it.
    pub(crate) ttl: u32,
}

/// Claims of one owner, mostly few.
pub(crate) type Claims<'a> = SmallVec<[Claim<'a>; 4]>;

/// Type of a value that sources can assert, in one octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The canonical name of an alias.
    Cname,
    /// Names of an address.
    Ptr,
}

// === impl Claim ===

impl<'a> Claim<'a> {
    /// The value.
    pub(crate) fn rdata(&self) -> Option<Rdata> {
        let name = || Name::from_wire(self.value).ok();
        match self.kind {
            Kind::A => Some(Rdata::A(self.value.first_chunk::<4>().copied()?.into())),
            Kind::Aaaa => Some(Rdata::Aaaa(self.value.first_chunk::<16>().copied()?.into())),
            Kind::Cname => name().map(Rdata::Cname),
            Kind::Ptr => name().map(Rdata::Ptr),
        }
    }

    /// Appends the claim to others.
    fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.layer.0.to_le_bytes());
        out.push(self.kind.octet());
        out.extend_from_slice(&self.source.to_le_bytes());
        out.extend_from_slice(&self.ttl.to_le_bytes());
        out.push(u8::try_from(self.value.len()).expect("an address or a name is short"));
        out.extend_from_slice(self.value);
    }

    /// Reads the first of some claims.
    fn split(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (fixed, rest) = octets.split_first_chunk::<12>()?;
        let [l0, l1, kind, s0, s1, s2, s3, t0, t1, t2, t3, length] = *fixed;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        let claim = Self {
            layer: LayerId(u16::from_le_bytes([l0, l1])),
            kind: Kind::read(kind),
            value,
            source: u32::from_le_bytes([s0, s1, s2, s3]),
            ttl: u32::from_le_bytes([t0, t1, t2, t3]),
        };
        Some((claim, rest))
    }
}

// === impl Kind ===

impl Kind {
    /// The type.
    pub(crate) fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Cname => Rtype::CNAME,
            Self::Ptr => Rtype::PTR,
        }
    }

    /// Of a type, if sources can assert it.
    fn of(rtype: Rtype) -> Option<Self> {
        match rtype {
            Rtype::A => Some(Self::A),
            Rtype::AAAA => Some(Self::Aaaa),
            Rtype::CNAME => Some(Self::Cname),
            Rtype::PTR => Some(Self::Ptr),
            _ => None,
        }
    }

    /// Of a value.
    pub(crate) fn of_value(value: &Rdata) -> Self {
        match value {
            Rdata::A(_) => Self::A,
            Rdata::Aaaa(_) => Self::Aaaa,
            Rdata::Cname(_) => Self::Cname,
            Rdata::Ptr(_) => Self::Ptr,
        }
    }

    /// As an octet.
    pub(crate) fn octet(self) -> u8 {
        match self {
            Self::A => 0,
            Self::Aaaa => 1,
            Self::Cname => 2,
            Self::Ptr => 3,
        }
    }

    /// From an octet.
    pub(crate) fn read(octet: u8) -> Self {
        match octet {
            0 => Self::A,
            1 => Self::Aaaa,
            2 => Self::Cname,
            _ => Self::Ptr,
        }
    }
}

/// The claims to a record, by layer and value.
pub(crate) fn claims_at(shard: Shard<'_>, at: usize) -> Claims<'_> {
    match shard.word(at) {
        Word::Nobody => Claims::new(),
        Word::By(source) => shown(shard.run(at), source),
        Word::Told => {
            let mut rest = shard.chunk(at);
            std::iter::from_fn(|| {
                let (claim, next) = Claim::split(rest)?;
                rest = next;
                Some(claim)
            })
            .collect()
        }
    }
}

/// What a source asserts that asserts what the entries say.
fn shown(run: Run<'_>, source: u32) -> Claims<'_> {
    run.of_slot(Slot::Own)
        .filter_map(|entry| Some((Kind::of(entry.rrset.rtype())?, entry)))
        .flat_map(|(kind, entry)| {
            entry.rrset.rdata().map(move |value| Claim {
                layer: entry.layer,
                kind,
                value,
                source,
                ttl: entry.rrset.ttl(),
            })
        })
        .collect()
}

/// The shortest way to keep the claims to a record, which are sorted, beside
/// its entries.
pub(crate) fn told(claims: &[Claim<'_>], entries: &[u8]) -> (Word, Vec<u8>) {
    let Some(first) = claims.first() else {
        return (Word::Nobody, Vec::new());
    };
    if claims.iter().all(|claim| claim.source == first.source)
        && shown(Run::new(entries), first.source)[..] == *claims
    {
        return (Word::By(first.source), Vec::new());
    }
    let mut chunk = Vec::new();
    for claim in claims {
        claim.write_to(&mut chunk);
    }
    (Word::Told, chunk)
}

/// Rows of one owner, each of the source of that number, as sorted claims.
pub(crate) fn claims_of<'a>(
    rows: impl Iterator<Item = (u32, PackedRow<'a>)>,
    layer: LayerId,
) -> Claims<'a> {
    let claim = |(source, row): (u32, PackedRow<'a>)| Claim {
        layer,
        kind: row.kind,
        value: row.value,
        source,
        ttl: row.ttl,
    };
    let mut claims: Claims<'a> = rows.map(claim).collect();
    claims.sort_unstable();
    claims
}
