//! `cargo xtask bench`: measures the cost of a packet.

use crate::progress::step;
use crate::{Host, Scenario, artifacts, chain, channel, rings, switch, vms};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use sluice_report::{IMIX, Report, Row, caption, frame_name, plot, table};

/// Packets in a row: in an emulator every packet costs the same, on a real machine they don't.
const PACKETS_EMULATED: u64 = 1024;
const PACKETS_NATIVE: u64 = 200_000;
/// Runs of the embedded default; a row is the median of them.
const RUNS_NATIVE: usize = 5;

/// The gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gate {
    /// Peer memory always mapped
    Direct,
    /// Peer memory in a second view
    Guarded,
    /// The host's code in a window view
    Isolated,
    /// One exit a call
    Hypercall,
}

/// Formats of the receiver's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// Split, buffers used in any order
    #[default]
    Split,
    /// Split, buffers used in order
    InOrder,
    /// Packed
    Packed,
}

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Gates, with commas [default: all]
    #[arg(long, value_delimiter = ',')]
    gate: Vec<Gate>,
    /// Packets in a call, 1 to 256, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64, 128, 256],
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    burst: Vec<u16>,
    /// Frame sizes, 60 to 1518 bytes, or imix (of twelve frames seven of 64, four of 594, one of 1518 bytes), with
    /// commas
    #[arg(
        long,
        value_delimiter = ',', default_values = ["64", "128", "256", "512", "1024", "1518", IMIX],
        value_parser = frame
    )]
    frame: Vec<u16>,
    /// Format of the receiver's queue
    #[arg(long, value_enum, default_value_t)]
    ring: Ring,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
    /// Measure the embedded default (plain processes, a clock) instead of the emulated machine (an instruction counter)
    #[arg(long)]
    embedded: bool,
}

fn frame(text: &str) -> Result<u16, String> {
    let frame = if text == IMIX { Some(0) } else { text.parse().ok().filter(|frame| (60..=1518).contains(frame)) };
    frame.ok_or_else(|| "60 to 1518, or imix".into())
}

/// What else can be measured.
#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Measures what an enqueue and what receiving cost, our code and others' side by side: real time on this machine,
    /// no gates
    ///
    /// In one run, on one memory, in turn: our ring code as the window image and as a library for this processor,
    /// DPDK's rte_vhost_enqueue_burst, rust-vmm's virtio-queue, and copying alone. Cycles are ticks of the time-stamp
    /// counter. On one core the driver works between the calls, outside the clock; on two it polls on the other, and
    /// rows compare at like round trips of a cache line only. Then the driver's side, on one core: our VirtioNet and
    /// DPDK's virtio driver (virtio-user) take frames, give new buffers and free the frames, while the clock runs; the
    /// device fills the ring outside the clock.
    Rings(rings::Options),
    /// Measures what a packet costs in the flow cache, beside DPDK's rte_hash and Open vSwitch: real time on this
    /// machine, one core
    ///
    /// The flow cache (crate sluice-switch) is what a switch inside of a VM has. It copies a frame's first bytes out of
    /// packet memory (load), makes a key of all that the headers prove (parse), finds the entry of the key in a table
    /// that the host writes (lookup), and does the entry's actions (act: new MAC addresses, time to live and checksum,
    /// written back). Row "all" is all of these by one clock.
    ///
    /// Frames are TCP and UDP of flows that are drawn evenly, in bursts of 32, of 60 bytes and over IPv4 where nothing
    /// else is said. They were just written, so they are in a cache. Four tables: "wide" has one entry for all flows,
    /// "exact" one for each flow under one mask, "subtables" 32 under 16 masks, and "front" the same with a front that
    /// remembers which entry a whole key had. The memory of a table is in pages of 4 KiB, or the kernel is asked for
    /// 2 MiB (madvise), and column "in 2 MiB" says how much of it there is.
    ///
    /// rte_hash_lookup_bulk_data finds keys of 16 bytes (addresses, ports, protocol) of the same flows, in pages of
    /// 4 KiB, in a table with as many places as "exact" has. Compare it with rows of 4 KiB: it compares 16 bytes, the
    /// flow cache 40, and the entry's generation and epochs. Rows of "c" are of a router around it, in the manner of
    /// DPDK's example l3fwd, which counts nothing. Rows of "ovs" are of Open vSwitch, without what DPDK's testpmd takes
    /// to pass packets on; bench/README.md says how it is measured, and what the settings are.
    ///
    /// For each number of flows all take turns of a warm-up and eight chunks of 64 bursts. A chunk counts if a loop of
    /// fixed work takes at most 15 % more than its best right before and after it, and the thread was not switched out;
    /// column "quiet" says how many did, of how many. A row is their median; a ratio is the median of the ratios chunk
    /// by chunk. A look-up that does not find its flow is an error.
    Switch(switch::Options),
    /// Measures what a hop of a service chain costs: beside links by DPDK's memif and vhost, real time on this machine,
    /// one core; and in VMs of the emulator, instructions and exits
    ///
    /// Three forwarders, each with memory of its own, carry bursts of 32 frames by tx_burst and rx_burst with the gate
    /// direct, with and without network service headers (crate sluice-chain); DPDK's ports carry them over as many
    /// links of memif, and of vhost and virtio-user. Frames are made and freed outside the clock. Turns, chunks and
    /// ratios are those of `bench switch`. Three hops in VMs with the gate isolated run the loop of a chain's VNF that
    /// looks at no packet. A frame that does not come through as it should is an error.
    Chain(rings::Turns),
    /// Measures what a packet costs through a channel, beside DPDK's rte_ring with copies: real time on this machine,
    /// one core
    ///
    /// A burst of 32 packets of 64 or 1,518 bytes is written into a ring for 1,024 packets, and read out of it, by one
    /// thread: copied twice. rte_ring with packets as its elements, all of one length, and with pointers to mbufs. One
    /// clock runs over both sides. Turns, chunks and ratios are those of `bench switch`. Every byte that comes through
    /// is compared, outside the clock.
    Channel(rings::Turns),
    /// Measures how many frames a second go from one VM to the next: by a window, and by testpmd and sluiced as
    /// switches
    ///
    /// VMs are DPDK's testpmd (virtio-user) and processes. With a switch, which is testpmd with two vhost ports, or
    /// sluiced, one process of testpmd is VMs a and b: it sends from a what b received, and the other way round. With a
    /// window, process g makes frames (examples/generator), which it puts into the receive queue of b, testpmd, by
    /// itself; in the chain g-f-b process f (examples/forward) passes them on. A hop is the way from one VM to the
    /// next; a switch copies a frame twice in it, a window once. Each row has two processors, and says who has which.
    ///
    /// All take turns of three windows of time, of 150 ms, and stand still in between. One counts if its processes had
    /// at least 98 % of both processors, and a loop of fixed work took at most 15 % more than its best on each before
    /// and after the turn. A row is the median of these, by counters of the VMs that receive. A ratio is the median of
    /// the ratios of turns of one round before and after which a cache line took equally long from one processor to
    /// the other and back, but for a quarter. Where a fixed number of frames goes to and fro, one that is lost or
    /// doubled is an error. On a busy machine run it with `nice -n -20`.
    Vms(vms::Options),
    /// Measures what receiving costs: rx_burst of 32 frames of 64 bytes, which gives the device new buffers, and
    /// freeing the frames
    ///
    /// A row is the median of the bursts, so that one which an interrupt fell into counts as any other. In the emulator
    /// instructions are counted: those of rx_burst and of freeing the frames.
    Rx(RxOptions),
}

/// What to receive by.
#[derive(clap::Args, Clone, Copy, Debug)]
struct RxOptions {
    /// Format of the receive queue
    #[arg(long, value_enum, default_value_t)]
    ring: Ring,
    /// Measure plain processes instead of the emulated machine
    #[arg(long)]
    embedded: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    match &options.what {
        Some(What::Rings(options)) => return rings::run(options),
        Some(What::Switch(options)) => return switch::run(options),
        Some(What::Chain(options)) => return chain::run(options),
        Some(What::Channel(options)) => return channel::run(options),
        Some(What::Vms(options)) => return vms::run(options),
        Some(What::Rx(options)) => return rx(*options),
        None => {}
    }
    let host = if options.embedded { Host::embedded()? } else { Host::best()? };
    let gates = if options.gate.is_empty() { Gate::value_variants() } else { &options.gate };
    let rows = match host {
        Host::Bochs => measure_emulated(gates, options.ring, &options.burst, &options.frame)?,
        Host::Embedded if !gates.contains(&Gate::Direct) => bail!("the embedded default has no gate but direct"),
        Host::Embedded => measure_native(options.ring, &options.burst, &options.frame)?,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{}\n{}", table::of(&rows), conditions(host));
    artifacts::picture("bench.svg", |path| plot::gates(path, &rows))
}

/// Prints what a sender's calls and the receiver's cost.
fn rx(options: RxOptions) -> Result<()> {
    let host = if options.embedded { Host::embedded()? } else { Host::best()? };
    let (gate, packets) = if host == Host::Bochs { ("isolated", PACKETS_EMULATED) } else { ("direct", PACKETS_NATIVE) };
    let scenario = scenario(options.ring, &[32], &[64], packets)?.gate(gate)?;
    let scenario = scenario.args("b", &format!("receive measure ring={}", name(options.ring)))?;
    println!("{}\n{}", table::of(&rows_of(host.run(&scenario)?, 2)?), conditions(host));
    Ok(())
}

/// Returns a sentence on how the figures of `host` were taken.
pub fn conditions(host: Host) -> String {
    caption::gates((host == Host::Embedded).then_some(RUNS_NATIVE))
}

/// Measures in the emulator, with one boot for each gate.
pub fn measure_emulated(gates: &[Gate], ring: Ring, bursts: &[u16], frames: &[u16]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for gate in gates {
        let name = name(*gate);
        let scenario = scenario(ring, bursts, frames, PACKETS_EMULATED)?.gate(&name)?;
        let report = step(&format!("gate {name} in Bochs"), || Host::Bochs.run(&scenario))?;
        rows.extend(rows_of(report, bursts.len() * frames.len()).with_context(|| format!("gate {name}"))?);
    }
    Ok(rows)
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Measures with processes, and returns the medians of several runs.
pub fn measure_native(ring: Ring, bursts: &[u16], frames: &[u16]) -> Result<Vec<Row>> {
    let scenario = scenario(ring, bursts, frames, PACKETS_NATIVE)?.gate("direct")?;
    let run = |_| rows_of(Host::Embedded.run(&scenario)?, bursts.len() * frames.len());
    let mut runs = step("two processes", || (0..RUNS_NATIVE).map(run).collect::<Result<Vec<_>>>())?;
    let median = |row: usize| {
        runs.sort_by(|a, b| a[row].per_packet.total_cmp(&b[row].per_packet));
        runs[RUNS_NATIVE / 2][row].clone()
    };
    Ok((0..bursts.len() * frames.len()).map(median).collect())
}

/// Returns the rows of a run that ended well and has `count` of them.
fn rows_of(report: Report, count: usize) -> Result<Vec<Row>> {
    report.check()?;
    if report.rows.len() != count {
        bail!("{} rows of {count} could be read", report.rows.len());
    }
    Ok(report.rows)
}

fn scenario(ring: Ring, bursts: &[u16], frames: &[u16], packets: u64) -> Result<Scenario> {
    let bursts = bursts.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let frames = frames.iter().map(|&frame| frame_name(frame)).collect::<Vec<_>>().join(",");
    let args = format!("send bursts={bursts} frames={frames} packets={packets}");
    let scenario =
        Scenario::example("microbench")?.args("a", &args)?.args("b", &format!("receive ring={}", name(ring)))?;
    Ok(Scenario { timeout: 300, ..scenario })
}
