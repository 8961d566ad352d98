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

/// How often a member probes one of the others, each of them once in a round,
/// and how long a probe takes that is not answered.
///
/// Both the wait for the first probe of a dead member and the time after which
/// a suspect is taken for dead are multiples of it. What that comes to is in
/// docs/cluster.md; a test below holds it.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);

/// When a probe that was not answered goes by way of other members and over a
/// connection as well. Those others report after as long again that they had
/// no answer either: that has to be in time, or the prober believes itself to
/// be slow.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the probe over a connection may take: for a process that is held
/// up, longer than for a packet. Only who refuses the connection is suspect
/// sooner.
const STREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// A suspect has so many probe intervals to object, times the decimal logarithm
/// of the number of members, if enough others suspect it too.
const SUSPICION: usize = 6;

/// And so many times as long if nobody else does. memberlist's own 6 let the
/// death of one of two take 18 s: it counts restarted members as witnesses that
/// are still to be heard.
const LONE_SUSPICION: usize = 2;

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
/// a silent host is found dead after 13 seconds.
pub(super) fn options(label: Label, keys: &[SecretKey]) -> Options {
    let options = Options::lan()
        .with_label(label)
        .with_probe_interval(PROBE_INTERVAL)
        .with_probe_timeout(PROBE_TIMEOUT)
        .with_timeout(STREAM_TIMEOUT)
        .with_suspicion_mult(SUSPICION)
        .with_suspicion_max_timeout_mult(LONE_SUSPICION)
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
    fn a_killed_member_of_thirty_is_found_in_time() {
        for members in 2..=30 {
            // Of so many intervals without a probe of a certain member there
            // is one in 8,000: each of the others begins its round by chance.
            let longest = f64::from(2 * (members - 1) - 1).min(9.0);
            let wait = PROBE_INTERVAL.mul_f64(longest);
            // A prober that was late before gives a probe more time.
            let probe = PROBE_INTERVAL * 4;
            let told = Duration::from_millis(400);
            let all = wait + probe + suspicion(members) + told;
            assert!(all < Duration::from_secs(7), "{members}: {all:?}");
            // In a small cluster there may be nobody else to say so.
            let alone = suspicion(members) * u32::try_from(LONE_SUSPICION).unwrap();
            let all = wait + PROBE_INTERVAL + alone + told;
            assert!(members > 5 || all < Duration::from_secs(7), "{all:?}");
        }
    }

    #[test]
    fn a_member_that_is_held_up_for_three_seconds_is_not_given_up() {
        let shortest = PROBE_INTERVAL + STREAM_TIMEOUT + suspicion(2);
        assert!(shortest > Duration::from_secs(3) + Duration::from_millis(500));
    }

    #[test]
    fn the_members_that_help_to_probe_report_before_the_probe_is_over() {
        assert!(PROBE_TIMEOUT * 2 + PROBE_TIMEOUT / 2 < PROBE_INTERVAL);
    }

    /// How long a suspect has to object, as memberlist reckons.
    fn suspicion(members: u32) -> Duration {
        let scale = f64::from(members).log10().max(1.0);
        (PROBE_INTERVAL * u32::try_from(SUSPICION).unwrap()).mul_f64(scale)
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
