//! Frames by the host's switch: ARP, pings, and frames to a VM that the manifest does not permit.

use crate::{embedded, in_bochs, passed};
use xtask::{Report, Scenario};

const PINGS: usize = 20;

/// Three stations: see tests/station/src/main.rs. The first may not speak to the third.
fn stations() -> Scenario {
    let vm = |name: &str, args: &str, lan: &str| {
        format!(
            "[[vm]]\nname = \"{name}\"\nram_mib = 8\nimage = \"station\"\nargs = \"{args}\"\ngate = \"isolated\"\n\
             lan = [{lan}]\ntap = \"{name}.pcap\"\n"
        )
    };
    let [ask, answer] = ["ask", "answer"].map(|role| format!("{role} {PINGS}"));
    Scenario::new([vm("a", &ask, "\"b\""), vm("b", &answer, "\"a\", \"c\""), vm("c", "last", "\"b\"")].concat())
}

/// Returns the counter of the switch at a VM's port.
fn counted(report: &Report, vm: &str, name: &str) -> usize {
    let line =
        report.lines.iter().find_map(|line| line.split_once(&format!("] switch {vm} "))).map_or("", |line| line.1);
    let count = line.split(' ').filter_map(|word| word.split_once('=')).find(|(known, _)| *known == name);
    count.map_or(0, |(_, count)| count.parse().expect("a number"))
}

/// Returns the frames of a capture, and how long they were.
fn frames(capture: &[u8]) -> Vec<(Vec<u8>, u32)> {
    let (mut rest, mut frames) = (&capture[24..], Vec::new());
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("4 bytes"));
        let end = 16 + word(8) as usize;
        frames.push((rest[16..end].to_vec(), word(12)));
        rest = &rest[end..];
    }
    frames
}

#[track_caller]
fn spoke(report: &Report) {
    passed(report);
    for line in
        ["[a] 10.0.0.2 is at [02, 53, 6c, 75, 69, 01]", "[b] 10.0.0.3 is at [02, 53, 6c, 75, 69, 02]", "[c] answered"]
    {
        assert!(report.lines.iter().any(|said| said == line), "{line}: {:#?}", report.lines);
    }
    // Denied frames were counted at the sender, reached nobody, and are in its capture alone.
    assert_eq!(counted(report, "a", "denied"), 1, "{:#?}", report.lines);
    let to_c = |name: &str| {
        let frames = frames(&report.files[name]);
        frames.iter().filter(|(frame, _)| frame[..12] == *b"\x02Slui\x02\x02Slui\x00").count()
    };
    assert_eq!(["a.pcap", "b.pcap", "c.pcap"].map(to_c), [1, 0, 0]);
    // The capture has each frame that the switch took from a VM, or brought to it.
    for (vm, capture) in [("a", "a.pcap"), ("b", "b.pcap"), ("c", "c.pcap")] {
        let frames = frames(&report.files[capture]);
        assert_eq!(frames.len(), counted(report, vm, "taken") + counted(report, vm, "forwarded"), "{vm}");
        assert!(frames.iter().all(|(frame, len)| frame.len() == 60 && *len == 60));
    }
    assert!(counted(report, "b", "taken") > PINGS && counted(report, "c", "forwarded") > 0);
}

#[test]
fn stations_speak_by_the_switch_in_the_embedded_default() {
    spoke(&embedded(&stations()));
}

#[test]
fn stations_speak_by_the_switch_on_one_processor_in_bochs() {
    spoke(&in_bochs(&stations()));
}

#[test]
fn stations_speak_by_the_switch_on_three_processors_in_bochs() {
    spoke(&in_bochs(&Scenario { processors: 3, ..stations() }));
}
