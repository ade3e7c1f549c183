//! G1, G13: windows reach a VM's rings and its registered runs, and no other memory, while runs come and go.

use super::{numbers, often, run_on, vm};
use crate::passed;
use xtask::Report;

/// Returns the entry of a VM with RAM for runs that come and go.
fn large(name: &str, args: &str, rest: &str) -> String {
    vm(name, "attack", args, rest).replace("ram_mib = 8", "ram_mib = 32")
}

/// Runs a receiver that gives a page of its own RAM that is neither ring nor run. With every gate the sender is told of
/// that fault, the page stays as it was, and the buffers that the receiver gives after that are filled.
fn stray(gate: &str) {
    for ring in ["split", "packed"] {
        let all = [
            vm("receiver", "attack", &format!("stray {ring}"), &format!("gate = \"{gate}\"")),
            vm("sender", "attack", "meet", &format!("gate = \"{gate}\"\npeers = [\"receiver\"]")),
        ];
        let report = run_on(1, 60, &all.concat());
        passed(&report);
        assert!(report.says("[receiver] stray: 0 words changed"), "{:#?}", report.lines);
        let told = "[sender] told: PeerFault { peer: PeerIdx(0), clause: Some(Region), index: 0 }";
        assert!(report.says(told), "{:#?}", report.lines);
        assert_eq!(report.exits["sender"]["aborts"], 0);
    }
}

#[test]
fn a_buffer_that_is_neither_ring_nor_run_in_bochs_is_out_of_reach_isolated() {
    stray("isolated");
}

#[test]
fn a_buffer_that_is_neither_ring_nor_run_in_bochs_is_out_of_reach_hypercall() {
    stray("hypercall");
}

#[test]
fn a_buffer_that_is_neither_ring_nor_run_in_bochs_is_out_of_reach_guarded() {
    stray("guarded");
}

#[test]
fn a_buffer_that_is_neither_ring_nor_run_in_bochs_is_out_of_reach_direct() {
    stray("direct");
}

/// Runs a receiver whose buffers move from run to run while its sender calls, which itself sends from runs that come
/// and go. Each accepted frame arrived, once, whole, in order; nobody writes to a run that was removed; no call is
/// aborted.
fn moved(gate: &str, ring: &str, processors: usize) -> Report {
    let gates = format!("gate = \"{gate}\"");
    let all = [
        if processors == 1 { "quantum_ticks = 200_000\n".into() } else { often() },
        large("sender", "hop 200", &format!("{gates}\ncpu = 0\npeers = [\"receiver\"]")),
        large("receiver", &format!("move {ring} 20"), &format!("{gates}\ncpu = 1")),
    ];
    let report = run_on(processors, 300, &all.concat());
    passed(&report);
    let [sent, _] = numbers(&report, "[sender] sent ");
    assert!(report.says(&format!("[receiver] received {sent} wrong 0")), "{:#?}", report.lines);
    let [times] = numbers(&report, "[receiver] moved ");
    assert!(sent == 200 * 8 * 32 && times > 3, "{:#?}", report.lines);
    assert_eq!(report.exits["sender"]["aborts"], 0);
    report
}

/// The receiver's processor interrupts the sender's in gate and window for each run.
#[test]
fn runs_that_come_and_go_while_peers_send_in_bochs_lose_nothing_isolated() {
    for ring in ["split", "packed"] {
        let report = moved("isolated", ring, 2);
        assert!(report.exits["sender"]["exception_or_nmi"] > 3, "{:?}", report.exits);
    }
}

#[test]
fn runs_that_come_and_go_while_peers_send_in_bochs_lose_nothing_hypercall() {
    moved("hypercall", "in-order", 2);
}

/// The ring code is the sender's own. Memory that is taken from it in the middle of a call does not end it.
#[test]
fn runs_that_come_and_go_while_peers_send_in_bochs_lose_nothing_guarded() {
    moved("guarded", "in-order", 2);
}

#[test]
fn runs_that_come_and_go_while_peers_send_in_bochs_lose_nothing_direct() {
    moved("direct", "split", 2);
}

#[test]
fn runs_that_come_and_go_on_one_processor_in_bochs_lose_nothing() {
    moved("isolated", "in-order", 1);
}

/// Runs a receiver that removes the run that all its buffers lie in, while its sender's calls fill them on another
/// processor. When that returns, each accepted frame is there, and nobody writes any more. The sender is told of
/// buffers in no region until the run comes again, and goes on.
fn pulled(gate: &str, ring: &str) {
    let gate = format!("gate = \"{gate}\"");
    let all = [
        often(),
        large("sender", "bear 60000", &format!("{gate}\ncpu = 0\npeers = [\"receiver\"]")),
        large("receiver", &format!("pull {ring} 200"), &format!("{gate}\ncpu = 1")),
    ];
    let report = run_on(2, 300, &all.concat());
    passed(&report);
    let [sent, faults] = numbers(&report, "[sender] sent ");
    assert!(report.says(&format!("[receiver] received {sent} wrong 0")), "{:#?}", report.lines);
    let [times] = numbers(&report, "[receiver] pulled ");
    assert!(times > 20 && faults > 5, "{:#?}", report.lines);
}

#[test]
fn a_run_pulled_away_in_bochs_is_left_alone_isolated() {
    pulled("isolated", "split");
}

#[test]
fn a_run_pulled_away_in_bochs_is_left_alone_hypercall() {
    pulled("hypercall", "packed");
}

/// Each refusal names the reason and the run, to the VM and on the console. A packet across the end of packet memory is
/// refused by its index.
#[test]
fn runs_that_are_none_in_bochs_are_refused_by_name() {
    let all = [
        vm("attacker", "attack", "refused", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "receive split", "gate = \"isolated\""),
    ];
    let report = run_on(1, 60, &(all.concat()));
    passed(&report);
    for told in ["Unaligned", "Overlap", "OutsideRam", "OutsideSpace", "Unaligned", "NoSuchRun"] {
        assert!(report.says(&format!("[attacker] told: Some({told})")), "{told}: {:#?}", report.lines);
    }
    for said in [
        "vm attacker: run of 0x200000 bytes at GPA 0x40000000, offset 0x4000000: the run is not within RAM",
        "the run shares RAM or offsets with another run, 0x",
        "bytes at offset 0x0: no run of this length starts at this offset",
    ] {
        assert!(report.says(said), "{said}: {:#?}", report.lines);
    }
    assert!(report.says("[attacker] call: BadRequest, packet 2, 2 accepted"), "{:#?}", report.lines);
}
