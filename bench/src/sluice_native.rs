//! Ours, built for this processor.

use crate::arena::Arena;
use crate::device::{Device, Ring};
use crate::sender::RingSender;
use anyhow::Result;
use sluice_abi::call::Status;
use sluice_abi::directory::Queue;
use sluice_abi::map;
use sluice_inside::{Window, transmit};
use sluice_memory::{Avx, PeerSlice, Words};

/// A window in ordinary memory.
pub struct SluiceNative {
    window: Box<Window>,
    sender: RingSender,
    lanes: Option<Avx>,
    count: u16,
}

impl SluiceNative {
    /// With `queues` of the driver in `arena`.
    pub fn new(arena: &Arena, queues: &[(Ring, Queue)], longest: u16) -> Result<Self> {
        let mut window = Box::new(Window::new());
        let sender = RingSender::new(&mut window, page(), arena, queues, longest)?;
        Ok(Self { window, sender, lanes: Avx::detect(), count: 0 })
    }
}

fn page() -> PeerSlice<'static> {
    PeerSlice::from_mut(vec![0u64; map::PAGE as usize / 8].leak())
}

impl Device for SluiceNative {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        self.count = count;
        self.sender.prepare(ring, count, len)
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        let (window, request, count) = (&mut self.window, self.sender.request, u64::from(self.count));
        let outcome = match self.lanes {
            Some(lanes) => transmit(window, request, count, lanes),
            None => transmit(window, request, count, Words),
        };
        if outcome.status == Status::OK { usize::from(self.count) } else { outcome.accepted.count() }
    }
}
