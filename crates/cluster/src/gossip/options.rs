//! The settings of memberlist, and its words.

use std::time::Duration;

use memberlist_core::Options;
use memberlist_core::keyring::Keyring;
use memberlist_proto::EncryptionAlgorithm;
use memberlist_proto::Label;
use memberlist_proto::SecretKey;
use ring::digest;

use super::JoinError;

/// Version of our protocol, in every label: what does not speak it is another
/// cluster.
const PREFIX: &str = "portolan/1/";

/// Labels longer than this are hashed: each octet is missing in every datagram.
const LONGEST_LABEL: usize = 48;

/// So many octets of what went wrong are told.
const LONGEST_ERROR: usize = 300;

/// So many octets has a datagram at most, so that it is not fragmented on an
/// overlay network: 1,450 less the headers of IPv4 and UDP.
const DATAGRAM: usize = 1_450 - 28;

/// The most that memberlist puts into a datagram, its own octets included.
const MAX_PACKET: usize = 1_380;

/// What AES-GCM adds to a datagram: header, nonce and tag.
const ENCRYPTION: usize = 6 + 12 + 16;

/// The label on the wire.
pub(super) fn label(name: &str) -> Result<Label, String> {
    let text = if name.len() <= LONGEST_LABEL {
        format!("{PREFIX}{name}")
    } else {
        let hash = digest::digest(&digest::SHA256, name.as_bytes());
        let hex: String = hash
            .as_ref()
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        format!("{PREFIX}#{hex}")
    };
    Label::try_from(text).map_err(|error| error.to_string())
}

/// The most that memberlist may put into a datagram, label and encryption not
/// included: it does not reckon with either.
pub(super) fn max_packet(label: &Label, encrypted: bool) -> usize {
    let encryption = if encrypted { ENCRYPTION } else { 0 };
    (DATAGRAM - encryption - label.encoded_overhead()).min(MAX_PACKET)
}

/// How memberlist is to behave. Its own `lan()` has two values swapped, so that
/// a silent host is found dead after 13 seconds. Probing every 700 ms instead of
/// every second finds a dead one of 30 in 6 seconds instead of 9.
pub(super) fn options(label: Label, keys: &[SecretKey]) -> Options {
    let options = Options::lan()
        .with_label(label)
        .with_probe_interval(Duration::from_millis(700))
        .with_probe_timeout(Duration::from_millis(300))
        .with_timeout(Duration::from_secs(2))
        .with_gossip_interval(Duration::from_millis(100))
        .with_push_pull_interval(Duration::from_secs(15))
        .with_dead_node_reclaim_time(Duration::from_secs(1));
    let Some(first) = keys.first() else {
        return options;
    };
    // All four: with the key alone, memberlist silently sends plaintext.
    options
        .with_primary_key(*first)
        .with_secret_keys(keys.iter().copied().collect())
        .with_encryption_algo(EncryptionAlgorithm::NoPadding)
        .with_gossip_verify_outgoing(true)
        .with_gossip_verify_incoming(true)
}

/// Makes `keys` the keys of a ring: new ones come before old ones go.
pub(super) fn turn(ring: &Keyring, first: SecretKey, keys: &[SecretKey]) {
    for key in keys {
        if *key != ring.primary_key() {
            ring.insert(*key);
        }
    }
    if let Err(error) = ring.use_key(first.as_ref()) {
        tracing::warn!(plugin = "docker-cluster", %error, "cluster key");
    }
    let old: Vec<SecretKey> = ring.keys().filter(|key| !keys.contains(key)).collect();
    for key in old {
        if let Err(error) = ring.remove(key.as_ref()) {
            tracing::warn!(plugin = "docker-cluster", %error, "cluster key");
        }
    }
}

/// What memberlist says about a join, with what it means in front.
pub(super) fn join_error(error: &str) -> JoinError {
    // The other may have written it.
    let end = error.floor_char_boundary(LONGEST_ERROR);
    let error = error.get(..end).unwrap_or_default();
    let lower = error.to_ascii_lowercase();
    let means = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let plain = if means(&["label"]) {
        "it belongs to another cluster: cluster_label or version differ"
    } else if means(&["no installed keys"]) {
        "its cluster secret is another"
    } else if means(&["key not found", "not encrypted", "encrypt"]) {
        "one of us has a cluster secret, the other has none"
    } else {
        return JoinError::Unreached(error.to_owned());
    };
    JoinError::Foreign(format!("{plain} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::MAX_GOSSIP;

    #[test]
    fn a_gossip_message_fits_a_datagram_with_any_label() {
        for length in 0..=200 {
            let label = label(&"x".repeat(length)).unwrap();
            for encrypted in [false, true] {
                let packet = max_packet(&label, encrypted);
                // memberlist: six octets for the batch, tag and length.
                assert!(packet - 10 >= MAX_GOSSIP, "{length}: {packet}");
                let encryption = if encrypted { 34 } else { 0 };
                assert!(
                    packet + label.encoded_overhead() + encryption <= 1_422,
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn no_more_is_said_of_a_failure_than_fits_a_line() {
        for (start, foreign) in [("remote error: label ", true), ("remote error: é", false)] {
            let error = join_error(&format!("{start}{}", "é".repeat(1 << 20)));
            assert_eq!(matches!(error, JoinError::Foreign(_)), foreign);
            assert!(error.to_string().len() < 400);
        }
    }

    #[test]
    fn long_labels_are_told_apart_too() {
        assert_eq!(label("home").unwrap().as_str(), "portolan/1/home");
        let long = |last: &str| label(&format!("{}{last}", "x".repeat(100))).unwrap();
        assert!(long("a") != long("b"));
        assert!(long("a") == long("a"));
    }
}
