//! A sender with the gate `Direct`, its peers and the host, in one process: the host writes the directory whenever a peer's driver wants it to.

use sluice::{Access, Burst, Gate, Mempool, PacketMemory, PeerSlice, RX_SIZE, RingFormat, VirtioNet};
use sluice_abi::Gpa;
use sluice_abi::directory::{GateKind, word};
use sluice_abi::map::{DIRECTORY_LEN, STATE_LEN};
use sluice_abi::virtq::QueueAddresses;
use sluice_control::{Directory, Manifest, Network, publish};
use sluice_driver::Registers;
use std::cell::RefCell;

const MIB: u64 = 1 << 20;
/// Bytes of a receiver's RAM; the second half is its packet memory.
const RAM: u64 = 4 * MIB;
/// Receivers: VMs 1 and 2, at places 0 and 1 of the sender's directory.
pub const RECEIVERS: usize = 2;

/// All VMs, and the sender's directory.
pub struct World {
    network: RefCell<Network>,
    page: PeerSlice<'static>,
    slot: PeerSlice<'static>,
}

/// The device registers of one VM, and the host behind them.
pub struct Device<'w>(&'w World, u32);

impl Registers for Device<'_> {
    fn read(&mut self, register: u32) -> u32 {
        self.0.network.borrow_mut().read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.network.borrow_mut().write(self.1, register, value);
        self.0.publish();
    }
}

/// Zeroed memory that is never freed.
fn memory(len: u64) -> PeerSlice<'static> {
    let bytes = Box::leak(vec![0u128; len as usize / 16].into_boxed_slice());
    // SAFETY: never freed, and only slices lead into it from now on.
    unsafe { PeerSlice::from_raw(bytes.as_mut_ptr().cast(), len) }
}

impl World {
    /// Devices of this MTU, and no driver yet.
    pub fn new(mtu: u16) -> Self {
        let vm = |name, peers| {
            format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\nmtu = {mtu}\n{peers}\n")
        };
        let text = [vm("a", "peers = [\"b\", \"c\"]"), vm("b", ""), vm("c", "")].concat();
        let network = RefCell::new(Network::new(&Manifest::parse(&text).expect("a manifest")));
        let world = Self { network, page: memory(DIRECTORY_LEN), slot: memory(RECEIVERS as u64 * RAM) };
        world.publish();
        world
    }

    /// The sender's directory as it is to be.
    pub fn directory(&self) -> Directory {
        let mut directory = self.network.borrow().directory(0);
        directory.header.gate = GateKind::Direct as u32;
        for (place, peer) in directory.peers.iter_mut().take(RECEIVERS).enumerate() {
            peer.regions[0].slot_offset = place as u64 * RAM;
        }
        directory
    }

    fn publish(&self) {
        publish(&self.page.table(0, word::COUNT as u16).expect("a page"), &self.directory());
    }

    /// The sender's gate, and a pool of `buffers` of the sender's.
    pub fn sender(&self, buffers: usize) -> (Gate, &'static Mempool<'static>) {
        let packets = memory(2 * MIB);
        let access = Access {
            directory: self.page,
            request: memory(4096),
            packets,
            slot: self.slot.as_ptr(),
            state: memory(STATE_LEN).as_ptr(),
        };
        // SAFETY: the slot is all receivers' RAM, where the directory says; memory here is reached through slices alone.
        let gate = unsafe { Gate::discover(access) }.expect("a gate");
        let free = Box::leak(vec![0; buffers].into_boxed_slice());
        (gate, Box::leak(Box::new(Mempool::new(PacketMemory::new(Gpa(0), packets).expect("small"), free))))
    }

    /// The registers of the receiver at `place`.
    pub fn device(&self, place: usize) -> Device<'_> {
        Device(self, place as u32 + 1)
    }

    /// Starts the driver of the receiver at `place`, which has so many buffers.
    pub fn receiver(&self, place: usize, format: RingFormat, buffers: usize) -> Receiver {
        let ram = self.ram(place);
        let packets = PacketMemory::new(Gpa(RAM / 2), ram.sub(RAM / 2, RAM / 2).expect("inside")).expect("small");
        let (queue, buffers_at) = packets.split_at(VirtioNet::QUEUE_LEN).expect("inside");
        let pool = Box::leak(Box::new(Mempool::new(buffers_at, Box::leak(vec![0; buffers].into_boxed_slice()))));
        let net = VirtioNet::start(&mut self.device(place), queue, pool, format).expect("a device");
        Receiver { net, pool }
    }

    /// The VM of the receiver at `place` is gone.
    pub fn gone(&self, place: usize) {
        self.network.borrow_mut().remove(place as u32 + 1);
        self.publish();
    }

    /// The RAM of the receiver at `place`.
    pub fn ram(&self, place: usize) -> PeerSlice<'static> {
        self.slot.sub(place as u64 * RAM, RAM).expect("inside")
    }

    /// Where the receiver at `place` has its queue.
    pub fn queue(&self, place: usize) -> QueueAddresses {
        self.directory().peers[place].queues[0].addresses
    }

    /// Spoils every buffer that the receiver at `place` has given: none is in its memory. Descriptors of both formats begin with the address.
    pub fn spoil(&self, place: usize) {
        let table = self.queue(place).desc.0;
        (0..RX_SIZE as u64).for_each(|index| self.ram(place).write(table + 16 * index, u64::MAX).expect("inside"));
    }
}

/// A receiver's driver.
pub struct Receiver {
    pub net: VirtioNet<'static>,
    pub pool: &'static Mempool<'static>,
}

/// The bytes of a frame.
pub fn bytes(frame: PeerSlice<'_>) -> Vec<u8> {
    let mut bytes = vec![0; frame.len() as usize];
    frame.copy_to_slice(0, &mut bytes).expect("inside");
    bytes
}

/// Frame `number`, of `len` bytes.
pub fn frame(number: usize, len: u16) -> Vec<u8> {
    (0..usize::from(len)).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Adds frame `number` to `burst`.
#[track_caller]
pub fn push(burst: &mut Burst<'_>, number: usize, len: u16) {
    let to = burst.push(len).expect("room");
    to.copy_from_slice(0, &frame(number, len)).expect("as long as it is");
}
