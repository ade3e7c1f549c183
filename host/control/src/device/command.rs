//! The commands of the control queue. See: VIRTIO 5.1.6.5 "Control Virtqueue".
//!
//! A command is refused unless it has exactly the bytes that its class and number require, and its feature was
//! negotiated. A refused command changes nothing.
//!
//! # Why the number of queue pairs does not become smaller
//! A sender that uses a pair would have to be out of its window before the driver reads the answer, and a queue that is
//! used again would continue at the position of its last sender, which only that sender knows. A driver that wants
//! fewer pairs resets the device.

use super::filter::is_multicast;
use super::{Device, Event};
use sluice_abi::mmio::Interrupt;
use sluice_abi::net::{self, F, LinkStatus, ctrl};

/// Length in bytes of the longest command that is read: two full tables of addresses are shorter.
pub const COMMAND_LEN: usize = 1024;

impl Device {
    /// Carries out the command `bytes`. Returns the acknowledgement, and a change that others must know. `may_have`
    /// says whether the device may get the address that the driver asks for.
    pub fn command(&mut self, bytes: &[u8], may_have: impl FnOnce([u8; 6]) -> bool) -> (u8, Option<Event>) {
        let (before, mac) = (self.in_use(), self.mac());
        let command = bytes.split_first_chunk();
        if command.and_then(|(code, data)| self.carry_out(*code, data, may_have)).is_none() {
            return (ctrl::ERR, None);
        }
        let moved = (self.mac() != mac).then_some(Event::QueuesReady);
        (ctrl::OK, self.news(before).or(moved))
    }

    fn carry_out(&mut self, code: [u8; 2], data: &[u8], may_have: impl FnOnce([u8; 6]) -> bool) -> Option<()> {
        let needs = match code {
            ctrl::RX_PROMISC | ctrl::RX_ALLMULTI | ctrl::MAC_TABLE_SET => F::CTRL_RX,
            ctrl::MAC_ADDR_SET => F::CTRL_MAC_ADDR,
            ctrl::ANNOUNCE_ACK => F::GUEST_ANNOUNCE,
            ctrl::MQ_VQ_PAIRS_SET => F::MQ,
            _ => return None,
        };
        if !self.features().contains(needs) {
            return None;
        }
        match code {
            ctrl::RX_PROMISC => self.filter.promiscuous = flag(data)?,
            ctrl::RX_ALLMULTI => self.filter.all_multicast = flag(data)?,
            ctrl::MAC_TABLE_SET => self.filter.set_tables(data)?,
            ctrl::MAC_ADDR_SET => self.set_mac(data.try_into().ok()?, may_have)?,
            ctrl::ANNOUNCE_ACK => self.announced(data)?,
            _ => self.set_pairs(u16::from_le_bytes(data.try_into().ok()?))?,
        }
        Some(())
    }

    fn set_mac(&mut self, mac: [u8; 6], may_have: impl FnOnce([u8; 6]) -> bool) -> Option<()> {
        let may = mac == self.mac() || mac == self.own || may_have(mac);
        if is_multicast(mac) || mac == [0; 6] || !may {
            return None;
        }
        if mac != self.mac() {
            self.config.mac = mac;
            self.changed();
        }
        Some(())
    }

    /// Sets the number of queue pairs in use. Both queues of each pair must be ready. See: VIRTIO 5.1.6.5.6.1 "Driver
    /// Requirements: Automatic receive steering in multiqueue mode".
    fn set_pairs(&mut self, pairs: u16) -> Option<()> {
        let possible = (self.pairs..=self.config.max_virtqueue_pairs).contains(&pairs);
        let queues = self.queues.get(..usize::from(net::controlq(possible.then_some(pairs)?)))?;
        self.pairs = queues.iter().all(|queue| queue.ready).then_some(pairs)?;
        Some(())
    }

    /// Asks a driver that negotiated announcements for one at each start, so that the host's switch learns where it is.
    /// See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
    pub(super) fn ask_for_announcement(&mut self) {
        if self.features().contains(F::GUEST_ANNOUNCE | F::STATUS) {
            self.config.status |= LinkStatus::ANNOUNCE.bits();
            self.changed();
        }
    }

    fn announced(&mut self, data: &[u8]) -> Option<()> {
        if !data.is_empty() {
            return None;
        }
        if self.config.status & LinkStatus::ANNOUNCE.bits() != 0 {
            self.config.status &= !LinkStatus::ANNOUNCE.bits();
            self.changed();
        }
        Some(())
    }

    /// Notes that the configuration changed, and raises the interrupt for that.
    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.interrupt |= Interrupt::CONFIGURATION;
    }

    /// Returns whether the driver wants a frame to `destination`. A driver that did not negotiate filters wants all.
    pub fn takes(&self, destination: [u8; 6]) -> bool {
        !self.features().contains(F::CTRL_RX) || destination == self.mac() || self.filter.takes(destination)
    }
}

/// Returns the one byte of a command that turns something on or off.
fn flag(data: &[u8]) -> Option<bool> {
    match data {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}
