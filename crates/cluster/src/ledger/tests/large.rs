//! As many members as few have.

use rand::RngExt as _;

use super::*;

/// So many members.
const MEMBERS: usize = 120;

/// One datagram of so many is lost.
const LOSS: u32 = 10;

/// Members that know one another, and a network that loses datagrams.
struct Crowd {
    /// The members, by number.
    ledgers: Vec<Ledger>,
    /// The time.
    now: Instant,
    /// What is lost.
    rng: SmallRng,
}

// === impl Crowd ===

impl Crowd {
    /// So many members, each of which knows that the others are there.
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn new(count: usize) -> Self {
        let now = Instant::now();
        let ledger = |number: usize| {
            let seed = u64::try_from(number).unwrap();
            Ledger::new(member(number), Rules::default(), seed, now)
        };
        let mut crowd = Self {
            ledgers: (0..count).map(ledger).collect(),
            now,
            rng: SmallRng::seed_from_u64(1),
        };
        for number in 0..count {
            for other in 0..count {
                let ledger = &mut crowd.ledgers[number];
                let actions = ledger.joined(member(other), address(other), now);
                crowd.deliver(actions.sends);
            }
        }
        crowd
    }

    /// So much time passes.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(200);
            for number in 0..self.ledgers.len() {
                let ledger = &mut self.ledgers[number];
                if ledger.due().is_some_and(|due| due <= self.now) {
                    let actions = ledger.tick(self.now);
                    self.deliver(actions.sends);
                }
            }
        }
    }

    /// Messages arrive, what they lead to as well.
    fn deliver(&mut self, sends: Vec<Send>) {
        let mut sends = VecDeque::from(sends);
        while let Some(send) = sends.pop_front() {
            if !send.reliable && self.rng.random_ratio(1, LOSS) {
                continue;
            }
            let to = &mut self.ledgers[number(&send.to)];
            sends.extend(to.receive(&send.octets, self.now).sends);
        }
    }

    /// How long ago a member last heard a heartbeat of another, at worst.
    fn oldest_beat(&self) -> Duration {
        let members = self
            .ledgers
            .iter()
            .flat_map(|ledger| ledger.members.values());
        let ages = members.map(|member| self.now.saturating_duration_since(member.heard));
        ages.max().unwrap()
    }
}

#[test]
fn heartbeats_reach_everybody_in_time_in_a_cluster_of_a_hundred_and_twenty() {
    let mut crowd = Crowd::new(MEMBERS);
    let mut oldest = Duration::ZERO;
    for _ in 0..35 {
        crowd.pass(Duration::from_secs(1));
        oldest = oldest.max(crowd.oldest_beat());
    }
    println!("oldest heartbeat {oldest:?}");
    assert!(oldest < Duration::from_secs(20), "{oldest:?}");
}

#[test]
fn the_digests_of_a_heartbeat_tell_all_sets_and_are_bounded() {
    let mut bench = Bench::new();
    for n in 1..MAX_MEMBERS {
        let other = member(n);
        bench.act(|ledger, now| ledger.joined(other.clone(), address(n), now));
        bench.receive(&snapshot(&other, 1, 1, &[]));
    }
    bench.pass(1_500);
    let actions = bench.pass(1_000);
    let mut told = BTreeSet::new();
    let mut digests = 0;
    for (_, message) in sent(&actions) {
        if let Message::Digest(digest) = message {
            digests += 1;
            told.extend(digest.entries.into_iter().map(|entry| entry.owner));
        }
    }
    assert_eq!(told.len(), MAX_MEMBERS);
    assert!((2..=32).contains(&digests), "{digests}");
}

/// The member of a number.
fn member(number: usize) -> MemberId {
    id(&format!("n{number}"), 1)
}

/// The number of a member.
fn number(member: &MemberId) -> usize {
    member.name().trim_start_matches('n').parse().unwrap()
}

/// Where it is reached.
fn address(number: usize) -> SocketAddr {
    SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        u16::try_from(1_000 + number).unwrap(),
    )
}
