//! A peer's driver, which fills the queue as well or as badly as a test wants it.

use super::*;
use sluice_abi::call::Clause;
use sluice_abi::directory::{PeerState, Region};
use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem, avail, used};
use sluice_abi::{Gpa, PeerIdx, RingIdx, directory, net};
use sluice_inside::{Slot, Window};
use sluice_memory::PeerSlice;

/// How far behind a peer's own areas and buffers its twin has them.
const TWIN: u64 = 0x2_0000;
const STALE: u8 = 0xEE;

/// A peer's memory and its driver, which fills the queue as well or as badly as a test wants it.
pub struct Peer {
    pub(super) memory: Memory,
    /// Its directory entry. Slot offsets count from the start of its memory.
    pub entry: directory::Peer,
    given: RingIdx,
    taken: RingIdx,
    buffers: u64,
}

impl Peer {
    /// Two regions, and a queue of `size` entries in the first.
    pub fn new(size: u16) -> Self {
        let memory = Memory::new(&[RAM_LEN, SECOND_LEN]);
        let mut entry = directory::Peer {
            state: PeerState::Ready as u32,
            mtu: MTU,
            region_count: 2,
            queue_count: 1,
            ..Default::default()
        };
        for (index, gpa) in [GPA, SECOND_GPA].into_iter().enumerate() {
            let (slot_offset, len) = memory.extent(index);
            entry.regions[index] = Region { gpa: Gpa(gpa), len, slot_offset };
        }
        let addresses = QueueAddresses { desc: Gpa(GPA + TABLE), driver: Gpa(GPA + DRIVER), device: Gpa(GPA + DEVICE) };
        let features = (net::F::VERSION_1 | net::F::MTU | net::F::MAC | net::F::STATUS).bits();
        entry.queues[0] = directory::Queue { addresses, features, size, ..Default::default() };
        Self { memory, entry, given: RingIdx(0), taken: RingIdx(0), buffers: GPA + BUFFERS }
    }

    /// Another queue in the same memory.
    pub fn twin(&self) -> Self {
        let mut entry = self.entry;
        let addresses = &mut entry.queues[0].addresses;
        for area in [&mut addresses.desc, &mut addresses.driver, &mut addresses.device] {
            area.0 += TWIN;
        }
        let memory = self.memory.clone();
        Self { memory, entry, given: RingIdx(0), taken: RingIdx(0), buffers: self.buffers + TWIN }
    }

    /// Makes this peer reachable at `index`.
    pub fn attach(&self, window: &mut Window, index: PeerIdx) -> Result<(), Clause> {
        window.attach_peer(index, &self.entry, Slot::of(self.memory.all()))
    }

    /// The driver starts the queue anew.
    pub fn restart(&mut self) {
        (self.given, self.taken) = (RingIdx(0), RingIdx(0));
        self.entry.queues[0].start += 1;
        self.area(self.addresses().driver, avail::IDX, 0u16);
        self.area(self.addresses().device, used::IDX, 0u16);
    }

    /// The first region.
    pub fn ram(&self) -> PeerSlice<'static> {
        self.memory.run(0)
    }

    fn size(&self) -> u16 {
        self.entry.queues[0].size
    }

    fn addresses(&self) -> QueueAddresses {
        self.entry.queues[0].addresses
    }

    /// Writes `value` in the area that starts at `start`.
    fn area<T: sluice_memory::Plain>(&self, start: Gpa, offset: u64, value: T) {
        self.ram().write(start.0 - GPA + offset, value).expect("inside");
    }

    /// Memory and offset of `gpa`.
    fn locate(&self, gpa: u64) -> (PeerSlice<'static>, u64) {
        if gpa < SECOND_GPA { (self.memory.run(0), gpa - GPA) } else { (self.memory.run(1), gpa - SECOND_GPA) }
    }

    /// Where the ordinary buffer of descriptor `index` is.
    pub fn buffer(&self, index: u16) -> u64 {
        self.buffers + u64::from(index) * u64::from(BUFFER_LEN)
    }

    /// Writes descriptor `index`.
    pub fn describe(&self, index: u16, (addr, len): (u64, u32), flags: DescF, next: u16) {
        self.write_desc(index, Desc { addr: Gpa(addr), len, flags: flags.bits(), next });
    }

    /// Writes descriptor `index`.
    pub fn write_desc(&self, index: u16, desc: Desc) {
        self.area(self.addresses().desc, 16 * u64::from(index), desc);
    }

    fn read_desc(&self, index: u16) -> Desc {
        self.ram().read(self.addresses().desc.0 - GPA + 16 * u64::from(index)).expect("inside")
    }

    /// Writes entry `index` modulo the size of the available ring.
    pub fn set_avail(&self, index: u16, head: u16) {
        self.area(self.addresses().driver, avail::RING + 2 * u64::from(index % self.size()), head);
    }

    /// Writes `avail.idx`.
    pub fn set_avail_idx(&self, index: u16) {
        self.area(self.addresses().driver, avail::IDX, index);
    }

    /// Makes the chain at `head` available.
    pub fn offer(&mut self, head: u16) {
        self.set_avail(self.given.0, head);
        self.given = self.given.advance(1);
        self.set_avail_idx(self.given.0);
    }

    /// Descriptor that the next ordinary buffer has: not its place in the available ring.
    fn next_head(&self) -> u16 {
        self.size() - 1 - self.given.0 % self.size()
    }

    /// Makes one buffer with `flags` available.
    pub fn give_buffer(&mut self, buffer: (u64, u32), flags: DescF) {
        let head = self.next_head();
        self.describe(head, buffer, flags, 0);
        self.offer(head);
    }

    /// Makes `count` ordinary buffers available.
    pub fn give(&mut self, count: u16) {
        for _ in 0..count {
            let at = self.buffer(self.next_head());
            let (memory, offset) = self.locate(at);
            memory.copy_from_slice(offset, &[STALE; BUFFER_LEN as usize]).expect("inside");
            self.give_buffer((at, BUFFER_LEN), DescF::WRITE);
        }
    }

    /// Makes a chain of `pieces` available, from descriptor 0 on; where the last one leads and whether it does is
    /// `flags` and `next`.
    pub fn give_chain(&mut self, pieces: &[(u64, u32)], flags: DescF, next: u16) {
        for (index, &piece) in (0u16..).zip(pieces) {
            let last = usize::from(index) + 1 == pieces.len();
            self.describe(
                index,
                piece,
                if last { flags } else { DescF::WRITE | DescF::NEXT },
                if last { next } else { index + 1 },
            );
        }
        self.offer(0);
    }

    /// Entries that are given and not yet used.
    pub fn outstanding(&self) -> u16 {
        self.given.ahead_of(RingIdx(self.used_idx()))
    }

    /// Looks at no used buffer so far.
    pub fn skip(&mut self) {
        self.taken = RingIdx(self.used_idx());
    }

    /// `used.idx`
    pub fn used_idx(&self) -> u16 {
        self.ram().read(self.addresses().device.0 - GPA + used::IDX).expect("inside")
    }

    /// The next used buffer: descriptor, length, and that many bytes of the chain.
    pub fn take(&mut self) -> Option<(UsedElem, Vec<u8>)> {
        if self.used_idx() == self.taken.0 {
            return None;
        }
        let at = self.addresses().device.0 - GPA + used::RING + 8 * u64::from(self.taken.0 % self.size());
        let elem: UsedElem = self.ram().read(at).expect("inside");
        self.taken = self.taken.advance(1);
        Some((elem, self.read_chain(elem)))
    }

    fn read_chain(&self, elem: UsedElem) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut next = elem.id as u16;
        while bytes.len() < elem.len as usize {
            let desc = self.read_desc(next);
            let (memory, offset) = self.locate(desc.addr.0);
            bytes.extend(read(memory, offset, u64::from(desc.len).min(u64::from(elem.len) - bytes.len() as u64)));
            next = desc.next;
        }
        bytes
    }

    /// Panics if the ordinary buffer of descriptor `index` was written at `from` or after.
    pub fn check_stale(&self, index: u16, from: u64) {
        let (memory, offset) = self.locate(self.buffer(index));
        let rest = read(memory, offset + from, u64::from(BUFFER_LEN) - from);
        assert!(rest.iter().all(|&byte| byte == STALE), "written behind the frame");
    }
}
