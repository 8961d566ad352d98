//! The sources, and where their owners belong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::LayerId;
use crate::Source;
use crate::packed::Packed;
use crate::snapshot::Place;

/// The sources.
#[derive(Default)]
pub(super) struct Sources {
    /// Number of each source.
    numbers: BTreeMap<Arc<Key>, u32>,
    /// The sources by number.
    slots: Vec<Option<Slot>>,
    /// Numbers that are free.
    free: Vec<u32>,
}

/// What tells a source from all others.
type Key = (LayerId, Source);

/// One source.
struct Slot {
    /// Which.
    key: Arc<Key>,
    /// Where its owners belong, sorted; two owners may belong to one place.
    places: Box<[Place]>,
}

// === impl Sources ===

impl Sources {
    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of a source; of one that is not known and asserts nothing,
    /// none.
    pub(super) fn find_or_open(
        &mut self,
        layer: LayerId,
        source: Source,
        rows: &Packed,
    ) -> Option<u32> {
        match self.find(layer, &source) {
            None if rows.is_empty() => None,
            None => Some(self.open(layer, source)),
            found => found,
        }
    }

    /// The number of a source.
    fn find(&self, layer: LayerId, source: &Source) -> Option<u32> {
        self.numbers.get(&(layer, source.clone())).copied()
    }

    /// Adds a source, without owners, and gives its number.
    fn open(&mut self, layer: LayerId, source: Source) -> u32 {
        let key = Arc::new((layer, source));
        let slot = Slot {
            key: Arc::clone(&key),
            places: Box::default(),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before the numbers do")
        });
        if let Some(place) = self.slots.get_mut(index(number)) {
            *place = Some(slot);
        }
        self.numbers.insert(key, number);
        number
    }

    /// Removes a source whose rows are all gone.
    pub(super) fn close(&mut self, number: u32) {
        let slot = self.slots.get_mut(index(number)).and_then(Option::take);
        if let Some(slot) = slot {
            self.numbers.remove(&slot.key);
            self.free.push(number);
        }
    }

    /// The sources of a layer.
    pub(super) fn of_layer(&self, layer: LayerId) -> Vec<Source> {
        // The smallest source there is begins the range.
        self.numbers
            .range((layer, Source::Inline)..)
            .map(|(key, _)| &**key)
            .take_while(|(of, _)| *of == layer)
            .map(|(_, source)| source.clone())
            .collect()
    }

    /// A source by number.
    pub(super) fn source(&self, number: u32) -> Option<&Source> {
        self.slot(number).map(|slot| &slot.key.1)
    }

    /// Notes where the owners of a source belong; gives where they did.
    pub(super) fn replace(&mut self, number: u32, places: Box<[Place]>) -> Box<[Place]> {
        match self.slots.get_mut(index(number)) {
            Some(Some(slot)) => std::mem::replace(&mut slot.places, places),
            _ => Box::default(),
        }
    }

    /// A source by number.
    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(index(number))?.as_ref()
    }
}

/// Where the source of a number stands.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
