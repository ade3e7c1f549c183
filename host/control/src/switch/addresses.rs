//! The ports at which addresses were seen. See: IEEE 802.1Q clause 8.7 "The Learning Process", 8.8 "The Filtering
//! Database".

use alloc::collections::BTreeMap;

/// Largest number of addresses in the table of one port, so that no port can fill it for others.
const PER_PORT: usize = 64;
/// The same of a port with a network behind it.
const PER_NETWORK: usize = 1_024;

/// Source addresses of frames, other than those of the devices themselves.
pub(super) struct Addresses {
    seen: BTreeMap<[u8; 6], Seen>,
    /// Time without a frame after which an address is forgotten.
    ageing: u64,
}

#[derive(Clone, Copy)]
struct Seen {
    port: usize,
    at: u64,
}

impl Addresses {
    pub const fn new(ageing: u64) -> Self {
        Self { seen: BTreeMap::new(), ageing }
    }

    /// Returns the port at which `address` was seen last, if that is not too long ago.
    pub fn find(&self, address: [u8; 6], now: u64) -> Option<usize> {
        self.seen.get(&address).filter(|seen| self.is_fresh(seen, now)).map(|seen| seen.port)
    }

    /// Notes that a frame came from `address` at `port`, with a network behind it or not. Returns `false` if there is
    /// no room for that.
    pub fn learn(&mut self, address: [u8; 6], (port, is_network): (usize, bool), now: u64) -> bool {
        let known = self.seen.get(&address).is_some_and(|seen| seen.port == port);
        if !known && !self.has_room(port, if is_network { PER_NETWORK } else { PER_PORT }, now) {
            return false;
        }
        self.seen.insert(address, Seen { port, at: now });
        true
    }

    /// Returns whether there is room for another address of `port`. Old addresses of the port are forgotten for that.
    fn has_room(&mut self, port: usize, most: usize, now: u64) -> bool {
        if self.count(port) < most {
            return true;
        }
        let ageing = self.ageing;
        self.seen.retain(|_, seen| seen.port != port || now.saturating_sub(seen.at) < ageing);
        self.count(port) < most
    }

    /// Gives each port the number that `moved` says, and forgets the addresses of the others.
    pub fn change(&mut self, moved: impl Fn(usize) -> Option<usize>, ageing: u64) {
        self.ageing = ageing;
        self.seen.retain(|_, seen| moved(seen.port).map(|port| seen.port = port).is_some());
    }

    fn count(&self, port: usize) -> usize {
        self.seen.values().filter(|seen| seen.port == port).count()
    }

    const fn is_fresh(&self, seen: &Seen, now: u64) -> bool {
        now.saturating_sub(seen.at) < self.ageing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> [u8; 6] {
        [2, 0, 0, 0, (number >> 8) as u8, number as u8]
    }

    #[test]
    fn an_address_is_where_it_was_seen_last_and_not_for_ever() {
        let mut addresses = Addresses::new(100);
        assert_eq!(addresses.find(address(1), 0), None);
        assert!(addresses.learn(address(1), (0, false), 0));
        assert_eq!([0, 99, 100].map(|now| addresses.find(address(1), now)), [Some(0), Some(0), None]);
        assert!(addresses.learn(address(1), (3, false), 90));
        assert_eq!([99, 189, 190].map(|now| addresses.find(address(1), now)), [Some(3), Some(3), None]);
    }

    #[test]
    fn no_port_takes_the_room_of_another() {
        let mut addresses = Addresses::new(100);
        let learned = (0..1000).filter(|&number| addresses.learn(address(number), (0, false), 0)).count();
        assert_eq!((learned, addresses.seen.len()), (PER_PORT, PER_PORT));
        assert!(addresses.learn(address(0), (0, false), 50), "known, and seen again");
        assert!(addresses.learn(address(2000), (1, false), 50));
        assert_eq!(addresses.find(address(2000), 50), Some(1));
        assert!(!addresses.learn(address(2001), (0, false), 99));
        // Address 0 was seen at 50, and the others are too old.
        assert!(addresses.learn(address(2001), (0, false), 100));
        assert_eq!(addresses.seen.len(), 3);
    }

    #[test]
    fn a_network_has_room_for_more_stations_than_a_vm() {
        let mut addresses = Addresses::new(100);
        let learned = (0..3000).filter(|&number| addresses.learn(address(number), (0, true), 0)).count();
        assert_eq!((learned, PER_PORT < PER_NETWORK), (PER_NETWORK, true));
        assert!(addresses.learn(address(3000), (1, false), 0));
    }
}
