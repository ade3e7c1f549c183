//! The driver on a processor of its own, polling; the clock runs over the device's calls, each of which finds room for
//! its burst.
//!
//! The device learns of room from a counter beside the ring, so it finds the ring's own lines where the driver left
//! them.

use crate::clock::{cost, empty, ticks};
use crate::device::Device;
use crate::driver::{Driver, Series};
use anyhow::{Context, Result, anyhow, bail};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Times that the line goes to and fro for one measurement.
const ROUND_TRIPS: u64 = 400;
/// Frames that a driver takes before it gives their buffers back.
const MOST: u16 = 32;
/// No progress for so long is an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// The orders of the driver's thread.
enum Work {
    /// Return the line.
    PingPong,
    /// Take `packets` frames with driver `driver`, which begins a series if there is one.
    Take { driver: usize, begin: Option<Series>, packets: u64 },
}

/// Calls of one device.
#[derive(Clone, Copy)]
pub struct Turn {
    /// Place of its driver.
    pub driver: usize,
    /// The driver's first order.
    pub begin: Option<Series>,
    /// Calls that don't count.
    pub warm_up: usize,
    /// Calls that do.
    pub calls: usize,
    /// Packets in a call.
    pub burst: u16,
}

/// A word with a cache line, and the next one, to itself.
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

/// The state that both threads share.
#[derive(Default)]
pub struct Shared {
    ball: Line,
    /// Buffers given since the turn began.
    given: Line,
    stop: AtomicBool,
    done: AtomicBool,
}

/// The device's end.
pub struct Producer<'s> {
    shared: &'s Shared,
    work: Sender<Work>,
}

/// The driver's end.
pub struct Consumer<'s> {
    shared: &'s Shared,
    work: Receiver<Work>,
}

/// Both ends.
pub fn ends(shared: &Shared) -> (Producer<'_>, Consumer<'_>) {
    let (sender, receiver) = channel();
    (Producer { shared, work: sender }, Consumer { shared, work: receiver })
}

impl Shared {
    /// Waits until `what` is true.
    fn wait(&self, mut what: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        for round in 1u32.. {
            if what() {
                return Ok(());
            }
            if self.stop.load(Ordering::Relaxed) || (round % 65_536 == 0 && start.elapsed() > PATIENCE) {
                break;
            }
            spin_loop();
        }
        self.stop.store(true, Ordering::Relaxed);
        bail!("the other processor makes no progress")
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Producer<'_> {
    /// Nanoseconds that a line takes to the other processor and back.
    pub fn round_trip(&self) -> Result<f64> {
        self.shared.ball.0.store(0, Ordering::Relaxed);
        self.work.send(Work::PingPong)?;
        self.shared.wait(|| self.shared.ball.0.load(Ordering::Acquire) == 1)?;
        let start = Instant::now();
        for round in 1..=ROUND_TRIPS {
            self.shared.ball.0.store(2 * round, Ordering::Release);
            while self.shared.ball.0.load(Ordering::Acquire) != 2 * round + 1 {}
        }
        Ok(start.elapsed().as_nanos() as f64 / ROUND_TRIPS as f64)
    }

    /// Ticks a packet of the calls of `turn`.
    pub fn turn(&self, device: &mut dyn Device, turn: Turn) -> Result<f64> {
        let Turn { driver, begin, warm_up, calls, burst } = turn;
        let shared = self.shared;
        shared.given.0.store(0, Ordering::Relaxed);
        shared.done.store(false, Ordering::Relaxed);
        let packets = (warm_up + calls) as u64 * u64::from(burst);
        self.work.send(Work::Take { driver, begin, packets })?;
        let empty = empty();
        let (mut all, mut sent) = (Vec::with_capacity(warm_up + calls), 0);
        for _ in 0..warm_up + calls {
            shared.wait(|| shared.given.0.load(Ordering::Acquire) >= sent + u64::from(burst))?;
            let before = ticks();
            let accepted = device.enqueue();
            let spent = (ticks() - before).saturating_sub(empty);
            if accepted != usize::from(burst) {
                bail!("{accepted} packets of {burst} were accepted");
            }
            device.finish();
            sent += u64::from(burst);
            all.push(spent);
        }
        shared.wait(|| shared.done.load(Ordering::Acquire))?;
        Ok(cost(all.split_off(warm_up), burst))
    }
}

impl Consumer<'_> {
    /// Does what the producer asks for, until it is gone.
    pub fn run(&self, drivers: &mut [Driver]) -> Result<()> {
        loop {
            match self.work.try_recv() {
                Ok(Work::PingPong) => self.return_line()?,
                Ok(Work::Take { driver, begin, packets }) => {
                    let driver = drivers.get_mut(driver).context("no such driver")?;
                    let taken = begin.map_or(Ok(()), |series| driver.expect(series));
                    let taken = taken.and_then(|()| self.take(driver, packets));
                    if taken.is_err() {
                        self.shared.stop.store(true, Ordering::Relaxed);
                    }
                    taken?;
                }
                Err(TryRecvError::Empty) => spin_loop(),
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn return_line(&self) -> Result<()> {
        let ball = &self.shared.ball.0;
        ball.store(1, Ordering::Release);
        for round in 1..=ROUND_TRIPS {
            while ball.load(Ordering::Acquire) != 2 * round {}
            ball.store(2 * round + 1, Ordering::Release);
        }
        Ok(())
    }

    fn take(&self, driver: &mut Driver, packets: u64) -> Result<()> {
        driver.give_all();
        // Everything that the driver had free is given now: the whole ring.
        let mut given = u64::from(crate::arena::SIZE);
        let mut taken = 0;
        self.shared.given.0.store(given, Ordering::Release);
        while taken < packets {
            self.shared.wait(|| driver.is_ready())?;
            taken += u64::from(driver.take(MOST)?);
            given += u64::from(driver.give_all());
            self.shared.given.0.store(given, Ordering::Release);
        }
        if taken > packets {
            return Err(anyhow!("{taken} frames of {packets} arrived"));
        }
        self.shared.done.store(true, Ordering::Release);
        Ok(())
    }
}
