//! `cargo xtask demo`: shows in a minute what Sluice does.

use crate::bench::{self, Gate, Ring};
use crate::progress::step;
use crate::{Host, Scenario, artifacts};
use anyhow::{Result, bail};
use sluice_report::{Row, plot, table};
use std::fs;

/// How to show it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Use plain processes even where the emulated machine can be had
    #[arg(long)]
    embedded: bool,
    /// Print one JSON object instead of tables and words
    #[arg(long)]
    json: bool,
}

/// Runs the benchmark, the proof of no exits, and the capture; then says in words what was seen.
pub fn run(options: &Options) -> Result<()> {
    let host = if options.embedded { Host::embedded()? } else { Host::best()? };
    let rows = match host {
        Host::Bochs => bench::measure_emulated(
            &[Gate::Isolated, Gate::Hypercall],
            Ring::default(),
            &[1, 8, 32, 128, 256],
            &[64, 1518],
        )?,
        Host::Embedded => bench::measure_native(Ring::default(), &[1, 8, 32, 128, 256], &[64, 1518])?,
    };
    fs::create_dir_all(artifacts::results())?;
    let picture = artifacts::results().join("demo.svg");
    plot::gates(&picture, &rows)?;
    if !options.json {
        println!("{}\n{}", table::of(&rows), bench::conditions(host));
        println!("Plot: {}\n", picture.display());
    }
    let bytes = pcap(host)?;
    let proof = if host == Host::Bochs { Some(proof()?) } else { None };
    if options.json {
        let all = serde_json::json!({ "rows": rows, "capture_bytes": bytes, "proof": proof });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        summary(host, &rows, bytes, proof);
    }
    Ok(())
}

/// Checks that the capture arrives byte for byte, and returns its length.
fn pcap(host: Host) -> Result<usize> {
    let sent = fs::read(artifacts::root().join("examples/captures/mixed.pcap"))?;
    let report = step("a capture file from one VM to the other", || host.run(&Scenario::example("pcap")?))?;
    report.check()?;
    let received = report.files.get("received.pcap").map_or(&[][..], Vec::as_slice);
    if received != sent {
        bail!("the capture did not arrive as it was sent: {} bytes sent, {} received", sent.len(), received.len());
    }
    fs::write(artifacts::results().join("received.pcap"), received)?;
    Ok(sent.len())
}

/// Counts the exits of the sender between its first and its last packet, with a processor for each VM.
fn proof() -> Result<String> {
    let scenario = Scenario { processors: 2, timeout: 120, ..Scenario::example("proof")?.args("a", "proof 100000")? };
    let report = step("100,000 packets on two processors", || Host::Bochs.run(&scenario))?;
    report.check()?;
    let line = report.lines.iter().find_map(|line| line.split_once("proof ").map(|(_, text)| text.to_owned()));
    line.ok_or_else(|| anyhow::anyhow!("the sender did not say how many exits there were"))
}

fn summary(host: Host, rows: &[Row], bytes: usize, exits: Option<String>) {
    let find = |gate: &str| rows.iter().find(|row| row.gate == gate && row.burst == 32 && row.frame == 64);
    println!("What you saw");
    match (host, find("isolated"), find("hypercall"), find("direct")) {
        (Host::Bochs, Some(isolated), Some(hypercall), _) => {
            println!(
                "- VM a put frames straight into VM b's virtio-net receive queue, through a window that VMFUNC opens \
                 for a burst."
            );
            println!(
                "- 64 B, burst 32: {:.1} instructions and {} exits a packet; by hypercall {:.1} and {:.5}, and what \
                 an exit costs a real CPU no instruction count shows.",
                isolated.per_packet, isolated.exits_per_packet, hypercall.per_packet, hypercall.exits_per_packet
            );
        }
        (_, _, _, Some(direct)) => {
            println!(
                "- One process put frames straight into another's virtio-net receive queue. Nothing protects them \
                 here: that takes the monitor."
            );
            println!(
                "- 64 B, burst 32: {:.1} cycles a packet, {:.1} Mpps.",
                direct.per_packet,
                direct.mpps.unwrap_or(0.0)
            );
        }
        _ => {}
    }
    if let Some(exits) = exits {
        println!("- With a processor each: {exits}, from the first packet to the last, by the monitor's own counters.");
    }
    println!("- The receiver checked number and checksum of every frame: none lost, doubled, torn or out of order.");
    let file = artifacts::results().join("received.pcap");
    println!("- A capture file of {bytes} bytes arrived byte for byte ({}).", file.display());
}
