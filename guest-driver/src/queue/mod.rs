//! The driver side of one queue, in each of the formats. See: VIRTIO 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues".
//!
//! Reading order: [`DriverQueue`], `ledger` (private notes), `split` and `packed` (the rings), `chain`.
//!
//! # Why no descriptor is read back
//! A free list in the descriptors themselves, as drivers that trust their device have it, would let the device steer
//! it. Here each number that the device writes is looked up in private memory.

mod chain;
mod ledger;
mod packed;
mod slot;
mod split;
#[cfg(test)]
mod tests;

use chain::{Chain, TABLE_LEN, Tables};
use core::fmt;
use ledger::Ledger;
use packed::Packed;
use sluice_abi::net::F;
use sluice_abi::virtq::QueueAddresses;
use sluice_abi::{Gpa, virtq};
use sluice_memory::PeerSlice;
use split::Split;

/// Each area starts on a cache line of its own.
const LINE: u64 = 64;

/// Reasons for which a queue can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The memory is too small or not aligned to 16 bytes.
    Memory,
    /// The size is 0, more than the queue can have, or, in a split ring, not a power of two.
    Size(u16),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(f, "queue memory is too small or not aligned to 16 bytes"),
            Self::Size(size) => write!(f, "a queue can't have {size} entries"),
        }
    }
}

/// The rule that the device broke. The queue takes nothing more from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// More buffers are said to be used than the device has, or fewer than a moment ago. VIRTIO 2.7.8 "The Virtqueue
    /// Used Ring".
    UsedIdx,
    /// A buffer is said to be used that the device does not have. VIRTIO 2.7.8 "The Virtqueue Used Ring", 2.8.2
    /// "Polling of available and used descriptors".
    UsedId,
    /// More bytes were written than the buffer has. VIRTIO 2.7.8 "The Virtqueue Used Ring", 2.8.4 "Element Address and
    /// Length".
    UsedLen,
    /// A packed descriptor is neither available nor used. VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
    UsedFlags,
    /// A frame is said to lie in more buffers than were used for it. VIRTIO 5.1.6.4.1 "Device Requirements: Processing
    /// of Incoming Packets".
    NumBuffers,
}

impl fmt::Display for DeviceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsedIdx => "the device used buffers that it does not have (VIRTIO 2.7.8)",
            Self::UsedId => "the device used a buffer that it does not have (VIRTIO 2.7.8, 2.8.2)",
            Self::UsedLen => "the device wrote more than the buffer holds (VIRTIO 2.7.8, 2.8.4)",
            Self::UsedFlags => "a descriptor is neither available nor used (VIRTIO 2.8.1)",
            Self::NumBuffers => "a frame lies in more buffers than were used (VIRTIO 5.1.6.4.1)",
        })
    }
}

/// The name of a buffer that the user of a queue chooses: a number, or a few.
pub trait Token: Copy + Default {}

impl<T: Copy + Default> Token for T {}

/// The function of [`DriverQueue::exchange`]: for token and written bytes of one buffer, address, length and token of
/// another.
trait Swap<T>: FnMut(T, u32) -> Option<(Gpa, u32, T)> {}

impl<T, S: FnMut(T, u32) -> Option<(Gpa, u32, T)>> Swap<T> for S {}

/// A buffer that came back: filled, or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<T = u32> {
    /// The token that [`DriverQueue::give`] or [`DriverQueue::send`] got.
    pub token: T,
    /// Number of bytes that the device wrote, header included; at most the length of the buffer.
    pub len: u32,
}

/// The driver side of a queue of at most `N` entries.
///
/// The notes of all buffers are in private memory, out of the device's reach. Of shared memory the driver reads only
/// words that the device is to write, each once.
pub struct DriverQueue<const N: usize, T = u32> {
    ledger: Ledger<N, T>,
    format: Format,
    tables: Option<Tables>,
    addresses: QueueAddresses,
}

enum Format {
    Split(Split),
    Packed(Packed),
}

impl<const N: usize> DriverQueue<N> {
    const SIZE: u16 = {
        assert!(N > 0 && N <= virtq::MAX_SIZE as usize);
        assert!(packed::len(N as u16) <= split::len(N as u16));
        N as u16
    };

    /// Length in bytes of the memory of a queue of any format and with any tokens.
    pub const MEMORY_LEN: u64 = split::len(Self::SIZE).next_multiple_of(LINE);

    /// Length in bytes of the memory behind [`Self::MEMORY_LEN`] that a queue uses for indirect tables, if it is there.
    pub const TABLES_LEN: u64 = TABLE_LEN * N as u64;
}

impl<const N: usize, T: Token> DriverQueue<N, T> {
    /// Returns an empty queue of `size` entries in `memory`, which lies at `gpa` of this VM. Both must be 16-byte
    /// aligned.
    ///
    /// `features` were agreed on with the device. The format follows from them. With [`F::INDIRECT_DESC`], chains go
    /// into tables if the memory has [`DriverQueue::MEMORY_LEN`] + [`DriverQueue::TABLES_LEN`] bytes. Interrupts are
    /// suppressed.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(gpa: Gpa, memory: PeerSlice<'static>, size: u16, features: F) -> Result<Self, QueueError> {
        let packed = features.contains(F::RING_PACKED);
        if size == 0 || size > DriverQueue::<N>::SIZE || !packed && !size.is_power_of_two() {
            return Err(QueueError::Size(size));
        }
        if !gpa.0.is_multiple_of(16) || gpa.checked_add(memory.len()).is_none() {
            return Err(QueueError::Memory);
        }
        let tables = memory.sub(DriverQueue::<N>::MEMORY_LEN, DriverQueue::<N>::TABLES_LEN).ok();
        let tables = tables.filter(|_| features.contains(F::INDIRECT_DESC));
        let mut queue = Self {
            ledger: Ledger::new(size, features.contains(F::IN_ORDER)),
            format: match packed {
                true => Format::Packed(Packed::new(memory, size, features)?),
                false => Format::Split(Split::new(memory, size, features)?),
            },
            tables: tables.map(|memory| Tables { memory, gpa: Gpa(gpa.0 + DriverQueue::<N>::MEMORY_LEN) }),
            addresses: if packed { packed::addresses(gpa, size) } else { split::addresses(gpa, size) },
        };
        queue.suppress_interrupts(true);
        Ok(queue)
    }

    /// Returns the addresses of the areas, for the device.
    pub const fn addresses(&self) -> QueueAddresses {
        self.addresses
    }

    /// Returns the number of entries.
    pub const fn size(&self) -> u16 {
        self.ledger.size
    }

    /// Returns the number of free descriptors: as many buffers of one piece can be given.
    #[inline]
    pub const fn room(&self) -> usize {
        self.ledger.room as usize
    }

    /// Gives the device the `len` bytes at `at` to fill. The device sees them after [`DriverQueue::publish`]. Returns
    /// `false`, and gives nothing, without a free descriptor.
    #[must_use]
    #[inline]
    pub fn give(&mut self, at: Gpa, len: u32, token: T) -> bool {
        match &mut self.format {
            Format::Split(ring) => ring.give(&mut self.ledger, at, len, token),
            Format::Packed(ring) => ring.give(&mut self.ledger, at, len, token),
        }
    }

    /// Gives the device the pieces `readable` to send, as one buffer. The device sees them after
    /// [`DriverQueue::publish`]. Returns `false`, and gives nothing, if too few descriptors are free, a piece is empty,
    /// or there are no pieces, more than [`virtq::max_chain`] allows, or 4 GiB of them.
    #[must_use]
    pub fn send(&mut self, readable: &[(Gpa, u32)], token: T) -> bool {
        self.request(readable, &[], token)
    }

    /// Gives the device a buffer as [`DriverQueue::send`] does, with pieces `writable` behind it for the device to
    /// fill.
    #[must_use]
    pub fn request(&mut self, readable: &[(Gpa, u32)], writable: &[(Gpa, u32)], token: T) -> bool {
        let most = virtq::max_chain(self.ledger.size);
        let chain = Chain::new(readable, writable).filter(|chain| chain.count <= most && self.ledger.room > 0);
        let Some(chain) = chain else { return false };
        match &mut self.format {
            Format::Split(ring) => ring.add(&mut self.ledger, self.tables, chain, token),
            Format::Packed(ring) => ring.add(&mut self.ledger, self.tables, chain, token),
        }
    }

    /// Publishes all buffers given so far.
    #[inline]
    pub fn publish(&mut self) {
        match &mut self.format {
            Format::Split(ring) => ring.publish(&mut self.ledger),
            Format::Packed(ring) => ring.publish(&mut self.ledger),
        }
    }

    /// Returns whether the device wants a notification of the buffers published since the last call. See: VIRTIO 2.7.10
    /// "Available Buffer Notification Suppression", 2.8.10 "Driver and Device Event Suppression".
    #[must_use]
    pub fn needs_notification(&mut self) -> bool {
        match &mut self.format {
            Format::Split(ring) => ring.needs_notification(&self.ledger),
            Format::Packed(ring) => ring.needs_notification(),
        }
    }

    /// Asks the device for no interrupts, or for one when the next buffer comes back. Only [`DriverQueue::ready`],
    /// called after this, tells of buffers that came back before. See: VIRTIO 2.7.7 "Used Buffer Notification
    /// Suppression", 2.8.10 "Driver and Device Event Suppression".
    pub fn suppress_interrupts(&mut self, suppress: bool) {
        match &mut self.format {
            Format::Split(ring) => ring.suppress_interrupts(&self.ledger, suppress),
            Format::Packed(ring) => ring.suppress_interrupts(suppress),
        }
    }

    /// Returns four aligned bytes of shared memory that change when the next buffer comes back, and their value now,
    /// little-endian, for a processor or an operating system that can wait for a change of a word.
    pub fn watch_word(&self) -> Option<(PeerSlice<'static>, u32)> {
        let memory = match &self.format {
            Format::Split(ring) => ring.watch_word(),
            Format::Packed(ring) => ring.watch_word(),
        }?;
        Some((memory, memory.read::<u32>(0).ok()?))
    }

    /// Returns a number of buffers that came back and were not taken yet. There may be more; 0 means that there is
    /// none.
    ///
    /// # Errors
    /// [`DeviceFault`], now and from now on.
    #[inline]
    pub fn ready(&mut self) -> Result<u16, DeviceFault> {
        if let Some(fault) = self.ledger.fault {
            return Err(fault);
        }
        match &mut self.format {
            Format::Split(ring) => ring.ready(&mut self.ledger),
            Format::Packed(ring) => ring.ready(&mut self.ledger, u16::MAX),
        }
    }

    /// Returns whether a buffer came back and was not taken yet.
    ///
    /// # Errors
    /// [`DeviceFault`], now and from now on.
    #[inline]
    pub fn is_ready(&mut self) -> Result<bool, DeviceFault> {
        if let Some(fault) = self.ledger.fault {
            return Err(fault);
        }
        match &mut self.format {
            Format::Split(ring) => ring.is_ready(&mut self.ledger),
            Format::Packed(ring) => ring.ready(&mut self.ledger, 1).map(|ready| ready > 0),
        }
    }

    /// Takes the next buffer that came back. The caller takes at most as many as [`DriverQueue::ready`] returned.
    ///
    /// # Errors
    /// [`DeviceFault`], now and from now on. A caller that takes more buffers than came back may get
    /// [`DeviceFault::UsedIdx`], which is not the device's fault then and does not stay.
    #[inline]
    pub fn take(&mut self) -> Result<Received<T>, DeviceFault> {
        match &mut self.format {
            Format::Split(ring) => ring.take(&mut self.ledger),
            Format::Packed(ring) => ring.take(&mut self.ledger),
        }
    }

    /// Takes buffers that came back, at most `most`, and gives the device another one for each. `swap` gets the token
    /// of a buffer and the number of bytes that the device wrote, at most the buffer's length, and returns address,
    /// length and token of the other buffer; with `None` the buffer stays, for [`DriverQueue::take`]. A chain, a batch
    /// of buffers in one element and a fault stay, too. Returns the number of buffers that were taken. The device sees
    /// the others after [`DriverQueue::publish`].
    #[inline(always)]
    pub fn exchange(&mut self, most: usize, swap: impl FnMut(T, u32) -> Option<(Gpa, u32, T)>) -> usize {
        if self.ledger.fault.is_some() {
            return 0;
        }
        match (&mut self.format, self.ledger.in_order) {
            (Format::Split(ring), false) => ring.exchange::<N, T, false>(&mut self.ledger, most, swap),
            (Format::Split(ring), true) => ring.exchange::<N, T, true>(&mut self.ledger, most, swap),
            (Format::Packed(ring), false) => ring.exchange::<N, T, false>(&mut self.ledger, most, swap),
            (Format::Packed(ring), true) => ring.exchange::<N, T, true>(&mut self.ledger, most, swap),
        }
    }

    /// Returns the rule that the device broke; `None` if it broke none.
    pub const fn fault(&self) -> Option<DeviceFault> {
        self.ledger.fault
    }

    /// Notes that the device broke a rule that only the user of the queue can see. The queue takes nothing more from
    /// it.
    pub(crate) fn blame(&mut self, fault: DeviceFault) -> DeviceFault {
        self.ledger.fail(fault)
    }

    /// Takes a buffer from the device, and returns its token; `None` if the device has none. The device, or the queue,
    /// must have been reset before, so that the device writes no more. The queue can't be used afterwards.
    pub fn reclaim(&mut self) -> Option<T> {
        self.ledger.room = 0;
        self.ledger.reclaim()
    }
}
