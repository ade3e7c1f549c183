//! One peer, as its sender's window knows it: its memory, its queue, and where the fast path goes.

use crate::queue::{DirtyLog, Target};
use crate::queue_lock::LockPage;
use crate::{DeviceQueue, Regions};
use sluice_abi::call::{Clause, Packet};
use sluice_abi::directory::{Peer, Queue};
use sluice_abi::{PeerIdx, net, queue_lock};
use sluice_memory::{Lanes, PeerSlice, Table, Transfer};

/// What a sender knows of one peer.
pub(crate) struct PeerWindow {
    /// The queue as the directory describes it.
    pub entry: Queue,
    pub regions: Regions,
    pub queue: DeviceQueue,
    /// The rule that the peer broke. Nothing new is sent to it until it is attached anew.
    pub quarantined: Option<Clause>,
    /// Longest frame without VLAN tags that the peer takes, in bytes: MTU and Ethernet header.
    pub max_frame: u16,
    /// Longest frame, in bytes, that each buffer of the peer must hold if its buffers are not merged: `max_frame` where
    /// [`net::F::MTU`] was negotiated, else 0. See: VIRTIO 5.1.4.2 "Driver Requirements: Device configuration layout",
    /// 5.1.6.3.1 "Driver Requirements: Setting Up Receive Buffers".
    pub min_buffer: u32,
    /// Where the fast path writes: the region of the last buffer that it filled. There is none if that region or packet
    /// memory is too short.
    pub target: Option<Target>,
    /// The lock of a queue that has one. `None`: the queue is this sender's alone, and no host follows.
    pub shared: Option<Shared>,
}

/// A queue that is filled under a lock, by each of its producers for one burst.
pub(crate) struct Shared {
    page: LockPage<'static>,
    /// This sender's number as owner of the lock.
    owner: u16,
    /// Whether the lock is this sender's.
    is_held: bool,
    /// Where the fast path writes while it is. [`PeerWindow::target`] has it then, and else nothing: without the lock
    /// no path leads into the queue.
    target: Option<Target>,
}

/// Whether a burst may fill a queue.
#[derive(PartialEq, Eq)]
pub(crate) enum Entry {
    /// It could before.
    Open,
    /// It can now.
    Entered,
    /// Another producer has the lock.
    Locked,
    /// Another producer left no position.
    Broken(Clause),
}

impl Shared {
    /// Returns what `entry`, which has an owner number, says of its lock in `page`.
    pub fn new(entry: &Queue, page: LockPage<'static>) -> Result<Self, Clause> {
        let shared = Self { page, owner: entry.owner, is_held: false, target: None };
        (entry.owner <= queue_lock::MAX_OWNER).then_some(shared).ok_or(Clause::Layout)
    }
}

/// What an earlier window on a peer knew of its queue.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The queue.
    pub entry: Queue,
    base: u32,
    log: Option<DirtyLog>,
    quarantined: Option<Clause>,
}

impl PeerWindow {
    /// Returns what a later window on the same queue goes on with.
    pub fn known(&self) -> Known {
        let Self { entry, queue, quarantined, .. } = self;
        Known { entry: *entry, base: queue.base(), log: queue.log(), quarantined: *quarantined }
    }

    /// Returns the window on the peer whose directory entry is `peer`, with the queue `entry`. `known` is what an
    /// earlier window on the same queue knew.
    pub fn new(peer: &Peer, entry: Queue, regions: Regions, known: Option<Known>) -> Result<Self, Clause> {
        let max_frame = peer.mtu.saturating_add(net::ETHERNET_HEADER);
        let min_buffer = if entry.features & net::F::MTU.bits() != 0 { max_frame.into() } else { 0 };
        let mut queue = match &known {
            Some(known) => DeviceQueue::resume(&entry, &regions, known.base)?,
            None => DeviceQueue::new(&entry, &regions)?,
        };
        let (log, clause) = known.map_or((None, None), |known| (known.log, known.quarantined));
        if log.is_some() && !queue.set_log(log, &regions) {
            return Err(Clause::Region);
        }
        // The entry that tells of a buffer's region may come behind the buffer.
        let quarantined = clause.filter(|&clause| clause != Clause::Region);
        Ok(Self { regions, queue, quarantined, entry, max_frame, min_buffer, target: None, shared: None })
    }

    /// Takes the lock of the queue for `burst`, and goes on where the producer before came.
    pub fn enter(&mut self, burst: u64) -> Entry {
        let Some(shared) = self.shared.as_mut().filter(|shared| !shared.is_held) else { return Entry::Open };
        let mine = queue_lock::word(shared.owner, burst as u16);
        if !shared.page.lock.take(mine) {
            return Entry::Locked;
        }
        shared.is_held = true;
        self.target = shared.target.take();
        match self.queue.enter(&shared.page) {
            Ok(()) => Entry::Entered,
            Err(clause) => Entry::Broken(clause),
        }
    }

    /// Shows the driver what was filled, and leaves a queue with a lock to others.
    pub fn publish(&mut self) {
        let buffers = self.queue.pending();
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_held) else { return self.queue.publish() };
        self.queue.publish_under(&shared.page);
        shared.page.count(shared.owner, buffers as u32);
        self.leave();
    }

    /// Shows the driver what was filled, where that may have been interrupted, and leaves a queue with a lock to
    /// others.
    pub fn publish_again(&mut self) {
        self.queue.publish_again();
        if let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_held) {
            self.queue.leave(&shared.page);
            self.leave();
        }
    }

    /// Leaves a queue with a lock to others.
    pub fn leave(&mut self) {
        if let Some(shared) = self.shared.as_mut().filter(|shared| shared.is_held) {
            shared.target = self.target.take();
            shared.is_held = false;
            shared.page.lock.release();
        }
    }

    /// Fills the next buffers with the first of `packets`, as far as the fast path goes, and returns how many it
    /// filled. `first` is the second word of the first packet, which is for this peer.
    #[inline(always)]
    pub fn enqueue_all(&mut self, packets: Table<'static, Packet>, first: u32, lanes: impl Lanes) -> u16 {
        let filled = self.enqueue_like(packets, first, lanes);
        if filled < packets.size() { self.enqueue_rest(packets, filled, first, lanes) } else { filled }
    }

    /// Goes on behind the first `filled` of `packets`: where the rings' arrays end within the burst, and where a buffer
    /// is in another region than the one before. Returns how many are filled in all.
    #[inline(never)]
    fn enqueue_rest(&mut self, packets: Table<'static, Packet>, mut filled: u16, first: u32, lanes: impl Lanes) -> u16 {
        let peer = PeerIdx((first >> 16) as u8);
        while filled < packets.size() {
            match self.enqueue_more(packets.from(filled), peer, lanes) {
                0 => break,
                more => filled += more,
            }
        }
        filled
    }

    /// Fills the next buffers with the first of `packets` that are for `peer`, which is this one, as far as the region
    /// of the next buffer and the rings' arrays go, and returns how many it filled.
    #[inline(never)]
    pub fn enqueue_more(&mut self, packets: Table<'static, Packet>, peer: PeerIdx, lanes: impl Lanes) -> u16 {
        let first = packets.len_and_peer(0).filter(|first| first >> 16 == u32::from(peer.0));
        let Some(first) = first else { return 0 };
        match self.enqueue_like(packets, first, lanes) {
            0 => self.enqueue_elsewhere(packets, first, lanes),
            filled => filled,
        }
    }

    #[inline(always)]
    fn enqueue_like(&mut self, packets: Table<'static, Packet>, first: u32, lanes: impl Lanes) -> u16 {
        let Some(target) = &self.target else { return 0 };
        self.queue.enqueue_fast(packets, first, target, lanes)
    }

    /// Fills once more if the next buffer is in another region. From now on the fast path writes into that region.
    #[cold]
    #[inline(never)]
    fn enqueue_elsewhere(&mut self, packets: Table<'static, Packet>, first: u32, lanes: impl Lanes) -> u16 {
        let Some(here) = &self.target else { return 0 };
        let next = self.queue.next_buffer().and_then(|at| self.regions.around(at));
        let Some((region, memory)) = next.filter(|(region, _)| *region != here.region) else { return 0 };
        let Some(transfer) = here.transfer.into_run(memory) else { return 0 };
        self.target = Some(Target { region, transfer });
        self.enqueue_like(packets, first, lanes)
    }

    pub fn retarget(&mut self, extent: Option<PeerSlice<'static>>) {
        let into =
            |(region, memory)| Some(Target { region, transfer: Transfer::new(extent?, memory, self.max_frame)? });
        // Only the general path knows of logs.
        let target = if self.queue.is_logged() { None } else { self.regions.all().find_map(into) };
        match &mut self.shared {
            Some(shared) => shared.target = target,
            None => self.target = target,
        }
    }
}

#[cfg(test)]
mod tests;
