//! Device and driver on one processor, in turn; the clock runs while the device does.

use crate::clock::{cost, empty, ticks};
use crate::device::Device;
use crate::driver::Driver;
use anyhow::{Result, bail};

/// Ticks a packet of `calls` calls, with `burst` packets each.
pub fn turn(device: &mut dyn Device, driver: &mut Driver, calls: usize, burst: u16) -> Result<f64> {
    let empty = empty();
    let mut all = Vec::with_capacity(calls);
    for _ in 0..calls {
        driver.give_all();
        let before = ticks();
        let accepted = device.enqueue();
        all.push((ticks() - before).saturating_sub(empty));
        if accepted != usize::from(burst) {
            bail!("{accepted} packets of {burst} were accepted");
        }
        device.finish();
        let arrived = driver.take(burst)?;
        if arrived != burst {
            bail!("{arrived} frames of {burst} arrived");
        }
    }
    Ok(cost(all, burst))
}
