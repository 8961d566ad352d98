//! The names of one shard, in one run of octets.
//!
//! ```text
//! count u32, end of the records u32
//! index      count times: tag u16, where the record begins u32
//! records    count times: owner, then entries
//! words      count times: who asserts the record, u32
//! chunks     one for each record whose word is TOLD: length u32, claims
//! ```
//!
//! Numbers are little-endian. Records are sorted by tag, a part of the owner's
//! hash, and owner. A look-up reads the index and one record, both of which are
//! mostly in one cache line or two; words and chunks are the builder's.
//!
//! An entry is one RRset of the owner in one layer, or the mark of an empty
//! non-terminal: layer u16, slot u8, length u16, records in wire form. Entries
//! are sorted by layer and slot. The entries of one layer are a run: what the
//! owner holds itself, then what the wildcard right below it holds, so that
//! whoever finds the closest encloser has found the source of synthesis too
//! (RFC 4592 §3.3.1). A name exists in a layer exactly if its run there is not
//! empty, and the first entry of a run is never a wildcard's.

mod edit;

pub(crate) use edit::Edit;

use portolan_proto::RrsetRef;

use crate::LayerId;

/// The names of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shard<'a>(&'a [u8]);

/// What a name holds in all layers, or in one: entries, one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run<'a>(&'a [u8]);

/// One RRset, or the mark of an empty non-terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Layer.
    pub(crate) layer: LayerId,
    /// What the entry is to its owner.
    pub(crate) slot: Slot,
    /// The RRset; without records in [`Slot::Empty`].
    pub(crate) rrset: RrsetRef<'a>,
}

/// What an entry is to its owner. The order is that within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// The owner exists and holds no RRset: an empty non-terminal
    /// (RFC 4592 §2.2.2).
    Empty,
    /// An RRset of the owner.
    Own,
    /// An RRset of the wildcard right below the owner.
    Wildcard,
}

/// Who asserts a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nobody: the name only lies above others.
    Nobody,
    /// One source alone, in one layer, and all it says is what the entries
    /// say.
    By(u32),
    /// The record's chunk tells.
    Told,
}

// === impl Shard ===

impl<'a> Shard<'a> {
    /// Reads a shard; no octets are a shard without names.
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// What a name holds in all layers.
    #[inline]
    pub(crate) fn find(self, tag: u16, owner: &[u8]) -> Run<'a> {
        self.find_from(self.first(tag), tag, owner)
    }

    /// Where the records of a tag begin, or would.
    #[inline]
    pub(crate) fn first(self, tag: u16) -> usize {
        first_of(self.index(), tag)
    }

    /// What a name holds in all layers, if its record stands at `at` or behind.
    #[inline]
    pub(crate) fn find_from(self, mut at: usize, tag: u16, owner: &[u8]) -> Run<'a> {
        while let Some(record) = self.of_tag_at(at, tag) {
            if let Some(run) = run_of(record, owner) {
                return run;
            }
            at += 1;
        }
        Run::default()
    }

    /// The record that stands somewhere, if it is one of a tag.
    #[inline]
    pub(crate) fn of_tag_at(self, at: usize, tag: u16) -> Option<&'a [u8]> {
        let index = self.index();
        let slot = index.get(at).filter(|slot| tag_of(slot) == tag)?;
        let end = index.get(at + 1).map_or_else(|| self.end(), offset_of);
        self.0.get(offset_of(slot)..end)
    }

    /// Where a record stands, or would.
    pub(crate) fn position(self, tag: u16, owner: &[u8]) -> Result<usize, usize> {
        let index = self.index();
        let mut at = first_of(index, tag);
        while index.get(at).is_some_and(|slot| tag_of(slot) == tag) {
            match self.owner(at).cmp(owner) {
                std::cmp::Ordering::Less => at += 1,
                std::cmp::Ordering::Equal => return Ok(at),
                std::cmp::Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// Where the records of a tag stand.
    pub(crate) fn of_tag(self, tag: u16) -> impl Iterator<Item = usize> {
        let index = self.index();
        let first = first_of(index, tag);
        (first..index.len()).take_while(move |&at| index.get(at).is_some_and(|s| tag_of(s) == tag))
    }

    /// The owner of a record.
    pub(crate) fn owner(self, at: usize) -> &'a [u8] {
        let record = self.record(at);
        let length = record.first().copied().map_or(0, usize::from);
        record.get(1..1 + length).unwrap_or_default()
    }

    /// What the owner of a record holds in all layers.
    #[inline]
    pub(crate) fn run(self, at: usize) -> Run<'a> {
        let record = self.record(at);
        let length = record.first().copied().map_or(0, usize::from);
        Run(record.get(1 + length..).unwrap_or_default())
    }

    /// Who asserts a record.
    pub(crate) fn word(self, at: usize) -> Word {
        self.words()
            .get(at)
            .map_or(Word::Nobody, |word| read(*word))
    }

    /// What the chunk of a record says; nothing if it has none.
    pub(crate) fn chunk(self, at: usize) -> &'a [u8] {
        if self.word(at) != Word::Told {
            return &[];
        }
        let before = self.words().iter().take(at);
        let before = before.filter(|word| read(**word) == Word::Told).count();
        Chunks(self.chunks()).nth(before).unwrap_or_default()
    }

    /// All that look-ups read, and so all that readers can tell apart.
    pub(crate) fn served(self) -> &'a [u8] {
        self.0.get(..self.end()).unwrap_or_default()
    }

    /// Reads the head, to have it in the cache of the processor.
    #[inline]
    pub(crate) fn touch_head(self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    /// How many records there are.
    fn count(self) -> usize {
        self.head()[0]
    }

    /// Where the records end.
    fn end(self) -> usize {
        self.head()[1]
    }

    /// The head.
    #[inline]
    fn head(self) -> [usize; 2] {
        match self.0.first_chunk::<HEAD>() {
            Some([c0, c1, c2, c3, e0, e1, e2, e3]) => {
                [[*c0, *c1, *c2, *c3], [*e0, *e1, *e2, *e3]].map(number)
            }
            None => [0; 2],
        }
    }

    /// The index.
    #[inline]
    fn index(self) -> &'a [[u8; SLOT]] {
        let octets = self.0.get(HEAD..HEAD + SLOT * self.count());
        octets.unwrap_or_default().as_chunks().0
    }

    /// One record: its owner and entries.
    #[inline]
    fn record(self, at: usize) -> &'a [u8] {
        let index = self.index();
        let Some(start) = index.get(at).map(offset_of) else {
            return &[];
        };
        let end = index.get(at + 1).map_or_else(|| self.end(), offset_of);
        self.0.get(start..end).unwrap_or_default()
    }

    /// The words.
    fn words(self) -> &'a [[u8; WORD]] {
        let end = self.end();
        let octets = self.0.get(end..end + WORD * self.count());
        octets.unwrap_or_default().as_chunks().0
    }

    /// The chunks.
    fn chunks(self) -> &'a [u8] {
        let start = self.end() + WORD * self.count();
        self.0.get(start..).unwrap_or_default()
    }
}

// === impl Run ===

impl<'a> Run<'a> {
    /// Takes entries, one behind the other.
    pub(crate) fn new(entries: &'a [u8]) -> Self {
        Self(entries)
    }

    /// The entries, one behind the other.
    pub(crate) fn as_octets(self) -> &'a [u8] {
        self.0
    }

    /// The entries of one layer.
    #[inline]
    pub(crate) fn of_layer(self, layer: LayerId) -> Self {
        let mut start = self.0;
        while let Some((of, length)) = head(start)
            && of < layer
        {
            start = start.get(length..).unwrap_or_default();
        }
        let mut end = 0;
        while let Some((of, length)) = head(start.get(end..).unwrap_or_default())
            && of == layer
        {
            end += length;
        }
        Self(start.get(..end).unwrap_or_default())
    }

    /// All entries, with those of one layer replaced by `run`.
    pub(crate) fn with_layer(self, layer: LayerId, run: &[u8]) -> Vec<u8> {
        let replaced = self.of_layer(layer).0.len();
        let mut before = 0;
        while let Some((of, length)) = head(self.0.get(before..).unwrap_or_default())
            && of < layer
        {
            before += length;
        }
        let (before, rest) = self.0.split_at(before);
        let after = rest.get(replaced..).unwrap_or_default();
        [before, run, after].concat()
    }

    /// Whether there is no entry.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The entries.
    #[inline]
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (layer, length) = head(rest)?;
            let (entry, next) = rest.split_at_checked(length)?;
            rest = next;
            Some(Entry {
                layer,
                slot: Slot::read(entry.get(2).copied()?),
                rrset: RrsetRef::from_wire(entry.get(ENTRY..)?),
            })
        })
    }

    /// The entries of one slot.
    #[inline]
    pub(crate) fn of_slot(self, slot: Slot) -> impl Iterator<Item = Entry<'a>> {
        self.entries().filter(move |entry| entry.slot == slot)
    }
}

// === impl Slot ===

impl Slot {
    /// From an octet.
    #[inline]
    fn read(octet: u8) -> Self {
        match octet {
            0 => Self::Empty,
            1 => Self::Own,
            _ => Self::Wildcard,
        }
    }

    /// As an octet.
    fn octet(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Own => 1,
            Self::Wildcard => 2,
        }
    }
}

// === impl Word ===

impl Word {
    /// As octets.
    fn octets(self) -> [u8; WORD] {
        match self {
            Self::Nobody => NOBODY,
            Self::Told => TOLD,
            Self::By(source) => source,
        }
        .to_le_bytes()
    }
}

/// What a record says that its owner holds, if that is who is asked for.
#[inline]
pub(crate) fn run_of<'a>(record: &'a [u8], owner: &[u8]) -> Option<Run<'a>> {
    let (length, rest) = record.split_first()?;
    let (found, entries) = rest.split_at_checked(usize::from(*length))?;
    (found == owner).then_some(Run(entries))
}

/// Reads a record, or most of it, to have it in the cache of the processor.
#[inline]
pub(crate) fn touch(record: &[u8]) -> u8 {
    let last = record.get(CACHE_LINE - 1).or_else(|| record.last());
    record.first().unwrap_or(&0) ^ last.unwrap_or(&0)
}

/// Appends an entry to others; `write` appends its RRset.
pub(crate) fn write_entry(
    entries: &mut Vec<u8>,
    layer: LayerId,
    slot: Slot,
    write: impl FnOnce(&mut Vec<u8>),
) {
    entries.extend_from_slice(&layer.0.to_le_bytes());
    entries.extend_from_slice(&[slot.octet(), 0, 0]);
    let start = entries.len();
    write(entries);
    let length = u16::try_from(entries.len() - start).expect("an RRset fits a message");
    if let Some(place) = entries.get_mut(start - 2..start) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Chunks, one behind the other.
struct Chunks<'a>(&'a [u8]);

// === impl Chunks ===

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<WORD>()?;
        let (chunk, rest) = rest.split_at_checked(number(*length))?;
        self.0 = rest;
        Some(chunk)
    }
}

/// Layer and octets of the first of some entries.
#[inline]
fn head(entries: &[u8]) -> Option<(LayerId, usize)> {
    let [a0, a1, _, l0, l1] = *entries.first_chunk::<ENTRY>()?;
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    Some((LayerId(u16::from_le_bytes([a0, a1])), ENTRY + length))
}

/// Where a tag is in an index if tags are spread perfectly.
#[inline]
fn expected(tag: u16, count: usize) -> usize {
    (usize::from(tag) * count) >> u16::BITS
}

/// Where the records of a tag begin in the index, or would.
///
/// Tags are spread evenly, so that one is found near where it would stand if
/// they were spread perfectly; halving would touch more of the index.
#[inline]
fn first_of(index: &[[u8; SLOT]], tag: u16) -> usize {
    let mut at = expected(tag, index.len());
    let is_below = |at: usize| index.get(at).is_some_and(|slot| tag_of(slot) < tag);
    while is_below(at) {
        at += 1;
    }
    while at > 0 && !is_below(at - 1) {
        at -= 1;
    }
    at
}

/// The tag in a slot of the index.
#[inline]
fn tag_of(slot: &[u8; SLOT]) -> u16 {
    let [t0, t1, ..] = *slot;
    u16::from_le_bytes([t0, t1])
}

/// Where the record of a slot of the index begins.
#[inline]
fn offset_of(slot: &[u8; SLOT]) -> usize {
    let [_, _, offset @ ..] = *slot;
    number(offset)
}

/// A number.
#[inline]
fn number(octets: [u8; WORD]) -> usize {
    usize::try_from(u32::from_le_bytes(octets)).unwrap_or(usize::MAX)
}

/// A word.
fn read(octets: [u8; WORD]) -> Word {
    match u32::from_le_bytes(octets) {
        NOBODY => Word::Nobody,
        TOLD => Word::Told,
        source => Word::By(source),
    }
}

/// Octets before the index.
const HEAD: usize = 8;

/// Octets of a slot of the index.
const SLOT: usize = 6;

/// Octets of a word.
const WORD: usize = 4;

/// Octets of an entry before its RRset.
const ENTRY: usize = 5;

/// The word of a record that nobody asserts.
const NOBODY: u32 = u32::MAX;

/// The word of a record that has a chunk.
const TOLD: u32 = u32::MAX - 1;

/// Octets that come from memory together.
const CACHE_LINE: usize = 64;

#[cfg(test)]
mod tests;
