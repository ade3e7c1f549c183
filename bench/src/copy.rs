//! The floor: header and frame copied into buffers whose places are known, and nothing checked. The ring is filled afterwards.

use crate::Enqueue;
use crate::arena::{Arena, FRAMES, STRIDE};
use crate::sluice_native::Sluice;
use anyhow::Result;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};

pub struct Copy {
    /// Does the rest of a device side's work.
    device: Sluice,
    count: u16,
    len: usize,
}

impl Copy {
    pub fn new() -> Result<Self> {
        Ok(Self { device: Sluice::new()?, count: 0, len: 0 })
    }
}

#[allow(unsafe_code, reason = "the floor checks nothing")]
impl Enqueue for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn prepare(&mut self, count: u16, len: u16) {
        self.device.prepare(count, len);
        (self.count, self.len) = (count, usize::from(len));
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        let base = self.device.arena().memory.as_ptr();
        for index in 0..u32::from(self.count) {
            let from = base.wrapping_add((FRAMES + u64::from(index) * STRIDE) as usize);
            let to = base.wrapping_add(Arena::buffer(index) as usize);
            // SAFETY: both are inside the arena, which is as large as all frames and buffers, and do not overlap.
            unsafe {
                to.cast::<[u8; HDR_LEN as usize]>().write(PLAIN_HDR);
                to.add(HDR_LEN as usize).copy_from_nonoverlapping(from, self.len);
            }
        }
        self.count.into()
    }

    fn finish(&mut self) {
        self.device.enqueue();
    }

    fn arena(&mut self) -> &mut Arena {
        self.device.arena()
    }
}
