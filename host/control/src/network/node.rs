//! One VM in the network: its device, its memory, and the queue of each of its senders.

use crate::{Addresses, Device, Runs, regions};
use alloc::vec::Vec;
use sluice_abi::directory::{MAX_REGIONS, NAME_LEN, Peer, Queue, Region};
use sluice_abi::net::{self, F};

#[derive(Clone, Debug)]
pub struct Node {
    pub name: [u8; NAME_LEN],
    pub memory: Memory,
    pub gate: u32,
    pub peers: Vec<usize>,
    /// The VMs that may send to this one by a window.
    pub senders: Vec<usize>,
    /// Whether the driver may give the device another address.
    pub sets_mac: bool,
    /// Source addresses that the VM may use beside its device's own.
    pub macs: Addresses,
    pub device: Device,
    /// Number of queue pairs that the driver can have in use: of a front-end, those that it has set up.
    pub pairs: u16,
    /// Where the queue stands that is shown to each of the senders, in order, if the host shows peers one by one.
    pub shown: Option<Vec<Option<u32>>>,
    /// The queue pair that is the slow path of its in-VM switch, if it has one.
    pub slow_pair: Option<u16>,
    /// Whether the windows on its peers are closed.
    pub closed: bool,
    /// Whether the VM ended for good.
    pub gone: bool,
    /// Number of times that the VM may still start again.
    pub restarts: u32,
}

/// What windows may show of a VM's memory.
#[derive(Clone, Debug)]
pub enum Memory {
    /// RAM of this length in bytes from address 0 on, of which the driver registers runs.
    Registered(u64, Runs),
    /// All that a front-end shares. Slot offsets are from the start of the peer.
    Shared(Vec<Region>),
}

impl Node {
    /// Returns the receive queue that VM `sender` fills by a window, if the driver has it in use.
    pub fn queue_of(&self, sender: usize) -> Option<Queue> {
        let has_pairs = self.device.features().contains(F::MQ);
        let pair = match self.senders.iter().position(|&id| id == sender)? {
            index if has_pairs && 1 + index < self.pairs.into() => 1 + index as u16,
            _ if self.senders.len() == 1 && !self.keeps_first_pair() => 0,
            _ if matches!(self.memory, Memory::Shared(_)) => 0,
            _ => return None,
        };
        self.device.queue(net::receiveq(pair))
    }

    /// Returns whether pair 0 belongs to the switch, whoever else sends.
    pub fn keeps_first_pair(&self) -> bool {
        self.device.features().contains(F::MQ) || matches!(self.memory, Memory::Shared(_))
    }

    /// Returns where the queue of VM `sender` stands, if that VM is shown this one.
    pub fn base_for(&self, sender: usize) -> Option<u32> {
        match &self.shown {
            None => Some(0),
            Some(shown) => *shown.get(self.senders.iter().position(|&id| id == sender)?)?,
        }
    }
}

impl Memory {
    /// Lists in `peer` the regions that a window on the queues there has, from slot offset `base` on.
    pub fn list(&self, peer: &mut Peer, base: u64) {
        match self {
            Self::Registered(ram_len, runs) => regions::list(peer, runs, *ram_len, base),
            Self::Shared(shared) => {
                peer.region_count = shared.len().min(MAX_REGIONS) as u32;
                for (listed, region) in peer.regions.iter_mut().zip(shared) {
                    *listed = Region { slot_offset: base + region.slot_offset, ..*region };
                }
            }
        }
    }
}
