//! One queue of a peer, from the device side. The driver is the peer; it writes its areas at any time.
//!
//! The device uses each buffer as soon as it takes it, so one position counts both: buffers taken and buffers used. Nothing that is used
//! is seen before [`DeviceQueue::publish`], and until then [`DeviceQueue::rewind`] takes it back.
//!
//! # Why an enum and not a trait
//! Which format a queue has is known when it is attached, and a burst asks once. A trait object would be an indirect branch (rule G12), and a
//! type parameter would run through window, peers and calls.

mod chain;
mod drain;
mod fill;
mod log;
#[cfg(test)]
mod model;
mod packed;
mod respond;
mod split;

use crate::Regions;
use chain::Chain;
pub use drain::Dequeue;
pub use fill::Enqueue;
pub use log::DirtyLog;
use packed::Packed;
use sluice_abi::call::{Clause, Packet};
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, Hdr};
use sluice_abi::{Gpa, PeerIdx};
use sluice_memory::{LINE, Lanes, PeerSlice, Step, Steps, Table, Transfer};
use split::Split;

/// The device side of a virtqueue, of the format and with the features that were negotiated.
#[cfg_attr(test, derive(Clone))]
pub struct DeviceQueue {
    ring: Ring,
    features: F,
    log: Option<DirtyLog>,
}

#[cfg_attr(test, derive(Clone))]
#[allow(clippy::large_enum_variant, reason = "the larger one has its shadow inside, out of everybody's reach")]
enum Ring {
    Split(Split),
    Packed(Packed),
}

impl Ring {
    /// As [`DeviceQueue::enqueue_usual`], which says what is usual; see [`Burst::fill`] for `LINES`.
    #[inline(always)]
    fn enqueue<const LINES: bool>(&mut self, burst: &Burst<'_>, from: u16, lanes: impl Lanes) -> u16 {
        // Two steps: what the loops have to save for later they have no register for.
        match self {
            Self::Split(split) => {
                let filled = if split.in_order {
                    split.fill_in_order::<LINES>(burst, from, lanes)
                } else {
                    split.fill::<LINES>(burst, from, lanes)
                };
                split.take(filled)
            }
            Self::Packed(packed) => packed.take(packed.fill::<LINES>(burst, from, lanes)),
        }
    }
}

/// Buffers between the one that is filled and the one that is fetched.
const AHEAD: usize = 4;

/// Features that a queue can have, or that change nothing about rings and headers.
const KNOWN: F = F::all().difference(F::ACCESS_PLATFORM);

impl DeviceQueue {
    /// The queue `queue` in `regions`, as the driver leaves it at its start: nothing used.
    pub fn new(queue: &Queue, regions: &Regions) -> Result<Self, Clause> {
        let wraps_at_start = 1 << 15 | 1 << 31;
        let base = if queue.features & F::RING_PACKED.bits() != 0 { wraps_at_start } else { 0 };
        Self::resume(queue, regions, base)
    }

    /// The queue `queue` in `regions`, from the position that [`DeviceQueue::base`] said when it was left.
    pub fn resume(queue: &Queue, regions: &Regions, base: u32) -> Result<Self, Clause> {
        let features = F::from_bits(queue.features).filter(|&features| KNOWN.contains(features));
        let features = features.filter(|features| features.contains(F::VERSION_1)).ok_or(Clause::NotNegotiated)?;
        let ring = if features.contains(F::RING_PACKED) {
            Ring::Packed(Packed::new(queue, features, regions, base)?)
        } else {
            Ring::Split(Split::new(queue, features, regions, base)?)
        };
        Ok(Self { ring, features, log: None })
    }

    /// The position of what is published, as vhost-user has it. Split: the index of the next available entry. Packed: the next
    /// slot (bits 14:0) and its wrap counter (15), for taken and once more (30:16, 31) for used.
    /// See: "Vhost-user Protocol", "Ring states" and message `VHOST_USER_GET_VRING_BASE`.
    pub fn base(&self) -> u32 {
        match &self.ring {
            Ring::Split(split) => split.base(),
            Ring::Packed(packed) => packed.base(),
        }
    }

    /// Buffers that the driver has given and that are not taken. A packed ring says so slot by slot, and does not count: 1 if there are any.
    pub fn available(&self) -> Result<u16, Clause> {
        match &self.ring {
            Ring::Split(split) => split.available(),
            Ring::Packed(packed) => Ok(u16::from(packed.is_available())),
        }
    }

    /// Entries, or slots.
    pub fn size(&self) -> u16 {
        match &self.ring {
            Ring::Split(split) => split.size(),
            Ring::Packed(packed) => packed.size(),
        }
    }

    /// Whether one frame may fill several buffers.
    fn merges(&self) -> bool {
        self.features.contains(F::MRG_RXBUF)
    }

    /// Fills the next buffers with packets of `request` from `from` on, while they are for the burst's peer and everything is
    /// as usual: how many. `way` leads into the peer's memory, which starts at `first`.
    ///
    /// Usual is a buffer of one descriptor, in the region that the way leads into, that is long enough, and not beyond the end of the rings'
    /// arrays; and nobody logs what is written. What is not usual may still be right: ask again, and if nothing is filled then, the
    /// packet is [`DeviceQueue::enqueue`]'s.
    #[inline(always)]
    pub(crate) fn enqueue_usual(&mut self, burst: &Burst<'_>, from: u16, lanes: impl Lanes) -> u16 {
        if self.log.is_some() {
            return 0;
        }
        if burst.request.len_and_peer(from) == Some(burst.line()) {
            self.ring.enqueue::<true>(burst, from, lanes)
        } else {
            self.ring.enqueue::<false>(burst, from, lanes)
        }
    }

    /// Fills the next buffer, or buffers, of any shape with `hdr` and `frame`. `owed`: longest frame that one of the driver's
    /// buffers must hold if buffers aren't merged, bytes.
    pub fn enqueue(
        &mut self,
        regions: &Regions,
        hdr: &Hdr,
        frame: PeerSlice<'_>,
        owed: u32,
        lanes: impl Lanes,
    ) -> Result<Enqueue, Clause> {
        fill::fill(self, regions, hdr, frame, owed, lanes)
    }

    /// Takes the next frame that the driver sends into `into`.
    pub fn dequeue(&mut self, regions: &Regions, into: PeerSlice<'_>, lanes: impl Lanes) -> Result<Dequeue, Clause> {
        drain::drain(self, regions, into, lanes)
    }

    /// Takes the next request, answers it, and shows the driver the answer; `false` if there is no request. `into` is room for the bytes
    /// of a request. `answer` gets them, or `None` where they are more than that, and returns the byte that the driver reads.
    pub fn respond(
        &mut self,
        regions: &Regions,
        into: &mut [u8],
        answer: impl FnOnce(Option<&[u8]>) -> u8,
    ) -> Result<bool, Clause> {
        respond::respond(self, regions, into, answer)
    }

    /// The next chain, if there is one and what was used so far leaves room for it.
    fn next_chain(&self) -> Result<Option<Chain>, Clause> {
        match &self.ring {
            Ring::Split(split) => split.next_chain(),
            Ring::Packed(packed) => Ok(packed.next_chain()),
        }
    }

    /// `chain`, which [`DeviceQueue::next_chain`] gave and which was followed to its end, is used; `written` bytes were written.
    /// `false`, and nothing is used, if something must be published first.
    #[must_use]
    fn use_chain(&mut self, chain: &Chain, written: u32) -> bool {
        match &mut self.ring {
            Ring::Split(split) => split.use_chain(chain, written),
            Ring::Packed(packed) => return packed.use_chain(chain, written),
        }
        true
    }

    /// Shows the driver everything used so far, if there is anything new. See: VIRTIO 2.7.8.2 "Device Requirements: The Virtqueue
    /// Used Ring".
    #[inline(always)]
    pub fn publish(&mut self) {
        if let Some(log) = &self.log {
            self.log_used(log);
        }
        match &mut self.ring {
            Ring::Split(split) => split.publish(),
            Ring::Packed(packed) => packed.publish(),
        }
    }

    /// As [`DeviceQueue::publish`], where a publish of the same may have been interrupted.
    pub(crate) fn publish_again(&mut self) {
        if let Some(log) = &self.log {
            self.log_used(log);
        }
        match &mut self.ring {
            Ring::Split(split) => split.publish(),
            Ring::Packed(packed) => packed.publish_again(),
        }
    }

    #[cold]
    fn log_used(&self, log: &DirtyLog) {
        let (at, len) = match &self.ring {
            Ring::Split(split) => split.device_area(),
            Ring::Packed(packed) => packed.ring_area(),
        };
        log.mark(at, len);
    }

    /// Forgets what was used and not published; the buffers will be used again.
    pub fn rewind(&mut self) {
        self.keep(0);
    }

    /// Entries or slots that are used and not published.
    fn pending(&self) -> u64 {
        match &self.ring {
            Ring::Split(split) => split.pending(),
            Ring::Packed(packed) => packed.pending().into(),
        }
    }

    /// Takes back all but the first `pending` of these.
    fn keep(&mut self, pending: u64) {
        match &mut self.ring {
            Ring::Split(split) => split.keep(pending),
            Ring::Packed(packed) => packed.keep(pending as u16),
        }
    }

    /// Whether the driver wants to be told of what was published since this was last asked. See: VIRTIO 2.7.7 "Used Buffer Notification
    /// Suppression", 2.8.10 "Driver and Device Event Suppression".
    pub fn needs_notification(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(split) => split.needs_notification(),
            Ring::Packed(packed) => packed.needs_notification(),
        }
    }

    /// Says whether the driver is to notify the device of its next buffer. Look for buffers once more after switching it on.
    /// See: VIRTIO 2.7.10 "Available Buffer Notification Suppression".
    pub fn ask_for_notifications(&mut self, on: bool) {
        match &mut self.ring {
            Ring::Split(split) => split.ask_for_notifications(on),
            Ring::Packed(packed) => packed.ask_for_notifications(on),
        }
    }

    /// Where writes into the driver's memory are marked.
    pub(crate) const fn log(&self) -> Option<DirtyLog> {
        self.log
    }

    /// From now on every write into the driver's memory is marked in `log`, or, without one, in none. `false`, and nothing changes,
    /// if the log is too short for `regions`.
    pub fn set_log(&mut self, log: Option<DirtyLog>, regions: &Regions) -> bool {
        let fits = log.as_ref().is_none_or(|log| log.covers(regions));
        if fits {
            self.log = log;
        }
        fits
    }
}

/// What the usual packets of a burst have in common.
pub(crate) struct Burst<'m> {
    /// All packets of the call.
    pub request: Table<'static, Packet>,
    /// The peer that they are for.
    pub peer: PeerIdx,
    /// Start of the region that `way` leads into, in the peer's space.
    pub region: Gpa,
    /// From packet memory into that region.
    pub way: &'m Transfer<'static>,
}

impl Burst<'_> {
    /// Length, peer and flags of a packet of [`LINE`] bytes that is for queue 0 of that peer and has no header.
    #[inline(always)]
    fn line(&self) -> u32 {
        LINE as u32 | u32::from(self.peer.0) << 16
    }

    /// Puts packets where `place` says, which prepares a buffer for so many bytes, until one is not usual: how many. `LINES`: usual
    /// are those of [`LINE`] bytes alone, which in the loop are a constant then. What frames left in vector registers is cleared.
    ///
    /// Longer frames keep the processor from looking ahead, so the buffer that `next` says will be wanted is fetched early.
    #[inline(always)]
    fn fill<const LINES: bool, R>(
        &self,
        steps: &Steps<'_, R>,
        lanes: impl Lanes,
        next: impl Fn(&Step<'_, R>) -> Option<Gpa>,
        place: impl Fn(&Step<'_, R>, u32) -> Option<Gpa>,
    ) -> u16 {
        // Not read anew for each packet.
        let (way, region, line) = (*self.way, self.region.0, self.line());
        let filled = steps.take_while(|step| {
            let frame = if LINES {
                step.is(line).then(|| way.line(step.offset()))?
            } else {
                if let Some(next) = step.ahead(AHEAD).and_then(|step| next(&step)) {
                    way.prefetch(next.0.wrapping_sub(region));
                }
                // Too long, too, if the packet is for another peer or has a header.
                way.frame(step.offset(), step.len_and_peer().wrapping_sub(line - LINE as u32))
            }?;
            let to = place(step, frame.total())?;
            frame.put(to.0.wrapping_sub(region), lanes)
        });
        lanes.scrub();
        filled as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::peer::Memory;
    use sluice_memory::Words;

    const FORMATS: [(F, u16); 4] = [(F::empty(), 8), (F::IN_ORDER, 8), (F::RING_PACKED, 8), (F::RING_PACKED, 5)];

    /// Gives and fills `count` buffers.
    fn fill(driver: &mut Driver, queue: &mut DeviceQueue, regions: &Regions, count: usize) {
        let frame = Memory::new(&[64]);
        for _ in 0..count {
            let piece = driver.piece(100, true);
            driver.give(&[piece], false);
            let done = queue.enqueue(regions, &Hdr::default(), frame.run(0), 64, Words);
            assert_eq!(done, Ok(Enqueue::Filled));
        }
    }

    #[test]
    fn a_burst_whose_publishing_was_interrupted_is_published_once() {
        for (features, size) in FORMATS {
            let mut driver = Driver::new(size, features);
            let (mut queue, regions) = driver.device();
            for _ in 0..if cfg!(miri) { 3 } else { 10 } {
                // Before the first write that the driver sees, and after the last.
                fill(&mut driver, &mut queue, &regions, 3);
                queue.publish_again();
                assert_eq!([driver.take(), driver.take(), driver.take()].map(|taken| taken.is_some()), [true; 3]);
                fill(&mut driver, &mut queue, &regions, 2);
                let mut late = queue.clone();
                queue.publish();
                assert!(driver.take().is_some() && driver.take().is_some());
                // The driver gives the same slots anew, before the interrupted publishing goes on.
                for _ in 0..size {
                    let piece = driver.piece(100, true);
                    driver.give(&[piece], false);
                }
                late.publish_again();
                assert_eq!(driver.take(), None);
                let frame = Memory::new(&[64]);
                for _ in 0..size {
                    let done = late.enqueue(&regions, &Hdr::default(), frame.run(0), 64, Words);
                    assert_eq!(done, Ok(Enqueue::Filled));
                }
                late.publish();
                (0..size).for_each(|_| assert!(driver.take().is_some()));
                queue = late;
            }
        }
    }
}
