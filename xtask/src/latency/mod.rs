//! `cargo xtask latency`: measures each single call, and the time that an interrupt waits for calls.

pub mod wakeups;

use crate::progress::step;
use crate::{Host, Scenario, artifacts};
use anyhow::{Result, bail};
use sluice_report::caption;
use sluice_report::latency::{plot, text};

pub use sluice_report::latency::{Calls, Expiries, Measured};

/// Burst and frame of the figure that the README names, and calls of that kind.
const HEADLINE: (u16, u16) = (32, 64);
const CALLS: u64 = 100_000;
/// Calls of other kinds, or packets of them, lest the emulator take too long.
const OTHER_CALLS: u64 = 10_000;
const OTHER_PACKETS: u64 = 400_000;
/// From one expiry to the next. A prime, so that expiries come at all places of a call in turn.
const PERIOD_INSTRUCTIONS: u64 = 100_003;
const PERIOD_NS: u64 = 1_000_000;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Packets in a call, 1 to 256, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [1, 8, 32, 64, 256],
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    burst: Vec<u16>,
    /// Frame sizes, 64 to 1518 bytes, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [64, 1518],
        value_parser = clap::value_parser!(u16).range(64..=1518)
    )]
    frame: Vec<u16>,
    /// Calls of each kind [default: 100,000 of 32 frames of 64 B; of the others 10,000, or 400,000 packets where those
    /// are fewer]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Expiries of the timer under each load
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    expiries: u64,
    /// Loads, as BURSTxFRAME with commas; the VM at rest and in an empty loop come first
    #[arg(long, value_delimiter = ',', default_values_t = ["32x64".to_owned(), "256x1518".to_owned()])]
    load: Vec<String>,
    /// Measure how long a frame waits for a VNF that had nothing to do, which polls or sleeps, instead of calls and
    /// timers
    #[arg(long)]
    wakeups: bool,
    /// With --wakeups: frames of each row [default: 200]
    #[arg(long, requires = "wakeups", value_parser = clap::value_parser!(u64).range(1..))]
    pings: Option<u64>,
    /// Print all rows as one JSON object
    #[arg(long)]
    json: bool,
    /// Measure the embedded default (plain processes, a clock) instead of the emulated machine (an instruction counter)
    #[arg(long)]
    embedded: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let host = if options.embedded { Host::embedded()? } else { Host::best()? };
    if options.wakeups {
        return wakeups::run(host, options.pings, options.json);
    }
    let measured = measure(host, options)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print(host, &measured)?;
    }
    match measured.broken().as_slice() {
        broken if host == Host::Bochs && !broken.is_empty() => bail!("{}", broken.join("; ")),
        _ => Ok(()),
    }
}

fn measure(host: Host, options: &Options) -> Result<Measured> {
    let mut measured = Measured::default();
    for frame in &options.frame {
        for burst in &options.burst {
            let count = options.calls.unwrap_or_else(|| calls((*burst, *frame)));
            let args = format!("calls count={count} bursts={burst} frames={frame}");
            let what = format!("{count} calls of {burst} frames of {frame} B");
            measured.add(&step(&what, || host.run(&scenario(host, &args)?))?)?;
        }
    }
    let period = if host == Host::Bochs { PERIOD_INSTRUCTIONS } else { PERIOD_NS };
    for load in ["idle", "busy"].into_iter().chain(options.load.iter().map(String::as_str)) {
        let args = format!("expiries count={} period={period} load={load}", options.expiries);
        let what = format!("{} expiries, load {load}", options.expiries);
        measured.add(&step(&what, || host.run(&scenario(host, &args)?))?)?;
    }
    measured.bound();
    Ok(measured)
}

/// Returns the default number of calls of a kind.
fn calls(kind: (u16, u16)) -> u64 {
    if kind == HEADLINE { CALLS } else { OTHER_CALLS.min(OTHER_PACKETS / u64::from(kind.0)) }
}

/// Returns the manifest `latency` on `host`, with arguments for its sender.
pub fn scenario(host: Host, args: &str) -> Result<Scenario> {
    let scenario = Scenario::example("latency")?.args("a", args)?;
    let scenario = if host == Host::Embedded { scenario.gate("direct")? } else { scenario };
    Ok(Scenario { timeout: 900, ..scenario })
}

fn print(host: Host, measured: &Measured) -> Result<()> {
    let unit = measured.calls.first().map_or("ticks", |row| row.unit.as_str());
    println!("Calls, {unit} each:\n{}\n", text::calls(&measured.calls));
    let unit = measured.expiries.first().map_or("ticks", |row| row.unit.as_str());
    println!("From a timer's expiry to its handler, {unit}:\n{}\n", text::expiries(&measured.expiries));
    measured.expiries.iter().for_each(|row| println!("{}", text::histogram(row)));
    println!("{}", caption::latency(host == Host::Bochs));
    artifacts::picture("latency.svg", |path| plot::draw(path, &measured.expiries))
}
