//! One memory, and all implementations that are compared on it.

use crate::Options;
use crate::arena::Arena;
use crate::copy::Copy;
use crate::device::{Device, Impl, Ring};
use crate::driver::Driver;
use crate::rte_vhost::RteVhost;
use crate::sluice_native::SluiceNative;
use crate::sluice_window::SluiceWindow;
use crate::virtio_queue::VirtioQueue;
use anyhow::{Context, Result};
use clap::ValueEnum;
use sluice_abi::directory::Queue;

/// An implementation that is compared, its ring, and the driver at the ring's other side.
pub struct Rival {
    /// Whose code.
    pub who: Impl,
    /// The ring's format.
    pub ring: Ring,
    /// Place among the devices.
    pub device: usize,
}

/// All of them. Rival and driver have the same place.
pub struct World {
    /// All implementations that are compared.
    pub rivals: Vec<Rival>,
    /// Their drivers.
    pub drivers: Vec<Driver>,
    /// Device sides, each with all its rings.
    pub devices: Vec<Box<dyn Device>>,
}

impl World {
    /// Buffers of `buffer_len` bytes, frames of at most `longest`.
    pub fn new(options: &Options, buffer_len: u32, longest: u16) -> Result<Self> {
        let mut arena = Arena::new(buffer_len)?;
        let mut world = Self { rivals: Vec::new(), drivers: Vec::new(), devices: Vec::new() };
        for &who in Impl::value_variants().iter().filter(|who| options.wants(**who)) {
            world.add(who, options, &mut arena, longest).with_context(|| format!("{who:?}"))?;
        }
        Ok(world)
    }

    fn add(&mut self, who: Impl, options: &Options, arena: &mut Arena, longest: u16) -> Result<()> {
        let first = self.drivers.len();
        for &ring in who.rings().iter().filter(|ring| options.ring.contains(ring)) {
            self.drivers.push(Driver::new(arena, ring)?);
            self.rivals.push(Rival { who, ring, device: self.devices.len() });
        }
        let drivers = &self.drivers[first..];
        if drivers.is_empty() {
            return Ok(());
        }
        match device(who, options, arena, drivers, longest) {
            Ok(device) => self.devices.push(device),
            // Not everywhere can DPDK be started where it is installed.
            Err(error) if who == Impl::RteVhost => {
                eprintln!("No rows of rte_vhost: {error:#}");
                self.drivers.truncate(first);
                self.rivals.truncate(first);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The device side of `who` for the queues of `drivers`.
fn device(
    who: Impl,
    options: &Options,
    arena: &mut Arena,
    drivers: &[Driver],
    longest: u16,
) -> Result<Box<dyn Device>> {
    let queues: Vec<_> = drivers.iter().map(|driver| (driver.format(), driver.queue())).collect();
    Ok(match who {
        Impl::SluiceWindow => {
            let image = options.window.as_deref().context("no window image")?;
            Box::new(SluiceWindow::new(image, arena, &queues, longest)?)
        }
        Impl::SluiceNative => Box::new(SluiceNative::new(arena, &queues, longest)?),
        Impl::SluiceShared => {
            let shared: Vec<_> = queues.iter().map(|&(ring, queue)| (ring, Queue { owner: 1, ..queue })).collect();
            Box::new(SluiceNative::new(arena, &shared, longest)?)
        }
        Impl::RteVhost => {
            let library = options.rte_vhost.as_deref().context("no library")?;
            Box::new(RteVhost::new(library, arena, &queues)?)
        }
        Impl::VirtioQueue => Box::new(VirtioQueue::new(arena, drivers[0].queue())?),
        Impl::Copy => {
            Box::new(Copy::new(arena, drivers.iter().map(|driver| (driver.format(), driver.layout())).collect()))
        }
    })
}
