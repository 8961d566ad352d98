//! The `loadbalance` directive: the order of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use portolan_proto::Message;
use portolan_proto::Name;
use portolan_proto::RrsetRef;
use portolan_proto::Rtype;
use portolan_proto::rotated;
use rand::RngExt as _;

/// How the addresses of an answer are ordered.
#[derive(Clone, Debug, Default)]
pub struct LoadBalance {
    /// Weights by name; without them the order rotates.
    pub weights: Option<Arc<ArcSwap<Weights>>>,
    /// Addresses in these ranges come first.
    pub prefer: Vec<IpNet>,
}

/// Weights of addresses, by name: one `weighted` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights(BTreeMap<Name, BTreeMap<IpAddr, u8>>);

/// Why a text holds no weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct WeightsError {
    /// Line, from 1.
    pub line: usize,
    /// What was expected there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

// === impl LoadBalance ===

impl LoadBalance {
    /// The order of the records of a local RRset owned by `owner`.
    pub(crate) fn order_of(&self, owner: &Name, set: RrsetRef<'_>, rotation: usize) -> Vec<usize> {
        let addresses: Option<Vec<IpAddr>> = (0..set.len())
            .map(|index| address(set.rtype(), set.record(index)))
            .collect();
        match addresses {
            Some(addresses) => self.order(owner, &addresses, rotation),
            None => rotated(set.len(), rotation).collect(),
        }
    }

    /// Orders the addresses of a message.
    pub(crate) fn apply(&self, message: &mut Message, rotation: usize) {
        message.reorder_addresses(|owner, addresses| self.order(owner, addresses, rotation));
    }

    /// The order of the addresses of one RRset, as indices.
    fn order(&self, owner: &Name, addresses: &[IpAddr], rotation: usize) -> Vec<usize> {
        let mut order: Vec<usize> = rotated(addresses.len(), rotation).collect();
        if let Some(weights) = &self.weights {
            let weights = weights.load();
            if let Some(first) = weights.choose(owner, addresses, rand::rng().random()) {
                // One address moves to the front, the others keep theirs.
                order = (0..addresses.len())
                    .filter(|index| *index != first)
                    .collect();
                order.insert(0, first);
            }
        }
        if !self.prefer.is_empty() {
            order.sort_by_key(|index| {
                !addresses
                    .get(*index)
                    .is_some_and(|a| self.prefer.iter().any(|n| n.contains(a)))
            });
        }
        order
    }
}

// === impl Weights ===

impl Weights {
    /// Reads a file of weights: a name on a line of its own, then a line of
    /// address and weight (1 to 255) for each address that is not to weigh 1.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] for the first line that is neither.
    pub fn parse(text: &str) -> Result<Self, WeightsError> {
        let mut names: BTreeMap<Name, BTreeMap<IpAddr, u8>> = BTreeMap::new();
        let mut current: Option<Name> = None;
        for (index, line) in text.lines().enumerate() {
            let content = line.split('#').next().unwrap_or_default();
            let fields: Vec<&str> = content.split_whitespace().collect();
            let error = |expected| WeightsError {
                line: index + 1,
                expected,
                found: content.trim().to_owned(),
            };
            match fields.as_slice() {
                [] => {}
                [name] => {
                    let name: Name = name.parse().map_err(|_| error("a domain name"))?;
                    names.entry(name.clone()).or_default();
                    current = Some(name);
                }
                [address, weight] => {
                    let address = address.parse().map_err(|_| error("an IP address"))?;
                    let weight: u8 = weight.parse().map_err(|_| error("a weight of 1 to 255"))?;
                    if weight == 0 {
                        return Err(error("a weight of 1 to 255"));
                    }
                    let name = current
                        .as_ref()
                        .ok_or_else(|| error("a domain name first"))?;
                    names
                        .entry(name.clone())
                        .or_default()
                        .insert(address, weight);
                }
                _ => return Err(error("a name, or an address and its weight")),
            }
        }
        Ok(Self(names))
    }

    /// Which address of `owner` goes first, given a random number.
    fn choose(&self, owner: &Name, addresses: &[IpAddr], random: u32) -> Option<usize> {
        let weights = self.0.get(owner)?;
        let weight = |address| u32::from(weights.get(address).copied().unwrap_or(1));
        let total: u32 = addresses.iter().map(weight).sum();
        let mut rest = random.checked_rem(total)?;
        addresses.iter().position(|address| {
            let weight = weight(address);
            let found = rest < weight;
            rest = rest.saturating_sub(weight);
            found
        })
    }
}

/// The address that a record without its owner holds.
fn address(rtype: Rtype, record: &[u8]) -> Option<IpAddr> {
    match rtype {
        Rtype::A => record.last_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        Rtype::AAAA => record
            .last_chunk::<16>()
            .map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<IpAddr> {
        ["192.0.2.1", "192.0.2.2", "198.51.100.1"]
            .map(|a| a.parse().unwrap())
            .to_vec()
    }

    #[test]
    fn the_order_rotates_without_weights() {
        let owner = "a.example".parse().unwrap();
        let plain = LoadBalance::default();
        assert_eq!(plain.order(&owner, &addresses(), 0), [0, 1, 2]);
        assert_eq!(plain.order(&owner, &addresses(), 1), [1, 2, 0]);
    }

    #[test]
    fn preferred_ranges_come_first() {
        let owner = "a.example".parse().unwrap();
        let prefer = vec!["198.51.100.0/24".parse().unwrap()];
        let balance = LoadBalance {
            weights: None,
            prefer,
        };
        assert_eq!(balance.order(&owner, &addresses(), 0), [2, 0, 1]);
        assert_eq!(balance.order(&owner, &addresses(), 1), [2, 1, 0]);
    }

    #[test]
    fn weights_choose_in_proportion() {
        let text = "# shares\na.example\n192.0.2.1 3\n198.51.100.1 2 # third\n\n";
        let weights = Weights::parse(text).unwrap();
        let owner = "A.example.".parse().unwrap();
        let chosen: Vec<_> = (0..6)
            .map(|n| weights.choose(&owner, &addresses(), n).unwrap())
            .collect();
        assert_eq!(chosen, [0, 0, 0, 1, 2, 2]);
        assert_eq!(
            weights.choose(&"b.example".parse().unwrap(), &addresses(), 0),
            None
        );
    }

    #[test]
    fn a_malformed_weight_names_its_line() {
        for (text, line) in [
            ("192.0.2.1 3", 1),
            ("a.example\n192.0.2.1 0", 2),
            ("a.example\nx 1", 2),
            ("a b c", 1),
        ] {
            assert_eq!(Weights::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
