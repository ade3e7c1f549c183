//! A lawful driver of either format, as small as it can be: one chain after the other, slots and descriptors in order.

use crate::peer::{Memory, read};
use sluice_abi::directory::{self, PeerState, Queue, Region};
use sluice_abi::net::F;
use sluice_abi::packed;
use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_inside::{DeviceQueue, Regions};
use sluice_memory::PeerSlice;

const GPA: u64 = 0x4000_0000;
const DRIVER: u64 = 0x8000;
const DEVICE: u64 = 0xa000;
const TABLES: u64 = 0xc000;
const BUFFERS: u64 = 0x1_0000;
const LEN: u64 = 0x10_0000;

/// A piece of a buffer: where, bytes, whether the device writes it.
pub type Piece = (u64, u32, bool);

/// Memory, a queue in it, and the driver's side of that.
pub struct Driver {
    memory: Memory,
    pub queue: Queue,
    /// Chains that the device has, in order: id, descriptors, pieces.
    given: std::collections::VecDeque<(u16, u16, Vec<Piece>)>,
    given_count: u16,
    taken: u16,
    /// Next descriptor, or slot and wrap counter, to give and to take.
    next: (u16, bool),
    next_used: (u16, bool),
    free_buffer: u64,
}

impl Driver {
    /// A queue of `size` entries with `features`.
    pub fn new(size: u16, features: F) -> Self {
        let addresses = QueueAddresses { desc: Gpa(GPA), driver: Gpa(GPA + DRIVER), device: Gpa(GPA + DEVICE) };
        let features = (features | F::VERSION_1).bits();
        let queue = Queue { addresses, features, size, ..Default::default() };
        let memory = Memory::new(&[LEN]);
        let start = (0, true);
        let given = Default::default();
        Self {
            memory,
            queue,
            given,
            given_count: 0,
            taken: 0,
            next: start,
            next_used: start,
            free_buffer: GPA + BUFFERS,
        }
    }

    /// The same, from where [`DeviceQueue::base`] says `base`: all that was given before came back.
    pub fn starting_at(size: u16, features: F, base: u32) -> Self {
        let mut driver = Self::new(size, features);
        if driver.has(F::RING_PACKED) {
            driver.next = (base as u16 & 0x7fff, base >> 15 & 1 == 1);
            driver.next_used = driver.next;
        } else {
            (driver.given_count, driver.taken) = (base as u16, base as u16);
            driver.write(GPA + DRIVER + avail::IDX, base as u16);
            driver.write(GPA + DEVICE + used::IDX, base as u16);
        }
        driver
    }

    /// The device side that belongs to it.
    pub fn device(&self) -> (DeviceQueue, Regions) {
        let regions = self.regions();
        (DeviceQueue::new(&self.queue, &regions).expect("a lawful queue"), regions)
    }

    /// The memory that the device side finds.
    pub fn regions(&self) -> Regions {
        Regions::from_slices(&[(Gpa(GPA), self.ram())]).expect("one region")
    }

    /// As a directory entry. Slot offset 0 is the start of [`Driver::ram`].
    pub fn entry(&self, mtu: u16) -> directory::Peer {
        let mut entry = directory::Peer {
            state: PeerState::Ready as u32,
            mtu,
            region_count: 1,
            queue_count: 1,
            ..Default::default()
        };
        entry.regions[0] = Region { gpa: Gpa(GPA), len: LEN, slot_offset: 0 };
        entry.queues[0] = self.queue;
        entry
    }

    /// The memory that [`Driver::entry`] speaks of.
    pub fn ram(&self) -> PeerSlice<'static> {
        self.memory.run(0)
    }

    fn has(&self, feature: F) -> bool {
        self.queue.features & feature.bits() != 0
    }

    fn write<T: sluice_memory::Plain>(&self, at: u64, value: T) {
        self.ram().write(at - GPA, value).expect("inside");
    }

    /// `len` bytes that no other piece has.
    pub fn piece(&mut self, len: u32, writable: bool) -> Piece {
        let at = self.free_buffer;
        self.free_buffer += u64::from(len) + 8;
        if self.free_buffer + 0x1_0000 > GPA + LEN {
            self.free_buffer = GPA + BUFFERS;
        }
        (at, len, writable)
    }

    /// Writes `bytes` into the pieces, one after the other.
    pub fn put(&self, pieces: &[Piece], mut bytes: &[u8]) {
        for &(at, len, _) in pieces {
            let (now, rest) = bytes.split_at(bytes.len().min(len as usize));
            self.ram().copy_from_slice(at - GPA, now).expect("inside");
            bytes = rest;
        }
        assert!(bytes.is_empty());
    }

    /// All bytes of `piece`.
    pub fn bytes_of(&self, (at, len, _): Piece) -> Vec<u8> {
        read(self.ram(), at - GPA, len.into())
    }

    /// Makes a chain of `pieces` available; in a table of its own if `indirect`.
    pub fn give(&mut self, pieces: &[Piece], indirect: bool) {
        let table = GPA + TABLES + u64::from(self.given_count % 16) * 0x400;
        let ring: Vec<(u64, u32, u16)> = if indirect {
            self.write_table(table, pieces);
            vec![(table, 16 * pieces.len() as u32, DescF::INDIRECT.bits())]
        } else {
            let flags = |at: usize, writable: bool| {
                (u16::from(at + 1 < pieces.len()) * DescF::NEXT.bits()) | (u16::from(writable) * DescF::WRITE.bits())
            };
            pieces.iter().enumerate().map(|(at, &(addr, len, writable))| (addr, len, flags(at, writable))).collect()
        };
        let id = if self.has(F::RING_PACKED) { self.give_packed(&ring) } else { self.give_split(&ring) };
        self.given.push_back((id, ring.len() as u16, pieces.to_vec()));
        self.given_count = self.given_count.wrapping_add(1);
    }

    fn write_table(&self, table: u64, pieces: &[Piece]) {
        for (at, &(addr, len, writable)) in pieces.iter().enumerate() {
            let write = u16::from(writable) * DescF::WRITE.bits();
            let place = table + 16 * at as u64;
            if self.has(F::RING_PACKED) {
                self.write(place, packed::Desc { addr: Gpa(addr), len, id: 0xdead, flags: write });
            } else {
                let next = u16::from(at + 1 < pieces.len()) * DescF::NEXT.bits();
                self.write(place, Desc { addr: Gpa(addr), len, flags: write | next, next: at as u16 + 1 });
            }
        }
    }

    fn advance(&self, (slot, wrap): (u16, bool), count: u16) -> (u16, bool) {
        let slot = slot + count;
        if slot < self.queue.size { (slot, wrap) } else { (slot - self.queue.size, !wrap) }
    }

    fn give_split(&mut self, ring: &[(u64, u32, u16)]) -> u16 {
        let head = self.next.0;
        for &(addr, len, flags) in ring {
            let next = self.advance(self.next, 1);
            self.write(GPA + 16 * u64::from(self.next.0), Desc { addr: Gpa(addr), len, flags, next: next.0 });
            self.next = next;
        }
        let at = avail::RING + 2 * u64::from(self.given_count % self.queue.size);
        self.write(GPA + DRIVER + at, head);
        self.write(GPA + DRIVER + avail::IDX, self.given_count.wrapping_add(1));
        head
    }

    fn give_packed(&mut self, ring: &[(u64, u32, u16)]) -> u16 {
        let id = self.given_count.wrapping_mul(7);
        for &(addr, len, flags) in ring {
            let flags = flags | packed::DescF::available(self.next.1).bits();
            self.write(GPA + 16 * u64::from(self.next.0), packed::Desc { addr: Gpa(addr), len, id, flags });
            self.next = self.advance(self.next, 1);
        }
        id
    }

    /// The next used chain: bytes that the device says it wrote, and those bytes.
    pub fn take(&mut self) -> Option<(u32, Vec<u8>)> {
        let len = if self.has(F::RING_PACKED) { self.take_packed() } else { self.take_split() }?;
        let (_, descs, pieces) = self.given.pop_front().expect("given");
        self.next_used = self.advance(self.next_used, descs);
        self.taken = self.taken.wrapping_add(1);
        let mut bytes = Vec::new();
        for (at, piece, _) in pieces {
            bytes.extend(read(self.ram(), at - GPA, u64::from(piece).min(u64::from(len) - bytes.len() as u64)));
        }
        Some((len, bytes))
    }

    fn take_split(&self) -> Option<u32> {
        let idx: u16 = self.ram().read(DEVICE + used::IDX).expect("inside");
        if RingIdx(idx).ahead_of(RingIdx(self.taken)) == 0 {
            return None;
        }
        let at = DEVICE + used::RING + 8 * u64::from(self.taken % self.queue.size);
        let elem: UsedElem = self.ram().read(at).expect("inside");
        assert_eq!(Some(elem.id), self.given.front().map(|given| given.0.into()));
        Some(elem.len)
    }

    fn take_packed(&self) -> Option<u32> {
        let (slot, wrap) = self.next_used;
        let desc: packed::Desc = self.ram().read(16 * u64::from(slot)).expect("inside");
        let state = packed::DescF::AVAIL | packed::DescF::USED;
        if packed::DescF::from_bits_retain(desc.flags) & state != packed::DescF::used(wrap) {
            return None;
        }
        let given = self.given.front()?;
        assert_eq!(desc.id, given.0);
        assert_eq!(desc.flags & packed::DescF::WRITE.bits() != 0, desc.len > 0);
        Some(desc.len)
    }

    /// What the driver asks for: `flags` and `used_event` of a split ring, or flags and descriptor of a packed one.
    pub fn ask(&self, flags: u16, event: u16) {
        if self.has(F::RING_PACKED) {
            self.write(GPA + DRIVER, event);
            self.write(GPA + DRIVER + 2, flags);
        } else {
            self.write(GPA + DRIVER + avail::FLAGS, flags);
            self.write(GPA + DRIVER + avail::used_event(self.queue.size), event);
        }
    }

    /// What the device asks for, in the same order.
    pub fn asked(&self) -> (u16, u16) {
        let word = |at: u64| self.ram().read(DEVICE + at).expect("inside");
        if self.has(F::RING_PACKED) {
            (word(2), word(0))
        } else {
            (word(used::FLAGS), word(used::avail_event(self.queue.size)))
        }
    }

    /// Whether chains can be given that have `descs` descriptors in all.
    pub fn has_room(&self, descs: u16) -> bool {
        self.given.iter().map(|given| given.1).sum::<u16>() + descs <= self.queue.size
    }
}
