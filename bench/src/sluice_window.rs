//! Ours as the window view runs it: the very image, at the addresses it is linked for, with what the monitor would map
//! there.

use crate::arena::Arena;
use crate::device::{Device, Ring};
use crate::sender::RingSender;
use crate::slot::Image;
use anyhow::{Context, Result};
use sluice_abi::call::Status;
use sluice_abi::directory::Queue;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The image with a driver's queues.
pub struct SluiceWindow {
    image: MutexGuard<'static, Image>,
    sender: RingSender,
    count: u16,
}

impl SluiceWindow {
    /// With `queues` of the driver in `arena`, run by the image in file `path`. One at a time.
    pub fn new(path: &Path, arena: &Arena, queues: &[(Ring, Queue)], longest: u16) -> Result<Self> {
        static IMAGE: OnceLock<Mutex<Image>> = OnceLock::new();
        // Its place in memory can be taken once: who comes meanwhile waits.
        static LOADING: Mutex<()> = Mutex::new(());
        let loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if IMAGE.get().is_none() {
            let image = Image::load(&fs::read(path)?).with_context(|| path.display().to_string())?;
            IMAGE.get_or_init(|| Mutex::new(image));
        }
        drop(loading);
        let mut image = IMAGE.get().context("no image")?.lock().unwrap_or_else(PoisonError::into_inner);
        let request = image.request;
        let sender = RingSender::new(image.new_window(), request, arena, queues, longest)?;
        Ok(Self { image, sender, count: 0 })
    }
}

impl Device for SluiceWindow {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        self.count = count;
        self.sender.prepare(ring, count, len)
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        let status = self.image.transmit(self.count.into());
        if status == Status::OK { usize::from(self.count) } else { 0 }
    }
}
