//! A sender with the gate `Direct`, its peers and the host, in one process: the host writes the directory whenever a
//! peer's driver wants it to.

use sluice::{
    Access, AccessMemory, BufferLen, Burst, Frame, Gate, MAX_BURST, Mempool, PacketMemory, PeerSlice, RX_SIZE, Receive,
    RingFormat, Slot, VirtioNet,
};
use sluice_abi::Gpa;
use sluice_abi::directory::{GateKind, word};
use sluice_abi::map::DIRECTORY_LEN;
use sluice_abi::run::Run;
use sluice_abi::virtq::QueueAddresses;
use sluice_control::{Directory, Manifest, Network, publish};
use sluice_driver::Registers;
use sluice_memory::{SharedWords, Table};
use sluice_test_memory::zeroed;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

const MIB: u64 = 1 << 20;
/// Number of receivers: VMs 1 and 2, at indices 0 and 1 of the sender's directory.
pub const RECEIVERS: usize = 2;

/// All VMs, and the sender's directory. A clone is the same world.
#[derive(Clone)]
pub struct World(Rc<Inner>);

impl Deref for World {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub struct Inner {
    network: RefCell<Network>,
    page: PeerSlice<'static>,
    slot: PeerSlice<'static>,
    /// Length of a receiver's RAM in bytes. The second half is packet memory.
    ram: u64,
    /// The host does not write the directory for now.
    pub silent: Cell<bool>,
}

/// The device registers of one VM, and the host behind them.
pub struct Device(World, u32);

impl Registers for Device {
    fn read(&mut self, register: u32) -> u32 {
        self.0.network.borrow_mut().read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.network.borrow_mut().write(self.1, register, value);
        self.0.publish();
    }
}

/// Returns the access of a sender with this packet memory to the peers that `directory` places in `slot`.
pub fn access(directory: PeerSlice<'static>, slot: PeerSlice<'static>, packets: PeerSlice<'static>) -> Access {
    let (request, state) = (zeroed(4096), Box::leak(Box::default()));
    Access::direct(AccessMemory { directory, request, packets, slot: Slot::of(slot), state })
}

/// Returns the gate of `access`.
pub fn gate(access: Access) -> Gate {
    Gate::discover(access).expect("a gate")
}

/// Returns a pool of `buffers` in memory of its own, at `gpa`.
pub fn pool(gpa: Gpa, memory: PeerSlice<'static>, len: BufferLen, buffers: usize) -> &'static Mempool<'static> {
    let memory = PacketMemory::new(gpa, memory).expect("small");
    pool_in(memory, len, buffers)
}

fn pool_in(memory: PacketMemory, len: BufferLen, buffers: usize) -> &'static Mempool<'static> {
    let free = Box::leak(vec![0; buffers].into_boxed_slice());
    Box::leak(Box::new(Mempool::new(memory, len, free).expect("room")))
}

impl World {
    /// Returns a world with devices of this MTU, and no driver yet.
    pub fn new(mtu: u16) -> Self {
        Self::with_ram(mtu, 4)
    }

    /// Returns a world as [`World::new`] does, with `ram_mib` MiB of RAM in each VM.
    pub fn with_ram(mtu: u16, ram_mib: u64) -> Self {
        Self::within(mtu, zeroed(DIRECTORY_LEN), zeroed(RECEIVERS as u64 * ram_mib * MIB))
    }

    /// Returns a world as [`World::new`] does, with the sender's directory in `page`, and the RAM of the receivers in
    /// `slot`, one after the other.
    pub fn within(mtu: u16, page: PeerSlice<'static>, slot: PeerSlice<'static>) -> Self {
        let ram = slot.len() / RECEIVERS as u64;
        let ram_mib = ram / MIB;
        let vm = |name, peers| {
            format!(
                "[[vm]]\nname = \"{name}\"\nram_mib = {ram_mib}\nimage = \"i\"\n\
                 gate = \"direct\"\nmtu = {mtu}\n{peers}\n"
            )
        };
        let text = [vm("a", "peers = [\"b\", \"c\"]"), vm("b", ""), vm("c", "")].concat();
        let network = RefCell::new(Network::new(&Manifest::parse(&text).expect("a manifest")));
        let world = Self(Rc::new(Inner { network, page, slot, ram, silent: Cell::new(false) }));
        (0..RECEIVERS).for_each(|place| world.register(place));
        world.publish();
        world
    }

    /// Registers the packet memory of the receiver at `place`.
    fn register(&self, place: usize) {
        let run = Run { gpa: Gpa(self.ram / 2), len: self.ram / 2, offset: 0 };
        self.network.borrow_mut().add_run(place as u32 + 1, run).expect("a run");
    }

    /// Returns the sender's directory as it should be.
    pub fn directory(&self) -> Directory {
        let mut directory = self.network.borrow().directory(0);
        directory.header.gate = GateKind::Direct as u32;
        for (place, peer) in directory.peers.iter_mut().take(RECEIVERS).enumerate() {
            peer.regions.iter_mut().for_each(|region| region.slot_offset = place as u64 * self.ram + region.gpa.0);
        }
        directory
    }

    /// Returns the words of the sender's directory.
    pub fn page(&self) -> Table<'static, u64> {
        self.page.table(0, word::COUNT as u16).expect("a page")
    }

    /// Writes the directory through `words`, as the host does.
    pub fn publish_through(&self, words: &impl SharedWords) {
        publish(words, &self.directory());
    }

    fn publish(&self) {
        if !self.silent.get() {
            self.publish_through(&self.page());
        }
    }

    /// Returns the sender's gate, and a pool of `buffers`.
    pub fn sender(&self, buffers: usize) -> (Gate, &'static Mempool<'static>) {
        self.sender_of(BufferLen::KiB2, buffers)
    }

    /// Returns the sender's gate, and a pool of `buffers` of length `len`.
    pub fn sender_of(&self, len: BufferLen, buffers: usize) -> (Gate, &'static Mempool<'static>) {
        let packets = zeroed((u64::from(len.bytes()) * buffers as u64).next_multiple_of(2 * MIB));
        (self.gate(packets), pool(Gpa(0), packets, len, buffers))
    }

    /// Returns the access that the host gives a sender with this packet memory.
    pub fn access(&self, packets: PeerSlice<'static>) -> Access {
        access(self.page, self.slot, packets)
    }

    /// Returns a gate for a sender with this packet memory.
    pub fn gate(&self, packets: PeerSlice<'static>) -> Gate {
        gate(self.access(packets))
    }

    /// Returns a sender and two receivers that are ready.
    pub fn all(buffers: usize, format: RingFormat) -> (Gate, &'static Mempool<'static>, [Receiver; RECEIVERS]) {
        let world = Self::new(1500);
        let receivers = [0, 1].map(|place| world.receiver(place, format, 2 * RX_SIZE));
        let (gate, pool) = world.sender(buffers);
        (gate, pool, receivers)
    }

    /// Returns the registers of the receiver at `place`.
    pub fn device(&self, place: usize) -> Device {
        Device(self.clone(), place as u32 + 1)
    }

    /// Returns the packet memory of the receiver at `place`.
    pub fn packets(&self, place: usize) -> PacketMemory {
        let half = self.ram / 2;
        PacketMemory::new(Gpa(half), self.ram(place).sub(half, half).expect("inside")).expect("small")
    }

    /// Returns a pool of the receiver at `place`, behind the memory for its queue.
    pub fn pool(&self, place: usize, len: BufferLen, buffers: usize) -> &'static Mempool<'static> {
        pool_in(self.packets(place).split_at(VirtioNet::QUEUE_LEN).expect("inside").1, len, buffers)
    }

    /// Starts the driver of the receiver at `place`, with a pool of `buffers`.
    pub fn receiver(&self, place: usize, format: RingFormat, buffers: usize) -> Receiver {
        let pool = self.pool(place, BufferLen::KiB2, buffers);
        let (queue, _) = self.packets(place).split_at(VirtioNet::QUEUE_LEN).expect("inside");
        let net = VirtioNet::start(self.device(place), queue, pool, format).expect("a device");
        Receiver { net, pool }
    }

    /// Removes the VM of the receiver at `place`.
    pub fn gone(&self, place: usize) {
        self.network.borrow_mut().remove(place as u32 + 1);
        self.publish();
    }

    /// Restarts the VM of the receiver at `place`, which was removed. It has no driver yet.
    pub fn back(&self, place: usize) {
        self.network.borrow_mut().restart(place as u32 + 1);
        self.register(place);
        self.publish();
    }

    /// Returns the RAM of the receiver at `place`.
    pub fn ram(&self, place: usize) -> PeerSlice<'static> {
        self.slot.sub(place as u64 * self.ram, self.ram).expect("inside")
    }

    /// Returns the addresses of the queue of the receiver at `place`.
    pub fn queue(&self, place: usize) -> QueueAddresses {
        self.directory().peers[place].queues[0].addresses
    }

    /// Spoils every buffer that the receiver at `place` has given, so that none is in its memory. Descriptors of both
    /// formats begin with the address.
    pub fn spoil(&self, place: usize) {
        let table = self.queue(place).desc.0;
        (0..RX_SIZE as u64).for_each(|index| self.ram(place).write(table + 16 * index, u64::MAX).expect("inside"));
    }
}

/// A receiver's driver.
pub struct Receiver {
    pub net: VirtioNet<'static, Device>,
    pub pool: &'static Mempool<'static>,
}

impl Receiver {
    /// Returns all frames that arrived and were not taken yet.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        let mut burst = self.pool.burst();
        self.net.rx_burst(&mut burst, MAX_BURST).expect("an honest device side");
        contents(&burst)
    }
}

/// Returns the bytes of a frame.
pub fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; frame.len().into()];
    frame.copy_to_slice(0, &mut bytes).expect("inside");
    bytes
}

/// Returns the bytes of all frames.
pub fn contents(burst: &Burst<'_>) -> Vec<Vec<u8>> {
    burst.frames().map(bytes).collect()
}

/// Returns frame `number`, of `len` bytes.
pub fn frame(number: usize, len: u16) -> Vec<u8> {
    (0..usize::from(len)).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Adds frame `number` to `burst`.
#[track_caller]
pub fn push(burst: &mut Burst<'_>, number: usize, len: u16) {
    burst.push_bytes(&frame(number, len)).expect("room");
}
