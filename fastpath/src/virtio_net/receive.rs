//! Frames from the device: every receive queue that the device may use is polled, and each comes first in its turn.

use super::Queues;
use crate::frame::Note;
use crate::mempool::HEADROOM;
use crate::receive_queue::Buffer;
use crate::{Burst, Mempool, RX_SIZE, Receive, ReceiveQueue, RxError, RxStats, WatchWord};
use sluice_abi::call::Packet;
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::{Gpa, PeerIdx};
use sluice_driver::{Arrival, DeviceFault, Part, Started, asks_nothing};
use sluice_memory::Words;

/// The receive queues, filled with buffers of a pool.
pub(super) struct ReceiveHalf<'p, Q> {
    /// The queues that are set up, by pair.
    queues: Q,
    /// Number of pairs that the device may use: the first ones.
    enabled: usize,
    /// The pair that the next call polls first.
    next: usize,
    filler: Filler<'p>,
    merges: bool,
    pub polls_without_buffer: u64,
}

/// The pool that buffers come from, and the counters of frames.
struct Filler<'p> {
    pool: &'p Mempool<'p>,
    stats: RxStats,
}

impl<'p, Q: Queues> ReceiveHalf<'p, Q> {
    pub fn new(queues: Q, pool: &'p Mempool<'p>, started: &Started) -> Self {
        let merges = started.features.contains(F::MRG_RXBUF);
        let filler = Filler { pool, stats: RxStats::NONE };
        Self { queues, enabled: 1, next: 0, filler, merges, polls_without_buffer: 0 }
    }

    /// Returns the places for the queues of a device that is about to start anew.
    pub fn queues(&mut self) -> &mut [Option<ReceiveQueue>] {
        self.queues.as_mut()
    }

    /// Continues with the queues of the device that was started anew.
    pub fn renew(&mut self, started: &Started) {
        (self.enabled, self.next) = (1, 0);
        self.merges = started.features.contains(F::MRG_RXBUF);
    }

    pub const fn enabled(&self) -> u16 {
        self.enabled as u16
    }

    /// Lets the device use `pairs` pairs.
    pub fn enable(&mut self, pairs: u16) {
        self.enabled = usize::from(pairs).clamp(1, self.queues.as_ref().len().max(1));
        self.refill();
    }

    fn in_use(&self) -> impl Iterator<Item = &ReceiveQueue> {
        self.queues.as_ref().iter().take(self.enabled).flatten()
    }

    fn in_use_mut(&mut self) -> impl Iterator<Item = &mut ReceiveQueue> {
        self.queues.as_mut().iter_mut().take(self.enabled).flatten()
    }

    pub fn fault(&self) -> Option<DeviceFault> {
        self.in_use().find_map(ReceiveQueue::fault)
    }

    /// Takes all buffers of a device that was reset back into the pool.
    pub fn reclaim(&mut self) {
        let pool = self.filler.pool;
        for queue in self.queues.as_mut().iter_mut().flatten() {
            while let Some(buffer) = queue.queue.reclaim() {
                pool.give_back(buffer.offset);
            }
        }
    }

    /// Asks for a notification of the next frame of each queue, and checks all once more. Returns the word that changes
    /// with the next frame of pair 0; `None` if a frame is there or a queue is at fault.
    pub fn arm(&mut self) -> Option<WatchWord> {
        let word = self.queues.as_ref().first()?.as_ref()?.queue.watch_word();
        self.in_use_mut().for_each(|queue| queue.queue.suppress_interrupts(false));
        let mut ready = false;
        self.in_use_mut().for_each(|queue| ready |= queue.queue.is_ready() != Ok(false));
        word.filter(|_| !ready).map(|(memory, seen)| WatchWord { memory, seen })
    }

    /// Asks for no more notifications.
    pub fn disarm(&mut self) {
        self.in_use_mut().for_each(|queue| queue.queue.suppress_interrupts(true));
    }

    /// Gives the device a buffer for every free entry. Returns `false` if the pool has too few.
    #[inline]
    pub fn refill(&mut self) -> bool {
        let Self { queues, enabled, filler, .. } = self;
        // The queue that is polled first next time also gets scarce buffers first.
        let in_use = queues.as_mut().get_mut(..*enabled).unwrap_or_default();
        let (before, from_next) = in_use.split_at_mut_checked(self.next).unwrap_or_default();
        let mut full = true;
        for queue in from_next.iter_mut().chain(before).flatten().filter(|queue| queue.room() > 0) {
            full &= filler.fill(queue);
        }
        full
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.in_use().all(|queue| queue.room() == 0)
    }

    /// Receives until `burst` has `end` frames. Each queue is polled first in its turn, so no busy queue keeps
    /// another's frames waiting for ever. The first fault is returned after all queues were polled.
    #[inline]
    fn receive_up_to(&mut self, burst: &mut Burst<'_>, end: usize) -> Result<(), RxError> {
        if !self.filler.pool.is(burst.pool()) {
            return Err(RxError::ForeignPool);
        }
        if self.enabled == 1 {
            return self.receive_from(0, burst, end);
        }
        let (first, mut done) = (self.next, Ok(()));
        self.next = (first + 1) % self.enabled;
        for index in (first..self.enabled).chain(0..first) {
            let before = burst.len();
            done = done.and(self.receive_from(index, burst, end));
            burst.mark_from(before, index as u32);
        }
        done
    }

    /// Receives at most `most` frames from the queue of `pair`, as [`Receive::rx_burst`] does from all.
    #[inline]
    pub fn rx_burst_from(&mut self, pair: usize, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        if !self.filler.pool.is(into.pool()) {
            return Err(RxError::ForeignPool);
        }
        if pair >= self.enabled {
            return Ok(0);
        }
        let before = into.len();
        let done = self.receive_from(pair, into, before + most.min(into.room()));
        into.mark_from(before, pair as u32);
        self.next = pair;
        self.refill_from(into);
        let received = into.len() - before;
        if received > 0 { Ok(received) } else { done.map(|()| 0) }
    }

    /// Gives the device a buffer for every free entry: of the pool, and if that has too few, the spare ones of `burst`.
    #[inline]
    fn refill_from(&mut self, burst: &mut Burst<'_>) {
        if !self.is_full() && !self.refill() {
            burst.release();
            self.polls_without_buffer += u64::from(!self.refill());
        }
    }

    #[inline(always)]
    fn receive_from(&mut self, index: usize, burst: &mut Burst<'_>, end: usize) -> Result<(), RxError> {
        let Self { queues, filler, merges, .. } = self;
        let Some(Some(queue)) = queues.as_mut().get_mut(index) else { return Ok(()) };
        if *merges {
            while burst.len() < end && filler.receive_merged(queue, burst).map_err(RxError::Device)? {}
            return Ok(());
        }
        let mut done = queue.queue.is_ready();
        while burst.len() < end && done == Ok(true) {
            filler.exchange(queue, burst, end - burst.len());
            done = if burst.len() < end { filler.go_on(queue, burst, end - burst.len()) } else { Ok(false) };
        }
        if done.is_err() {
            burst.release();
        }
        queue.publish();
        done.map(drop).map_err(RxError::Device)
    }
}

impl<Q: Queues> Receive for ReceiveHalf<'_, Q> {
    #[inline]
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        let done = self.receive_up_to(into, before + most.min(into.room()));
        self.refill_from(into);
        let received = into.len() - before;
        if received > 0 { Ok(received) } else { done.map(|()| 0) }
    }

    fn rx_stats(&self) -> RxStats {
        self.filler.stats
    }
}

impl Filler<'_> {
    /// Gives `queue` a buffer for every free entry. Returns `false` if the pool has too few.
    #[inline]
    fn fill(&self, queue: &mut ReceiveQueue) -> bool {
        let memory = self.pool.memory();
        let given = HDR_LEN + u32::from(self.pool.longest_frame());
        while queue.room() > 0 {
            let Some(frame) = self.pool.take() else { break };
            let offset = frame - HDR_LEN;
            // Each buffer of the pool is within its memory and long enough, so ReceiveQueue::post would check nothing
            // more.
            let at = Gpa(memory.gpa.0 + u64::from(offset - memory.offset));
            if !queue.queue.give(at, given, Buffer { offset, token: 0 }) {
                self.pool.give_back(frame);
                break;
            }
        }
        queue.publish();
        queue.room() == 0
    }

    /// Takes plain frames in a row, at most `most`: frames in one buffer, whose header asks for no offload. The device
    /// gets a spare buffer of the burst for each, while there are any.
    #[inline(never)]
    fn exchange(&mut self, queue: &mut ReceiveQueue, burst: &mut Burst<'_>, most: usize) {
        let (memory, given) = (self.pool.memory(), HDR_LEN + u32::from(self.pool.longest_frame()));
        let (mask, start) = (!(self.pool.buffer_len().bytes() - 1), HEADROOM - HDR_LEN);
        // Adding this to a buffer's offset gives the address of the header in it.
        let gpa = memory.gpa.0.wrapping_sub(memory.offset.into()).wrapping_add(start.into());
        let mut tail = burst.tail(most);
        let taken = queue.queue.exchange(tail.room(), |buffer, len| {
            let at = u64::from(buffer.offset.wrapping_sub(memory.offset));
            if len <= HDR_LEN || !asks_nothing(memory.memory, at) {
                return None;
            }
            let other = tail.swap(buffer.offset + HDR_LEN, (len - HDR_LEN) as u16)?;
            let buffer = other & mask;
            Some((Gpa(gpa.wrapping_add(buffer.into())), given, Buffer { offset: buffer + start, token: 0 }))
        });
        self.stats.packets += taken as u64;
        self.stats.bytes += tail.finish();
    }

    /// Does the rest where a row of plain frames ended. Returns whether there may be another row.
    #[inline(never)]
    fn go_on(&mut self, queue: &mut ReceiveQueue, burst: &mut Burst<'_>, most: usize) -> Result<bool, DeviceFault> {
        // Frames that were moved to another burst took their buffers along.
        let ready = usize::from(queue.queue.ready()?);
        if burst.stock(most.min(ready)) > 0 { Ok(true) } else { self.receive(queue, burst) }
    }

    /// Takes one frame, if there is one. Returns whether a buffer was taken.
    #[inline]
    fn receive(&mut self, queue: &mut ReceiveQueue, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let mut part = [Part::default()];
        match queue.take_parts(&mut part)? {
            Arrival::Frame(frame) => self.received(burst, part[0].token, frame.len as u16, frame.hdr),
            Arrival::Dropped(_) => {
                self.pool.give_back(part[0].token.offset);
                self.stats.bad_frame += 1;
            }
            Arrival::Nothing => return Ok(false),
        }
        Ok(true)
    }

    #[inline(always)]
    fn received(&mut self, burst: &mut Burst<'_>, buffer: Buffer, len: u16, hdr: Hdr) {
        let note = Note { hdr: Hdr { num_buffers: 1, ..hdr }, mark: 0 };
        burst.receive(Packet::new(buffer.offset + HDR_LEN, len, PeerIdx(0)), note);
        self.stats.packets += 1;
        self.stats.bytes += u64::from(len);
    }

    /// Takes one frame as [`Filler::receive`] does. The frame may lie in several buffers.
    #[cold]
    #[inline(never)]
    fn receive_merged(&mut self, queue: &mut ReceiveQueue, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let mut parts = [Part::default(); RX_SIZE];
        let (first, hdr, len) = match queue.take_parts(&mut parts)? {
            Arrival::Frame(frame) => {
                let len = u16::try_from(frame.len).ok().filter(|&len| len <= self.pool.longest_frame());
                let rest = parts.get(1..frame.parts).unwrap_or_default();
                let len = len.filter(|_| self.gather(parts[0], rest));
                rest.iter().for_each(|part| self.pool.give_back(part.token.offset));
                (parts[0].token, frame.hdr, len)
            }
            Arrival::Dropped(count) => {
                parts.iter().take(count).for_each(|part| self.pool.give_back(part.token.offset));
                self.stats.bad_frame += 1;
                return Ok(true);
            }
            Arrival::Nothing => return Ok(false),
        };
        if let Some(len) = len {
            self.received(burst, first, len, hdr);
        } else {
            self.pool.give_back(first.offset);
            self.stats.too_long += 1;
        }
        Ok(true)
    }

    /// Copies the bytes of `rest` behind those of `first`. Returns whether there was room, which the caller has
    /// checked.
    fn gather(&self, first: Part<Buffer>, rest: &[Part<Buffer>]) -> bool {
        let mut end = u64::from(first.start + first.len);
        let room = HDR_LEN + u32::from(self.pool.longest_frame());
        let buffer = self.pool.slice(first.token.offset, room);
        rest.iter().all(|part| {
            let from = self.pool.slice(part.token.offset + part.start, part.len);
            let copied = buffer.copy_from(end, from, Words);
            end += u64::from(part.len);
            copied.is_ok()
        })
    }
}
