//! The loop that decides what a packet costs: each packet of a burst into the next buffer, whatever the ring's format.
//!
//! From top to bottom: which loop a burst takes ([`DeviceQueue::enqueue_fast`]), the loop (`fill`), what it does for
//! one packet (`fill_one`), and how each format hands out its buffers ([`Buffers`]). docs/performance.md has its
//! instructions.
//!
//! # Why there is one loop for each format and kind of length
//! A burst has one format, and the shortest frames are all alike. Where both are constants, registers suffice for the
//! whole loop.

use super::device::{DeviceQueue, Ring};
use super::packed::Packed;
use super::split::Split;
use sluice_abi::Gpa;
use sluice_abi::call::{MAX_BURST, Packet};
use sluice_abi::net::HDR_LEN;
use sluice_abi::packed::DescF;
use sluice_abi::virtq::Desc;
use sluice_memory::{
    Bias, Entries, Excess, Headed, Heads, InOrder, LINE, Lanes, Slots, Step, Steps, Table, Transfer, Upcoming,
};

/// Buffers between the one that is filled and the one that is fetched.
const AHEAD: usize = 4;
/// Bytes of a header and [`LINE`] bytes.
const HEADED_LINE: u32 = HDR_LEN + LINE as u32;

/// A region of a peer whose buffers are filled.
pub(crate) struct Target {
    /// Start of the region in the peer's guest-physical space.
    pub region: Gpa,
    /// The way from packet memory into the region.
    pub transfer: Transfer<'static>,
}

impl DeviceQueue {
    /// Fills buffers with the first of `packets`, until a packet or a buffer does not suit, and returns how many it
    /// filled. `first` is the second word of the first packet, and names the peer of all. The driver sees nothing of it
    /// before [`DeviceQueue::publish`].
    ///
    /// A packet suits that is for that peer, has no header of its own, and is not longer than the peer takes; a buffer
    /// of one descriptor that is long enough, in the region of `target`. What does not suit may still be right: ask
    /// again, and if nothing is filled then, the packet is for [`DeviceQueue::enqueue`]. Nothing is marked in a log.
    #[inline(always)]
    pub(crate) fn enqueue_fast(
        &mut self,
        packets: Table<'static, Packet>,
        first: u32,
        target: &Target,
        lanes: impl Lanes,
    ) -> u16 {
        if first as u16 == LINE as u16 {
            self.ring.fill::<true>(packets, first, target, lanes)
        } else {
            self.ring.fill::<false>(packets, first, target, lanes)
        }
    }
}

impl Ring {
    /// Fills first and advances after: a position that is kept over the loop costs it a register.
    #[inline(always)]
    fn fill<const ONE_LINE: bool>(
        &mut self,
        packets: Table<'static, Packet>,
        first: u32,
        target: &Target,
        lanes: impl Lanes,
    ) -> u16 {
        match self {
            Self::Split(split) if split.in_order => {
                let filled = fill_in_order::<ONE_LINE>(split, packets, first, target, lanes);
                split.take(filled)
            }
            Self::Split(split) => {
                let filled = fill_split::<ONE_LINE>(split, packets, first, target, lanes);
                split.take(filled)
            }
            Self::Packed(packed) => {
                let filled = fill_packed::<ONE_LINE>(packed, packets, first, target, lanes);
                packed.take(filled)
            }
        }
    }
}

#[inline(never)]
fn fill_split<const ONE_LINE: bool>(
    split: &Split,
    packets: Table<'static, Packet>,
    first: u32,
    target: &Target,
    lanes: impl Lanes,
) -> u16 {
    let Ok(room) = split.available() else { return 0 };
    let steps = split.rings.steps(&packets, split.index().0, room);
    fill::<ONE_LINE, _>(first, target, &AnyOrder(split.desc), &steps, lanes)
}

#[inline(never)]
fn fill_in_order<const ONE_LINE: bool>(
    split: &Split,
    packets: Table<'static, Packet>,
    first: u32,
    target: &Target,
    lanes: impl Lanes,
) -> u16 {
    let Ok(room @ 1..) = split.available() else { return 0 };
    let steps = split.rings.steps_in_order(&split.desc, &packets, split.index().0, room);
    fill::<ONE_LINE, _>(first, target, &DriverOrder, &steps, lanes)
}

#[inline(never)]
fn fill_packed<const ONE_LINE: bool>(
    packed: &Packed,
    packets: Table<'static, Packet>,
    first: u32,
    target: &Target,
    lanes: impl Lanes,
) -> u16 {
    let (published, pending) = packed.cursor.get();
    let at = published.advance(pending, packed.size());
    let Some(shadow) = packed.shadow.get(pending.into()..(MAX_BURST as u16).min(packed.size()).into()) else {
        return 0;
    };
    let steps = Steps::slots(&packed.ring, &packets, at.slot, shadow);
    let available = (DescF::available(at.wrap) | DescF::WRITE).bits();
    let used = u64::from(at.used(1).bits()) << 48;
    fill::<ONE_LINE, _>(first, target, &OneSlot { available, used }, &steps, lanes)
}

/// Fills the buffer of each step with its packet, until one does not suit, and returns how many it filled. What frames
/// left in vector registers is cleared.
#[inline(always)]
fn fill<const ONE_LINE: bool, B: Buffers>(
    first: u32,
    target: &Target,
    buffers: &B,
    steps: &Steps<'_, B::Entries>,
    lanes: impl Lanes,
) -> u16 {
    let lanes = Headed::new(lanes);
    // What the loop needs is copied, so that no store to a buffer makes the compiler read it anew.
    let burst =
        Burst { first, bias: Bias::of(first & 0xffff_0000), region: target.region.0, transfer: target.transfer };
    let mut step = steps.first();
    if steps.count() > 0 {
        while burst.fill_one::<ONE_LINE, B>(&step, buffers, lanes).is_some() && step.advance() {}
    }
    lanes.scrub();
    step.number() as u16
}

/// What all packets of a burst have in common.
#[derive(Clone, Copy)]
struct Burst {
    /// Second word of the first packet: length, peer, and no flags.
    first: u32,
    /// What turns a packet's second word into its length, and any other peer's into no length.
    bias: Bias,
    region: u64,
    transfer: Transfer<'static>,
}

impl Burst {
    /// Fills the buffer of `step` with its packet, if both suit. `ONE_LINE`: a packet suits only if it is as long as
    /// the first one, [`LINE`] bytes.
    #[inline(always)]
    fn fill_one<const ONE_LINE: bool, B: Buffers>(
        &self,
        step: &Step<'_, B::Entries>,
        buffers: &B,
        lanes: Headed<impl Lanes>,
    ) -> Option<()> {
        if ONE_LINE {
            step.is(self.first).then_some(())?;
            let frame = self.transfer.at(step.offset())?;
            let to = buffers.take::<true>(step, HEADED_LINE)?;
            frame.put_line(to.0.wrapping_sub(self.region), lanes)?;
            buffers.fill(step, HEADED_LINE);
        } else {
            let excess = Excess::of(step.len_and_peer(), self.bias);
            let frame = self.transfer.at(step.offset())?;
            let to = buffers.take::<false>(step, excess.total())?;
            // A long frame keeps the processor from looking ahead by itself.
            let next = Next { step, buffers, region: self.region };
            frame.put(excess, to.0.wrapping_sub(self.region), lanes, next)?;
            buffers.fill(step, excess.total());
        }
        Some(())
    }
}

/// The buffer that is filled [`AHEAD`] steps later, in the region that starts at `region`.
struct Next<'s, B: Buffers> {
    step: &'s Step<'s, B::Entries>,
    buffers: &'s B,
    region: u64,
}

impl<B: Buffers> Upcoming for Next<'_, B> {
    #[inline(always)]
    fn offset(self) -> Option<u64> {
        Some(self.buffers.addr(&self.step.ahead(AHEAD)?)?.0.wrapping_sub(self.region))
    }
}

/// The buffers of a ring, as its format has them.
trait Buffers {
    /// What of the ring goes with each packet.
    type Entries: Entries;

    /// Returns where the buffer of this step is, or `None` if it is not one descriptor with room for `total` bytes, or
    /// breaks a rule. `ONE_LINE`: `total` is [`HEADED_LINE`].
    fn take<const ONE_LINE: bool>(&self, step: &Step<'_, Self::Entries>, total: u32) -> Option<Gpa>;

    /// Notes that the buffer of this step, which was taken, has `total` bytes now. The driver is not told yet, but may
    /// look: before this it finds nothing of a packet that is not its own.
    fn fill(&self, step: &Step<'_, Self::Entries>, total: u32);

    /// Returns where the buffer of this step will be. Nothing is checked.
    fn addr(&self, step: &Step<'_, Self::Entries>) -> Option<Gpa>;
}

/// Split rings: the available ring names buffers in this table. Nobody looks at an entry of the used ring before it is
/// published.
struct AnyOrder(Table<'static, Desc>);

impl Buffers for AnyOrder {
    type Entries = Heads;

    #[inline(always)]
    fn take<const ONE_LINE: bool>(&self, step: &Step<'_, Heads>, total: u32) -> Option<Gpa> {
        let head = step.head();
        step.set_used_id(head);
        let buffer = self.0.buffer(head)?;
        buffer.is_writable::<ONE_LINE>(total).then(|| buffer.addr())
    }

    #[inline(always)]
    fn fill(&self, step: &Step<'_, Heads>, total: u32) {
        step.set_used_len(total);
    }

    #[inline(always)]
    fn addr(&self, step: &Step<'_, Heads>) -> Option<Gpa> {
        Some(self.0.buffer(step.head())?.addr())
    }
}

/// Split rings with `VIRTIO_F_IN_ORDER`: the driver gives buffers in the order of the table.
struct DriverOrder;

impl Buffers for DriverOrder {
    type Entries = InOrder;

    #[inline(always)]
    fn take<const ONE_LINE: bool>(&self, step: &Step<'_, InOrder>, total: u32) -> Option<Gpa> {
        step.is_writable::<ONE_LINE>(total).then(|| step.addr())
    }

    #[inline(always)]
    fn fill(&self, step: &Step<'_, InOrder>, total: u32) {
        step.set_used_id();
        step.set_used_len(total);
    }

    #[inline(always)]
    fn addr(&self, step: &Step<'_, InOrder>) -> Option<Gpa> {
        Some(step.addr())
    }
}

/// A packed ring: each buffer is one slot.
struct OneSlot {
    /// Flags of a slot that is available.
    available: u16,
    /// Flags of a slot that is used, in bits 63:48.
    used: u64,
}

impl Buffers for OneSlot {
    type Entries = Slots;

    #[inline(always)]
    fn take<const ONE_LINE: bool>(&self, step: &Step<'_, Slots>, total: u32) -> Option<Gpa> {
        let id = step.available::<ONE_LINE>(self.available, total)?;
        step.note((u64::from(id) << 32) | (self.used + u64::from(total)));
        Some(step.addr())
    }

    /// Does nothing: `take` noted everything where the driver does not see it.
    #[inline(always)]
    fn fill(&self, _: &Step<'_, Slots>, _: u32) {}

    #[inline(always)]
    fn addr(&self, step: &Step<'_, Slots>) -> Option<Gpa> {
        Some(step.addr())
    }
}
