//! Whose turn it is to be first in an answer.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use portolan_proto::Qname;
use portolan_proto::Rtype;

/// Counts the answers about each name and type.
///
/// One count for all names would not do: a stub resolver asks for A and AAAA
/// in turn, and of two addresses the same one would always be first. Names
/// share [`COUNTS`] counts by hash.
#[derive(Debug)]
pub(crate) struct Rotation([AtomicUsize; COUNTS]);

// === impl Rotation ===

impl Rotation {
    /// How many answers to this question there were before, more or less.
    pub(crate) fn turn(&self, qname: &Qname, qtype: Rtype) -> usize {
        let index = hash(qname, qtype) % COUNTS;
        self.0
            .get(index)
            .map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self([const { AtomicUsize::new(0) }; COUNTS])
    }
}

/// FNV-1a over name and type, mixed once more so that the last octet counts.
/// Names that collide on purpose rotate together, and that is all.
fn hash(qname: &Qname, qtype: Rtype) -> usize {
    let octets = qname.as_wire().iter().copied();
    let octets = octets.chain(qtype.0.to_be_bytes());
    let hash = octets.fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    usize::try_from(mixed >> 32).unwrap_or_default()
}

/// How many counts there are.
const COUNTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::name;

    #[test]
    fn the_turn_is_counted_for_each_name_and_type() {
        let rotation = Rotation::default();
        let turn = |text, qtype| rotation.turn(&Qname::from(&name(text)), qtype);
        let turns: Vec<usize> = (0..4)
            .map(|_| {
                turn("a.example", Rtype::AAAA);
                turn("b.example", Rtype::A);
                turn("a.example", Rtype::A)
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 3]);
    }

    #[test]
    fn case_makes_no_difference() {
        let rotation = Rotation::default();
        let turn = |text| rotation.turn(&Qname::from(&name(text)), Rtype::A);
        assert_eq!([turn("a.example"), turn("A.eXample")], [0, 1]);
    }
}
