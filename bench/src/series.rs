//! All bursts of one frame size, on one processor and on two.

use crate::clock::pin;
use crate::device::{Impl, Ring};
use crate::driver::Series;
use crate::imix::IMIX;
pub use crate::statistics::median;
use crate::statistics::paired;
use crate::two_cores::{Shared, Turn, ends};
use crate::world::World;
use crate::{Options, SHORT, one_core};
use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// Turns before those that count.
pub const WARM_UP_TURNS: u16 = 1;
/// Most bytes of a turn, which take less than a time slice; and the fewest calls, so that an interrupted one stands
/// out.
const BYTES: usize = 4 << 20;
const FEWEST_CALLS: usize = 8;
/// On a machine that has other things to do: seconds after which there are no more turns than [`FEWEST_TURNS`], for
/// each burst.
const ENOUGH: Duration = Duration::from_secs(3);
const FEWEST_TURNS: u16 = 5;
/// Packets of a turn on two processors before those that count.
const WARM_UP_PACKETS: u32 = 1024;

/// Whose work is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The device's: an enqueue
    Device,
    /// The driver's: taking frames, giving buffers, freeing the frames
    Driver,
}

/// A measured row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The side that is measured.
    pub side: Side,
    /// The implementation.
    pub r#impl: String,
    /// The ring's format.
    pub ring: Ring,
    /// Processors: 1, device and driver in turn; 2, each has its own.
    pub cores: u16,
    /// Nanoseconds that a cache line takes to the other processor and back, right before and after the turns.
    pub round_trip_ns: Option<f64>,
    /// Bytes of a frame, or [`IMIX`].
    pub frame: u16,
    /// Packets in a call.
    pub burst: u16,
    /// Ticks of the time-stamp counter.
    pub cycles_per_packet: f64,
    /// The ratio to DPDK's ticks with the same ring: the median of the ratios turn by turn.
    pub ratio_to_dpdk: Option<f64>,
    /// Which of its ways DPDK's driver receives by.
    pub path: Option<String>,
}

/// The results of one rival's turns.
#[derive(Clone, Default)]
struct Turns {
    cycles: Vec<f64>,
    round_trips: Vec<f64>,
}

/// Measures everything about frames of `frame` bytes; each row goes to `print`.
pub fn run(
    options: &Options,
    processors: &[usize],
    world: &mut World,
    frame: u16,
    mut print: impl FnMut(&Row) -> Result<()>,
) -> Result<()> {
    for &cores in &options.cores {
        if processors.len() < usize::from(cores) {
            continue;
        }
        pin(processors[0])?;
        for &burst in &options.burst {
            let all = match cores {
                1 => on_one_core(options, world, frame, burst)?,
                _ => on_two_cores(options, world, frame, burst, processors[1])?,
            };
            for (rival, turns) in world.rivals.iter().zip(&all) {
                let theirs = world.rivals.iter().position(|them| (them.who, them.ring) == (Impl::RteVhost, rival.ring));
                let theirs = theirs.filter(|_| rival.who != Impl::RteVhost).map(|theirs| &all[theirs].cycles);
                print(&Row {
                    side: Side::Device,
                    r#impl: rival.who.name(),
                    ring: rival.ring,
                    cores,
                    round_trip_ns: (cores == 2).then(|| median(turns.round_trips.clone())),
                    frame,
                    burst,
                    cycles_per_packet: median(turns.cycles.clone()),
                    ratio_to_dpdk: theirs.and_then(|theirs| paired(&turns.cycles, theirs)),
                    path: None,
                })?;
            }
        }
    }
    Ok(())
}

/// Numbers of the turns.
pub fn turns(turns: u16) -> impl Iterator<Item = u16> {
    let start = Instant::now();
    (0..turns).take_while(move |&number| number < FEWEST_TURNS || start.elapsed() < ENOUGH)
}

/// Calls for `packets` packets of `frame` bytes, or for fewer if they are long.
pub fn calls(packets: u32, frame: u16, burst: u16) -> usize {
    (packets as usize)
        .min(BYTES / usize::from(if frame == IMIX { SHORT } else { frame }))
        .div_ceil(burst.into())
        .max(FEWEST_CALLS)
}

fn on_one_core(options: &Options, world: &mut World, frame: u16, burst: u16) -> Result<Vec<Turns>> {
    let mut all = vec![Turns::default(); world.rivals.len()];
    for number in turns(WARM_UP_TURNS + options.turns) {
        for (place, rival) in world.rivals.iter().enumerate() {
            let device = world.devices[rival.device].as_mut();
            device.prepare(rival.ring, burst, frame)?;
            let driver = &mut world.drivers[place];
            if number == 0 {
                driver.expect(series(rival.who, frame, burst))?;
            }
            let cycles = one_core::turn(device, driver, calls(options.packets, frame, burst), burst)
                .with_context(|| format!("{:?}, {:?}, {frame} B, burst {burst}, one core", rival.who, rival.ring))?;
            if number >= WARM_UP_TURNS {
                all[place].cycles.push(cycles);
            }
        }
    }
    Ok(all)
}

fn on_two_cores(options: &Options, world: &mut World, frame: u16, burst: u16, other: usize) -> Result<Vec<Turns>> {
    let (shared, drivers) = (Shared::default(), &mut world.drivers);
    let (producer, consumer) = ends(&shared);
    thread::scope(|scope| {
        let taking = scope.spawn(move || pin(other).and_then(|()| consumer.run(drivers)));
        let (warm_up, calls) = (calls(WARM_UP_PACKETS, frame, burst), calls(options.packets, frame, burst));
        let measure = || {
            let mut all = vec![Turns::default(); world.rivals.len()];
            for number in turns(options.turns) {
                for (place, rival) in world.rivals.iter().enumerate() {
                    let device = world.devices[rival.device].as_mut();
                    device.prepare(rival.ring, burst, frame)?;
                    let begin = (number == 0).then(|| series(rival.who, frame, burst));
                    all[place].round_trips.push(producer.round_trip()?);
                    let turn = Turn { driver: place, begin, warm_up, calls, burst };
                    all[place].cycles.push(producer.turn(device, turn)?);
                    all[place].round_trips.push(producer.round_trip()?);
                }
            }
            drop(producer);
            Ok(all)
        };
        let all: Result<_> = measure();
        // The driver's error says more than the device side's, which waited in vain.
        let taken = taking.join().map_err(|_| anyhow!("the driver's thread panicked"))?;
        taken.and(all).with_context(|| format!("{frame} B, burst {burst}, two cores"))
    })
}

/// The driver's orders before the first turn of a rival.
fn series(who: Impl, frame: u16, burst: u16) -> Series {
    Series { burst, len: frame, counts_buffers: who.counts_buffers() }
}
