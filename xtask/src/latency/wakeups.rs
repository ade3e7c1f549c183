//! `cargo xtask latency --wakeups`: how long a frame waits for who has nothing to do, and what having nothing to do
//! takes.

use crate::progress::step;
use crate::{Host, Scenario};
use anyhow::Result;
use sluice_report::caption;
use sluice_report::latency::wakeups::text;

pub use sluice_report::latency::wakeups::{Wakeups, notified, row};

/// The default number of frames of a row.
const PINGS: u64 = 200;
/// From one frame to the next: instructions, and ticks of a clock.
const GAP_INSTRUCTIONS: u64 = 200_000;
const GAP_CYCLES: u64 = 20_000_000;

/// Returns two VMs, each on a processor: `a` sends pings to `b`, which does `rest` while nothing comes. `sent` and
/// `received` are further arguments.
pub fn scenario(host: Host, (rest, via): (&str, &str), sent: &str, received: &str) -> Scenario {
    let gate = if host == Host::Embedded { "direct" } else { "isolated" };
    let (to_b, to_a) = if via == "window" { ("peers = [\"b\"]", "") } else { ("lan = [\"b\"]", "lan = [\"a\"]") };
    let vm = |name: &str, args: &str, rest: &str| {
        format!(
            "[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"latency\"\n\
             args = \"{args}\"\ngate = \"{gate}\"\n{rest}\n"
        )
    };
    let (a, b) = (format!("pings via={via} {sent}"), format!("wakeups via={via} rest={rest} {received}"));
    let manifest = vm("a", a.trim_end(), to_b) + &vm("b", b.trim_end(), to_a);
    Scenario { processors: 2, timeout: 300, ..Scenario::new(manifest) }
}

/// Measures and prints.
pub fn run(host: Host, pings: Option<u64>, json: bool) -> Result<()> {
    let gap = if host == Host::Bochs { GAP_INSTRUCTIONS } else { GAP_CYCLES };
    let sent = format!("count={} gap={gap}", pings.unwrap_or(PINGS));
    let mut rows = Vec::new();
    for kind in [("poll", "switch"), ("sleep", "switch"), ("poll", "window"), ("sleep", "window")] {
        let what = format!("{} frames by the {}, the receiver {}s", pings.unwrap_or(PINGS), kind.1, kind.0);
        rows.push(row(&step(&what, || host.run(&scenario(host, kind, &sent, "")))?)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "wakeups": rows }))?);
    } else {
        println!("{}\n\n{}", text(&rows), caption::wakeups(host == Host::Bochs));
    }
    Ok(())
}
