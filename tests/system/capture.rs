//! Real traffic, byte for byte.

use crate::{embedded, example, in_bochs, passed};
use xtask::{Report, Scenario};

#[track_caller]
fn arrived(scenario: &Scenario, report: &Report) {
    passed(report);
    let sent = &scenario.modules[0].1;
    assert!(sent.len() > 10_000 && report.files.get("received.pcap") == Some(sent), "{:#?}", report.lines);
}

fn through(gate: &str) {
    let scenario = example("pcap").gate(gate).expect("a manifest");
    arrived(&scenario, &in_bochs(&scenario));
}

#[test]
fn the_capture_arrives_through_the_isolated_gate_in_bochs() {
    through("isolated");
}

#[test]
fn the_capture_arrives_through_the_guarded_gate_in_bochs() {
    through("guarded");
}

#[test]
fn the_capture_arrives_through_the_direct_gate_in_bochs() {
    through("direct");
}

#[test]
fn the_capture_arrives_by_hypercall_in_bochs() {
    through("hypercall");
}

#[test]
fn the_capture_arrives_in_the_embedded_default() {
    let scenario = example("pcap");
    arrived(&scenario, &embedded(&scenario));
}

#[test]
fn the_capture_arrives_over_a_chain_of_three_vms_in_bochs() {
    let scenario = example("chain");
    arrived(&scenario, &in_bochs(&scenario));
}

#[test]
fn the_capture_arrives_over_a_chain_of_three_processes() {
    let scenario = example("chain");
    arrived(&scenario, &embedded(&scenario));
}
