//! DPDK's `rte_hash` with keys of 16 bytes.

use super::frames::{Draw, key};
use super::subject::{Subject, Work};
use crate::clock::ticks;
use crate::dpdk::{Dpdk, KEY_LEN};
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

impl Subject for RteHash {
    fn burst(&mut self, _work: Work) -> Result<u64> {
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
}
