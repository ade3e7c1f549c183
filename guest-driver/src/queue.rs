//! One receive queue, from the driver side: split ring. See: VIRTIO 2.7 "Split Virtqueues".

use core::fmt;
use sluice_abi::virtq::{AvailF, Desc, DescF, QueueAddresses, UsedElem, avail, desc_table_len, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice, Ring};

/// Memory that can't hold the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueError;

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue memory is too small or not aligned to 16 bytes")
    }
}

/// Which rule the device broke. The queue takes nothing more from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// `used.idx` is ahead by more buffers than the device has. VIRTIO 2.7.8 "The Virtqueue Used Ring".
    UsedIdx,
    /// A used element names a buffer that the device does not have. VIRTIO 2.7.8 "The Virtqueue Used Ring".
    UsedId,
    /// More bytes were written than the buffer has. VIRTIO 2.7.8 "The Virtqueue Used Ring".
    UsedLen,
}

/// A buffer that came back filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// What [`DriverQueue::give`] was told of it.
    pub token: u32,
    /// Bytes that the device wrote, header included; at most the buffer's length.
    pub len: u32,
}

#[derive(Clone, Copy)]
struct Buffer {
    token: u32,
    len: u32,
}

/// The driver side of a split ring of `N` entries, one buffer an entry.
///
/// What matters of a buffer is kept here, out of the device's reach; of the shared areas only `used` is ever read.
pub struct DriverQueue<const N: usize> {
    desc: Ring<'static, Desc>,
    avail: Ring<'static, u16>,
    avail_idx: Cell16<'static>,
    used: Ring<'static, UsedElem>,
    used_idx: Cell16<'static>,
    addresses: QueueAddresses,
    /// By descriptor: the buffer that the device has.
    given: [Option<Buffer>; N],
    /// Descriptors that the device does not have: the first `free_len`.
    free: [u16; N],
    free_len: usize,
    next_avail: RingIdx,
    next_used: RingIdx,
    fault: Option<DeviceFault>,
}

impl<const N: usize> DriverQueue<N> {
    const SIZE: u16 = {
        assert!(N.is_power_of_two() && N <= sluice_abi::virtq::MAX_SIZE as usize);
        N as u16
    };

    /// Bytes of memory that the queue needs.
    pub const MEMORY_LEN: u64 = Self::used_at() + used::len(Self::SIZE);

    const fn avail_at() -> u64 {
        desc_table_len(Self::SIZE)
    }

    const fn used_at() -> u64 {
        (Self::avail_at() + avail::len(Self::SIZE)).next_multiple_of(16)
    }

    /// An empty queue in `memory`, which lies at `gpa` of this VM. Both must be 16-byte aligned.
    pub fn new(gpa: Gpa, memory: PeerSlice<'static>) -> Result<Self, QueueError> {
        let part = |at, len| memory.sub(at, len).map_err(|_| QueueError);
        let driver = part(Self::avail_at(), avail::len(Self::SIZE))?;
        let device = part(Self::used_at(), used::len(Self::SIZE))?;
        if !gpa.0.is_multiple_of(16) {
            return Err(QueueError);
        }
        let queue = Self {
            desc: memory.ring(0, Self::SIZE).ok_or(QueueError)?,
            avail: driver.ring(avail::RING, Self::SIZE).ok_or(QueueError)?,
            avail_idx: driver.cell16(avail::IDX).ok_or(QueueError)?,
            used: device.ring(used::RING, Self::SIZE).ok_or(QueueError)?,
            used_idx: device.cell16(used::IDX).ok_or(QueueError)?,
            addresses: QueueAddresses {
                desc: gpa,
                driver: Gpa(gpa.0 + Self::avail_at()),
                device: Gpa(gpa.0 + Self::used_at()),
            },
            given: [None; N],
            free: core::array::from_fn(|index| index as u16),
            free_len: N,
            next_avail: RingIdx(0),
            next_used: RingIdx(0),
            fault: None,
        };
        // A driver that polls wants no interrupt. See: VIRTIO 2.7.7 "Used Buffer Notification Suppression".
        driver.cell16(avail::FLAGS).ok_or(QueueError)?.store_release(AvailF::NO_INTERRUPT.bits());
        queue.avail_idx.store_release(0);
        queue.used_idx.store_release(0);
        Ok(queue)
    }

    /// Where its areas are, for the device.
    pub const fn addresses(&self) -> QueueAddresses {
        self.addresses
    }

    /// Buffers that can be given.
    pub const fn room(&self) -> usize {
        self.free_len
    }

    /// Gives the device the `len` bytes at `at` to fill; it sees them after [`DriverQueue::publish`]. Returns `false`, and gives
    /// nothing, if there is no room.
    #[must_use]
    #[inline]
    pub fn give(&mut self, at: Gpa, len: u32, token: u32) -> bool {
        let Some(&index) = self.free.get(self.free_len.wrapping_sub(1)) else { return false };
        self.free_len -= 1;
        self.given[usize::from(index) % N] = Some(Buffer { token, len });
        self.desc.set(index, Desc { addr: at, len, flags: DescF::WRITE.bits(), next: 0 });
        self.avail.set(self.next_avail.0, index);
        self.next_avail = self.next_avail.advance(1);
        true
    }

    /// Shows the device all buffers given so far. See: VIRTIO 2.7.13.3 "Updating idx".
    pub fn publish(&mut self) {
        self.avail_idx.store_release(self.next_avail.0);
    }

    /// How many buffers came back and were not taken yet.
    #[inline]
    pub fn ready(&mut self) -> Result<u16, DeviceFault> {
        let ready = RingIdx(self.used_idx.load_acquire()).ahead_of(self.next_used);
        if usize::from(ready) > N - self.free_len {
            self.fault = Some(DeviceFault::UsedIdx);
        }
        self.fault.map_or(Ok(ready), Err)
    }

    /// Takes the next buffer that came back. Call it at most as often as [`DriverQueue::ready`] said.
    #[inline]
    pub fn take(&mut self) -> Result<Received, DeviceFault> {
        let UsedElem { id, len } = self.used.get(self.next_used.0);
        let given = self.given.get_mut(id as usize).and_then(Option::take);
        let buffer = given.ok_or(DeviceFault::UsedId).inspect_err(|&fault| self.fault = Some(fault))?;
        self.free[self.free_len % N] = id as u16;
        self.free_len += 1;
        self.next_used = self.next_used.advance(1);
        if len > buffer.len {
            self.fault = Some(DeviceFault::UsedLen);
            return Err(DeviceFault::UsedLen);
        }
        Ok(Received { token: buffer.token, len })
    }

    /// The rule that the device broke, if it broke one.
    pub const fn fault(&self) -> Option<DeviceFault> {
        self.fault
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;

    const N: usize = 8;
    type Queue = DriverQueue<N>;

    #[allow(unsafe_code, reason = "makes test memory")]
    fn memory() -> PeerSlice<'static> {
        let words: &'static mut [u128] = Box::leak(std::vec![0u128; 64].into_boxed_slice());
        // SAFETY: leaked, and not touched otherwise.
        unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), 1024) }
    }

    /// A queue with `count` buffers given, and its memory.
    fn queue(count: u32) -> (Queue, PeerSlice<'static>) {
        let memory = memory();
        let mut queue = Queue::new(Gpa(0x1000), memory).unwrap();
        assert!((0..count).all(|token| queue.give(Gpa(0x8000 + 2048 * u64::from(token)), 2048, token)));
        queue.publish();
        (queue, memory)
    }

    /// What a device would do: used element `at`, then `idx`.
    fn use_one(memory: PeerSlice<'_>, at: u16, element: UsedElem, idx: u16) {
        let device = memory.sub(Queue::used_at(), used::len(N as u16)).unwrap();
        device.ring(used::RING, N as u16).unwrap().set(at, element);
        device.cell16(used::IDX).unwrap().store_release(idx);
    }

    #[test]
    fn the_device_sees_what_was_given() {
        let (queue, memory) = queue(3);
        let desc: Desc = memory.table(0, N as u16).unwrap().get(7).unwrap();
        assert_eq!(desc, Desc { addr: Gpa(0x8000), len: 2048, flags: 2, next: 0 });
        assert_eq!(memory.cell16(Queue::avail_at() + avail::IDX).unwrap().load_acquire(), 3);
        assert_eq!(memory.cell16(Queue::avail_at() + avail::FLAGS).unwrap().load_acquire(), 1);
        assert_eq!((queue.room(), queue.addresses().driver), (5, Gpa(0x1000 + 128)));
    }

    #[test]
    fn a_full_queue_takes_nothing_more() {
        let (mut queue, _) = queue(8);
        assert!(!queue.give(Gpa(0), 64, 9));
    }

    #[test]
    fn buffers_come_back_in_any_order_and_can_be_given_again_past_the_wrap() {
        let (mut queue, memory) = queue(8);
        for round in 0..70_000u32 {
            let id = (round * 5 + 3) % 8;
            use_one(memory, round as u16, UsedElem { id, len: 76 }, round.wrapping_add(1) as u16);
            assert_eq!(queue.ready(), Ok(1));
            let received = queue.take().unwrap();
            assert_eq!(received.len, 76);
            assert!(queue.give(Gpa(0x8000), 2048, received.token));
            queue.publish();
        }
    }

    #[test]
    fn each_lie_of_the_device_is_found_and_ends_the_queue() {
        let cases = [
            (UsedElem { id: 0, len: 64 }, 4, DeviceFault::UsedIdx),
            (UsedElem { id: 0, len: 64 }, u16::MAX, DeviceFault::UsedIdx),
            (UsedElem { id: 8, len: 64 }, 1, DeviceFault::UsedId),
            (UsedElem { id: u32::MAX, len: 64 }, 1, DeviceFault::UsedId),
            (UsedElem { id: 0x1_0007, len: 64 }, 1, DeviceFault::UsedId),
            (UsedElem { id: 0, len: 64 }, 1, DeviceFault::UsedId),
            (UsedElem { id: 7, len: 2049 }, 1, DeviceFault::UsedLen),
        ];
        for (element, idx, expected) in cases {
            let (mut queue, memory) = queue(3);
            use_one(memory, 0, element, idx);
            let fault = match queue.ready() {
                Ok(_) => queue.take().unwrap_err(),
                Err(fault) => fault,
            };
            assert_eq!((fault, queue.ready()), (expected, Err(expected)));
        }
    }

    #[test]
    fn the_same_buffer_twice_is_found() {
        let (mut queue, memory) = queue(3);
        use_one(memory, 0, UsedElem { id: 7, len: 64 }, 0);
        use_one(memory, 1, UsedElem { id: 7, len: 64 }, 2);
        assert_eq!(queue.ready(), Ok(2));
        assert!(queue.take().is_ok());
        assert_eq!(queue.take(), Err(DeviceFault::UsedId));
    }
}
