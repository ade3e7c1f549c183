//! The devices of all VMs, and the directories that follow from them.
//!
//! If a driver negotiated several queue pairs, pair 0 belongs to the host's switch, and pair *k* to the *k*th VM that
//! may send to it by a window. Otherwise pair 0 belongs to the sender if there is exactly one, and else to the switch.
//! Pair 0 of a front-end always belongs to the switch, and senders for whom it has no pair share that.

mod node;

use crate::device::is_multicast;
use crate::{Addresses, Device, Directory, Event, Mac, Manifest, RunError, Runs};
use alloc::string::String;
use alloc::vec::Vec;
use node::{Memory, Node};
use sluice_abi::directory::{GateKind, Header, HostF, NAME_LEN, Peer, PeerState, Queue, Region};
use sluice_abi::mmio::reg;
use sluice_abi::net::{self, F, ctrl};
use sluice_abi::run::Run;
use sluice_abi::{PeerIdx, map, queue_lock};

/// The devices of all VMs, and who may send to whom.
#[derive(Clone, Debug)]
pub struct Network {
    vms: Vec<Node>,
}

/// A VM of a host that shows peers one by one, by [`Network::show`].
#[derive(Clone, Debug)]
pub struct Member {
    /// The name: at most [`NAME_LEN`] bytes.
    pub name: String,
    /// The address of its device; [`Mac::NONE`] if that is a port to a network, and has none of its own.
    pub mac: Mac,
    /// Largest payload of a frame to the VM in bytes.
    pub mtu: u16,
    /// Number of queue pairs: 1 to [`crate::MAX_PAIRS`].
    pub pairs: u16,
    /// Source addresses that the VM may use beside its device's.
    pub macs: Addresses,
    /// Length of its RAM in bytes; `None` if a front-end sets its device up, and says what memory it has.
    pub ram_len: Option<u64>,
    /// The members to which it may send by a window, by index.
    pub peers: Vec<usize>,
    /// Whether it has an in-VM switch, whose slow path is the queue pair behind those of all senders.
    pub has_flows: bool,
    /// The member with the in-VM switch that all its frames go to, by index: it is a sender to that one, to which the
    /// host's switch carries its frames.
    pub uplink: Option<usize>,
}

impl Member {
    /// Returns a member with one queue pair, whose front-end says what memory it has, and which sends by no window.
    /// `mtu` is in bytes.
    pub fn front_end(name: String, mac: Mac, mtu: u16, macs: Addresses) -> Self {
        let (peers, has_flows, uplink) = (Vec::new(), false, None);
        Self { name, mac, mtu, pairs: 1, macs, ram_len: None, peers, has_flows, uplink }
    }
}

impl Network {
    /// Returns the network of all VMs of `manifest`, before any driver started.
    pub fn new(manifest: &Manifest) -> Self {
        let node = |id: usize| {
            let vm = &manifest.vms[id];
            let senders: Vec<_> = manifest.senders_to(id).collect();
            Node {
                name: padded(&vm.name),
                memory: Memory::Registered(u64::from(vm.ram_mib) << 20, Runs::default()),
                gate: vm.gate as u32,
                peers: manifest.peers_of(id).collect(),
                device: Device::new(mac(id), vm.mtu, 1 + senders.len() as u16 + u16::from(vm.flows.is_some())),
                slow_pair: vm.flows.is_some().then_some(1 + senders.len() as u16),
                pairs: u16::MAX,
                closed: false,
                senders,
                sets_mac: vm.set_mac,
                macs: vm.macs.clone(),
                shown: None,
                gone: false,
                restarts: vm.restarts,
            }
        };
        Self { vms: (0..manifest.vms.len()).map(node).collect() }
    }

    /// Returns the network of `members`, before any driver started. No window is shown before [`Network::show`] says
    /// so.
    pub fn of_members(members: &[Member]) -> Self {
        let node = |(id, member): (usize, &Member)| {
            let sends = |sender: &Member| sender.peers.contains(&id) || sender.uplink == Some(id);
            let senders: Vec<_> = (0..members.len()).filter(|&sender| sends(&members[sender])).collect();
            Node {
                name: padded(&member.name),
                memory: member
                    .ram_len
                    .map_or(Memory::Shared(Vec::new()), |len| Memory::Registered(len, Runs::default())),
                gate: GateKind::Direct as u32,
                peers: member.peers.clone(),
                device: Device::new(member.mac.0, member.mtu, member.pairs),
                pairs: if member.ram_len.is_some() { u16::MAX } else { 0 },
                slow_pair: member.has_flows.then_some(1 + senders.len() as u16),
                closed: false,
                shown: Some(alloc::vec![None; senders.len()]),
                senders,
                sets_mac: false,
                macs: member.macs.clone(),
                gone: false,
                restarts: u32::MAX,
            }
        };
        Self { vms: members.iter().enumerate().map(node).collect() }
    }

    /// Takes over the devices and the memory of members that stay: `before` has the id of each member in `old`, if it
    /// was there with the same address, MTU and queue pairs.
    pub fn take_over(&mut self, old: &mut Self, before: &[Option<usize>]) {
        for (node, before) in self.vms.iter_mut().zip(before) {
            if let Some(old) = before.and_then(|before| old.vms.get_mut(before)) {
                core::mem::swap(&mut node.device, &mut old.device);
                core::mem::swap(&mut node.memory, &mut old.memory);
                node.pairs = old.pairs;
            }
        }
    }

    /// Takes over that `regions` are all the memory of VM `vm`, whose front-end shares it. Their slot offsets are from
    /// the start of the peer; the longest is the first.
    pub fn share(&mut self, vm: u32, regions: Vec<Region>) {
        if let Some(Node { memory: Memory::Shared(shared), .. }) = self.vms.get_mut(vm as usize) {
            *shared = regions;
        }
    }

    /// Shows VM `vm` to VM `sender`, as far as its driver has the queue of that sender in use, which goes on at `base`
    /// (see: [`Queue::base`]); with `None`, shows it as absent. Without a call all is hidden.
    pub fn show(&mut self, vm: u32, sender: u32, base: Option<u32>) {
        let Some(node) = self.vms.get_mut(vm as usize) else { return };
        let at = node.senders.iter().position(|&id| id == sender as usize);
        if let Some(shown) = node.shown.as_mut().zip(at).and_then(|(shown, at)| shown.get_mut(at)) {
            *shown = base;
        }
    }

    /// Returns the receive queue of VM `vm` that the window of VM `sender` fills, or that the host's switch fills with
    /// what that one transmits ([`Member::uplink`]), if the driver has it in use, whether it is shown or not.
    pub fn window_queue(&self, vm: u32, sender: u32) -> Option<Queue> {
        self.vms.get(vm as usize)?.queue_of(sender as usize)
    }

    /// Returns the number by which VM `sender` takes the lock of that queue; 0 if it needs none. All producers take it
    /// if the queue is also [`Network::switched_queue`], and if it is packed and somebody follows who shows it: its
    /// ring does not say how far they came. See: [`sluice_abi::queue_lock`].
    pub fn lock_owner(&self, vm: u32, sender: u32) -> u16 {
        let Some(queue) = self.window_queue(vm, sender) else { return 0 };
        let is_followed = self.vms.get(vm as usize).is_some_and(|node| node.shown.is_some());
        let is_packed = queue.features & F::RING_PACKED.bits() != 0;
        let has_lock = self.switched_queue(vm) == Some(queue) || is_packed && is_followed;
        if has_lock { queue_lock::number_of(sender as usize) } else { 0 }
    }

    /// Takes over that the front-end of VM `vm` has `pairs` queue pairs, in use or not.
    pub fn set_pairs(&mut self, vm: u32, pairs: u16) {
        if let Some(node) = self.vms.get_mut(vm as usize) {
            node.pairs = pairs;
        }
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
        match self.vms.get_mut(vm as usize).map(|node| &mut node.memory) {
            Some(Memory::Registered(ram_len, runs)) => runs.add(run, *ram_len),
            _ => Ok(()),
        }
    }

    /// Removes the run of `len` bytes at `offset` from the packet memory of VM `vm`. After that the directories of all
    /// [`Network::senders_to`] it may have changed.
    pub fn remove_run(&mut self, vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
        match self.vms.get_mut(vm as usize).map(|node| &mut node.memory) {
            Some(Memory::Registered(_, runs)) => runs.remove(offset, len).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Returns the packet memory of VM `vm` as ranges without a gap: offset and length of each.
    pub fn extents(&self, vm: u32) -> Vec<(u64, u64)> {
        match self.vms.get(vm as usize).map(|node| &node.memory) {
            Some(Memory::Registered(_, runs)) => runs.extents(),
            _ => Vec::new(),
        }
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
        let switched = node.keeps_first_pair() || node.senders.len() != 1;
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
            match &mut node.memory {
                Memory::Registered(_, runs) => runs.clear(),
                Memory::Shared(regions) => regions.clear(),
            }
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
            Some(queue) => match node.base_for(sender) {
                None => PeerState::Absent,
                Some(base) => {
                    let owner = self.lock_owner(id as u32, sender as u32);
                    (peer.queues[0], peer.queue_count) = (Queue { base, owner, ..queue }, 1);
                    node.memory.list(&mut peer, map::peer_base(index));
                    PeerState::Ready
                }
            },
        };
        peer.state = state as u32;
        peer
    }
}

/// Returns `name` as directories have it.
fn padded(name: &str) -> [u8; NAME_LEN] {
    let mut padded = [0; NAME_LEN];
    padded.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    padded
}

/// Returns the MAC address of VM `id`: locally administered, with the id as its last byte. See: IEEE 802 clause 8.
pub(crate) const fn mac(id: usize) -> [u8; 6] {
    [0x02, b'S', b'l', b'u', b'i', id as u8]
}

#[cfg(test)]
mod tests;
