//! Another order of the addresses of a message.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Message, Section};
use crate::{Name, Rtype};

/// What the addresses of one set share.
type AddressSetKey = (Section, Name, Rtype);

/// Addresses that belong to one owner and type.
#[derive(Default)]
struct AddressSet {
    /// Where the data of each begins.
    at: Vec<usize>,
    /// The addresses.
    addresses: Vec<IpAddr>,
}

impl Message {
    /// Puts the addresses of each owner and type in the order that `order`
    /// gives as indices. Only the data changes place, so that the compression
    /// of the message stays valid. An answer of `order` that is no
    /// permutation leaves the set alone.
    pub fn reorder_addresses(&mut self, mut order: impl FnMut(&Name, &[IpAddr]) -> Vec<usize>) {
        for ((_, owner, _), set) in self.address_sets() {
            if set.addresses.len() < 2 {
                continue;
            }
            let indices = order(&owner, &set.addresses);
            let mut sorted = indices.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..set.addresses.len()) {
                continue;
            }
            for (at, index) in set.at.iter().zip(indices) {
                match set.addresses.get(index) {
                    Some(IpAddr::V4(v4)) => self.put(*at, &v4.octets()),
                    Some(IpAddr::V6(v6)) => self.put(*at, &v6.octets()),
                    None => {}
                }
            }
        }
    }

    /// The address sets of all sections.
    fn address_sets(&self) -> BTreeMap<AddressSetKey, AddressSet> {
        let mut sets: BTreeMap<AddressSetKey, AddressSet> = BTreeMap::new();
        for record in self.records() {
            let address = match record.rtype {
                Rtype::A => <[u8; 4]>::try_from(record.rdata()).map(IpAddr::from),
                Rtype::AAAA => <[u8; 16]>::try_from(record.rdata()).map(IpAddr::from),
                _ => continue,
            };
            let (Ok(address), Some(owner)) = (address, record.owner()) else {
                continue;
            };
            let set = sets
                .entry((record.section, owner, record.rtype))
                .or_default();
            set.at.push(record.rdata_at);
            set.addresses.push(address);
        }
        sets
    }

    /// Overwrites octets in place.
    fn put(&mut self, at: usize, octets: &[u8]) {
        if let Some(target) = self.wire.get_mut(at..at + octets.len()) {
            target.copy_from_slice(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_change_place_and_nothing_else() {
        let mut wire = b"\0\x01\x80\0\0\x01\0\x02\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
        for last in [1, 2] {
            wire.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
            wire.push(last);
        }
        let mut message = Message::parse(wire).unwrap();
        let last = |message: &Message| -> Vec<u8> {
            message
                .records()
                .map(|record| *record.rdata().last().unwrap())
                .collect()
        };
        message.reorder_addresses(|_, _| vec![1, 0]);
        assert_eq!(last(&message), [2, 1]);
        message.reorder_addresses(|_, _| vec![0, 0]);
        assert_eq!(last(&message), [2, 1]);
    }
}
