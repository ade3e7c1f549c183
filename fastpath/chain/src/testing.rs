//! Frames in packet memory, for tests.

use sluice_vnf::abi::Gpa;
use sluice_vnf::abi::call::MAX_BURST;
use sluice_vnf::{BufferLen, Burst, Frame, FrameMut, Mempool, PacketMemory, PeerSlice};
use std::vec;
use std::vec::Vec;

/// Returns an empty burst with a pool of its own.
pub fn burst() -> Burst<'static> {
    pool(8).burst()
}

/// Returns empty bursts of one pool, which has room for two that are full.
pub fn bursts(count: usize) -> Vec<Burst<'static>> {
    let pool = pool(2 * MAX_BURST);
    (0..count).map(|_| pool.burst()).collect()
}

/// Returns a pool of this number of buffers.
fn pool(buffers: usize) -> &'static Mempool<'static> {
    let memory = PeerSlice::from_mut(vec![0u64; buffers * 256].leak());
    let memory = PacketMemory::new(Gpa(0), memory).expect("small");
    let pool = Mempool::new(memory, BufferLen::KiB2, vec![0; buffers].leak()).expect("room");
    Box::leak(Box::new(pool))
}

/// Returns what `work` makes of a frame of `bytes`, and the frame's bytes then.
pub fn with<T>(frame: &[u8], work: impl FnOnce(&mut FrameMut<'_>) -> T) -> (T, Vec<u8>) {
    let mut burst = burst();
    burst.push_bytes(frame).expect("room");
    let value = work(&mut burst.frame_mut(0).expect("a frame"));
    (value, bytes(burst.frame(0).expect("a frame")))
}

/// Returns the bytes of `frame`.
pub fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![0; frame.len().into()];
    frame.copy_to_slice(0, &mut bytes).expect("inside");
    bytes
}

/// Returns a frame of an outer Ethernet header, a network service header that begins with `first` (flags, TTL and
/// length), has this MD type, next protocol, path, index and context, and `inner`.
pub fn chained(first: u16, kinds: [u8; 2], path: u32, index: u8, context: &[u8], inner: &[u8]) -> Vec<u8> {
    let path = path << 8 | u32::from(index);
    let header = [&first.to_be_bytes()[..], &kinds, &path.to_be_bytes(), context].concat();
    [&[2, 0, 0, 0, 0, 0xd, 2, 0, 0, 0, 0, 5, 0x89, 0x4f][..], &header, inner].concat()
}
