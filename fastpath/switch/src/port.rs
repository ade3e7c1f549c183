//! The in-VM switch as a port: frames go where the host's flow table says, by windows, and all others go to the host.
//!
//! ```text
//! Receive ─► Burst ─► look-up ─► actions ─► Scatter, one crossing for all peers
//!                       │ no entry
//!                       ▼
//!                    slow path ─► the host's full switch ─► back to here, and an entry for the next frame
//! ```
//!
//! # Order
//! Frames of one flow leave in the order in which they arrived. A frame that goes to the host has a number, and the
//! host says up to which number all is decided ([`order`]). Until then all frames of flows that may be the same wait if
//! there is an entry by now ([`hold`]), and go to the host, too, if there is none. What the host returns is forwarded
//! before what has arrived since. Frames that find a full ring wait, with all that follow to the same peer ([`queue`]).
//!
//! # Consistency
//! A burst uses the entries of one epoch, and reports behind its last window. Frames that wait were made by entries of
//! their epoch: they go before the next epoch is reported, or are dropped.
//!
//! # Why misses do not stay in the burst
//! A frame that stays would keep its place from frames of established flows, so that whoever sends frames of new flows
//! could stop all others. It is dropped and counted if the slow path has no room.

mod hold;
mod order;
mod queue;
mod slow;
mod stats;

use crate::action::{Cause, Verdict};
use crate::head::Head;
use crate::memory::FlowMemory;
use crate::parse::Parsed;
use crate::report::Report;
use crate::statistics::Statistics;
use crate::table::{BURST, Front, Hit, Reader, Seed, ShapeError};
use alloc::boxed::Box;
use core::mem::replace;
use hold::Hold;
use order::Order;
use queue::Queue;
use slow::Slow;
use sluice::{
    Burst, FrameMut, Gate, Mempool, PeerIdx, PeerState, Receive, RxError, RxStats, Scatter, Transmit, TxError, TxStats,
};
use sluice_abi::directory::MAX_PEERS;
use sluice_memory::CacheLine;
pub use stats::SwitchStats;

/// An in-VM switch over the device `N`, which receives frames, and sends them by its slow path.
///
/// The frames of [`Receive::rx_burst`] are those of the device but for what the host returns, which is forwarded by the
/// next [`Transmit::tx_burst`], also by one of an empty burst. [`Transmit::tx_burst`] takes all frames that it is
/// offered: each is delivered, waits for its peer's ring, goes to the host, or is dropped and counted
/// ([`Switch::stats`]). A frame came in by the port of its mark, which the device sets.
pub struct Switch<'m, 'p, N> {
    net: N,
    gate: &'p Gate,
    peers: Scatter<'p>,
    flows: FlowMemory<'m>,
    table: Reader<'m>,
    report: Report<&'m CacheLine>,
    statistics: Statistics<'m>,
    order: Order,
    hold: Hold<'p>,
    queue: Queue<'p>,
    slow: Slow<'p>,
    /// Frames that waited for the slow path and wait no more.
    freed: Burst<'p>,
    pool: &'p Mempool<'p>,
    work: Box<Work>,
    clock: fn() -> u64,
    stats: SwitchStats,
}

/// What is known of the frames of a burst.
struct Work {
    heads: [Head; BURST],
    parsed: [Parsed; BURST],
    hits: [Option<Hit>; BURST],
    /// Lengths in bytes, before any action.
    lens: [u16; BURST],
    fates: [Fate; BURST],
}

/// Where a frame comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From a port.
    Arrived,
    /// From the frames that waited for the slow path. It is the oldest of its flow in the switch.
    Freed,
    /// From the host, which has an entry for it. It is older than all others of its flow.
    Again,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes to the peer that it names.
    Peer,
    /// It goes to the host, with its header.
    Slow,
    /// It waits for earlier frames of its flow.
    Hold,
    /// It is dropped.
    Drop,
}

impl<'m, 'p, N: Receive + Transmit> Switch<'m, 'p, N> {
    /// Returns a switch with `flows`, of which this is the only reader. `net` uses [`FlowMemory::pairs`] queue pairs,
    /// sends on [`FlowMemory::slow_pair`], and has buffers of `pool`; `clock` returns the time in the unit of the
    /// table's lease.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(
        net: N,
        (gate, pool): (&'p Gate, &'p Mempool<'p>),
        flows: FlowMemory<'m>,
        front: Option<Front<'m>>,
        clock: fn() -> u64,
    ) -> Result<Self, ShapeError> {
        let (shape, seed) = (flows.shape().check()?, Seed::new(flows.header().seed));
        Ok(Self {
            net,
            gate,
            peers: Scatter::new(gate),
            table: Reader::new(flows.table(), shape, seed, front)?,
            report: Report::new(flows.report()),
            statistics: Statistics::new(flows.records()).ok_or(ShapeError::Shape(shape))?,
            order: Order::new(),
            hold: Hold::new(pool),
            freed: pool.burst(),
            queue: Queue::new(pool),
            slow: Slow::new(pool, flows.slow_pair()),
            pool,
            work: Box::new(Work::EMPTY),
            flows,
            clock,
            stats: SwitchStats::NONE,
        })
    }

    /// Returns the counters since the switch was made.
    pub const fn stats(&self) -> &SwitchStats {
        &self.stats
    }

    /// Returns the counters of frames to `peer`.
    pub fn stats_of(&self, peer: PeerIdx) -> TxStats {
        self.peers.stats_of(peer)
    }

    /// Returns whether there is a peer that the host has not taken away for good.
    pub fn is_open(&self) -> bool {
        PeerIdx::all().any(|peer| match self.gate.peer_state(peer) {
            PeerState::Absent => self.gate.peer(peer) != Err(sluice::PeerError::Unknown),
            state => state != PeerState::Revoked,
        })
    }

    /// Says that the switch uses no entry until the next burst, so that no change of the table waits for it: call this
    /// before a sleep. It has no effect while frames wait for a peer.
    pub fn rest(&mut self) {
        self.slow.send(&mut self.net, &mut self.stats);
        self.queue.send(&mut self.peers, self.gate, &mut self.stats);
        if self.queue.is_empty() {
            self.report.rest();
        }
        self.stats.searched = self.table.searched();
        self.stats.publish(self.flows.counters());
    }

    /// Forwards the first `count` frames of `burst`, at most [`BURST`].
    fn forward(&mut self, burst: &mut Burst<'_>, count: usize, origin: Origin) {
        self.queue.send(&mut self.peers, self.gate, &mut self.stats);
        let now = (self.clock)();
        let epoch = self.table.begin(&mut self.report, now);
        self.queue.begin(epoch, &mut self.stats);
        self.work.load(burst, count, &self.flows);
        match epoch {
            Some(epoch) => self.table.look_up(epoch, &self.work.parsed[..count], &mut self.work.hits[..count]),
            None => self.work.hits[..count].fill(None),
        }
        self.statistics.prefetch(&self.work.hits[..count]);
        for at in 0..count {
            let fate = burst.frame_mut(at).map(|mut frame| self.decide(&mut frame, at, origin, (now, epoch.is_none())));
            self.work.fates[at] = fate.unwrap_or(Fate::Drop);
        }
        let kept = self.part(burst, count);
        self.queue.deliver(&mut self.peers, self.gate, burst, kept, &mut self.stats);
        self.slow.send(&mut self.net, &mut self.stats);
        let Work { hits, lens, parsed, .. } = &*self.work;
        let counted = hits[..count].iter().zip(lens).zip(parsed);
        let counted = counted.filter_map(|((hit, len), parsed)| Some(((*hit)?, *len, parsed.key.tcp_flags.get())));
        self.statistics.add(now, counted);
        self.end(epoch);
    }

    /// Decides what becomes of frame `at`, and does its actions. A frame without an entry that was used counts for no
    /// flow.
    fn decide(&mut self, frame: &mut FrameMut<'_>, at: usize, origin: Origin, (now, lapsed): (u64, bool)) -> Fate {
        let hit = self.work.hits[at].take();
        if origin == Origin::Arrived && !self.hold.is_empty() && self.hold.holds(self.place(at)) {
            return self.hold(at);
        }
        let Some(hit) = hit else {
            let cause = if lapsed { &mut self.stats.lapsed } else { &mut self.stats.missed };
            *cause += 1;
            return self.miss(frame, at, origin);
        };
        if origin != Origin::Again && self.order.is_open() && self.order.holds(self.place(at)) {
            return if origin == Origin::Arrived { self.hold(at) } else { self.miss(frame, at, origin) };
        }
        let refresh = self.flows.header().refresh;
        if origin != Origin::Again && refresh != 0 && self.statistics.take_due(&hit, now, refresh) {
            self.stats.refreshed += 1;
            return self.miss(frame, at, origin);
        }
        let Work { heads, parsed, .. } = &mut *self.work;
        let verdict = self.table.apply(&hit, frame, &mut heads[at], &parsed[at]);
        let fate = match verdict {
            None => {
                self.stats.torn += 1;
                return self.miss(frame, at, origin);
            }
            Some(Verdict::Output(to)) if usize::from(to) < MAX_PEERS => {
                frame.set_peer(PeerIdx(to as u8));
                Fate::Peer
            }
            Some(Verdict::Output(_)) => self.drop(Cause::NoOutput),
            Some(Verdict::Drop(cause)) => self.drop(cause),
        };
        self.stats.hits += 1;
        self.work.hits[at] = Some(hit);
        fate
    }

    fn drop(&mut self, cause: Cause) -> Fate {
        self.stats.dropped(cause);
        Fate::Drop
    }

    fn hold(&mut self, at: usize) -> Fate {
        self.hold.announce(self.place(at));
        Fate::Hold
    }

    fn place(&self, at: usize) -> usize {
        Order::place(&self.work.parsed[at].key)
    }

    /// Makes frame `at` one for the host. One that the host just returned would come back behind others of its flow: it
    /// is dropped.
    fn miss(&mut self, frame: &mut FrameMut<'_>, at: usize, origin: Origin) -> Fate {
        if origin == Origin::Again {
            self.stats.again_lost += 1;
            return Fate::Drop;
        }
        let number = self.order.next(self.place(at));
        match slow::address(frame, self.work.parsed[at].key.in_port, number) {
            Ok(()) => Fate::Slow,
            Err(_) => self.drop(Cause::NoRoom),
        }
    }

    /// Takes those of the first `count` frames out that do not go to a peer now. Returns how many stay at the front.
    fn part(&mut self, burst: &mut Burst<'_>, count: usize) -> usize {
        let mut kept = 0;
        for at in 0..count {
            let fate = self.work.fates[at];
            let held = burst.frame(kept).is_ok_and(|frame| self.queue.holds(frame.peer()));
            match fate {
                Fate::Peer if !held => kept += 1,
                Fate::Peer => self.queue.push(burst, kept, &mut self.stats),
                Fate::Slow => self.slow.push(burst, kept, &mut self.stats),
                Fate::Hold => self.wait(burst, kept, at),
                Fate::Drop => {
                    burst.remove(kept);
                }
            }
        }
        burst.sort_by_peer(kept);
        kept
    }

    /// Lets frame `index` of `burst`, which is frame `at` of the work, wait for the slow path.
    fn wait(&mut self, burst: &mut Burst<'_>, index: usize, at: usize) {
        if self.hold.push(burst, index, self.place(at)) {
            self.stats.held += 1;
        } else {
            self.stats.hold_full += 1;
            burst.remove(index);
        }
    }

    /// Ends a burst of `epoch`. Frames that wait are of that epoch, and no later one is reported while they do.
    fn end(&mut self, epoch: Option<u64>) {
        let now = self.table.epoch();
        if epoch != Some(now) {
            self.queue.begin(None, &mut self.stats);
        }
        self.report.end(now);
    }

    /// Forwards what the host returned.
    fn forward_returned(&mut self) {
        while let Some(mut again) = self.slow.next(&mut self.queue, &mut self.order, &mut self.stats) {
            while !again.is_empty() {
                let count = again.len().min(BURST);
                let left = again.len() - count;
                self.forward(&mut again, count, Origin::Again);
                debug_assert_eq!(again.len(), left, "all frames are taken");
            }
            self.slow.give_back(again);
        }
    }

    /// Forwards what waited for the slow path and waits no more.
    fn forward_freed(&mut self) {
        while !self.hold.is_empty() {
            let mut freed = replace(&mut self.freed, self.pool.burst());
            let asks = self.hold.let_go(&self.order, BURST, &mut freed);
            let count = freed.len();
            if count > 0 {
                self.forward(&mut freed, count, Origin::Freed);
            }
            self.freed = freed;
            if count == 0 || asks {
                break;
            }
        }
    }
}

impl Work {
    const EMPTY: Self = Self {
        heads: [const { Head::EMPTY }; BURST],
        parsed: [Parsed::EMPTY; BURST],
        hits: [None; BURST],
        lens: [0; BURST],
        fates: [Fate::Drop; BURST],
    };

    /// Parses the first `count` frames.
    fn load(&mut self, burst: &Burst<'_>, count: usize, flows: &FlowMemory<'_>) {
        let places = self.heads.iter_mut().zip(&mut self.parsed).zip(&mut self.lens);
        for (frame, ((head, parsed), len)) in burst.frames().take(count).zip(places) {
            head.load(&frame);
            *len = frame.len();
            parsed.parse(slow::port_of(frame.mark(), &flows.header().ports), head.bytes(), frame.len());
        }
    }
}

impl<N: Receive + Transmit> Receive for Switch<'_, '_, N> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        self.net.rx_burst(into, most)?;
        self.slow.take(into, before, &mut self.stats);
        Ok(into.len() - before)
    }

    fn rx_stats(&self) -> RxStats {
        self.net.rx_stats()
    }
}

impl<N: Receive + Transmit> Transmit for Switch<'_, '_, N> {
    /// Returns the number of frames that were taken.
    ///
    /// # Errors
    /// [`TxError::ForeignPool`], with which none was taken.
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        self.queue.is_of_pool(burst)?;
        self.forward_returned();
        self.forward_freed();
        let taken = most.min(burst.len());
        let mut left = taken;
        // An empty burst sends what waits, and reports.
        loop {
            let count = left.min(BURST);
            self.forward(burst, count, Origin::Arrived);
            left -= count;
            if left == 0 {
                break;
            }
        }
        self.stats.searched = self.table.searched();
        self.stats.count_burst(self.flows.counters());
        Ok(taken)
    }

    /// Counters of the frames to all peers.
    fn tx_stats(&self) -> TxStats {
        self.peers.tx_stats()
    }
}
