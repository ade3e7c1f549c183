//! The cost of a packet, in instructions: exact, and the same in every run.

use crate::{example, in_bochs, passed};
use xtask::Row;

/// The instructions of API, stub, gate and window together, 64 B, burst 32.
const BUDGET: f64 = 40.0;

fn rows(gate: &str) -> Vec<Row> {
    let args = "send bursts=1,32,256 frames=64,1518 packets=512";
    let report = in_bochs(&example("microbench").args("a", args).and_then(|it| it.gate(gate)).expect("a manifest"));
    passed(&report);
    assert_eq!(report.rows.len(), 6);
    report.rows
}

fn row(rows: &[Row], burst: u16, frame: u16) -> &Row {
    rows.iter().find(|row| (row.burst, row.frame) == (burst, frame)).expect("the row")
}

#[test]
fn the_isolated_gate_in_bochs_keeps_its_budget_without_an_exit() {
    let rows = rows("isolated");
    let headline = row(&rows, 32, 64);
    assert_eq!((headline.counter.as_str(), headline.packets, headline.mpps), ("instructions", 512, None));
    assert!(headline.per_packet <= BUDGET, "{headline:?}");
    assert!(rows.iter().all(|row| row.exits_per_packet == 0.0), "{rows:?}");
}

/// Returns the cost of `rx_burst` of 32 frames of 64 bytes and of freeing them, of a queue of format `ring`.
fn receiving(ring: &str) -> Row {
    let args = "send bursts=32 frames=64 packets=512";
    let scenario = example("microbench").args("a", args).and_then(|it| it.gate("isolated"));
    let scenario = scenario.and_then(|it| it.args("b", &format!("receive measure ring={ring}")));
    let report = in_bochs(&scenario.expect("a manifest"));
    passed(&report);
    report.rows.into_iter().find(|row| row.gate == "rx_burst").expect("the row")
}

#[test]
fn receiving_in_bochs_keeps_its_budget() {
    for (ring, budget) in [("split", 86.0), ("in-order", 101.5), ("packed", 146.0)] {
        let row = receiving(ring);
        assert_eq!((row.counter.as_str(), row.burst, row.frame, row.exits_per_packet), ("instructions", 32, 64, 0.0));
        assert!(row.per_packet > 20.0 && row.per_packet <= budget, "{ring}: {row:?}");
    }
}

/// The instructions of a hop of a service chain in a VM, 98 B, burst 32: receiving, header, look-up, and sending.
const HOP_BUDGET: f64 = 256.0;

#[test]
fn a_hop_of_a_chain_in_bochs_keeps_its_budget_without_an_exit() {
    let report = in_bochs(&example("hops"));
    passed(&report);
    let [first, second, third] = &report.rows[..] else { panic!("{:?}", report.rows) };
    for row in [first, second, third] {
        assert_eq!(
            (row.counter.as_str(), row.gate.as_str(), row.burst, row.frame),
            ("instructions", "isolated", 32, 98)
        );
        // Of 32 turns of 8 bursts, all turns but the first, and all bursts but the first.
        assert_eq!((row.packets, row.exits_per_packet), (31 * 7 * 32, 0.0), "{row:?}");
        assert!(row.per_packet > 100.0 && row.per_packet <= HOP_BUDGET, "{row:?}");
    }
}

#[test]
fn a_hypercall_in_bochs_is_one_exit_a_call() {
    for row in rows("hypercall") {
        let exits = row.exits_per_packet * row.packets as f64;
        assert_eq!(exits.round() as u64, row.packets / u64::from(row.burst), "{row:?}");
    }
}

#[test]
fn two_runs_in_bochs_give_identical_figures() {
    assert_eq!(rows("isolated"), rows("isolated"));
}
