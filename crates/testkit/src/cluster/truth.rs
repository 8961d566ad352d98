//! What ought to be answered.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use hickory_proto::op::ResponseCode;

use super::Reply;

/// The addresses that each name ought to have; none for a name that has been
/// and shall not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Addresses by name.
    names: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// What is answered and ought not to be, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Questions that were asked.
    pub asked: usize,
    /// Addresses that ought to be gone: node, name, address.
    pub zombies: Vec<(usize, String, Ipv4Addr)>,
    /// Addresses that ought to be there: node, name, address.
    pub missing: Vec<(usize, String, Ipv4Addr)>,
    /// Other answers than one that lists addresses, or says that there are
    /// none: node, name, what came.
    pub odd: Vec<(usize, String, String)>,
}

// === impl Truth ===

impl Truth {
    /// Adds a name that has been.
    pub fn forget(&mut self, name: &str) {
        self.names.entry(name.to_owned()).or_default();
    }

    /// Adds an address of a name.
    pub fn add(&mut self, name: &str, address: Ipv4Addr) {
        self.names
            .entry(name.to_owned())
            .or_default()
            .insert(address);
    }

    /// Takes all addresses of a name away.
    pub fn withdraw(&mut self, name: &str) {
        self.names.insert(name.to_owned(), BTreeSet::new());
    }

    /// All names.
    pub fn names(&self) -> Vec<&str> {
        self.names.keys().map(String::as_str).collect()
    }

    /// How many names there are, of those that ought to be answered.
    pub fn live(&self) -> usize {
        self.names.values().filter(|set| !set.is_empty()).count()
    }

    /// The addresses of a name.
    pub fn addresses(&self, name: &str) -> BTreeSet<Ipv4Addr> {
        self.names.get(name).cloned().unwrap_or_default()
    }

    /// Judges what the node with a number said about names.
    pub fn judge(&self, node: usize, replies: &BTreeMap<String, Reply>, verdict: &mut Verdict) {
        for (name, expected) in &self.names {
            verdict.asked += 1;
            let Some(reply) = replies.get(name) else {
                let silence = "no answer".to_owned();
                verdict.odd.push((node, name.clone(), silence));
                continue;
            };
            if reply.says(expected) {
                continue;
            }
            if !matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
                let odd = (node, name.clone(), format!("{reply:?}"));
                verdict.odd.push(odd);
                continue;
            }
            let at = |address: &Ipv4Addr| (node, name.clone(), *address);
            let zombies = reply.addresses.difference(expected);
            verdict.zombies.extend(zombies.map(at));
            let missing = expected.difference(&reply.addresses);
            verdict.missing.extend(missing.map(at));
            if reply.addresses == *expected {
                let odd = (node, name.clone(), format!("{reply:?}"));
                verdict.odd.push(odd);
            }
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_flawless(&self) -> bool {
        self.zombies.is_empty() && self.missing.is_empty() && self.odd.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (zombies, missing) = (self.zombies.len(), self.missing.len());
        write!(
            f,
            "{} asked, {zombies} zombies, {missing} missing, {} odd",
            self.asked,
            self.odd.len()
        )?;
        for (word, list) in [("zombie", &self.zombies), ("missing", &self.missing)] {
            for (node, name, address) in list.iter().take(SHOWN) {
                write!(f, "\n  {word} at node {node}: {name} {address}")?;
            }
        }
        for (node, name, what) in self.odd.iter().take(SHOWN) {
            write!(f, "\n  odd at node {node}: {name} {what}")?;
        }
        Ok(())
    }
}

/// So many of each kind are shown.
const SHOWN: usize = 8;
