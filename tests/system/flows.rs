//! The in-VM switch: frames go by the flows that the host wrote, as scapy has them, and each flow's in order.

use crate::examples::{frames, oracle, run, says};
use crate::{embedded, example, in_bochs, passed};
use std::collections::BTreeMap;
use std::fs;
use xtask::{Report, Scenario, artifacts};

/// Returns the frames of each flow, in order: those with the same addresses, tags and type.
fn flows<'f>(frames: &[&'f [u8]]) -> BTreeMap<&'f [u8], Vec<&'f [u8]>> {
    let mut flows: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for frame in frames {
        flows.entry(&frame[..frame.len().min(18)]).or_default().push(frame);
    }
    flows
}

#[track_caller]
fn forwards_by_flows(runs: impl Fn(&Scenario) -> Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let after = folder.path().join("out.pcap");
    run(oracle("flows.py").args([&artifacts::root().join("examples/captures/mixed.pcap"), &after]));
    let report = runs(&example("switch"));
    passed(&report);
    let (found, expected) = (&report.files["received.pcap"], fs::read(after).expect("a capture"));
    let (found, expected) = (frames(found), frames(&expected));
    assert_eq!(found.len(), expected.len(), "{:#?}", report.lines);
    let (found, expected) = (flows(&found), flows(&expected));
    for (flow, frames) in &expected {
        assert_eq!(found.get(flow), Some(frames), "{flow:02x?}");
    }
    says(&report, "flows switch entries=");
    says(&report, &format!("forwarded {}", expected.values().map(Vec::len).sum::<usize>()));
}

#[test]
fn the_switch_forwards_by_its_flows() {
    forwards_by_flows(embedded);
}

#[test]
fn the_switch_forwards_by_its_flows_in_bochs() {
    forwards_by_flows(in_bochs);
}
