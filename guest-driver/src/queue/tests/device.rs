//! A device side of both formats, which does what a test tells it, right or wrong.

use crate::DriverQueue;
use sluice_abi::net::F;
use sluice_abi::virtq::{self, QueueAddresses, UsedElem, avail, used};
use sluice_abi::{Gpa, packed};
use sluice_memory::PeerSlice;
use std::vec::Vec;

/// Address of the queue.
pub const GPA: u64 = 0x10_0000;

/// Returns the memory of a queue, with tables or without.
pub fn memory<const N: usize>(tables: bool) -> PeerSlice<'static> {
    let len = DriverQueue::<N>::MEMORY_LEN + if tables { DriverQueue::<N>::TABLES_LEN } else { 0 };
    // A queue works whatever its memory held before.
    PeerSlice::from_mut(std::vec![u128::MAX; len as usize / 16].leak())
}

/// A buffer that the device took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub id: u16,
    pub slots: u16,
    /// Address, length in bytes, and whether the device writes, of each piece.
    pub pieces: Vec<(u64, u32, bool)>,
}

#[derive(Clone, Copy)]
struct Place(u16, bool);

pub struct Device {
    pub memory: PeerSlice<'static>,
    at: QueueAddresses,
    size: u16,
    packed: bool,
    next: Place,
    used: Place,
}

impl Device {
    pub fn of<const N: usize>(queue: &DriverQueue<N>, memory: PeerSlice<'static>, features: F) -> Self {
        let start = Place(0, true);
        let packed = features.contains(F::RING_PACKED);
        Self { memory, at: queue.addresses(), size: queue.size(), packed, next: start, used: start }
    }

    /// Starts a split ring behind this number of buffers. A packed ring ignores it.
    pub fn start_at(&mut self, count: u16) {
        if !self.packed {
            (self.next.0, self.used.0) = (count, count);
            self.area(self.at.driver).write(avail::IDX, count).unwrap();
            self.set_used_idx(count);
        }
    }

    pub fn is_packed(&self) -> bool {
        self.packed
    }

    fn area(&self, gpa: Gpa) -> PeerSlice<'static> {
        let at = gpa.0 - GPA;
        self.memory.sub(at, self.memory.len() - at).unwrap()
    }

    /// Returns the 16 bits at `offset` of the driver's area.
    pub fn driver16(&self, offset: u64) -> u16 {
        self.area(self.at.driver).read(offset).unwrap()
    }

    /// Returns the 16 bits at `offset` of the device's area.
    pub fn device16(&self, offset: u64) -> u16 {
        self.area(self.at.device).read(offset).unwrap()
    }

    pub fn set_device16(&self, offset: u64, value: u16) {
        self.area(self.at.device).write(offset, value).unwrap();
    }

    pub fn split_desc(&self, index: u16) -> virtq::Desc {
        self.memory.table(0, self.size).unwrap().get(index).unwrap()
    }

    pub fn packed_desc(&self, slot: u16) -> packed::Desc {
        self.memory.table(0, self.size).unwrap().get(slot).unwrap()
    }

    /// Takes the buffers that are available, in their order.
    pub fn take_all(&mut self) -> Vec<Buffer> {
        core::iter::from_fn(|| if self.packed { self.take_packed() } else { self.take_split() }).collect()
    }

    fn take_split(&mut self) -> Option<Buffer> {
        if self.driver16(avail::IDX) == self.next.0 {
            return None;
        }
        let id: u16 = self.area(self.at.driver).ring(avail::RING, self.size).unwrap().get(self.next.0);
        self.next.0 = self.next.0.wrapping_add(1);
        let mut buffer = Buffer { id, slots: 0, pieces: Vec::new() };
        let mut index = id;
        loop {
            let desc = self.split_desc(index);
            buffer.slots += 1;
            if desc.flags & 4 != 0 {
                assert_eq!((desc.flags, desc.len % 16), (4, 0));
                buffer.pieces.extend(self.split_table(desc));
            } else {
                buffer.pieces.push((desc.addr.0, desc.len, desc.flags & 2 != 0));
            }
            if desc.flags & 1 == 0 {
                return Some(buffer);
            }
            index = desc.next;
        }
    }

    fn split_table(&self, desc: virtq::Desc) -> Vec<(u64, u32, bool)> {
        let count = (desc.len / 16) as u16;
        let table = self.area(desc.addr).table::<virtq::Desc>(0, count).unwrap();
        let entry = |index| {
            let entry = table.get(index).unwrap();
            let next = if index + 1 < count { (1, index + 1) } else { (0, 0) };
            assert_eq!((entry.flags & !2, entry.next), next);
            (entry.addr.0, entry.len, entry.flags & 2 != 0)
        };
        (0..count).map(entry).collect()
    }

    fn take_packed(&mut self) -> Option<Buffer> {
        let mut buffer = Buffer { id: 0, slots: 0, pieces: Vec::new() };
        loop {
            let Place(slot, wrap) = self.next;
            let desc = self.packed_desc(slot);
            if desc.flags & 0x8080 != if wrap { 0x80 } else { 0x8000 } {
                assert_eq!(buffer.slots, 0, "a chain shown in part");
                return None;
            }
            self.next = self.advance(self.next, 1);
            buffer.slots += 1;
            buffer.id = desc.id;
            if desc.flags & 4 != 0 {
                assert_eq!((desc.flags & 3, desc.len % 16), (0, 0));
                let table = self.area(desc.addr).table::<packed::Desc>(0, (desc.len / 16) as u16).unwrap();
                let entries = (0..table.size()).map(|index| table.get(index).unwrap());
                buffer.pieces.extend(entries.map(|entry| {
                    assert_eq!(entry.flags & !2, 0);
                    (entry.addr.0, entry.len, entry.flags & 2 != 0)
                }));
            } else {
                buffer.pieces.push((desc.addr.0, desc.len, desc.flags & 2 != 0));
            }
            if desc.flags & 1 == 0 {
                return Some(buffer);
            }
        }
    }

    fn advance(&self, Place(slot, wrap): Place, by: u16) -> Place {
        if slot + by < self.size { Place(slot + by, wrap) } else { Place(slot + by - self.size, !wrap) }
    }

    /// Writes a used element, in a split ring without publishing it, in a packed one `slots` further on.
    pub fn write_used(&mut self, id: u32, len: u32, slots: u16) {
        if self.packed {
            let Place(slot, wrap) = self.used;
            let flags = 2 | if wrap { 0x8080 } else { 0 };
            self.set_packed(slot, id as u16, len, flags);
            self.used = self.advance(self.used, slots);
        } else {
            self.area(self.at.device).ring(used::RING, self.size).unwrap().set(self.used.0, UsedElem { id, len });
            self.used.0 = self.used.0.wrapping_add(1);
        }
    }

    /// Returns the last word of a packed descriptor.
    pub fn set_packed(&self, slot: u16, id: u16, len: u32, flags: u16) {
        let word = u64::from(len) | u64::from(id) << 32 | u64::from(flags) << 48;
        self.memory.table::<packed::Desc>(0, self.size).unwrap().store_release(slot, word);
    }

    /// Returns the position at which the device would mark the next buffer used.
    pub fn used_slot(&self) -> (u16, bool) {
        (self.used.0, self.used.1)
    }

    /// Publishes all used elements of a split ring.
    pub fn show(&self) {
        if !self.packed {
            self.set_used_idx(self.used.0);
        }
    }

    pub fn set_used_idx(&self, idx: u16) {
        self.set_device16(used::IDX, idx);
    }

    /// Marks `buffer` used, with `len` bytes.
    pub fn finish(&mut self, buffer: &Buffer, len: u32) {
        self.write_used(buffer.id.into(), len, buffer.slots);
        self.show();
    }

    /// Marks all `buffers` used by one element, with `len` bytes in the last.
    pub fn finish_batch(&mut self, buffers: &[Buffer], len: u32) {
        let Some(last) = buffers.last() else { return };
        self.write_used(last.id.into(), len, buffers.iter().map(|buffer| buffer.slots).sum());
        if !self.packed {
            self.used.0 = self.used.0.wrapping_add(buffers.len() as u16 - 1);
            self.show();
        }
    }
}
