//! A receive queue that its user fills with buffers of his own: the layer under [`crate::VirtioNet`] and
//! [`crate::Mempool`].

use crate::{Options, PacketMemory, RX_SIZE, RxError, VirtioNetError};
use sluice_abi::Gpa;
use sluice_abi::net::{ETHERNET_HEADER, HDR_LEN, Hdr, receiveq};
use sluice_driver::{
    Arrival, ArrivedFrame, DeviceFault, DriverQueue, Part, Receiver, Setup, Started, Transport, Wanted,
};

/// A buffer that was posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    /// Offset of the buffer in packet memory, in bytes. The buffer begins with 12 bytes of header; the frame follows.
    pub offset: u32,
    /// The owner's number for the buffer.
    pub token: u32,
}

/// The next buffer that came back from the device. The buffer is its owner's again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// No buffer came back.
    Nothing,
    /// A buffer with a frame came back.
    Frame {
        /// Token of the buffer.
        token: u32,
        /// Offset of the frame in packet memory, in bytes.
        offset: u32,
        /// Length of the frame in bytes.
        len: u32,
        /// Header of the frame. It fits the frame and asks for nothing that was not negotiated.
        hdr: Hdr,
    },
    /// A buffer without a frame came back: the header did not fit the frame, or there were no bytes.
    Dropped {
        /// Token of the dropped buffer.
        token: u32,
    },
}

/// Reasons for which a buffer is not posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Each entry of the queue has a buffer.
    #[error("each of the {entries} entries of the receive queue has a buffer")]
    Full {
        /// Number of entries of the queue.
        entries: u16,
    },
    /// The buffer is not within the memory that the queue was started with.
    #[error("a buffer of {len} bytes at offset {offset:#x} is outside the memory of the receive queue")]
    Outside {
        /// Offset of the buffer in packet memory, in bytes.
        offset: u32,
        /// Length of the buffer in bytes.
        len: u32,
    },
    /// The buffer has no room for a header and the longest frame that a sender may put into it.
    #[error("a buffer of {len} bytes is too short: header and longest frame have {least}")]
    TooShort {
        /// Length of the short buffer in bytes.
        len: u32,
        /// Length that it must have, in bytes.
        least: u32,
    },
}

/// The receive side of a virtio-net device, with one buffer per frame.
pub struct ReceiveQueue {
    pub(crate) queue: DriverQueue<RX_SIZE, Buffer>,
    receiver: Receiver,
    buffers: PacketMemory,
    started: Started,
}

impl ReceiveQueue {
    /// Length of the memory for a queue of any format, in bytes.
    pub const MEMORY_LEN: u32 = (DriverQueue::<RX_SIZE>::MEMORY_LEN as u32).next_multiple_of(2048);

    /// Starts the device behind `transport`, with its queue in `memory`. Buffers lie within `buffers` and hold frames
    /// of at least `longest` bytes. `options.mergeable` is ignored.
    ///
    /// # Errors
    /// [`VirtioNetError`]. A device whose MTU makes frames longer than `longest` is not started.
    pub fn start(
        transport: &mut impl Transport,
        memory: PacketMemory,
        buffers: PacketMemory,
        longest: u16,
        options: impl Into<Options>,
    ) -> Result<Self, VirtioNetError> {
        let options = Options { mergeable: false, pairs: 1, ..options.into() };
        options.check(longest, 1)?;
        let wanted = Wanted { features: options.features(), pairs: 1 };
        let most = longest.saturating_sub(ETHERNET_HEADER);
        let mut setup = Setup::with_mtu(transport, wanted, most).map_err(VirtioNetError::Start)?;
        let queue = Self::set_up(&mut setup, 0, memory, buffers, options.entries)?;
        setup.start();
        Ok(queue)
    }

    /// Sets up the receive queue of queue pair `pair` of a device that is about to start.
    pub(crate) fn set_up<T: Transport>(
        setup: &mut Setup<'_, T>,
        pair: u16,
        memory: PacketMemory,
        buffers: PacketMemory,
        entries: u16,
    ) -> Result<Self, VirtioNetError> {
        let started = *setup.agreed();
        let queue = DriverQueue::new(memory.gpa, memory.memory, entries, started.features);
        let queue = queue.map_err(VirtioNetError::Queue)?;
        setup.set_queue(receiveq(pair), &queue).map_err(VirtioNetError::Start)?;
        Ok(Self { queue, receiver: Receiver::new(started.features), buffers, started })
    }

    /// Returns what was agreed on with the device.
    pub const fn started(&self) -> &Started {
        &self.started
    }

    /// Returns the rule that the device side broke. Nothing is received after that.
    pub const fn fault(&self) -> Option<DeviceFault> {
        self.queue.fault()
    }

    /// Returns the number of buffers that can be posted.
    #[inline(always)]
    pub const fn room(&self) -> usize {
        self.queue.room()
    }

    /// Returns the length in bytes that a buffer must have: a header and a frame of the MTU.
    pub const fn least(&self) -> u32 {
        HDR_LEN + ETHERNET_HEADER as u32 + self.started.mtu as u32
    }

    /// Gives the device the `len` bytes at `offset` of packet memory to put a header and a frame into. The device sees
    /// them after [`ReceiveQueue::publish`]. `token` comes back with them.
    ///
    /// # Errors
    /// [`PostError`], with which nothing is posted.
    pub fn post(&mut self, offset: u32, len: u32, token: u32) -> Result<(), PostError> {
        if len < self.least() {
            return Err(PostError::TooShort { len, least: self.least() });
        }
        let at = offset.checked_sub(self.buffers.offset).map(u64::from);
        let at = at.filter(|&at| at + u64::from(len) <= self.buffers.memory.len());
        let at = at.ok_or(PostError::Outside { offset, len })?;
        let given = self.queue.give(Gpa(self.buffers.gpa.0 + at), len, Buffer { offset, token });
        if given { Ok(()) } else { Err(PostError::Full { entries: self.queue.size() }) }
    }

    /// Shows the device all buffers posted so far.
    #[inline]
    pub fn publish(&mut self) {
        self.queue.publish();
    }

    /// Takes the next buffer that came back.
    ///
    /// # Errors
    /// [`RxError::Device`], now and from now on.
    #[inline]
    pub fn take(&mut self) -> Result<Arrived, RxError> {
        let mut part = [Part::default()];
        let arrival = self.take_parts(&mut part).map_err(RxError::Device)?;
        let Buffer { offset, token } = part[0].token;
        Ok(match arrival {
            Arrival::Nothing => Arrived::Nothing,
            Arrival::Frame(ArrivedFrame { hdr, len, .. }) => {
                Arrived::Frame { token, offset: offset + HDR_LEN, len, hdr }
            }
            Arrival::Dropped(_) => Arrived::Dropped { token },
        })
    }

    /// Takes the next frame in all its buffers.
    #[inline(always)]
    pub(crate) fn take_parts(&mut self, parts: &mut [Part<Buffer>]) -> Result<Arrival, DeviceFault> {
        let Self { queue, receiver, buffers, .. } = self;
        let header = |buffer: Buffer| {
            let at = u64::from(buffer.offset.wrapping_sub(buffers.offset));
            buffers.memory.sub(at, HDR_LEN.into()).ok()
        };
        receiver.take(queue, header, parts)
    }
}
