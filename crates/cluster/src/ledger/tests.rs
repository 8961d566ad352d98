use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use portolan_table::Row;

use super::*;
use crate::wire::Delta;
use crate::wire::Digest;
use crate::wire::Entry;
use crate::wire::Op;
use crate::wire::Restarted;
use crate::wire::Snapshot;
use crate::wire::Stamp;

mod fuzz;
mod large;
mod membership;
mod repair;
mod sharing;

/// A ledger, a clock, and what the table has.
struct Bench {
    /// The ledger under test.
    ledger: Ledger,
    /// The time.
    now: Instant,
    /// What the table was told.
    table: BTreeMap<(MemberId, u64), Vec<Row>>,
}

// === impl Bench ===

impl Bench {
    /// A member `me` alone, which has synced.
    fn new() -> Self {
        Self::with(Rules::default())
    }

    /// The same, with rules of its own.
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn with(rules: Rules) -> Self {
        let now = Instant::now();
        let mut bench = Self {
            ledger: Ledger::new(id("me", 1), rules, 1, now),
            now,
            table: BTreeMap::new(),
        };
        bench.joined(&id("me", 1), 1);
        bench
    }

    /// Something happens now.
    fn act(&mut self, what: impl FnOnce(&mut Ledger, Instant) -> Actions) -> Actions {
        let actions = what(&mut self.ledger, self.now);
        for change in &actions.changes {
            let key = (change.member.clone(), change.key);
            if change.rows.is_empty() {
                self.table.remove(&key);
            } else {
                self.table.insert(key, change.rows.clone());
            }
        }
        let remote = self.ledger.remote().into_iter();
        let remote = remote.map(|change| ((change.member, change.key), change.rows));
        assert_eq!(remote.collect::<BTreeMap<_, _>>(), self.table);
        actions
    }

    /// A member joins at an address with that last octet.
    fn joined(&mut self, who: &MemberId, address: u8) -> Actions {
        self.act(|ledger, now| ledger.joined(who.clone(), at(address), now))
    }

    /// A message arrives.
    fn receive(&mut self, message: &Message) -> Actions {
        let octets = message.encode();
        self.act(|ledger, now| ledger.receive(&octets, now))
    }

    /// Sources of this member change.
    fn local(&mut self, changes: Vec<LocalChange>) -> Actions {
        self.act(|ledger, now| ledger.local(changes, now))
    }

    /// Time passes, in milliseconds; the ledger is called whenever it wants.
    fn pass(&mut self, millis: u64) -> Actions {
        let end = self.now + Duration::from_millis(millis);
        let mut all = Actions::default();
        while let Some(due) = self.ledger.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let actions = self.act(Ledger::tick);
            all.changes.extend(actions.changes);
            all.sends.extend(actions.sends);
            all.gossip.extend(actions.gossip);
            all.notices.extend(actions.notices);
        }
        self.now = end;
        all
    }

    /// Member `a` joins, with one record at version 1.
    fn with_a(&mut self) -> MemberId {
        let a = id("a", 1);
        self.joined(&a, 2);
        self.receive(&snapshot(&a, 1, 1, &[7]));
        a
    }

    /// The sources that the table has.
    fn served(&self) -> Vec<String> {
        let keys = self.table.keys();
        keys.map(|(member, key)| format!("{}/{key}", member.name()))
            .collect()
    }
}

/// A member.
fn id(name: &str, boot: u64) -> MemberId {
    MemberId::new(name, boot)
}

/// An address.
fn at(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 7_946)
}

/// A record.
fn row(owner: &str, last: u8) -> Row {
    Row {
        owner: owner.parse().unwrap(),
        rdata: at(last).ip().into(),
        ttl: 60,
    }
}

/// What a source asserts.
fn source(key: u64) -> Assertion {
    Assertion {
        origin: "a source".into(),
        rows: vec![row(&format!("c{key}.lan"), 9)],
    }
}

/// A source of this member has a record.
fn local(key: u64) -> LocalChange {
    let Assertion { origin, rows } = source(key);
    LocalChange { key, origin, rows }
}

/// A source of this member has none.
fn gone(key: u64) -> LocalChange {
    let origin = "a source".into();
    LocalChange {
        key,
        origin,
        rows: Vec::new(),
    }
}

/// Changes of a set in epoch 1.
fn delta(owner: &MemberId, first: u64, ops: Vec<Op>) -> Message {
    Message::Delta(Delta {
        owner: owner.clone(),
        epoch: 1,
        first,
        ops,
    })
}

/// A source appears.
fn put(key: u64) -> Op {
    Op::Put(key, source(key))
}

/// A set with these sources, complete.
fn snapshot(owner: &MemberId, epoch: u64, version: u64, keys: &[u64]) -> Message {
    Message::Snapshot(Snapshot {
        owner: owner.clone(),
        stamp: Stamp { epoch, version },
        complete: true,
        entries: keys.iter().map(|key| (*key, source(*key))).collect(),
    })
}

/// A digest of one set.
fn digest(from: &MemberId, owner: &MemberId, version: u64, beat: u64) -> Message {
    Message::Digest(Digest {
        from: from.clone(),
        reply: false,
        entries: vec![Entry {
            owner: owner.clone(),
            stamp: Stamp { epoch: 1, version },
            beat,
        }],
    })
}

/// Good-bye.
fn bye(owner: &MemberId, hold_ms: u64) -> Message {
    let stamp = Stamp {
        epoch: 1,
        version: 1,
    };
    Message::Bye(Bye {
        owner: owner.clone(),
        stamp,
        hold_ms,
    })
}

/// The messages that are sent.
fn sent(actions: &Actions) -> Vec<(String, Message)> {
    let sends = actions.sends.iter();
    sends
        .map(|send| {
            (
                send.to.name().into(),
                Message::decode(&send.octets).unwrap(),
            )
        })
        .collect()
}

/// Whom sets are asked of, and whose.
fn pulls(actions: &Actions) -> Vec<(String, String)> {
    let pull = |(to, message)| match message {
        Message::Pull(pull) => Some((to, pull.owner.name().into())),
        _ => None,
    };
    sent(actions).into_iter().filter_map(pull).collect()
}

/// Why records were withdrawn.
fn withdrawals(actions: &Actions) -> Vec<Withdrawal> {
    let why = |notice: &Notice| match notice {
        Notice::Withdrawn { why, .. } => Some(*why),
        _ => None,
    };
    actions.notices.iter().filter_map(why).collect()
}
