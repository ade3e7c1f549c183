//! Measures receiving: taking a burst of frames, giving the device new buffers, and freeing the frames.
//!
//! Driver and device are on one processor, in turn; the clock runs while the driver takes and while it frees. The
//! device fills the ring, and each frame is looked at, outside the clock. All drivers take turns (A B A B).
//!
//! Reading order: [`Receiver`] (the drivers), [`run`] (the measurement), `sluice` and `dpdk`.

mod dpdk;
mod sluice;
mod transport;

use crate::arena::frame as bytes_of;
use crate::clock::{cost, empty, ticks};
use crate::device::Ring;
use crate::dpdk::Dpdk;
use crate::series::{Row, Side, WARM_UP_TURNS, calls, median, turns};
use crate::{Options, imix, statistics};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// Frames at the start of each series that are looked at byte by byte.
const CHECKED: usize = 512;

/// Whose driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// `VirtioNet` of the crate sluice, built for this processor
    Sluice,
    /// DPDK's virtio driver, as virtio-user
    DpdkVirtio,
}

/// A driver with a receive queue, and the device that fills it.
pub trait Receiver {
    /// Which of several ways it receives by, if it has several.
    fn path(&self) -> Option<&str>;
    /// Whether it takes bursts of `burst` frames.
    fn takes(&self, _burst: u16) -> bool {
        true
    }
    /// Sets number and length of the frames that the device fills in from now on.
    fn prepare(&mut self, count: u16, len: u16) -> Result<()>;
    /// Lets the device fill buffers with the frames, and returns the number of frames.
    fn fill(&mut self) -> usize;
    /// Takes at most `most` frames, gives the device buffers, and returns the number of frames. This is measured.
    fn take(&mut self, most: usize) -> usize;
    /// Puts the bytes of frame `index` of those taken into `bytes`.
    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()>;
    /// Frees the frames that were taken. This is measured, too.
    fn free(&mut self);
}

/// A driver that is compared.
struct Rival {
    who: Driver,
    ring: Ring,
    receiver: Box<dyn Receiver>,
}

/// All drivers that are compared, with buffers of one length.
pub struct World {
    rivals: Vec<Rival>,
}

impl World {
    /// Buffers of `buffer_len` bytes, frames of at most `longest`.
    pub fn new(options: &Options, buffer_len: u32, longest: u16) -> Result<Self> {
        let mut rivals = Vec::new();
        let library = options.rte_vhost.as_deref().map(Dpdk::hold).transpose();
        // Not everywhere can DPDK be started where it is installed.
        let dpdk = library.inspect_err(|error| eprintln!("No rows of dpdk-virtio: {error:#}")).ok().flatten();
        for &ring in &options.ring {
            let receiver = Box::new(sluice::Sluice::new(ring, buffer_len, longest)?);
            rivals.push(Rival { who: Driver::Sluice, ring, receiver });
            let Some(dpdk) = &dpdk else { continue };
            match dpdk::DpdkVirtio::new(dpdk, ring, buffer_len) {
                Ok(receiver) => rivals.push(Rival { who: Driver::DpdkVirtio, ring, receiver: Box::new(receiver) }),
                Err(error) => eprintln!("No row of dpdk-virtio, {ring:?}: {error:#}"),
            }
        }
        Ok(Self { rivals })
    }
}

/// Measures everything about frames of `frame` bytes on this processor; each row goes to `print`.
pub fn run(options: &Options, world: &mut World, frame: u16, mut print: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    for &burst in &options.burst {
        let all = all_turns(options, world, frame, burst)?;
        for (place, rival) in world.rivals.iter().enumerate().filter(|(place, _)| !all[*place].is_empty()) {
            let theirs = world.rivals.iter().position(|them| (them.who, them.ring) == (Driver::DpdkVirtio, rival.ring));
            let theirs = theirs.filter(|_| rival.who == Driver::Sluice).map(|theirs| &all[theirs][..]);
            print(&Row {
                side: Side::Driver,
                r#impl: name(rival.who),
                ring: rival.ring,
                cores: 1,
                round_trip_ns: None,
                frame,
                burst,
                cycles_per_packet: median(all[place].clone()),
                ratio_to_dpdk: theirs.and_then(|theirs| statistics::paired(&all[place], theirs)),
                path: rival.receiver.path().map(str::to_owned),
            })?;
        }
    }
    Ok(())
}

fn name(who: Driver) -> String {
    who.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Ticks a packet in each turn of each driver; none of one that does not take such bursts.
fn all_turns(options: &Options, world: &mut World, frame: u16, burst: u16) -> Result<Vec<Vec<f64>>> {
    let mut all = vec![Vec::new(); world.rivals.len()];
    for number in turns(WARM_UP_TURNS + options.turns) {
        for (place, rival) in world.rivals.iter_mut().enumerate().filter(|(_, rival)| rival.receiver.takes(burst)) {
            let checked = if number == 0 { CHECKED } else { 0 };
            let calls = calls(options.packets, frame, burst);
            let cycles = turn(rival.receiver.as_mut(), calls, burst, frame, checked)
                .with_context(|| format!("{:?}, {:?}, {frame} B, burst {burst}, receiving", rival.who, rival.ring))?;
            if number >= WARM_UP_TURNS {
                all[place].push(cycles);
            }
        }
    }
    Ok(all)
}

/// Ticks a packet of `calls` calls. Each frame's length and first byte are looked at, and all bytes of the first
/// `checked`.
pub fn turn(receiver: &mut dyn Receiver, calls: usize, burst: u16, frame: u16, checked: usize) -> Result<f64> {
    receiver.prepare(burst, frame)?;
    let (empty, wanted) = (empty(), usize::from(burst));
    let (mut all, mut bytes) = (Vec::with_capacity(calls), Vec::new());
    for call in 0..calls {
        let filled = receiver.fill();
        if filled != wanted {
            bail!("the device had buffers for {filled} frames of {wanted}");
        }
        let (count, taking) = timed(|| receiver.take(wanted));
        if count != wanted {
            bail!("{count} frames of {wanted} were received");
        }
        for index in 0..count {
            receiver.read(index, &mut bytes)?;
            check(&bytes, index, frame, call * wanted + index < checked)?;
        }
        let ((), freeing) = timed(|| receiver.free());
        all.push((taking + freeing).saturating_sub(2 * empty));
    }
    Ok(cost(all, burst))
}

/// Frame `index` of a burst is as it was sent.
fn check(bytes: &[u8], index: usize, frame: u16, whole: bool) -> Result<()> {
    let len = usize::from(imix::len(frame, index as u64));
    if bytes.len() != len || bytes.first() != Some(&(index as u8)) {
        bail!("frame {index} has {} bytes and begins with {:?}, not {len} and {index}", bytes.len(), bytes.first());
    }
    if whole && bytes != bytes_of(index as u16, len) {
        bail!("frame {index} of {len} bytes did not arrive as it was sent");
    }
    Ok(())
}

#[inline(always)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ticks();
    let result = work();
    (result, ticks() - before)
}

#[cfg(test)]
mod tests;
