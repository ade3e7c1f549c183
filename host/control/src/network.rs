//! The devices of all VMs, and the directories that follow from them.
//!
//! If a driver negotiated several queue pairs, pair 0 belongs to the host's switch, and pair *k* to the *k*th VM that
//! may send to it by a window. Otherwise pair 0 belongs to the sender if there is exactly one, and else to the switch.

use crate::device::is_multicast;
use crate::{Addresses, Device, Directory, Event, Mac, Manifest, RunError, Runs, regions};
use alloc::vec::Vec;
use sluice_abi::directory::{GateKind, Header, HostF, NAME_LEN, Peer, PeerState, Queue};
use sluice_abi::mmio::reg;
use sluice_abi::net::{self, F, ctrl};
use sluice_abi::run::Run;
use sluice_abi::{PeerIdx, map};

/// The devices of all VMs, and who may send to whom.
#[derive(Clone, Debug)]
pub struct Network {
    vms: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    name: [u8; NAME_LEN],
    ram_len: u64,
    gate: u32,
    peers: Vec<usize>,
    /// The VMs that may send to this one by a window.
    senders: Vec<usize>,
    /// Whether the driver may give the device another address.
    sets_mac: bool,
    /// Source addresses that the VM may use beside its device's own.
    macs: Addresses,
    device: Device,
    runs: Runs,
    /// The queue pair that is the slow path of its in-VM switch, if it has one.
    slow_pair: Option<u16>,
    /// Whether the windows on its peers are closed.
    closed: bool,
    /// Whether the VM ended for good.
    gone: bool,
    /// Number of times that the VM may still start again.
    restarts: u32,
}

/// A VM whose front-end sets its device up by messages.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// The address of its device; [`Mac::NONE`] if that is a port to a network, and has none of its own.
    pub mac: Mac,
    /// Largest payload of a frame to the VM in bytes.
    pub mtu: u16,
    /// Number of queue pairs: 1 to [`crate::MAX_PAIRS`].
    pub pairs: u16,
    /// Source addresses that the VM may use beside its device's.
    pub macs: Addresses,
}

impl Network {
    /// Returns the network of all VMs of `manifest`, before any driver started.
    pub fn new(manifest: &Manifest) -> Self {
        let node = |id: usize| {
            let vm = &manifest.vms[id];
            let mut name = [0; NAME_LEN];
            name.iter_mut().zip(vm.name.bytes()).for_each(|(to, from)| *to = from);
            let senders: Vec<_> = manifest.senders_to(id).collect();
            Node {
                name,
                ram_len: u64::from(vm.ram_mib) << 20,
                gate: vm.gate as u32,
                peers: manifest.peers_of(id).collect(),
                device: Device::new(mac(id), vm.mtu, 1 + senders.len() as u16 + u16::from(vm.flows.is_some())),
                slow_pair: vm.flows.is_some().then_some(1 + senders.len() as u16),
                closed: false,
                senders,
                sets_mac: vm.set_mac,
                macs: vm.macs.clone(),
                runs: Runs::default(),
                gone: false,
                restarts: vm.restarts,
            }
        };
        Self { vms: (0..manifest.vms.len()).map(node).collect() }
    }

    /// Returns the network of `vms`, each with a device that a front-end sets up by [`Network::set_up`]. None has a
    /// window on another.
    pub fn of_front_ends(vms: impl IntoIterator<Item = FrontEnd>) -> Self {
        let node = |vm: FrontEnd| Node {
            name: [0; NAME_LEN],
            ram_len: 0,
            gate: GateKind::Direct as u32,
            peers: Vec::new(),
            device: Device::new(vm.mac.0, vm.mtu, vm.pairs),
            slow_pair: None,
            closed: false,
            senders: Vec::new(),
            sets_mac: false,
            macs: vm.macs,
            runs: Runs::default(),
            gone: false,
            restarts: 0,
        };
        Self { vms: vms.into_iter().map(node).collect() }
    }

    /// Sets VM `vm`'s device up as its front-end says. See: [`Device::set_up`]. The event concerns all
    /// [`Network::senders_to`] the VM.
    pub fn set_up(&mut self, vm: u32, features: F, queues: &[Queue]) -> Option<Event> {
        self.vms.get_mut(vm as usize)?.device.set_up(features, queues)
    }

    /// Returns register `offset` of VM `vm`'s device; 0 if there is no such VM.
    pub fn read(&self, vm: u32, offset: u32) -> u32 {
        self.vms.get(vm as usize).map_or(0, |node| node.device.read(offset))
    }

    /// Writes register `offset` of VM `vm`'s device. The event concerns all [`Network::senders_to`] the VM.
    pub fn write(&mut self, vm: u32, offset: u32, value: u32) -> Option<Event> {
        self.vms.get_mut(vm as usize)?.device.write(offset, value)
    }

    /// Raises the interrupt of VM `vm`'s device for a used buffer. See: [`Device::tell`].
    pub fn tell(&mut self, vm: u32) {
        if let Some(node) = self.vms.get_mut(vm as usize) {
            node.device.tell();
        }
    }

    /// Returns whether the interrupt line of VM `vm`'s device is asserted.
    pub fn interrupts(&self, vm: u32) -> bool {
        self.vms.get(vm as usize).is_some_and(|node| node.device.interrupts())
    }

    /// Adds `run` to the packet memory of VM `vm`. After that the directories of all [`Network::senders_to`] it may
    /// have changed.
    pub fn add_run(&mut self, vm: u32, run: Run) -> Result<(), RunError> {
        self.vms.get_mut(vm as usize).map_or(Ok(()), |node| node.runs.add(run, node.ram_len))
    }

    /// Removes the run of `len` bytes at `offset` from the packet memory of VM `vm`. After that the directories of all
    /// [`Network::senders_to`] it may have changed.
    pub fn remove_run(&mut self, vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
        self.vms.get_mut(vm as usize).map_or(Ok(()), |node| node.runs.remove(offset, len).map(|_| ()))
    }

    /// Returns the packet memory of VM `vm` as ranges without a gap: offset and length of each.
    pub fn extents(&self, vm: u32) -> Vec<(u64, u64)> {
        self.vms.get(vm as usize).map_or_else(Vec::new, |node| node.runs.extents())
    }

    /// Carries out a command from the control queue of VM `vm`. Returns the acknowledgement, and an event that concerns
    /// all [`Network::senders_to`] the VM.
    pub fn command(&mut self, vm: u32, bytes: &[u8]) -> (u8, Option<Event>) {
        let others: Vec<_> = self.others(vm).collect();
        match self.vms.get_mut(vm as usize) {
            Some(node) => node.device.command(bytes, |mac| node.sets_mac && !others.contains(&mac)),
            None => (ctrl::ERR, None),
        }
    }

    /// Returns the addresses that VMs other than VM `vm` have, or may have.
    fn others(&self, vm: u32) -> impl Iterator<Item = [u8; 6]> {
        self.vms.iter().enumerate().filter(move |(id, _)| *id != vm as usize).flat_map(|(_, node)| {
            let listed = match &node.macs {
                Addresses::Any => &[][..],
                Addresses::These(macs) => macs,
            };
            listed.iter().map(|mac| mac.0).chain([node.device.own_mac(), node.device.mac()])
        })
    }

    /// Returns whether VM `vm` may transmit from the address `mac`: its device's, or one that the manifest gives it.
    pub fn may_send_from(&self, vm: u32, mac: [u8; 6]) -> bool {
        let Some(node) = self.vms.get(vm as usize) else { return false };
        let listed = match &node.macs {
            Addresses::Any => !is_multicast(mac) && mac != [0; 6] && self.others(vm).all(|other| other != mac),
            Addresses::These(macs) => macs.contains(&Mac(mac)),
        };
        listed || mac == node.device.mac() && mac != Mac::NONE.0
    }

    /// Returns the device of VM `vm`.
    pub fn device(&self, vm: u32) -> Option<&Device> {
        self.vms.get(vm as usize).map(|node| &node.device)
    }

    /// Returns the VM whose device has the address `mac`.
    pub fn owner_of(&self, mac: [u8; 6]) -> Option<u32> {
        let owner = (0..).zip(&self.vms).find(|(_, node)| node.device.mac() == mac);
        owner.filter(|_| mac != Mac::NONE.0).map(|(id, _)| id)
    }

    /// Returns the receive queue of VM `vm` that the host's switch fills, if there is one.
    pub fn switched_queue(&self, vm: u32) -> Option<Queue> {
        let node = self.vms.get(vm as usize)?;
        let switched = node.device.features().contains(F::MQ) || node.senders.len() != 1;
        switched.then(|| node.device.queue(net::receiveq(0)))?
    }

    /// Returns the queue pair that is the slow path of VM `vm`'s in-VM switch, if it has one.
    pub fn slow_pair(&self, vm: u32) -> Option<u16> {
        self.vms.get(vm as usize)?.slow_pair
    }

    /// Closes the windows of VM `vm`, or opens them again: its directory shows no peer that is ready while they are
    /// closed. Returns whether that is a change.
    pub fn close(&mut self, vm: u32, closed: bool) -> bool {
        let node = self.vms.get_mut(vm as usize);
        node.is_some_and(|node| core::mem::replace(&mut node.closed, closed) != closed)
    }

    /// Resets the device of VM `vm`, which ended, and forgets its runs. Its senders see it as absent if the manifest
    /// lets it start again, and else as revoked.
    pub fn remove(&mut self, vm: u32) {
        self.change(vm, |node| node.gone = node.restarts == 0);
    }

    /// Starts the device of VM `vm`, which ended, again.
    pub fn restart(&mut self, vm: u32) {
        self.change(vm, |node| (node.gone, node.restarts) = (false, node.restarts.saturating_sub(1)));
    }

    fn change(&mut self, vm: u32, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.vms.get_mut(vm as usize) {
            node.device.write(reg::STATUS, 0);
            node.runs.clear();
            change(node);
        }
    }

    /// Returns the VMs that may send to VM `vm` by a window.
    pub fn senders_to(&self, vm: u32) -> impl Iterator<Item = u32> {
        self.vms.get(vm as usize).into_iter().flat_map(|node| &node.senders).map(|&id| id as u32)
    }

    /// Returns VM `vm`'s directory as it is now, for [`crate::publish()`].
    pub fn directory(&self, vm: u32) -> Directory {
        let Some(node) = self.vms.get(vm as usize) else { return Directory::default() };
        let features = if node.slow_pair.is_some() { HostF::FLOWS } else { HostF::empty() }.bits();
        let header = Header { vm_id: vm, gate: node.gate, features, ..Header::default() };
        let peers = PeerIdx::all().zip(&node.peers).map(|(index, &id)| self.peer(index, vm as usize, id)).collect();
        Directory { header, peers }
    }

    /// Returns entry `index` in the directory of VM `sender`, which describes VM `id`.
    fn peer(&self, index: PeerIdx, sender: usize, id: usize) -> Peer {
        let node = &self.vms[id];
        let mut peer = Peer {
            vm_id: id as u32,
            name: node.name,
            mac: node.device.mac(),
            mtu: node.device.mtu(),
            ..Peer::default()
        };
        let state = match node.queue_of(sender) {
            _ if node.gone => PeerState::Revoked,
            _ if self.vms[sender].closed => PeerState::Absent,
            None => PeerState::Absent,
            Some(queue) => {
                (peer.queues[0], peer.queue_count) = (queue, 1);
                regions::list(&mut peer, &node.runs, node.ram_len, map::peer_base(index));
                PeerState::Ready
            }
        };
        peer.state = state as u32;
        peer
    }
}

impl Node {
    /// Returns the receive queue that VM `sender` fills by a window, if the driver has it in use.
    fn queue_of(&self, sender: usize) -> Option<Queue> {
        let pair = match self.senders.iter().position(|&id| id == sender)? {
            index if self.device.features().contains(F::MQ) => 1 + index as u16,
            _ if self.senders.len() == 1 => 0,
            _ => return None,
        };
        self.device.queue(net::receiveq(pair))
    }
}

/// Returns the MAC address of VM `id`: locally administered, with the id as its last byte. See: IEEE 802 clause 8.
pub(crate) const fn mac(id: usize) -> [u8; 6] {
    [0x02, b'S', b'l', b'u', b'i', id as u8]
}

#[cfg(test)]
mod tests;
