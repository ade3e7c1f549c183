//! DPDK's `rte_hash` with keys of 16 bytes, and a C program that routes frames by it.

use super::frames::{Draw, Frame, Headers, key};
use super::subject::{Subject, Work};
use crate::BUFFER;
use crate::clock::ticks;
use crate::dpdk::{Dpdk, Frames, KEY_LEN};
use anyhow::{Result, bail};
use sluice_switch::BURST;
use std::path::Path;

/// Least number of entries of a table. See: DPDK, `RTE_HASH_BUCKET_ENTRIES`.
const FEWEST: u32 = 8;

/// A table with a key for each flow.
pub struct RteHash {
    dpdk: Dpdk,
    draw: Draw,
}

impl RteHash {
    /// Makes the table in the library of file `file`, with as many places as the flow cache has for as many entries:
    /// two for each.
    pub fn new(file: &Path, flows: u32) -> Result<Self> {
        let dpdk = Dpdk::hold(file)?;
        dpdk.new_hash((2 * flows.next_power_of_two()).max(FEWEST))?;
        (0..flows).try_for_each(|flow| dpdk.add_to_hash(&key(flow), flow))?;
        Ok(Self { dpdk, draw: Draw::new(flows) })
    }
}

impl RteHash {
    /// Looks up flows that are drawn, and returns the ticks.
    fn look_up(&mut self) -> Result<u64> {
        let flows = [(); BURST].map(|()| self.draw.next());
        let keys: [[u8; KEY_LEN]; BURST] = flows.map(key);
        self.dpdk.set_keys(&keys);
        let start = ticks();
        let hits = self.dpdk.look_up();
        let spent = ticks() - start;
        let right = (0..).zip(flows).filter(|&(at, flow)| hits >> at & 1 == 1 && self.dpdk.value(at) == flow).count();
        if right != BURST {
            bail!("rte_hash finds {right} flows of {BURST}");
        }
        Ok(spent)
    }

    /// Makes frames of flows that are drawn.
    fn make(&mut self) -> Result<Frames> {
        let draw = &mut self.draw;
        let frames = (0..BURST).map(|_| Frame::of(Headers::Ipv4, draw.next()).bytes().to_vec());
        self.dpdk.make(frames, BUFFER)
    }

    /// Routes frames of flows that are drawn, and returns the ticks.
    fn route(&mut self) -> Result<u64> {
        let frames = self.make()?;
        let start = ticks();
        let sent = self.dpdk.route(frames).count_ones() as usize;
        let spent = ticks() - start;
        let mut first = Vec::new();
        self.dpdk.read_made(frames, 0, &mut first)?;
        if sent != BURST || !first.starts_with(&[2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4]) {
            bail!("the C program sends {sent} frames of {BURST}");
        }
        Ok(spent)
    }
}

impl Subject for RteHash {
    fn burst(&mut self, work: Work) -> Result<u64> {
        if work == Work::All { self.route() } else { self.look_up() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::dpdk;

    /// Both a frame that it sends and one that is none of IPv4 are as they must be afterwards.
    #[test]
    fn the_c_program_does_to_a_frame_what_the_flow_cache_does() {
        let Some(library) = dpdk() else { return };
        let mut hash = RteHash::new(&library, 100).unwrap();
        let frames = hash.make().unwrap();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        hash.dpdk.read_made(frames, 5, &mut before).unwrap();
        assert_eq!(hash.dpdk.route(frames), u64::from(u32::MAX));
        hash.dpdk.read_made(frames, 5, &mut after).unwrap();
        let mut wanted = before;
        wanted[..12].copy_from_slice(&[2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4]);
        // The checksum of the frames is 0 at first. It is added to what the time to live loses. See: RFC 1624.
        (wanted[22], wanted[24]) = (63, 1);
        assert_eq!(after, wanted);
        for (at, byte) in [(13, 6), (14, 0x46), (17, 47), (22, 1), (26, 1)] {
            let mut frame = Frame::of(Headers::Ipv4, 3).bytes().to_vec();
            frame[at] = byte;
            let frames = hash.dpdk.make([frame.clone()].into_iter(), BUFFER).unwrap();
            assert_eq!(hash.dpdk.route(frames), 0, "byte {at}");
            hash.dpdk.read_made(frames, 0, &mut after).unwrap();
            assert_eq!(after, frame);
        }
    }
}
