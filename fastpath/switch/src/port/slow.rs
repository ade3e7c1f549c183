//! The slow path: frames to the host, and what the host returns. See: [`sluice_abi::flows`].

use super::SwitchStats;
use super::order::Order;
use super::queue::Queue;
use core::mem::replace;
use sluice::{Burst, FrameError, FrameMut, MAX_BURST, Mempool, PeerIdx, Transmit};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::flows::{MAX_PAIRS, SLOW_HEADER, SlowHeader, SlowKind};
use zerocopy::{FromBytes, IntoBytes};

/// The mark of a frame that the host returned to be looked up again: its port is in the low half.
pub const AGAIN: u32 = 1 << 16;

/// Returns the port of a frame with this mark: the port of the queue pair that it arrived by, or that of a frame that
/// was returned.
#[inline(always)]
pub fn port_of(mark: u32, ports: &[u16; MAX_PAIRS]) -> u16 {
    if mark & AGAIN != 0 { mark as u16 } else { ports[mark as usize % MAX_PAIRS] }
}

/// Puts the header of frame `number` in front of it, which came in by `port`.
pub fn address(frame: &mut FrameMut<'_>, port: u16, number: u64) -> Result<(), FrameError> {
    frame.prepend(SLOW_HEADER)?;
    frame.set(0, SlowHeader { kind: SlowKind::Missed as u32, port: port.into(), number }.as_bytes())
}

pub struct Slow<'p> {
    /// Mark of what the host returns: the number of the queue pair.
    pair: u32,
    /// Frames for the host, behind their headers.
    missed: Burst<'p>,
    /// What the host returned, in order.
    returned: Burst<'p>,
    /// Frames to be looked up again.
    again: Burst<'p>,
    pool: &'p Mempool<'p>,
}

impl<'p> Slow<'p> {
    pub fn new(pool: &'p Mempool<'p>, pair: u16) -> Self {
        let [missed, returned, again] = [(); 3].map(|()| pool.burst());
        Self { pair: pair.into(), missed, returned, again, pool }
    }

    /// Takes frame `index` of `burst`, which has its header. It is dropped if too many wait for the host.
    pub fn push(&mut self, burst: &mut Burst<'_>, index: usize, stats: &mut SwitchStats) {
        if burst.move_to(index, &mut self.missed).is_err() {
            stats.slow_full += 1;
            burst.remove(index);
        }
    }

    /// Sends the frames for the host. Those for which there is no room wait for the next call.
    pub fn send(&mut self, net: &mut impl Transmit, stats: &mut SwitchStats) {
        if self.missed.is_empty() {
            return;
        }
        // An error is about the first frame that stays, or about all of them.
        while let Err(error) = net.tx_burst(&mut self.missed, MAX_BURST)
            && error.refused().is_some_and(|index| self.missed.remove(index))
        {
            stats.slow_refused += 1;
        }
    }

    /// Takes what the host returned out of `burst`, from frame `from` on.
    pub fn take(&mut self, burst: &mut Burst<'_>, from: usize, stats: &mut SwitchStats) {
        let mut at = from;
        while let Ok(frame) = burst.frame(at) {
            if frame.mark() != self.pair {
                at += 1;
            } else if burst.move_to(at, &mut self.returned).is_err() {
                stats.again_lost += 1;
                burst.remove(at);
            }
        }
    }

    /// Does what the host asked for, up to frames that are to be looked up again, and returns those; `None` if there is
    /// no more.
    pub fn next(&mut self, queue: &mut Queue<'p>, order: &mut Order, stats: &mut SwitchStats) -> Option<Burst<'p>> {
        while let Some(kind) = self.kind() {
            if !matches!(kind, Some((SlowKind::Again, _))) && !self.again.is_empty() {
                break;
            }
            match kind {
                Some((SlowKind::Done, header)) => {
                    order.done(header.number);
                    self.returned.remove(0);
                }
                Some((SlowKind::Output, header)) if self.trim() => self.output(header.number, queue, stats),
                Some((SlowKind::Again, header)) if self.trim() => self.look_up_again(header.port, stats),
                _ => {
                    stats.slow_bad += 1;
                    self.returned.remove(0);
                }
            }
        }
        (!self.again.is_empty()).then(|| replace(&mut self.again, self.pool.burst()))
    }

    /// Returns what the first frame that was returned is, which may be nothing known; `None` without a frame.
    fn kind(&self) -> Option<Option<(SlowKind, SlowHeader)>> {
        let bytes = self.returned.frame(0).ok()?.head::<{ SLOW_HEADER as usize }>(0);
        let header = bytes.and_then(|bytes| SlowHeader::read_from_bytes(&bytes).ok());
        Some(header.and_then(|header| Some((SlowKind::from_word(header.kind)?, header))))
    }

    /// Sends the first frame to each of `ports`.
    fn output(&mut self, mut ports: u64, queue: &mut Queue<'p>, stats: &mut SwitchStats) {
        stats.returned += 1;
        while ports.count_ones() > 1 {
            queue.push_copy(&self.returned, 0, PeerIdx(ports.trailing_zeros() as u8), stats);
            ports &= ports - 1;
        }
        let last = PeerIdx(ports.trailing_zeros().min(MAX_PEERS as u32) as u8);
        if self.returned.set_peer(0, last).is_ok() {
            queue.push(&mut self.returned, 0, stats);
        }
    }

    fn look_up_again(&mut self, port: u32, stats: &mut SwitchStats) {
        stats.returned += 1;
        if let Ok(mut frame) = self.returned.frame_mut(0) {
            frame.set_mark(AGAIN | u32::from(port as u16));
        }
        if self.returned.move_to(0, &mut self.again).is_err() {
            stats.again_lost += 1;
            self.returned.remove(0);
        }
    }

    /// Gives the burst of [`Slow::next`] back, with its buffers.
    pub fn give_back(&mut self, burst: Burst<'p>) {
        self.again = burst;
    }

    fn trim(&mut self) -> bool {
        self.returned.frame_mut(0).is_ok_and(|mut frame| frame.trim_front(SLOW_HEADER).is_ok())
    }
}
