//! What a hop from one VM to the next costs: through a switch, which is DPDK's testpmd or `sluiced`, and through a
//! window, by which a process that is a VM puts frames into the next VM's receive queue itself.
//!
//! Each way has two processors, and processes of its own, which stand still but in their turn ([`Hops`]). All take
//! turns (A B C A B C). A turn is a warm-up and a few windows of time, in which a VM of testpmd counts frames by its
//! own counters and clock. The processors are looked at right before and after a turn ([`cores`]). A window of time
//! counts if they were as fast as ever, and belonged to this way's processes alone. A row is the median of the windows
//! that count; a ratio is the median of the ratios of turns of one round in which the processors were equally far
//! apart.
//!
//! Reading order: [`hops`] (what is measured), [`cores`], [`figures`] (what counts).

mod cores;
mod figures;
mod hops;

use anyhow::{Context, Result, bail};
use cores::Cores;
use figures::{Turn, row};
use hops::{Hops, WAYS, Way};
use sluice_report::vms::VmsRow;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Frames of a burst: of testpmd, and of a process.
const BURST: u16 = 32;
/// Time before the windows of a turn, and of each window, and their number.
const WARM_UP: Duration = Duration::from_millis(60);
const WINDOW: Duration = Duration::from_millis(150);
const WINDOWS: usize = 3;
/// Fewest windows of each way that must count; for them it may take this number of times the seconds asked for.
const FEWEST: usize = 9;
const PATIENCE: u32 = 4;

/// What is measured, and by which programs.
#[derive(clap::Args)]
pub struct Options {
    /// Lengths of frames in bytes, without their check sequence, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [64],
        value_parser = clap::value_parser!(u16).range(60..=1514)
    )]
    frame: Vec<u16>,
    /// Seconds for each length; more, if few windows of time count. 0: one window of each way, which counts anyhow
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The folder of the programs sluiced, generator and forward
    #[arg(long)]
    programs: PathBuf,
}

/// Measures; each row goes to `print`.
///
/// # Errors
/// There is one processor, a program can't be run, or a frame was lost.
pub fn run(options: &Options, processors: &[usize], print: impl FnMut(&VmsRow) -> Result<()>) -> Result<()> {
    measure(options, processors, &WAYS, print)
}

fn measure(
    options: &Options,
    processors: &[usize],
    ways: &[Way],
    mut print: impl FnMut(&VmsRow) -> Result<()>,
) -> Result<()> {
    let &[first, second, ..] = processors else { bail!("there is one processor here, and each way has two") };
    let mut cores = Cores::new([first, second]);
    for &frame in &options.frame {
        let start = |way: &Way| {
            let hops = Hops::start(*way, frame, &options.programs, cores.cpus);
            hops.with_context(|| format!("{way:?}, {frame} B"))
        };
        let mut all: Vec<Hops> = ways.iter().map(start).collect::<Result<_>>()?;
        let turns = take_turns(options.seconds, &mut cores, &mut all)?;
        for (hops, way) in all.into_iter().zip(ways) {
            hops.end().with_context(|| format!("{way:?}, {frame} B"))?;
        }
        let rows = ways.iter().zip(&turns).map(|(way, ours)| {
            let theirs = ways.iter().position(|them| them.is_rival_of(*way)).map(|them| &turns[them][..]);
            row(way.row(frame), ours, theirs, cores.best)
        });
        rows.into_iter().try_for_each(|row| print(&row))?;
    }
    Ok(())
}

/// Lets all take turns for a number of seconds. Returns the turns of each.
fn take_turns(seconds: u32, cores: &mut Cores, all: &mut [Hops]) -> Result<Vec<Vec<Turn>>> {
    let (start, enough) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut turns: Vec<Vec<Turn>> = all.iter().map(|_| Vec::new()).collect();
    let mut said = start;
    loop {
        for (hops, turns) in all.iter_mut().zip(&mut turns) {
            turns.push(turn(hops, cores, if seconds == 0 { 1 } else { WINDOWS }, seconds == 0)?);
        }
        let passed = start.elapsed();
        if said.elapsed() > Duration::from_secs(10) {
            eprintln!("… {:.0} s: {} rounds", passed.as_secs_f64(), turns[0].len());
            said = Instant::now();
        }
        let few =
            |turns: &Vec<Turn>| turns.iter().map(|turn| turn.counting(cores.best).count()).sum::<usize>() < FEWEST;
        if passed >= PATIENCE * enough || passed >= enough && !turns.iter().any(few) {
            return Ok(turns);
        }
    }
}

/// Takes one turn of `windows` windows, of which `any` counts or those that the processors had nothing else in.
fn turn(hops: &mut Hops, cores: &mut Cores, windows: usize, any: bool) -> Result<Turn> {
    let before = cores.look()?;
    hops.go_on()?;
    sleep(WARM_UP);
    let mut turn = Turn { any, before, after: before, windows: Vec::new() };
    hops.frames_a_second()?;
    for _ in 0..windows {
        let (had, start) = (hops.time_on_processors()?, Instant::now());
        sleep(WINDOW);
        let frames = hops.frames_a_second()?;
        let share = (hops.time_on_processors()? - had).as_secs_f64() / (2.0 * start.elapsed().as_secs_f64());
        turn.windows.push((frames / 1e6, share));
    }
    hops.stand_still()?;
    turn.after = cores.look()?;
    Ok(turn)
}

#[cfg(test)]
mod tests;
