//! Ours, as a VNF has it: `tx_burst` on a port of the gate `direct`, with request block, checks and statistics.

use crate::Enqueue;
use crate::arena::{Arena, FRAMES, SIZE, STRIDE, frame};
use anyhow::{Result, anyhow};
use sluice::{Access, Burst, Gate, GateKind, Mempool, PacketMemory, PeerPort, PeerSlice, Port};
use sluice_abi::directory::{self, Directory, PeerState, Queue, Region};
use sluice_abi::{Gpa, net};
use zerocopy::IntoBytes;

pub struct Sluice {
    arena: Arena,
    port: PeerPort<'static>,
    burst: Burst<'static>,
}

impl Sluice {
    pub fn new() -> Result<Self> {
        let arena = Arena::new()?;
        let gate: &'static Gate = Box::leak(Box::new(gate(&arena)?));
        let frames = packets(&arena)?;
        let pool = Box::leak(Box::new(Mempool::new(
            PacketMemory::new(Gpa(FRAMES), frames).ok_or(anyhow!("too much packet memory"))?,
            Box::leak(Box::new([0; SIZE])),
        )));
        Ok(Self { arena, port: PeerPort::new(gate, 0), burst: pool.burst() })
    }
}

fn packets(arena: &Arena) -> Result<PeerSlice<'static>> {
    arena.memory.sub(FRAMES, SIZE as u64 * STRIDE).map_err(|_| anyhow!("no packet memory"))
}

/// A gate to the one peer, whose memory the arena is.
#[allow(unsafe_code, reason = "stands in for the host")]
fn gate(arena: &Arena) -> Result<Gate> {
    let mut peer = directory::Peer {
        state: PeerState::Ready as u32,
        mtu: 1500,
        region_count: 1,
        queue_count: 1,
        ..Default::default()
    };
    peer.regions[0] = Region { gpa: Gpa(0), len: arena.len(), slot_offset: 0 };
    let features = net::F::VERSION_1.bits();
    peer.queues[0] = Queue { addresses: arena.addresses(), features, size: SIZE as u16, ..Default::default() };
    let mut own = Directory { gate: GateKind::Direct as u32, peer_count: 1, ..Default::default() };
    own.peers[0] = peer;
    let directory = page();
    directory.copy_from_slice(0, own.as_bytes()).map_err(|_| anyhow!("a directory is larger than a page"))?;
    let access = Access { directory, request: page(), packets: packets(arena)?, slot: arena.memory.as_ptr() };
    // SAFETY: the slot is the arena's memory, as the directory says; it is reached through slices alone and never unmapped.
    unsafe { Gate::discover(access) }.map_err(|error| anyhow!("{error}"))
}

#[allow(unsafe_code, reason = "makes shared memory out of ordinary memory")]
fn page() -> PeerSlice<'static> {
    let words = Box::leak(Box::new([0u64; 512]));
    // SAFETY: never freed, and only slices lead into it from now on.
    unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), 4096) }
}

impl Enqueue for Sluice {
    fn name(&self) -> &'static str {
        "sluice-native"
    }

    fn prepare(&mut self, count: u16, len: u16) {
        self.burst.release();
        for index in 0..count {
            let checks = self.arena.checks();
            if let Some(to) = self.burst.push(len).filter(|_| checks) {
                // As long as the slice.
                let _ = to.copy_from_slice(0, &frame(index.into(), len.into()));
            }
        }
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        self.port.tx_burst(&mut self.burst).unwrap_or(0)
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}
