//! Whom to join now.
//!
//! Whatever should be here and is not is tried for ever: a cluster that was
//! cut in two is one again as soon as one try gets through.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::member::MemberId;

/// Knows whom there is to join. Pure: time and who is there are told.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Our own address.
    own: SocketAddr,
    /// Order is left to chance.
    rng: StdRng,
    /// Addresses of seeds.
    seeds: Vec<SocketAddr>,
    /// Members that were there, by address.
    remembered: BTreeMap<SocketAddr, Remembered>,
    /// Members that said good-bye, and may still be listed for a moment.
    left: VecDeque<MemberId>,
    /// Members that were heard by discovery, by address, and when.
    heard: BTreeMap<SocketAddr, (MemberId, Instant)>,
    /// When addresses were tried last.
    tried: BTreeMap<SocketAddr, Instant>,
    /// Addresses that led to a member, and when.
    led: BTreeMap<SocketAddr, Instant>,
    /// Who was there when it was last looked.
    present: BTreeSet<MemberId>,
    /// When somebody was there no more.
    lost: Option<Instant>,
}

/// A member that was there.
#[derive(Debug)]
struct Remembered {
    /// The member.
    id: MemberId,
    /// When it was there last.
    seen: Instant,
}

/// So many addresses are tried in a round.
const MAX_TRIES: usize = 16;

/// A round is so long, give or take a quarter.
const ROUND: Duration = Duration::from_secs(2);

/// No address is tried again sooner.
const GAP: Duration = Duration::from_millis(1_400);

/// An address that was heard is not tried again sooner.
const HEARD_GAP: Duration = Duration::from_secs(5);

/// What was heard is true for so long.
const HEARD_FOR: Duration = Duration::from_secs(15);

/// A member that is gone for longer is tried less often.
const RECENT: Duration = Duration::from_secs(3_600);

/// And that is how often.
const SELDOM: Duration = Duration::from_secs(30);

/// Then it is forgotten.
const MEMORY: Duration = Duration::from_secs(24 * 3_600);

/// So many members are remembered, and so many that were heard.
const MAX_REMEMBERED: usize = 512;

/// So many that said good-bye are known.
const MAX_LEFT: usize = 256;

// === impl Joiner ===

impl Joiner {
    /// Nobody is known yet.
    pub(crate) fn new(own: SocketAddr, seed: u64) -> Self {
        Self {
            own,
            rng: StdRng::seed_from_u64(seed),
            seeds: Vec::new(),
            remembered: BTreeMap::new(),
            left: VecDeque::new(),
            heard: BTreeMap::new(),
            tried: BTreeMap::new(),
            led: BTreeMap::new(),
            present: BTreeSet::new(),
            lost: None,
        }
    }

    /// The addresses of the seeds are these.
    pub(crate) fn set_seeds(&mut self, addresses: Vec<SocketAddr>) {
        self.seeds = addresses;
    }

    /// A member is there.
    pub(crate) fn joined(&mut self, id: &MemberId, address: SocketAddr, now: Instant) {
        if self.left.contains(id) {
            return;
        }
        let seen = Remembered {
            id: id.clone(),
            seen: now,
        };
        self.remembered.insert(address, seen);
        if self.remembered.len() > MAX_REMEMBERED {
            let oldest = self.remembered.iter().min_by_key(|(_, known)| known.seen);
            if let Some(address) = oldest.map(|(address, _)| *address) {
                self.remembered.remove(&address);
            }
        }
    }

    /// A member said good-bye: nobody waits for it.
    pub(crate) fn forget(&mut self, id: &MemberId) {
        self.remembered.retain(|_, known| known.id != *id);
        self.heard.retain(|_, (heard, _)| heard != id);
        self.left.push_back(id.clone());
        if self.left.len() > MAX_LEFT {
            self.left.pop_front();
        }
    }

    /// An address was tried, and led to a member or did not. A member is not
    /// always where it says that others reach it: behind a published port, or
    /// with several addresses. Where an address led to somebody, it is not tried
    /// every round only because nobody is said to be there.
    pub(crate) fn tried(&mut self, address: SocketAddr, led: bool, now: Instant) {
        if led {
            self.led.insert(address, now);
        } else {
            self.led.remove(&address);
        }
    }

    /// Whether an address is one of those that are tried.
    pub(crate) fn knows(&self, address: &SocketAddr) -> bool {
        self.seeds.contains(address)
            || self.heard.contains_key(address)
            || self.remembered.contains_key(address)
    }

    /// A member was heard by discovery.
    pub(crate) fn heard(&mut self, id: MemberId, address: SocketAddr, now: Instant) {
        self.heard
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < HEARD_FOR);
        if self.heard.len() < MAX_REMEMBERED || self.heard.contains_key(&address) {
            self.heard.insert(address, (id, now));
        }
    }

    /// The addresses to try now, all at once, when these members are there.
    /// May be asked at any time: an address is not tried too often.
    pub(crate) fn round(
        &mut self,
        online: &[(MemberId, SocketAddr)],
        now: Instant,
    ) -> Vec<SocketAddr> {
        self.look_around(online, now);
        let there: BTreeSet<SocketAddr> = online.iter().map(|(_, address)| *address).collect();
        let ids: BTreeSet<&MemberId> = online.iter().map(|(id, _)| id).collect();
        let waited = |address: &SocketAddr, gap: Duration| {
            let tried = self.tried.get(address);
            tried.is_none_or(|at| now.saturating_duration_since(*at) >= gap)
        };
        // The member that an address led to may be the one that was lost since.
        let seed_gap = |address: &SocketAddr| {
            let led = self.led.get(address).copied();
            let is_alias = led.is_some_and(|led| self.lost.is_none_or(|lost| lost < led));
            if is_alias { SELDOM } else { GAP }
        };
        let seeds = self
            .seeds
            .iter()
            .filter(|address| waited(address, seed_gap(address)));
        // A member with two addresses is heard from both.
        let heard = self.heard.iter().filter(|(_, (id, _))| !ids.contains(id));
        let heard = heard
            .map(|(address, _)| address)
            .filter(|a| waited(a, HEARD_GAP));
        let remembered = self.remembered.iter().filter(|(address, known)| {
            let gone = now.saturating_duration_since(known.seen);
            waited(address, if gone < RECENT { GAP } else { SELDOM })
        });
        let all = seeds
            .chain(heard)
            .chain(remembered.map(|(address, _)| address));
        let wanted = |address: &&SocketAddr| **address != self.own && !there.contains(address);
        let all: BTreeSet<SocketAddr> = all.filter(wanted).copied().collect();
        let mut tries: Vec<SocketAddr> = all.into_iter().collect();
        tries.shuffle(&mut self.rng);
        // Seeds and the others get half of a round each, and what is left.
        let is_seed = |address: &SocketAddr| self.seeds.contains(address);
        let (mut tries, mut others): (Vec<_>, Vec<_>) = tries.into_iter().partition(is_seed);
        tries.truncate(MAX_TRIES - others.len().min(MAX_TRIES / 2));
        others.truncate(MAX_TRIES - tries.len());
        tries.extend(others);
        self.tried
            .extend(tries.iter().map(|address| (*address, now)));
        tries
    }

    /// How long to wait for the next round.
    pub(crate) fn pause(&mut self) -> Duration {
        ROUND.mul_f64(self.rng.random_range(0.75..1.25))
    }

    /// Takes note of who is there, and lets go of what is long past.
    fn look_around(&mut self, online: &[(MemberId, SocketAddr)], now: Instant) {
        for (id, address) in online {
            self.joined(id, *address, now);
        }
        let present: BTreeSet<MemberId> = online.iter().map(|(id, _)| id.clone()).collect();
        if !self.present.is_subset(&present) {
            self.lost = Some(now);
        }
        self.present = present;
        let age = |at: Instant| now.saturating_duration_since(at);
        self.remembered.retain(|_, known| age(known.seen) < MEMORY);
        self.heard.retain(|_, (_, at)| age(*at) < HEARD_FOR);
        self.tried.retain(|_, at| age(*at) < SELDOM);
        let seeds = &self.seeds;
        self.led.retain(|address, _| seeds.contains(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_tried_for_ever_until_they_are_there() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.set_seeds(vec![address(1), address(2), address(3)]);
        for n in 0..100 {
            let at = now + ROUND * n;
            let online = [(id(1), address(1)), (id(3), address(3))];
            assert_eq!(joiner.round(&online, at), [address(2)]);
            // Asked again at once, nothing.
            assert_eq!(joiner.round(&online, at), []);
        }
    }

    #[test]
    fn a_seed_that_led_to_a_member_elsewhere_is_tried_seldom_until_one_is_lost() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.set_seeds(vec![address(22)]);
        let both = [(id(1), address(1)), (id(2), address(2))];
        assert_eq!(joiner.round(&both[..1], now), [address(22)]);
        joiner.tried(address(22), true, now);
        let tries = |joiner: &mut Joiner, from: Instant| {
            let rounds = (1..=15).map(|n| joiner.round(&both, from + ROUND * n).len());
            rounds.sum::<usize>()
        };
        // Once in thirty seconds, in case it leads to somebody else by now.
        assert_eq!(tries(&mut joiner, now), 1);
        joiner.tried(address(22), true, now + ROUND * 15);
        let lost = now + ROUND * 16;
        let tries: BTreeSet<_> = joiner.round(&both[..1], lost).into_iter().collect();
        assert_eq!(tries, BTreeSet::from([address(2), address(22)]));
        joiner.tried(address(22), false, lost);
        for n in 1..10 {
            let tries: BTreeSet<_> = joiner
                .round(&both[..1], lost + ROUND * n)
                .into_iter()
                .collect();
            assert!(tries.contains(&address(22)), "{n}");
        }
        joiner.set_seeds(Vec::new());
        joiner.round(&both, lost + ROUND * 20);
        assert!(joiner.led.is_empty() && !joiner.knows(&address(22)));
        assert!(joiner.knows(&address(2)));
    }

    #[test]
    fn who_is_lost_is_remembered_for_a_day_and_who_left_is_not() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.joined(&id(2), address(2), now);
        joiner.joined(&id(3), address(3), now);
        joiner.forget(&id(3));
        let online = [(id(2), address(2))];
        assert_eq!(joiner.round(&online, now + Duration::from_secs(100)), []);
        let lost = now + Duration::from_secs(102);
        assert_eq!(joiner.round(&[], lost), [address(2)]);
        assert_eq!(joiner.round(&[], lost + ROUND), [address(2)]);
        let later = lost + Duration::from_secs(2 * 3_600);
        assert_eq!(joiner.round(&[], later), [address(2)]);
        assert_eq!(joiner.round(&[], later + ROUND), []);
        assert_eq!(joiner.round(&[], later + SELDOM), [address(2)]);
        assert_eq!(joiner.round(&[], lost + MEMORY), []);
    }

    #[test]
    fn who_left_is_forgotten_although_it_is_still_listed() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        let listed = [(id(2), address(2))];
        joiner.joined(&id(2), address(2), now);
        joiner.forget(&id(2));
        assert_eq!(joiner.round(&listed, now), []);
        assert_eq!(joiner.round(&[], now + ROUND), []);
        // Whoever starts there next is another member.
        joiner.joined(&id(3), address(2), now + ROUND);
        assert_eq!(joiner.round(&[], now + ROUND * 2), [address(2)]);
    }

    #[test]
    fn a_seed_has_its_turn_however_many_are_lost() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.set_seeds(vec![address(2)]);
        for n in 3..303 {
            joiner.joined(&id(n), address(n), now);
        }
        for n in 0..20 {
            let tries = joiner.round(&[], now + ROUND * n);
            assert_eq!(tries.len(), MAX_TRIES);
            assert!(tries.contains(&address(2)), "{n}");
        }
    }

    #[test]
    fn who_is_heard_is_tried_once_in_five_seconds_while_it_is_heard() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.heard(id(2), address(2), now);
        assert_eq!(joiner.round(&[], now), [address(2)]);
        joiner.heard(id(2), address(2), now + ROUND);
        assert_eq!(joiner.round(&[], now + ROUND), []);
        assert_eq!(joiner.round(&[], now + HEARD_GAP), [address(2)]);
        assert_eq!(joiner.round(&[], now + ROUND + HEARD_FOR), []);
    }

    #[test]
    fn a_member_that_is_there_is_not_tried_at_its_other_address() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.heard(id(2), address(22), now);
        assert_eq!(joiner.round(&[(id(2), address(2))], now), []);
    }

    #[test]
    fn a_restarted_member_takes_the_place_of_the_one_before() {
        let mut joiner = Joiner::new(address(1), 7);
        let now = start();
        joiner.joined(&id(2), address(2), now);
        joiner.joined(&id(3), address(2), now);
        joiner.forget(&id(2));
        assert_eq!(joiner.round(&[], now), [address(2)]);
    }

    #[test]
    fn a_round_is_bounded_and_its_order_is_left_to_chance() {
        let now = start();
        let seeds: Vec<SocketAddr> = (2..202).map(address).collect();
        let round = |seed: u64| {
            let mut joiner = Joiner::new(address(1), seed);
            joiner.set_seeds(seeds.clone());
            joiner.round(&[], now)
        };
        assert_eq!(round(1).len(), MAX_TRIES);
        assert_eq!(round(1), round(1));
        assert_ne!(round(1), round(2));
        let mut joiner = Joiner::new(address(1), 7);
        for n in 2..2_000 {
            joiner.joined(&id(n), address(n), now + Duration::from_millis(n.into()));
            joiner.heard(id(n), address(n), now);
        }
        assert_eq!(joiner.remembered.len(), MAX_REMEMBERED);
        assert_eq!(joiner.heard.len(), MAX_REMEMBERED);
        assert!(joiner.remembered.contains_key(&address(1_999)));
    }

    #[test]
    fn rounds_are_two_seconds_apart_give_or_take() {
        let mut joiner = Joiner::new(address(1), 7);
        for _ in 0..1_000 {
            let pause = joiner.pause();
            assert!(
                pause >= GAP && pause <= Duration::from_millis(2_500),
                "{pause:?}"
            );
        }
    }

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    fn id(n: u16) -> MemberId {
        MemberId::new("node", n.into())
    }
}
