//! The digest of a configuration, by which a change is noticed.

use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::LazyLock;

use sha2::Digest as _;
use sha2::Sha512;

use crate::config::ServerBlock;
use crate::directive::docker_cluster::ClusterSecret;
use crate::position::Located;
use crate::token::RawBlock;
use crate::token::Token;

/// SHA-512, in hexadecimal, of the words of the blocks. Where a word stands,
/// and comments, do not matter; where a line or a block ends does. Secrets of
/// clusters, which come from elsewhere, count.
pub(crate) fn digest(raw: &[RawBlock], blocks: &[Located<ServerBlock>]) -> String {
    let mut hash = Hash(Sha512::new());
    for block in raw {
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
    hash.secrets(blocks);
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

    /// Adds what tells whether secrets changed, and nothing that tells them.
    ///
    /// The digest is logged and is the label of a metric, so that anybody
    /// could try passphrases against it. The key of the process is shown
    /// nowhere.
    fn secrets(&mut self, blocks: &[Located<ServerBlock>]) {
        let secrets: Vec<&[ClusterSecret]> = blocks
            .iter()
            .filter_map(|block| block.docker_cluster.as_ref())
            .map(|docker| docker.cluster.secrets.as_slice())
            .collect();
        if secrets.iter().any(|list| !list.is_empty()) {
            self.mark(b'S');
            self.0.update(PROCESS_KEY.hash_one(&secrets).to_be_bytes());
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

/// Keys the hash of secrets. Drawn at random by each process.
static PROCESS_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
