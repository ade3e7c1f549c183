//! The frames that a driver wants to receive. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering", 5.1.6.5.2 "Setting MAC
//! Address Filtering".

use alloc::vec::Vec;

/// Largest number of addresses that are kept of one table. A driver that sets more gets all frames of that kind.
const MAX_ADDRESSES: usize = 64;
/// The broadcast address. See: IEEE 802 clause 8.
const BROADCAST: [u8; 6] = [0xff; 6];

/// Returns whether `address` is a group address. See: IEEE 802 clause 8.
pub const fn is_multicast(address: [u8; 6]) -> bool {
    address[0] & 1 == 1
}

/// The filters that the driver set. Frames to the device's own address and broadcasts always pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Whether all frames pass.
    pub promiscuous: bool,
    /// Whether all frames to group addresses pass.
    pub all_multicast: bool,
    unicast: Table,
    multicast: Table,
}

impl Filter {
    /// Returns whether a frame to `destination` passes.
    pub fn takes(&self, destination: [u8; 6]) -> bool {
        let (all, table) = match is_multicast(destination) {
            true => (self.all_multicast || destination == BROADCAST, &self.multicast),
            false => (false, &self.unicast),
        };
        self.promiscuous || all || table.has(destination)
    }

    /// Sets the tables of unicast and multicast addresses from `data`. Returns `None` and changes nothing if `data` is
    /// not exactly two tables.
    pub fn set_tables(&mut self, data: &[u8]) -> Option<()> {
        let (unicast, data) = Table::parse(data)?;
        let (multicast, rest) = Table::parse(data)?;
        (self.unicast, self.multicast) = rest.is_empty().then_some((unicast, multicast))?;
        Some(())
    }
}

/// A table of addresses.
#[derive(Clone, Debug, Default)]
struct Table {
    addresses: Vec<[u8; 6]>,
    /// Whether there were more addresses than are kept.
    is_full: bool,
}

impl Table {
    /// Returns the table at the start of `data`, and the bytes behind it.
    fn parse(data: &[u8]) -> Option<(Self, &[u8])> {
        let (count, data) = data.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(6)?;
        let (table, rest) = data.split_at_checked(len)?;
        let addresses = table.as_chunks().0;
        let is_full = addresses.len() > MAX_ADDRESSES;
        Some((Self { addresses: addresses.iter().take(MAX_ADDRESSES).copied().collect(), is_full }, rest))
    }

    fn has(&self, address: [u8; 6]) -> bool {
        self.is_full || self.addresses.contains(&address)
    }
}
