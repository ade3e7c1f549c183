//! As many VMs as one directory has: one sends to all of them, and all answer.

use crate::{embedded, in_bochs, passed};
use xtask::{Report, Scenario};

const GATES: [&str; 4] = ["isolated", "guarded", "direct", "hypercall"];

/// How the spokes answer. See: tests/hub/src/main.rs.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Each spoke answers through a window, into a queue of its own.
    Window,
    /// All spokes answer by the host's switch.
    Switch,
}

/// Runs a hub with `spokes` spokes, to each of which it sends `rounds` frames.
fn wheel(spokes: usize, rounds: usize, gate: &str, way: Way) -> Scenario {
    let names: Vec<_> = (0..spokes).map(|spoke| format!("\"s{spoke}\"")).collect();
    let pairs = if way == Way::Window { spokes + 1 } else { 1 };
    let vm = |name: &str, ram: u32, args: &str, rest: &str| {
        format!(
            "[[vm]]\nname = {name}\nram_mib = {ram}\nimage = \"hub\"\nargs = \"{args}\"\ngate = \"{gate}\"\n{rest}\n"
        )
    };
    let hub = vm("\"hub\"", 16, &format!("hub {spokes} {rounds} {pairs}"), &format!("peers = [{}]", names.join(", ")));
    let back = if way == Way::Window { "peers = [\"hub\"]" } else { "lan = [\"hub\"]" };
    let spokes = names.iter().map(|name| vm(name, 4, &format!("spoke {rounds}"), back));
    let manifest: String = [hub].into_iter().chain(spokes).collect();
    Scenario { memory_mib: 384, ..Scenario::new(manifest) }
}

#[track_caller]
fn all_answered(report: &Report, spokes: usize, rounds: usize) {
    passed(report);
    let line = format!("[hub] {spokes} spokes answered {rounds} times; {}", spokes * rounds);
    assert!(report.lines.contains(&line), "{line}: {:#?}", report.lines);
}

#[test]
fn one_vm_sends_to_64_and_all_answer_in_the_embedded_default() {
    all_answered(&embedded(&wheel(64, 20, "direct", Way::Switch)), 64, 20);
    all_answered(&embedded(&wheel(15, 20, "direct", Way::Window)), 15, 20);
}

#[test]
fn one_vm_in_bochs_sends_to_64_by_one_call_and_all_answer() {
    all_answered(&in_bochs(&wheel(64, 5, "isolated", Way::Switch)), 64, 5);
}

#[test]
fn fifteen_vms_in_bochs_send_to_one_through_every_gate() {
    for gate in GATES {
        all_answered(&in_bochs(&wheel(15, 5, gate, Way::Window)), 15, 5);
    }
}
