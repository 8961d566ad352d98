//! The secrets of a cluster, which no message and no log may show.

use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use crate::directive::docker_cluster::cluster::Cluster;
use crate::position::Position;
use crate::scope::Scope;
use crate::token::Token;

/// Where a key that encrypts what members say comes from. Not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ClusterSecret {
    /// A key of 16, 24 or 32 octets.
    Key(Vec<u8>),
    /// A text of 8 octets or more that a key is derived from.
    Passphrase(String),
}

/// Why octets are no secret. Holds nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum SecretError {
    /// The length is not that of a key.
    #[error("{0} octets long, must be 16, 24 or 32")]
    NotKey(usize),
    /// Neither a key nor long enough for a passphrase.
    #[error("{0} octets long")]
    TooShort(usize),
    /// A passphrase that is easy to guess.
    #[error("the passphrase is {0} octets long, must be at least {MIN_PASSPHRASE}")]
    WeakPassphrase(usize),
    /// Not the length of a key, and not UTF-8.
    #[error("{0} octets that are neither a key nor UTF-8 text")]
    NotText(usize),
}

/// Why a file gives no secrets.
#[derive(Debug, thiserror::Error)]
enum FileError {
    /// The system says no.
    #[error("cannot read it: {0} (it must be there and readable for this server's user)")]
    Io(#[from] io::Error),
    /// A directory, or a device or a pipe, which could block.
    #[error("not a regular file")]
    NotRegular,
    /// Longer than [`MAX_FILE_LENGTH`].
    #[error("larger than {MAX_FILE_LENGTH} octets")]
    TooLarge,
    /// No line has anything in it.
    #[error("there is no secret in it: {FILE_RULE}")]
    Empty,
    /// More than [`MAX_SECRETS`].
    #[error("more than {MAX_SECRETS} secrets: remove those that no member uses any more")]
    TooMany,
    /// A line is no secret.
    #[error("line {line}: {problem}: {FILE_RULE}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: SecretError,
    },
}

// === impl ClusterSecret ===

impl ClusterSecret {
    /// Reads the value of `CLUSTER_SECRET`: a key, unless it says that it is
    /// a passphrase. A text of another length than a key's is refused, as in
    /// Joyride: it is more likely a mistake than a passphrase.
    fn of_variable(text: &str) -> Result<Self, SecretError> {
        match text.strip_prefix(PREFIX) {
            Some(phrase) => Self::passphrase(phrase),
            None => Self::key(text.as_bytes()).ok_or(SecretError::NotKey(text.len())),
        }
    }

    /// Reads a line of a file: a key, or else a passphrase.
    fn of_line(line: &[u8]) -> Result<Self, SecretError> {
        let text = std::str::from_utf8(line);
        if let Ok(text) = text
            && let Some(phrase) = text.strip_prefix(PREFIX)
        {
            return Self::passphrase(phrase);
        }
        if let Some(key) = Self::key(line) {
            return Ok(key);
        }
        if line.len() < MIN_PASSPHRASE {
            return Err(SecretError::TooShort(line.len()));
        }
        text.map_err(|_| SecretError::NotText(line.len()))
            .and_then(Self::passphrase)
    }

    /// Takes a key, if it has the length of one.
    fn key(octets: &[u8]) -> Option<Self> {
        [16, 24, 32]
            .contains(&octets.len())
            .then(|| Self::Key(octets.to_vec()))
    }

    /// Takes a passphrase, if it is long enough.
    fn passphrase(text: &str) -> Result<Self, SecretError> {
        if text.len() < MIN_PASSPHRASE {
            return Err(SecretError::WeakPassphrase(text.len()));
        }
        Ok(Self::Passphrase(text.to_owned()))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

/// Finds the secrets: in the environment, else in the file that the
/// configuration names.
pub(super) fn apply(
    scope: &mut Scope<'_>,
    position: &Position,
    file: Option<&Token>,
    into: &mut Cluster,
) {
    let variables = (
        scope.variable("CLUSTER_SECRET"),
        scope.variable("CLUSTER_SECRET_FILE"),
    );
    let (place, secrets) = match (variables, file) {
        ((Some(_), Some(_)), _) => {
            let message = "CLUSTER_SECRET and CLUSTER_SECRET_FILE are both set: unset one of them";
            (position, Err(message.to_owned()))
        }
        ((Some(value), None), _) => (position, of_variable(&value)),
        ((None, Some(path)), _) => (position, of_file("CLUSTER_SECRET_FILE env var", &path)),
        ((None, None), Some(token)) => {
            (&token.position, of_file("cluster_secret_file", &token.text))
        }
        ((None, None), None) => return,
    };
    match secrets {
        Ok(secrets) => into.secrets = secrets,
        Err(message) => scope.error_in(place, message),
    }
}

/// The secret of `CLUSTER_SECRET`.
fn of_variable(value: &str) -> Result<Vec<ClusterSecret>, String> {
    ClusterSecret::of_variable(value)
        .map(|secret| vec![secret])
        .map_err(|problem| {
            format!(
                "invalid CLUSTER_SECRET env var: {problem} \
                 (or write {PREFIX}TEXT, or name a file in CLUSTER_SECRET_FILE)"
            )
        })
}

/// The secrets of a file that a variable or a property names.
fn of_file(what: &str, path: &str) -> Result<Vec<ClusterSecret>, String> {
    read_file(Path::new(path))
        .and_then(|octets| read_lines(&octets))
        .map_err(|problem| format!("invalid {what}: {path}: {problem}"))
}

/// Reads a file that is not too long.
fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    if !fs::metadata(path)?.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut octets = Vec::new();
    File::open(path)?
        .take(MAX_FILE_LENGTH + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE_LENGTH {
        return Err(FileError::TooLarge);
    }
    Ok(octets)
}

/// Reads one secret a line; empty lines do not matter.
fn read_lines(octets: &[u8]) -> Result<Vec<ClusterSecret>, FileError> {
    let mut secrets = Vec::new();
    for (index, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        let mut line = line;
        while let Some(shorter) = line.strip_suffix(b"\r") {
            line = shorter;
        }
        if line.is_empty() {
            continue;
        }
        if secrets.len() == MAX_SECRETS {
            return Err(FileError::TooMany);
        }
        let secret = ClusterSecret::of_line(line).map_err(|problem| FileError::Line {
            line: index + 1,
            problem,
        })?;
        secrets.push(secret);
    }
    if secrets.is_empty() {
        return Err(FileError::Empty);
    }
    Ok(secrets)
}

/// What stands before a passphrase.
const PREFIX: &str = "passphrase:";

/// So long, in octets, is the shortest passphrase.
const MIN_PASSPHRASE: usize = 8;

/// So many secrets may a file hold.
const MAX_SECRETS: usize = 16;

/// So long, in octets, may a file with secrets be.
const MAX_FILE_LENGTH: u64 = 64 * 1024;

/// What a file with secrets looks like.
const FILE_RULE: &str =
    "one secret a line, a key of 16, 24 or 32 octets or a passphrase of at least 8";

#[cfg(test)]
mod tests {
    use super::*;

    /// A key.
    fn key(text: &str) -> ClusterSecret {
        ClusterSecret::Key(text.as_bytes().to_vec())
    }

    /// A passphrase.
    fn phrase(text: &str) -> ClusterSecret {
        ClusterSecret::Passphrase(text.to_owned())
    }

    #[test]
    fn a_variable_is_a_key_or_says_that_it_is_a_passphrase() {
        for good in ["k".repeat(16), "k".repeat(24), "k".repeat(32)] {
            assert_eq!(ClusterSecret::of_variable(&good), Ok(key(&good)));
        }
        assert_eq!(
            ClusterSecret::of_variable("passphrase:horse battery"),
            Ok(phrase("horse battery"))
        );
        // The prefix counts also where the whole has the length of a key.
        assert_eq!(
            ClusterSecret::of_variable("passphrase:correct horse"),
            Ok(phrase("correct horse"))
        );
        assert_eq!(
            ClusterSecret::of_variable("passphrase:horse"),
            Err(SecretError::WeakPassphrase(5))
        );
        for bad in ["x", "your-shared-secret-key", "0123456789abcde"] {
            assert_eq!(
                ClusterSecret::of_variable(bad),
                Err(SecretError::NotKey(bad.len()))
            );
        }
    }

    #[test]
    fn each_line_of_a_file_is_a_secret() {
        let octets = b"\r\n0123456789abcdef\r\n\n  eight  \npassphrase:0123456789abcdef\nno end";
        let secrets = read_lines(octets).expect_err("the last is short");
        assert_eq!(
            secrets.to_string(),
            format!("line 6: 6 octets long: {FILE_RULE}")
        );
        let secrets = read_lines(&octets[..octets.len() - 7]).expect("three secrets");
        assert_eq!(
            secrets,
            [
                key("0123456789abcdef"),
                phrase("  eight  "),
                phrase("0123456789abcdef")
            ]
        );
    }

    #[test]
    fn a_key_may_be_any_octets_and_a_passphrase_only_text() {
        let key = [0xff; 16];
        assert_eq!(
            ClusterSecret::of_line(&key),
            Ok(ClusterSecret::Key(key.to_vec()))
        );
        assert_eq!(
            ClusterSecret::of_line(&key[..15]),
            Err(SecretError::NotText(15))
        );
    }

    #[test]
    fn a_file_has_a_secret_and_not_too_many() {
        for empty in [&b""[..], b"\n", b"\r\n\r\n"] {
            assert!(matches!(read_lines(empty), Err(FileError::Empty)));
        }
        let line = "0123456789abcdef\n\n";
        assert_eq!(
            read_lines(line.repeat(16).as_bytes()).expect("kept").len(),
            16
        );
        assert!(matches!(
            read_lines(line.repeat(17).as_bytes()),
            Err(FileError::TooMany)
        ));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", [key("0123456789abcdef"), phrase("horse battery")]);
        assert_eq!(shown, "[Key(…), Passphrase(…)]");
    }
}
