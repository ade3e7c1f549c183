//! What an enqueue costs: our ring code and others', one after the other, on memory of the same layout, for the same driver.
//!
//! One row per burst and frame size: ticks of the time-stamp counter a packet, the median of many short runs, in which the
//! implementations take turns. The driver side runs on the same processor between the bursts and is not measured.

mod arena;
mod copy;
mod sluice_native;
mod virtio_queue;

use anyhow::{Result, bail};
use arena::Arena;
use clap::Parser;
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use serde::Serialize;

/// Measures what an enqueue costs; prints rows of JSON, one a line.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Packets in a call, 1 to 256, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32, 64, 256], value_parser = clap::value_parser!(u16).range(1..=256))]
    burst: Vec<u16>,
    /// Frame sizes, 60 to 1518 bytes, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 256, 512, 1024, 1518], value_parser = clap::value_parser!(u16).range(60..=1518))]
    frame: Vec<u16>,
    /// Turns that each implementation has; a row is the median of them
    #[arg(long, default_value_t = 31)]
    turns: usize,
    /// Packets in a turn
    #[arg(long, default_value_t = 8192)]
    packets: usize,
}

/// One measured row.
#[derive(Serialize)]
struct Row {
    /// Whose code.
    r#impl: &'static str,
    ring: &'static str,
    /// Processors: the driver side shares the one.
    cores: u16,
    /// Between two processors; none here.
    round_trip_ns: Option<f64>,
    frame: u16,
    burst: u16,
    cycles_per_packet: f64,
}

/// Somebody's device side of a receive queue.
trait Enqueue {
    /// Name in rows.
    fn name(&self) -> &'static str;
    /// Makes `count` frames of `len` bytes ready to be sent; not measured.
    fn prepare(&mut self, count: u16, len: u16);
    /// Puts the frames that are ready into the driver's buffers and publishes them; how many.
    fn enqueue(&mut self) -> usize;
    /// What of the work remains to be done and is not measured.
    fn finish(&mut self) {}
    /// The driver's memory.
    fn arena(&mut self) -> &mut Arena;
}

fn main() -> Result<()> {
    pin();
    let options = Options::parse();
    for &frame in &options.frame {
        for &burst in &options.burst {
            for row in measure(&options, burst, frame)? {
                println!("{}", serde_json::to_string(&row)?);
            }
        }
    }
    Ok(())
}

/// Threads move between processors with different clocks and caches; this one stays.
fn pin() {
    let mut set = rustix::thread::CpuSet::new();
    set.set(rustix::thread::sched_getcpu());
    // Where that is forbidden the figures are noisier, not wrong.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

fn measure(options: &Options, burst: u16, frame: u16) -> Result<Vec<Row>> {
    let mut all: Vec<Box<dyn Enqueue>> = vec![
        Box::new(sluice_native::Sluice::new()?),
        Box::new(virtio_queue::VirtioQueue::new()?),
        Box::new(copy::Copy::new()?),
    ];
    let mut turns = vec![Vec::new(); all.len()];
    for _ in 0..options.turns {
        for (turns, device) in turns.iter_mut().zip(&mut all) {
            turns.push(turn(device.as_mut(), options.packets, burst, frame)?);
        }
    }
    let rows = all.iter().zip(&mut turns).map(|(device, turns)| {
        turns.sort_by(f64::total_cmp);
        let cycles_per_packet = turns[turns.len() / 2];
        Row { r#impl: device.name(), ring: "split", cores: 1, round_trip_ns: None, frame, burst, cycles_per_packet }
    });
    Ok(rows.collect())
}

/// Ticks a packet of about `packets` packets.
fn turn(device: &mut dyn Enqueue, packets: usize, burst: u16, frame: u16) -> Result<f64> {
    let empty = (0..16).map(|_| ticks().abs_diff(ticks())).min().unwrap_or(0);
    let (mut sum, mut sent) = (0, 0);
    while sent < packets {
        device.arena().give_all();
        device.prepare(burst, frame);
        let before = ticks();
        let accepted = device.enqueue();
        sum += (ticks() - before).saturating_sub(empty);
        if accepted != usize::from(burst) {
            bail!("{}: {accepted} packets of {burst} accepted", device.name());
        }
        sent += accepted;
        device.finish();
        let name = device.name();
        device.arena().take_all(burst, frame).map_err(|what| anyhow::anyhow!("{name}: {what}"))?;
    }
    Ok(sum as f64 / sent as f64)
}

#[inline(always)]
#[allow(unsafe_code, reason = "RDTSC")]
fn ticks() -> u64 {
    // SAFETY: reads a counter; the fence lets everything before it end first.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}
