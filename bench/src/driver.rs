//! The driver's side: as little as a driver can do, and the same for every device side.
//!
//! Buffer `slot` is in the ring at `slot`, and device sides use buffers in order; whoever does otherwise is found out.

use crate::arena::{Arena, RING_LEN, SIZE, frame};
use crate::device::Ring;
use crate::imix::{self, IMIX};
use crate::layout::{Layout, Packed, Split};
use anyhow::{Context, Result, bail};
use sluice_abi::directory::Queue;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::PeerSlice;

/// Frames at the start of each series that are looked at byte by byte.
const CHECKED: u16 = 2 * SIZE;
/// The bytes of the buffers before a device writes.
const POISON: u8 = 0xee;

/// A driver with one queue.
pub struct Driver {
    format: Ring,
    layout: Layout,
    queue: Queue,
    memory: PeerSlice<'static>,
    buffers: Vec<Gpa>,
    buffer_len: u32,
    given: RingIdx,
    taken: RingIdx,
    expected: Expected,
}

/// Bursts that will arrive.
#[derive(Clone, Copy, Default)]
pub struct Series {
    /// Frames of a burst.
    pub burst: u16,
    /// Bytes of each frame, or the mix.
    pub len: u16,
    /// Whether the header's `num_buffers` is written.
    pub counts_buffers: bool,
}

/// The frames that must arrive.
#[derive(Clone, Copy, Default)]
struct Expected {
    series: Series,
    /// Place in the burst of the next frame.
    next: u16,
    /// Frames to be looked at byte by byte.
    checked: u16,
}

impl Driver {
    /// A queue of format `ring` in `arena`.
    pub fn new(arena: &mut Arena, ring: Ring) -> Result<Self> {
        let (at, areas) = arena.ring()?;
        let (layout, addresses) = match ring {
            Ring::Split | Ring::InOrder => Split::lay(at, areas),
            Ring::Packed => Packed::lay(at, areas),
        }
        .with_context(|| format!("a ring needs more than {RING_LEN} bytes"))?;
        let features = ring.features().bits();
        Ok(Self {
            format: ring,
            layout,
            queue: Queue { addresses, features, size: SIZE, ..Default::default() },
            memory: arena.driver_memory,
            buffers: (0..SIZE).map(|slot| arena.buffer_at(slot)).collect(),
            buffer_len: arena.buffer_len,
            given: RingIdx(0),
            taken: RingIdx(0),
            expected: Expected::default(),
        })
    }

    /// The ring's format.
    pub fn format(&self) -> Ring {
        self.format
    }

    /// The queue, for a device side.
    pub fn queue(&self) -> Queue {
        self.queue
    }

    /// Returns the ring as a device side sees it.
    pub fn layout(&self) -> Layout {
        self.layout.clone()
    }

    /// Begins `series`, the first frames of which are looked at byte by byte.
    pub fn expect(&mut self, series: Series) -> Result<()> {
        let poison = vec![POISON; self.buffer_len as usize];
        for buffer in &self.buffers {
            self.memory.copy_from_slice(buffer.0, &poison).ok().context("a buffer is outside")?;
        }
        self.expected = Expected { series, next: 0, checked: CHECKED };
        Ok(())
    }

    /// Gives the device all buffers that it does not have, and returns their number.
    pub fn give_all(&mut self) -> u16 {
        let free = SIZE - self.given.ahead_of(self.taken);
        for _ in 0..free {
            let buffer = self.buffers[usize::from(self.given.0 % SIZE)];
            self.layout.give(self.given.0, buffer, self.buffer_len);
            self.given = self.given.advance(1);
        }
        self.layout.show(self.given.0);
        free
    }

    /// Whether anything arrived that was not taken.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.layout.ready(self.taken.0, 1) > 0
    }

    /// Takes what arrived, at most `most` frames: how many.
    pub fn take(&mut self, most: u16) -> Result<u16> {
        let count = self.layout.ready(self.taken.0, self.given.ahead_of(self.taken).min(most));
        for _ in 0..count {
            self.take_one()?;
        }
        Ok(count)
    }

    fn take_one(&mut self) -> Result<()> {
        let Expected { series: Series { burst, len, .. }, next, .. } = self.expected;
        let len = imix::len(len, next.into());
        let slot = self.taken.0 % SIZE;
        let (id, used) = self.layout.used(self.taken.0);
        if (id, used) != (u32::from(slot), u32::from(len) + HDR_LEN) {
            bail!("buffer {id} with {used} bytes came back, not buffer {slot} with {len} and a header");
        }
        let first = self.memory.read::<u8>(self.buffers[usize::from(slot)].0 + u64::from(HDR_LEN));
        if first != Ok(next as u8) {
            bail!("frame {next} of a burst did not arrive in its place");
        }
        if self.expected.checked > 0 {
            self.expected.checked -= 1;
            self.check(slot, next)?;
        }
        self.expected.next = if next + 1 == burst { 0 } else { next + 1 };
        self.taken = self.taken.advance(1);
        Ok(())
    }

    /// Header and frame `index` are in the buffer of `slot`, and not a byte more. Of a mix of lengths the byte behind a
    /// frame is not looked at: all rings have the same buffers, so a longer frame may have been there before.
    fn check(&self, slot: u16, index: u16) -> Result<()> {
        let Series { len, counts_buffers, .. } = self.expected.series;
        let len = usize::from(imix::len(len, index.into()));
        let header = if counts_buffers { PLAIN_HDR.len() } else { PLAIN_HDR.len() - 2 };
        let mut arrived = vec![0; HDR_LEN as usize + len + 1];
        self.memory.copy_to_slice(self.buffers[usize::from(slot)].0, &mut arrived).ok().context("outside")?;
        let end = HDR_LEN as usize + len;
        let spilled = self.expected.series.len != IMIX && arrived[end] != POISON;
        if spilled || arrived[HDR_LEN as usize..end] != frame(index, len) || arrived[..header] != PLAIN_HDR[..header] {
            bail!("frame {index} of {len} bytes did not arrive as it was sent");
        }
        Ok(())
    }
}
