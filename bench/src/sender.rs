//! The arguments of both builds of Sluice's ring code: a window with a peer for each queue, and a request.

use crate::arena::{Arena, SIZE};
use crate::device::Ring;
use crate::imix;
use anyhow::{Context, Result, anyhow};
use sluice_abi::PeerIdx;
use sluice_abi::call::Packet;
use sluice_abi::directory::{Peer, PeerState, Queue};
use sluice_abi::net::ETHERNET_HEADER;
use sluice_inside::Window;
use sluice_memory::PeerSlice;

/// The rings of a window's peers.
pub struct RingSender {
    rings: Vec<(Ring, PeerIdx)>,
    offsets: Vec<u64>,
    /// The request block.
    pub request: PeerSlice<'static>,
}

impl RingSender {
    /// Makes the queues reachable for `window`, for frames of at most `longest` bytes.
    pub fn new(
        window: &mut Window,
        request: PeerSlice<'static>,
        arena: &Arena,
        queues: &[(Ring, Queue)],
        longest: u16,
    ) -> Result<Self> {
        window.set_packets(arena.packets);
        let mut rings = Vec::new();
        for (place, &(ring, queue)) in (0..).zip(queues) {
            // No two windows of this process have one lock.
            let first = if queue.owner == 0 { 0 } else { 2 * arena.place };
            attach(window, PeerIdx(first + place), arena, queue, longest)?;
            rings.push((ring, PeerIdx(first + place)));
        }
        Ok(Self { rings, offsets: (0..SIZE).map(|index| arena.frame_at(index)).collect(), request })
    }

    /// Writes the request.
    pub fn prepare(&self, ring: Ring, count: u16, len: u16) -> Result<()> {
        let (_, peer) = *self.rings.iter().find(|(known, _)| *known == ring).context("no such ring")?;
        for index in 0..usize::from(count) {
            let packet = Packet::new(self.offsets[index] as u32, imix::len(len, index as u64), peer);
            self.request.write(8 * index as u64, packet).map_err(|_| anyhow!("the request is too long"))?;
        }
        Ok(())
    }
}

/// Makes the driver in `arena` peer `index`, with `queue` as receive queue, for frames of at most `longest` bytes.
fn attach(window: &mut Window, index: PeerIdx, arena: &Arena, queue: Queue, longest: u16) -> Result<()> {
    let mut peer = Peer {
        state: PeerState::Ready as u32,
        mtu: longest - ETHERNET_HEADER,
        region_count: 1,
        queue_count: 1,
        ..Default::default()
    };
    let (region, slot) = if queue.owner == 0 { arena.region() } else { arena.region_with_lock(index)? };
    (peer.regions[0], peer.queues[0]) = (region, queue);
    let attached = window.attach_peer(index, &peer, slot);
    attached.map_err(|clause| anyhow!("our ring code refuses the queue: {clause:?}"))
}
