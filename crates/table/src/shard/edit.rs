//! Shards with some records replaced.

use std::ops::Range;
use std::sync::Arc;

use portolan_proto::Name;

use super::HEAD;
use super::SLOT;
use super::Shard;
use super::WORD;
use super::Word;
use super::number;
use super::offset_of;
use super::read;
use super::tag_of;

/// What takes the place of one record.
#[derive(Debug)]
pub(crate) struct Edit {
    /// Part of the owner's hash.
    pub(crate) tag: u16,
    /// Whose record.
    pub(crate) owner: Name,
    /// Its entries from now on; none if the name exists no more.
    pub(crate) entries: Vec<u8>,
    /// Who asserts them.
    pub(crate) word: Word,
    /// What its chunk says, if the word is [`Word::Told`].
    pub(crate) chunk: Vec<u8>,
}

/// A shard in the making.
#[derive(Default)]
struct Draft {
    /// The index; records begin at zero.
    index: Vec<u8>,
    /// The records.
    records: Vec<u8>,
    /// The words.
    words: Vec<u8>,
    /// The chunks.
    chunks: Vec<u8>,
}

// === impl Shard ===

impl Shard<'_> {
    /// The shard with some records replaced; `edits` are sorted by tag and
    /// owner, and have each owner once. A shard without records is none.
    pub(crate) fn rebuilt(self, edits: &[Edit]) -> Option<Arc<[u8]>> {
        let mut draft = Draft::default();
        draft.records.reserve(self.0.len());
        draft.index.reserve(SLOT * (self.count() + edits.len()));
        draft.words.reserve(WORD * (self.count() + edits.len()));
        let mut copied = 0;
        let mut chunks = self.chunks();
        for edit in edits {
            let (at, replaced) = match self.position(edit.tag, edit.owner.as_wire()) {
                Ok(at) => (at, 1),
                Err(at) => (at, 0),
            };
            chunks = draft.copy(self, copied..at, chunks);
            copied = at + replaced;
            (_, chunks) = self.split_chunks(at..copied, chunks);
            draft.push(edit);
        }
        draft.copy(self, copied..self.count(), chunks);
        draft.finish()
    }

    /// Splits chunks behind those of some records, which come first.
    fn split_chunks(self, records: Range<usize>, chunks: &[u8]) -> (&[u8], &[u8]) {
        let words = self.words().get(records).unwrap_or_default();
        let told = words.iter().filter(|word| read(**word) == Word::Told);
        let end = told.fold(0, |end, _| {
            let length = chunks.get(end..).and_then(<[u8]>::first_chunk);
            end + WORD + length.copied().map_or(0, number)
        });
        chunks.split_at_checked(end).unwrap_or_default()
    }
}

// === impl Draft ===

impl Draft {
    /// Copies records of a shard, whose chunks come first in `chunks`; gives
    /// the chunks that follow.
    fn copy<'a>(&mut self, from: Shard<'_>, range: Range<usize>, chunks: &'a [u8]) -> &'a [u8] {
        let slots = from.index().get(range.clone()).unwrap_or_default();
        let Some(start) = slots.first().map(offset_of) else {
            return chunks;
        };
        let next = from.index().get(range.end);
        let stop = next.map_or_else(|| from.end(), offset_of);
        let base = self.records.len();
        for slot in slots {
            self.slot(tag_of(slot), base + offset_of(slot) - start);
        }
        let records = from.0.get(start..stop).unwrap_or_default();
        self.records.extend_from_slice(records);
        let words = from.words().get(range.clone()).unwrap_or_default();
        self.words.extend_from_slice(words.as_flattened());
        let (passed, rest) = from.split_chunks(range, chunks);
        self.chunks.extend_from_slice(passed);
        rest
    }

    /// Appends a record, unless it holds nothing.
    fn push(&mut self, edit: &Edit) {
        if edit.entries.is_empty() {
            return;
        }
        self.slot(edit.tag, self.records.len());
        let owner = edit.owner.as_wire();
        self.records
            .push(u8::try_from(owner.len()).expect("a name has 255 octets at most"));
        self.records.extend_from_slice(owner);
        self.records.extend_from_slice(&edit.entries);
        self.words.extend_from_slice(&edit.word.octets());
        if edit.word == Word::Told {
            self.chunks.extend_from_slice(&as_number(edit.chunk.len()));
            self.chunks.extend_from_slice(&edit.chunk);
        }
    }

    /// Appends to the index.
    fn slot(&mut self, tag: u16, offset: usize) {
        self.index.extend_from_slice(&tag.to_le_bytes());
        self.index.extend_from_slice(&as_number(offset));
    }

    /// The shard.
    fn finish(mut self) -> Option<Arc<[u8]>> {
        if self.index.is_empty() {
            return None;
        }
        let start = HEAD + self.index.len();
        let (slots, _) = self.index.as_chunks_mut::<SLOT>();
        for slot in slots.iter_mut() {
            let offset = as_number(start + offset_of(slot));
            let [_, _, place @ ..] = slot;
            *place = offset;
        }
        let count = slots.len();
        let end = start + self.records.len();
        let parts = [
            &as_number(count)[..],
            &as_number(end),
            &self.index,
            &self.records,
            &self.words,
            &self.chunks,
        ];
        Some(parts.concat().into())
    }
}

/// A number as octets.
fn as_number(number: usize) -> [u8; WORD] {
    let number = u32::try_from(number).expect("memory ends before a shard does");
    number.to_le_bytes()
}
