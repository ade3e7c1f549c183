//! The loop that decides what a packet costs: each packet into the next buffer, whatever the ring's format.
//!
//! docs/performance.md has its instructions.

use sluice_abi::Gpa;
use sluice_memory::{Bias, Entries, Excess, LINE, Lanes, Step, Steps, Transfer, Upcoming};

/// Buffers between the one that is filled and the one that is fetched.
const AHEAD: usize = 4;

/// A region of a peer whose buffers are filled.
pub(crate) struct Target {
    /// Its start in the peer's guest-physical space.
    pub region: Gpa,
    /// From packet memory into it.
    pub transfer: Transfer<'static>,
}

/// The buffers of a ring, as its format has them.
pub(super) trait Buffers {
    /// What of the ring goes with each packet.
    type Entries: Entries;

    /// Where the buffer of this step is; `None` if it is not one descriptor with room for `total` bytes, or breaks a rule. `ONE_LINE`: these are
    /// the bytes of a header and [`LINE`] bytes.
    fn take<const ONE_LINE: bool>(&self, step: &Step<'_, Self::Entries>, total: u32) -> Option<Gpa>;

    /// The buffer of this step, which was taken, has `total` bytes now. The driver is not told yet, but may look: before this it finds nothing
    /// of a packet that is not its own.
    fn fill(&self, step: &Step<'_, Self::Entries>, total: u32);

    /// Where the buffer of this step will be, of which nothing is checked.
    fn addr(&self, step: &Step<'_, Self::Entries>) -> Option<Gpa>;
}

/// Fills buffers with packets, each pair a step, until one does not suit: how many. A packet suits that is for the peer that `first` names, the second word of one for it, has no header of
/// its own, and is not longer than the peer takes; a buffer of one descriptor that is long enough, in the region of `target`. What
/// does not suit may still be right: ask again, and if nothing is filled then, the packet is [`super::DeviceQueue::enqueue`]'s.
///
/// `ONE_LINE`: a packet suits only if it has [`LINE`] bytes, as `first` says. What frames left in vector registers is cleared.
#[inline(always)]
pub(super) fn fill<const ONE_LINE: bool, B: Buffers>(
    first: u32,
    target: &Target,
    buffers: &B,
    steps: &Steps<'_, B::Entries>,
    lanes: impl Lanes,
) -> u16 {
    let lanes = lanes.headed();
    // Not read anew for each packet.
    let (transfer, region) = (target.transfer, target.region.0);
    let bias = Bias::of(first & 0xffff_0000);
    let filled = steps.take_while(|step| {
        if ONE_LINE {
            step.is(first).then_some(())?;
            let frame = transfer.at(step.offset())?;
            let to = buffers.take::<true>(step, HEADED_LINE)?;
            frame.put_line(to.0.wrapping_sub(region), lanes)?;
            buffers.fill(step, HEADED_LINE);
        } else {
            let excess = Excess::of(step.len_and_peer(), bias);
            let frame = transfer.at(step.offset())?;
            let to = buffers.take::<false>(step, excess.total())?;
            // A long frame keeps the processor from looking ahead by itself.
            let next = Next { step, buffers, region };
            frame.put(excess, to.0.wrapping_sub(region), lanes, next)?;
            buffers.fill(step, excess.total());
        }
        Some(())
    });
    lanes.scrub();
    filled as u16
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

/// Bytes of a header and [`LINE`] bytes.
const HEADED_LINE: u32 = LINE as u32 + sluice_abi::net::HDR_LEN;
