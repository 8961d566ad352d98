//! What members and Joyride servers broadcast.

use serde::Deserialize;
use serde::Serialize;

use crate::member::MAX_NAME;
use crate::member::MemberId;

/// A datagram of discovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packet {
    /// [`MAGIC`].
    m: String,
    /// Name of the sender.
    n: String,
    /// Port that the sender's members are joined at.
    p: u16,
    /// Number that the sender drew at start, in hexadecimal; a Joyride server
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<String>,
}

/// Who a datagram is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A member.
    Member(MemberId),
    /// A Joyride server of that name.
    Joyride(String),
}

/// By this Joyride knows its own.
const MAGIC: &str = "COREDNS-CLUSTER";

/// Octets that a datagram has at most.
pub(super) const MAX: usize = 512;

// === impl Packet ===

impl Packet {
    /// What a member sends.
    pub(super) fn new(me: &MemberId, port: u16) -> Self {
        let boot = me
            .as_str()
            .rsplit_once('#')
            .map(|(_, boot)| boot.to_owned());
        Self {
            m: MAGIC.to_owned(),
            n: me.name().to_owned(),
            p: port,
            b: boot,
        }
    }

    /// Reads what was sent, if it is what it should be.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        // Most of what is none does not get any further.
        if octets.len() > MAX || octets.first() != Some(&b'{') {
            return None;
        }
        let packet: Self = serde_json::from_slice(octets).ok()?;
        (packet.m == MAGIC && packet.p != 0).then_some(packet)
    }

    /// The octets.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Port that the sender is joined at.
    pub(super) fn port(&self) -> u16 {
        self.p
    }

    /// Who it is from, if that can be.
    pub(super) fn sender(&self) -> Option<Sender> {
        let Some(boot) = &self.b else {
            let name = MemberId::new(&self.n, 0).name().to_owned();
            return Some(Sender::Joyride(name));
        };
        let number = u64::from_str_radix(boot, 16).ok()?;
        let fits = self.n.len() <= MAX_NAME && boot.len() <= 16;
        fits.then(|| Sender::Member(MemberId::new(&self.n, number)))
    }

    /// Whether both are from the same process.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.b.is_some() && self.b == other.b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datagram_is_that_of_joyride_and_a_number() {
        let packet = Packet::new(&MemberId::new("node1", 0xab), 7_946);
        let text = String::from_utf8(packet.encode()).unwrap();
        let expected = r#"{"m":"COREDNS-CLUSTER","n":"node1","p":7946,"b":"00000000000000ab"}"#;
        assert_eq!(text, expected);
        assert_eq!(Packet::parse(text.as_bytes()), Some(packet.clone()));
        let id = MemberId::new("node1", 0xab);
        assert_eq!(packet.sender(), Some(Sender::Member(id)));
        assert!(packet.is(&Packet::new(&MemberId::new("other", 0xab), 1)));
        assert!(!packet.is(&Packet::new(&MemberId::new("node1", 0xac), 7_946)));
    }

    #[test]
    fn without_a_number_it_is_from_joyride() {
        let packet = Packet::parse(br#"{"m":"COREDNS-CLUSTER","n":"no\nde","p":7946}"#).unwrap();
        assert_eq!(packet.sender(), Some(Sender::Joyride("node".to_owned())));
        assert!(!packet.is(&packet));
    }

    #[test]
    fn what_is_not_as_it_should_be_is_none() {
        let long = format!(
            r#"{{"m":"COREDNS-CLUSTER","n":"{}","p":1}}"#,
            "x".repeat(MAX)
        );
        let table = [
            "",
            "{",
            "[]",
            r#"{"m":"OTHER","n":"a","p":1}"#,
            r#"{"m":"COREDNS-CLUSTER","n":"a","p":0}"#,
            r#"{"m":"COREDNS-CLUSTER","n":"a","p":70000}"#,
            r#"{"m":"COREDNS-CLUSTER","n":"a"}"#,
            r#" {"m":"COREDNS-CLUSTER","n":"a","p":1}"#,
            &long,
        ];
        for text in table {
            assert_eq!(Packet::parse(text.as_bytes()), None, "{text}");
        }
        for boot in ["", "x", "-1", "00000000000000000"] {
            let text = format!(r#"{{"m":"COREDNS-CLUSTER","n":"a","p":1,"b":"{boot}"}}"#);
            let packet = Packet::parse(text.as_bytes()).unwrap();
            assert_eq!(packet.sender(), None, "{boot}");
        }
    }
}
