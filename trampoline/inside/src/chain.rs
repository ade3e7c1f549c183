//! Buffers of several descriptors. Rare with the drivers we know, so kept out of the way of the common case.

use crate::{DeviceQueue, Enqueue, Regions};
use sluice_abi::call::Clause;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
use sluice_abi::virtq::DescF;
use sluice_memory::{OutOfRegion, PeerSlice};

/// Longest chain that is followed: it bounds the time a window is open (rule G10). Linux uses at most 19.
pub(crate) const MAX_CHAIN: u16 = 64;

/// Fills the chain that starts at `head` with header and `frame`. Each descriptor is read once here; what the caller saw of the
/// first counts no more.
#[cold]
#[inline(never)]
pub(crate) fn fill(
    queue: &DeviceQueue,
    regions: &Regions,
    head: u16,
    frame: PeerSlice<'_>,
    max_frame: u32,
) -> Result<Enqueue, Clause> {
    let total = u64::from(HDR_LEN) + frame.len();
    let mut done = 0;
    let mut desc = queue.descriptor(head)?;
    for _ in 0..MAX_CHAIN.min(queue.size()) {
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            return Err(Clause::NotNegotiated);
        }
        if !flags.contains(DescF::WRITE) {
            return Err(Clause::NotWritable);
        }
        let buffer = regions.find(desc.addr, u64::from(desc.len)).map_err(|_| Clause::Region)?;
        done += piece(buffer, frame, done).map_err(|_| Clause::Region)?;
        if done == total {
            return Ok(Enqueue::Filled);
        }
        if !flags.contains(DescF::NEXT) {
            return too_short(done, max_frame);
        }
        desc = queue.descriptor(desc.next)?;
    }
    Err(Clause::ChainLength)
}

/// Fills `buffer` with what follows the first `done` bytes of header and frame; how many bytes that were.
fn piece(buffer: PeerSlice<'_>, frame: PeerSlice<'_>, done: u64) -> Result<u64, OutOfRegion> {
    let mut written = 0;
    while written < buffer.len()
        && let Some(&byte) = PLAIN_HDR.get((done + written) as usize)
    {
        buffer.write(written, byte)?;
        written += 1;
    }
    if written == buffer.len() {
        return Ok(written);
    }
    let from = done + written - u64::from(HDR_LEN);
    let len = (frame.len() - from).min(buffer.len() - written);
    buffer.copy_from(written, frame.sub(from, len)?)?;
    Ok(written + len)
}

/// A chain of `capacity` bytes was too short: whose fault is that? See: VIRTIO 5.1.6.3.1 "Driver Requirements: Setting Up
/// Receive Buffers".
fn too_short(capacity: u64, max_frame: u32) -> Result<Enqueue, Clause> {
    if capacity >= u64::from(HDR_LEN + max_frame) { Ok(Enqueue::TooLong) } else { Err(Clause::TooShort) }
}
