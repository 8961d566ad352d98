//! The sources and their rows.
//!
//! Each source's rows are one sorted list. Which sources have rows of a name
//! is kept by the name's hash: names that share one cost a search in vain,
//! nothing else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::LayerId;
use crate::Row;
use crate::Source;
use crate::merge::Claim;

/// The sources and their rows.
#[derive(Default)]
pub(super) struct Sources {
    /// Number of each source.
    numbers: BTreeMap<(LayerId, Source), u32>,
    /// The sources by number.
    slots: Vec<Option<Slot>>,
    /// Numbers that are free.
    free: Vec<u32>,
    /// Hash of an owner and source that has it.
    owners: BTreeSet<(u32, u32)>,
    /// How many more owners of one hash one source has, where there are more.
    collisions: BTreeMap<(u32, u32), u32>,
}

/// One source.
struct Slot {
    /// Its layer.
    layer: LayerId,
    /// The source.
    source: Source,
    /// Its rows, sorted.
    rows: Box<[Row]>,
}

// === impl Sources ===

impl Sources {
    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of a source.
    pub(super) fn find(&self, layer: LayerId, source: &Source) -> Option<u32> {
        self.numbers.get(&(layer, source.clone())).copied()
    }

    /// Adds a source, without rows, and gives its number.
    pub(super) fn open(&mut self, layer: LayerId, source: Source) -> u32 {
        let slot = Slot {
            layer,
            source: source.clone(),
            rows: Box::default(),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before the numbers do")
        });
        if let Some(place) = self.slots.get_mut(index(number)) {
            *place = Some(slot);
        }
        self.numbers.insert((layer, source), number);
        number
    }

    /// Removes a source whose rows are all gone.
    pub(super) fn close(&mut self, number: u32) {
        let slot = self.slots.get_mut(index(number)).and_then(Option::take);
        if let Some(slot) = slot {
            self.numbers.remove(&(slot.layer, slot.source));
            self.free.push(number);
        }
    }

    /// The sources of a layer.
    pub(super) fn of_layer(&self, layer: LayerId) -> Vec<Source> {
        // The smallest source there is begins the range.
        self.numbers
            .range((layer, Source::Inline)..)
            .take_while(|((of, _), _)| *of == layer)
            .map(|((_, source), _)| source.clone())
            .collect()
    }

    /// A source by number.
    pub(super) fn source(&self, number: u32) -> Option<&Source> {
        self.slot(number).map(|slot| &slot.source)
    }

    /// The rows of a source.
    pub(super) fn rows(&self, number: u32) -> &[Row] {
        self.slot(number).map_or(&[], |slot| &slot.rows)
    }

    /// Replaces the rows of a source.
    pub(super) fn replace(&mut self, number: u32, rows: Vec<Row>) {
        if let Some(Some(slot)) = self.slots.get_mut(index(number)) {
            slot.rows = rows.into_boxed_slice();
        }
    }

    /// Notes that a source has an owner of a hash.
    pub(super) fn claim(&mut self, hash: u32, number: u32) {
        if !self.owners.insert((hash, number)) {
            *self.collisions.entry((hash, number)).or_insert(0) += 1;
        }
    }

    /// Notes that a source has one owner of a hash less.
    pub(super) fn disclaim(&mut self, hash: u32, number: u32) {
        let key = (hash, number);
        match self.collisions.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.collisions.remove(&key);
            }
            None => {
                self.owners.remove(&key);
            }
        }
    }

    /// All rows of a name in all layers.
    pub(super) fn claims<'a>(&'a self, hash: u32, owner: &[u8]) -> impl Iterator<Item = Claim<'a>> {
        self.slots_of(hash).flat_map(move |(source, slot)| {
            slot.rows_of(owner).iter().map(move |row| Claim {
                layer: slot.layer,
                source,
                row,
            })
        })
    }

    /// Whether another source of the layer has rows of a name.
    pub(super) fn has_other(&self, layer: LayerId, number: u32, hash: u32, owner: &[u8]) -> bool {
        self.slots_of(hash)
            .filter(|(source, slot)| *source != number && slot.layer == layer)
            .any(|(_, slot)| !slot.rows_of(owner).is_empty())
    }

    /// The sources that have an owner of a hash.
    fn slots_of(&self, hash: u32) -> impl Iterator<Item = (u32, &Slot)> {
        self.owners
            .range((hash, 0)..=(hash, u32::MAX))
            .filter_map(|&(_, number)| Some((number, self.slot(number)?)))
    }

    /// A source by number.
    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(index(number))?.as_ref()
    }
}

// === impl Slot ===

impl Slot {
    /// The source's rows of one owner.
    fn rows_of(&self, owner: &[u8]) -> &[Row] {
        let start = self.rows.partition_point(|row| row.owner.as_wire() < owner);
        let rest = self.rows.get(start..).unwrap_or_default();
        let length = rest.partition_point(|row| row.owner.as_wire() == owner);
        rest.get(..length).unwrap_or_default()
    }
}

/// Where the source of a number stands.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use portolan_proto::Rdata;

    use super::*;

    #[test]
    fn names_that_share_a_hash_are_told_apart() {
        let mut sources = Sources::default();
        let number = sources.open(LayerId(0), Source::Inline);
        let row = |owner: &str| Row {
            owner: owner.parse().unwrap(),
            rdata: Rdata::A([192, 0, 2, 1].into()),
            ttl: 60,
        };
        sources.replace(number, vec![row("a"), row("b")]);
        sources.claim(7, number);
        sources.claim(7, number);
        assert_eq!(sources.claims(7, b"\x01a\x00").count(), 1);
        assert_eq!(sources.claims(7, b"\x01c\x00").count(), 0);
        sources.disclaim(7, number);
        sources.replace(number, vec![row("b")]);
        assert_eq!(sources.claims(7, b"\x01a\x00").count(), 0);
        assert_eq!(sources.claims(7, b"\x01b\x00").count(), 1);
        sources.disclaim(7, number);
        assert_eq!(sources.claims(7, b"\x01b\x00").count(), 0);
    }

    #[test]
    fn a_number_that_is_free_is_given_again() {
        let mut sources = Sources::default();
        let first = sources.open(LayerId(0), Source::Inline);
        let second = sources.open(LayerId(1), Source::Inline);
        sources.close(first);
        assert_eq!(sources.find(LayerId(0), &Source::Inline), None);
        assert_eq!(sources.open(LayerId(2), Source::Inline), first);
        assert_eq!(sources.find(LayerId(1), &Source::Inline), Some(second));
        assert_eq!(sources.of_layer(LayerId(1)), [Source::Inline]);
    }
}
