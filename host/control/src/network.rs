//! Every VM's device, and the directories that follow from them.

use crate::{Device, Directory, Event, Manifest, RunError, Runs, regions};
use alloc::vec::Vec;
use sluice_abi::directory::{Header, NAME_LEN, Peer, PeerState};
use sluice_abi::mmio::reg;
use sluice_abi::run::Run;
use sluice_abi::{PeerIdx, map};

/// Devices of all VMs, and who may send to whom.
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
    device: Device,
    runs: Runs,
    /// It ended, and no start follows.
    gone: bool,
    /// Starts that may follow its end.
    restarts: u32,
}

impl Network {
    /// All VMs of `manifest`, no driver started yet.
    pub fn new(manifest: &Manifest) -> Self {
        let node = |id: usize| {
            let vm = &manifest.vms[id];
            let mut name = [0; NAME_LEN];
            name.iter_mut().zip(vm.name.bytes()).for_each(|(to, from)| *to = from);
            Node {
                name,
                ram_len: u64::from(vm.ram_mib) << 20,
                gate: vm.gate as u32,
                peers: manifest.peers_of(id).collect(),
                device: Device::new(mac(id), vm.mtu),
                runs: Runs::default(),
                gone: false,
                restarts: vm.restarts,
            }
        };
        Self { vms: (0..manifest.vms.len()).map(node).collect() }
    }

    /// Reads register `offset` of VM `vm`'s device; 0 if there is no such VM.
    pub fn read(&self, vm: u32, offset: u32) -> u32 {
        self.vms.get(vm as usize).map_or(0, |node| node.device.read(offset))
    }

    /// Writes register `offset` of VM `vm`'s device. What is returned concerns all [`Network::senders_to`] it.
    pub fn write(&mut self, vm: u32, offset: u32, value: u32) -> Option<Event> {
        self.vms.get_mut(vm as usize)?.device.write(offset, value)
    }

    /// Adds `run` to the packet memory of VM `vm`. `Ok`: the directories of all [`Network::senders_to`] it may be others now.
    pub fn add_run(&mut self, vm: u32, run: Run) -> Result<(), RunError> {
        self.vms.get_mut(vm as usize).map_or(Ok(()), |node| node.runs.add(run, node.ram_len))
    }

    /// Removes the run of `len` bytes at `offset` of the packet memory of VM `vm`. `Ok`: as with [`Network::add_run`].
    pub fn remove_run(&mut self, vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
        self.vms.get_mut(vm as usize).map_or(Ok(()), |node| node.runs.remove(offset, len).map(|_| ()))
    }

    /// Packet memory of VM `vm`, as ranges without a gap: offset and bytes.
    pub fn extents(&self, vm: u32) -> Vec<(u64, u64)> {
        self.vms.get(vm as usize).map_or_else(Vec::new, |node| node.runs.extents())
    }

    /// VM `vm` ended, and its device is reset, its runs forgotten. Its senders see it absent as long as the manifest lets it start again; then it is gone.
    pub fn remove(&mut self, vm: u32) {
        self.change(vm, |node| node.gone = node.restarts == 0);
    }

    /// VM `vm`, which ended, is there again.
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

    /// The VMs that may send to VM `vm`.
    pub fn senders_to(&self, vm: u32) -> impl Iterator<Item = u32> {
        let sends = move |node: &Node| node.peers.contains(&(vm as usize));
        (0..).zip(&self.vms).filter(move |(_, node)| sends(node)).map(|(id, _)| id)
    }

    /// VM `vm`'s directory as it is now, for [`crate::publish`].
    pub fn directory(&self, vm: u32) -> Directory {
        let Some(node) = self.vms.get(vm as usize) else { return Directory::default() };
        let header = Header { vm_id: vm, gate: node.gate, ..Header::default() };
        let peers = PeerIdx::all().zip(&node.peers).map(|(index, &id)| self.peer(index, id)).collect();
        Directory { header, peers }
    }

    fn peer(&self, index: PeerIdx, id: usize) -> Peer {
        let node = &self.vms[id];
        let mut peer = Peer {
            vm_id: id as u32,
            name: node.name,
            mac: node.device.mac(),
            mtu: node.device.mtu(),
            ..Peer::default()
        };
        let state = match node.device.receiveq() {
            _ if node.gone => PeerState::Revoked,
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

/// A locally administered address that ends in the VM's id. See: IEEE 802 clause 8.
const fn mac(id: usize) -> [u8; 6] {
    [0x02, b'S', b'l', b'u', b'i', id as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_abi::Gpa;

    fn network() -> Network {
        let vm = |name: &str, rest: &str| {
            alloc::format!("[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"i\"\ngate = \"guarded\"\n{rest}\n")
        };
        let text = vm("a", "peers = [\"c\", \"b\"]") + &vm("b", "") + &vm("c", "");
        Network::new(&Manifest::parse(&text).unwrap())
    }

    #[test]
    fn a_peer_is_ready_while_its_driver_is() {
        let mut network = network();
        let state = |network: &Network| network.directory(0).peers[1].state;
        assert_eq!(state(&network), PeerState::Absent as u32);
        let steps = [
            (reg::DRIVER_FEATURES_SEL, 1),
            (reg::DRIVER_FEATURES, 1),
            (reg::STATUS, 11),
            (reg::QUEUE_SIZE, 64),
            (reg::QUEUE_READY, 1),
        ];
        assert!(steps.iter().all(|&(offset, value)| network.write(1, offset, value).is_none()));
        assert_eq!(network.write(1, reg::STATUS, 15), Some(Event::QueuesReady));
        let directory = network.directory(0);
        assert_eq!((directory.peers[1].name(), directory.peers[1].queues[0].size), ("b", 64));
        assert_eq!(directory.peers[1].regions[0].slot_offset, map::peer_base(PeerIdx(1)));
        assert_eq!(state(&network), PeerState::Ready as u32);
        let first = directory.peers[1].queues[0];
        network.remove(1);
        assert_eq!(state(&network), PeerState::Revoked as u32);
        network.restart(1);
        assert_eq!((state(&network), network.read(1, reg::STATUS)), (PeerState::Absent as u32, 0));
        for (offset, value) in steps.into_iter().chain([(reg::STATUS, 15)]) {
            network.write(1, offset, value);
        }
        assert_ne!(network.directory(0).peers[1].queues[0], first, "it is where it was, but not the same");
    }

    /// Whoever reads the directory sees that there is something new, whichever way a queue comes or goes.
    #[test]
    fn each_change_of_a_peers_queue_changes_the_directory() {
        let mut network = network();
        let start = [
            (reg::DRIVER_FEATURES_SEL, 1),
            (reg::DRIVER_FEATURES, 1),
            (reg::STATUS, 11),
            (reg::QUEUE_SIZE, 64),
            (reg::QUEUE_READY, 1),
        ];
        assert!(start.iter().all(|&(offset, value)| network.write(1, offset, value).is_none()));
        let mut before = network.directory(0);
        for (offset, value) in [
            (reg::STATUS, 15),
            (reg::QUEUE_READY, 0),
            (reg::QUEUE_READY, 1),
            (reg::QUEUE_READY, 0),
            (reg::QUEUE_READY, 1),
            (reg::STATUS, 128),
        ] {
            assert!(network.write(1, offset, value).is_some());
            let directory = network.directory(0);
            assert_ne!(directory.peers, before.peers, "{offset:#x}");
            before = directory;
        }
        network.write(1, reg::STATUS, 0);
        assert_eq!(network.directory(0), before, "and nothing is new when nothing changed");
    }

    /// A sender sees a peer's runs while the peer is ready, and each that comes or goes; a life's runs end with that life.
    #[test]
    fn runs_of_a_peer_that_is_ready_are_in_the_directory() {
        let mut network = network();
        let run = |number: u64| Run { gpa: Gpa(number << 21), len: 2 << 20, offset: (number - 1) << 21 };
        let lens = |network: &Network| network.directory(0).peers[1].regions.map(|region| region.len);
        assert_eq!(network.add_run(1, run(1)), Ok(()));
        assert_eq!(lens(&network)[0], 0, "nobody sends to it yet");
        for (offset, value) in [
            (reg::DRIVER_FEATURES_SEL, 1),
            (reg::DRIVER_FEATURES, 1),
            (reg::STATUS, 11),
            (reg::QUEUE_SIZE, 64),
            (reg::QUEUE_READY, 1),
            (reg::STATUS, 15),
        ] {
            network.write(1, offset, value);
        }
        assert_eq!(lens(&network)[..3], [2 << 20, map::PAGE, 0]);
        assert_eq!(network.add_run(1, run(2)), Ok(()));
        assert_eq!(lens(&network)[..3], [4 << 20, map::PAGE, 0]);
        assert!(network.add_run(1, run(2)).is_err() && network.remove_run(1, 0, 4 << 20).is_err());
        assert_eq!(network.remove_run(1, 0, 2 << 20), Ok(()));
        assert_eq!(network.directory(0).peers[1].regions[0].gpa, Gpa(4 << 20));
        network.remove(1);
        assert_eq!((lens(&network)[0], network.add_run(1, run(2))), (0, Ok(())));
    }

    /// A sender can tell a peer that comes back from one that does not.
    #[test]
    fn a_peer_that_starts_again_is_absent_and_only_its_last_end_revokes_it() {
        let text = "[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"i\"\ngate = \"isolated\"\n";
        let again = text.replace("\"a\"", "\"b\"") + "restarts = 2\n";
        let mut network = Network::new(&Manifest::parse(&alloc::format!("{text}peers = [\"b\"]\n{again}")).unwrap());
        let state = |network: &Network| PeerState::from_word(network.directory(0).peers[0].state);
        for _ in 0..2 {
            network.remove(1);
            assert_eq!(state(&network), PeerState::Absent);
            network.restart(1);
            assert_eq!(state(&network), PeerState::Absent);
        }
        network.remove(1);
        assert_eq!(state(&network), PeerState::Revoked);
    }

    #[test]
    fn only_permitted_senders_are_told() {
        let network = network();
        assert_eq!(network.senders_to(1).collect::<Vec<_>>(), [0]);
        assert_eq!(network.senders_to(0).count(), 0);
        assert_eq!(network.directory(1).peers.len(), 0);
        assert_eq!(network.directory(9).peers.len(), 0);
    }
}
