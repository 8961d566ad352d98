//! Keys from what people configure.

use std::num::NonZeroU32;

use ring::pbkdf2;

use crate::config::Secret;

/// How often the hash is taken: what OWASP asks for with HMAC-SHA-256, and more.
const ROUNDS: NonZeroU32 = NonZeroU32::new(210_000).expect("not zero");

/// The same at all members, since they have nothing else in common.
const SALT: &[u8] = b"portolan/cluster/1";

/// Octets of a derived key: AES-256.
const KEY: usize = 32;

/// The key that a secret stands for. Takes a good part of a second for a
/// passphrase.
pub(crate) fn key(secret: &Secret) -> Vec<u8> {
    match secret {
        Secret::Key(key) => key.clone(),
        Secret::Passphrase(passphrase) => {
            let mut key = vec![0; KEY];
            let hash = pbkdf2::PBKDF2_HMAC_SHA256;
            pbkdf2::derive(hash, ROUNDS, SALT, passphrase.as_bytes(), &mut key);
            key
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_as_it_is() {
        assert_eq!(key(&Secret::Key(vec![7; 24])), [7; 24]);
    }

    #[test]
    fn a_passphrase_makes_the_same_key_at_each_member() {
        let secret = Secret::Passphrase("correct horse".to_owned());
        let hex: String = key(&secret)
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        assert_eq!(hex, EXPECTED);
    }

    /// Python: `hashlib.pbkdf2_hmac("sha256", b"correct horse",
    /// b"portolan/cluster/1", 210000).hex()`.
    const EXPECTED: &str = "6af56773f322335eb2419706f0c734cb0371e971c69eb6747737c30f95c792fe";
}
