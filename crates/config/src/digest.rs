//! The digest of a configuration, by which a change is noticed.

use std::fmt::Write as _;

use sha2::Digest as _;
use sha2::Sha512;

use crate::token::RawBlock;
use crate::token::Token;

/// SHA-512, in hexadecimal, of the words of the blocks. Where a word stands,
/// and comments, do not matter; where a line or a block ends does.
pub(crate) fn digest(blocks: &[RawBlock]) -> String {
    let mut hash = Hash(Sha512::new());
    for block in blocks {
        hash.mark(b'B');
        hash.words(&block.keys);
        for directive in &block.directives {
            hash.mark(b'D');
            hash.words([&directive.name]);
            hash.words(&directive.arguments);
            for property in directive.block.iter().flatten() {
                hash.mark(b'P');
                hash.words([&property.name]);
                hash.words(&property.arguments);
            }
        }
    }
    hash.finish()
}

/// A digest in the making.
struct Hash(Sha512);

// === impl Hash ===

impl Hash {
    /// Marks the beginning of a structure.
    fn mark(&mut self, kind: u8) {
        self.0.update([kind]);
    }

    /// Adds words, each with its length so that no two sequences are alike.
    fn words<'t>(&mut self, tokens: impl IntoIterator<Item = &'t Token>) {
        for token in tokens {
            self.0.update([b'W']);
            self.0.update(token.text.len().to_be_bytes());
            self.0.update(token.text.as_bytes());
        }
    }

    /// The digest in hexadecimal.
    fn finish(self) -> String {
        let mut hexadecimal = String::with_capacity(128);
        for octet in self.0.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(hexadecimal, "{octet:02x}");
        }
        hexadecimal
    }
}
