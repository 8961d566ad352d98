//! Who of those that are heard is worth telling of.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Heard;
use super::packet::Packet;
use super::packet::Sender;

/// Remembers who was told of.
#[derive(Debug)]
pub(super) struct Ears {
    /// What we send ourselves.
    own: Packet,
    /// Members by address, and when they were told of and answered.
    members: BTreeMap<SocketAddr, Told>,
    /// Joyride servers that were told of.
    joyrides: BTreeSet<SocketAddr>,
}

/// When somebody was told of, and answered.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// When it was told of.
    told: Instant,
    /// When it was answered.
    answered: Instant,
}

/// A member is told of so often at most.
const TELL: Duration = Duration::from_secs(1);

/// A member is answered so often at most: it hears of us every five seconds
/// without.
const ANSWER: Duration = Duration::from_secs(60);

/// So many of each kind are remembered.
const MAX_REMEMBERED: usize = 256;

// === impl Ears ===

impl Ears {
    /// Nobody was heard yet.
    pub(super) fn new(own: Packet) -> Self {
        Self {
            own,
            members: BTreeMap::new(),
            joyrides: BTreeSet::new(),
        }
    }

    /// Takes a datagram, and tells of its sender if that is due. Whether to
    /// answer, if it is from a member at all.
    pub(super) fn hear(
        &mut self,
        octets: &[u8],
        from: SocketAddr,
        now: Instant,
        heard: &mpsc::Sender<Heard>,
    ) -> Option<bool> {
        let packet = Packet::parse(octets).filter(|packet| !packet.is(&self.own))?;
        let address = SocketAddr::new(from.ip().to_canonical(), packet.port());
        match packet.sender()? {
            Sender::Member(id) => {
                let (tell, answer) = self.note(address, now)?;
                if tell && heard.try_send(Heard::Member { id, address }).is_err() {
                    // It will be heard again.
                    self.members.remove(&address);
                }
                Some(answer)
            }
            Sender::Joyride(name) => {
                let new = self.joyrides.len() < MAX_REMEMBERED && self.joyrides.insert(address);
                if new && heard.try_send(Heard::Joyride { name, address }).is_err() {
                    self.joyrides.remove(&address);
                }
                None
            }
        }
    }

    /// Whether to tell of a member, and whether to answer it. None if there are
    /// more than can be.
    fn note(&mut self, address: SocketAddr, now: Instant) -> Option<(bool, bool)> {
        let age = |at: Instant| now.saturating_duration_since(at);
        if let Some(told) = self.members.get_mut(&address) {
            let (tell, answer) = (age(told.told) >= TELL, age(told.answered) >= ANSWER);
            if tell {
                told.told = now;
            }
            if answer {
                told.answered = now;
            }
            return Some((tell, answer));
        }
        if self.members.len() >= MAX_REMEMBERED {
            self.members.retain(|_, told| age(told.told) < ANSWER);
        }
        (self.members.len() < MAX_REMEMBERED).then(|| {
            let told = Told {
                told: now,
                answered: now,
            };
            self.members.insert(address, told);
            (true, true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::MemberId;

    #[test]
    fn a_member_is_told_of_now_and_then_and_answered_seldom() {
        let (mut ears, heard, mut told) = ears();
        let now = Instant::now();
        let packet = Packet::new(&MemberId::new("a", 1), 7_946).encode();
        let mut answers = 0;
        for n in 0..1_000 {
            let at = now + Duration::from_millis(100) * n;
            answers += u32::from(ears.hear(&packet, from(1), at, &heard).unwrap());
            if n % 100 == 0 {
                let member = told.try_recv().unwrap();
                let address = "192.0.2.1:7946".parse().unwrap();
                let id = MemberId::new("a", 1);
                assert_eq!(member, Heard::Member { id, address });
            }
            if n % 100 == 99 {
                assert_eq!(std::iter::from_fn(|| told.try_recv().ok()).count(), 9);
            }
        }
        assert_eq!(answers, 2);
    }

    #[test]
    fn who_has_our_name_is_another_and_who_has_our_number_is_ourselves() {
        let (mut ears, heard, mut told) = ears();
        let now = Instant::now();
        let own = Packet::new(&MemberId::new("me", 9), 1).encode();
        assert_eq!(ears.hear(&own, from(1), now, &heard), None);
        assert!(told.try_recv().is_err());
        let same_name = Packet::new(&MemberId::new("me", 10), 1).encode();
        assert_eq!(ears.hear(&same_name, from(1), now, &heard), Some(true));
        assert!(told.try_recv().is_ok());
    }

    #[test]
    fn a_joyride_server_is_told_of_once() {
        let (mut ears, heard, mut told) = ears();
        let packet = br#"{"m":"COREDNS-CLUSTER","n":"node1","p":7946}"#;
        for n in 0..10 {
            let at = Instant::now() + Duration::from_secs(5) * n;
            assert_eq!(ears.hear(packet, from(1), at, &heard), None);
        }
        let address = "192.0.2.1:7946".parse().unwrap();
        let name = "node1".to_owned();
        assert_eq!(told.try_recv(), Ok(Heard::Joyride { name, address }));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn any_number_of_senders_takes_no_more_room() {
        let (mut ears, heard, _told) = ears();
        let now = Instant::now();
        for n in 1..5_000_u16 {
            let member = Packet::new(&MemberId::new("a", n.into()), n).encode();
            ears.hear(&member, from(1), now, &heard);
            let joyride = format!(r#"{{"m":"COREDNS-CLUSTER","n":"a","p":{n}}}"#);
            ears.hear(joyride.as_bytes(), from(1), now, &heard);
        }
        assert!(ears.members.len() <= MAX_REMEMBERED);
        assert!(ears.joyrides.len() <= MAX_REMEMBERED);
    }

    fn ears() -> (Ears, mpsc::Sender<Heard>, mpsc::Receiver<Heard>) {
        let (sender, receiver) = mpsc::channel(16);
        (
            Ears::new(Packet::new(&MemberId::new("me", 9), 1)),
            sender,
            receiver,
        )
    }

    fn from(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 40_000))
    }
}
