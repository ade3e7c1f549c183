//! Jumbo frames, and frames that are still to be segmented, from VM to VM by every gate. scapy makes the expected
//! frames, byte for byte.

use crate::examples::{capture, frames};
use crate::{embedded, in_bochs, passed};
use xtask::{Report, Scenario};

/// The receivers by name: what each agrees to, the format of its queue, its MTU, and the frames that it is to get.
const RECEIVERS: [(&str, &str, &str, u16, &str); 6] = [
    ("whole-split", "whole", "split", 9000, "offloads.pcap"),
    ("whole-packed", "whole", "packed", 9000, "offloads.pcap"),
    ("merged-split", "merged", "split", 9000, "offloads.pcap"),
    ("merged-packed", "merged", "packed", 9000, "offloads.pcap"),
    ("plain-split", "plain", "split", 1500, "segments.pcap"),
    ("plain-packed", "plain", "packed", 1500, "segments.pcap"),
];

fn vm(name: &str, gate: &str, args: &str, rest: &str) -> String {
    format!(
        "[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"segments\"\ngate = \"{gate}\"\nargs = \"{args}\"\n{rest}\n"
    )
}

/// `a` sends to all receivers in turn.
fn scenario(gate: &str) -> Scenario {
    let names = RECEIVERS.map(|(name, ..)| name);
    let rest = format!("peers = {names:?}\nmodules = [\"offloads.pcap\"]");
    let mut manifest = vm("a", gate, &format!("send offloads.pcap {}", names.join(" ")), &rest);
    for (name, role, ring, mtu, file) in RECEIVERS {
        let rest = format!("mtu = {mtu}\nmodules = [{file:?}]");
        manifest += &vm(name, gate, &format!("{role} {ring} {file}"), &rest);
    }
    let mut scenario = Scenario::new(format!("quantum_ticks = 4000000000\n{manifest}"));
    scenario.modules = ["offloads", "segments"].map(|name| (format!("{name}.pcap"), capture(name))).into();
    scenario.memory_mib = 256;
    scenario
}

/// Returns the lines of `vm`.
fn said<'r>(report: &'r Report, vm: &str) -> Vec<&'r str> {
    report.lines.iter().filter_map(|line| line.strip_prefix(&format!("[{vm}] "))).collect()
}

/// Each receiver compared each frame with its file, and passed. These are the other lines of receivers and sender.
#[track_caller]
fn arrived(report: &Report) {
    passed(report);
    for (name, role, ..) in RECEIVERS {
        let expected: &[String] = match role {
            "plain" => &["received 92 frames".into()],
            role => &whole(if role == "merged" { [32, 32, 1] } else { [1; 3] }),
        };
        assert_eq!(said(report, name), expected, "{name}: {:#?}", report.lines);
    }
    let sender = said(report, "a");
    assert_eq!(sender, refusals(), "{:#?}", report.lines);
}

/// Returns the lines of a receiver that agreed to offloads, and that has the three frames with any in `buffers`
/// buffers.
fn whole(buffers: [usize; 3]) -> [String; 4] {
    let frames = [(1, 129, 66, 1448, 34), (2, 132, 86, 1428, 54), (3, 0, 66, 0, 34)];
    let [one, two, three] = std::array::from_fn(|at| {
        let ((frame, gso, headers, size, start), buffers) = (frames[at], buffers[at]);
        format!(
            "frame {frame}: flags 1, type {gso}, headers {headers}, size {size}, checksum {start}+16, buffers {buffers}"
        )
    });
    [one, two, three, "received 5 frames".into()]
}

/// Returns the lines of the sender: a receiver that agreed takes every frame, the others refuse four, each with its
/// reason.
fn refusals() -> Vec<String> {
    let mut lines = Vec::new();
    for (peer, (name, role, _, _, file)) in RECEIVERS.iter().enumerate() {
        if *role == "plain" {
            let left =
                format!("frame 0 leaves to peer {peer} a checksum or segmentation that the peer did not negotiate");
            lines.push(format!("{name}, 9014 bytes: frame 0 is longer than peer {peer} takes: 0 instead"));
            let frames = [(64_000, 45), (64_000, 45), (1346, 1)];
            lines.extend(frames.map(|(len, count)| format!("{name}, {len} bytes: {left}: {count} instead")));
        }
        let file = capture(file.trim_end_matches(".pcap"));
        let bytes: usize = frames(&file).iter().map(|frame| frame.len()).sum();
        lines.push(format!("{name}: {bytes} bytes"));
    }
    lines
}

fn through(gate: &str) {
    arrived(&in_bochs(&scenario(gate)));
}

#[test]
fn long_frames_arrive_through_the_isolated_gate_in_bochs() {
    through("isolated");
}

#[test]
fn long_frames_arrive_through_the_guarded_gate_in_bochs() {
    through("guarded");
}

#[test]
fn long_frames_arrive_through_the_direct_gate_in_bochs() {
    through("direct");
}

#[test]
fn long_frames_arrive_by_hypercall_in_bochs() {
    through("hypercall");
}

#[test]
fn long_frames_arrive_in_the_embedded_default() {
    arrived(&embedded(&scenario("direct")));
}
