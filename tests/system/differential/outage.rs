//! Open vSwitch is killed while frames flow, and started again.

use super::captures::{self, synthetic};
use super::lab::{Lab, until};
use super::runs::{self, GAP, counters, scenario};
use super::{RULES, of};
use crate::examples::says;
use crate::{embedded, passed};
use sluice_openvswitch::COOKIE;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;
use xtask::Report;

/// Flows of [`synthetic`], of which no rule drops any.
const FLOWS: u32 = 9;
/// Frames that Open vSwitch has at most, which go with it: established flows send it one of each a second.
const UNDER_WAY: usize = 32;

/// Begins to send `rounds` frames of each flow. Returns once the flows have been in the table for a while.
fn begin(lab: &Lab, rounds: u32, lease: Duration) -> JoinHandle<Report> {
    let switch = lab.open();
    lab.rules(&switch, &RULES);
    drop(switch);
    crate::build_hosted();
    let lease = format!("lease_ticks = {}", lease.as_nanos());
    let scenario = scenario(&lab.at(""), &synthetic(FLOWS, rounds), GAP, &lease);
    let run = spawn(move || embedded(&scenario));
    until("flows are there", || {
        sleep(Duration::from_millis(20));
        run.is_finished() || runs::datapath(lab).len() >= FLOWS as usize
    });
    sleep(Duration::from_secs(1));
    run
}

/// Returns the numbers of the rounds of which frames arrived, of each flow in their order.
fn arrived(report: &Report) -> Vec<Vec<u32>> {
    let mut rounds = vec![Vec::new(); FLOWS as usize];
    for frame in captures::read(&report.files["out.pcap"]) {
        let [flow, round] = captures::numbers_of(&frame);
        rounds[flow as usize].push(round);
    }
    rounds
}

fn ended(run: JoinHandle<Report>) -> Report {
    let report = run.join().expect("a run");
    passed(&report);
    report
}

#[test]
fn differential_flows_go_on_for_the_lease_while_open_vswitch_is_killed_with_openvswitch() {
    let mut lab = Lab::new();
    runs::keep_flows(&lab, 600_000);
    let rounds = 2_000;
    let run = begin(&lab, rounds, Duration::from_secs(600));
    lab.kill();
    let report = ended(run);
    says(&report, "openvswitch switch: away: ");
    let (arrived, counters) = (arrived(&report), counters(&report));
    let lost = (FLOWS * rounds) as usize - arrived.iter().map(Vec::len).sum::<usize>();
    println!("{lost} of {} frames lost: {counters:?}", FLOWS * rounds);
    // A frame a second of each flow goes to where nobody is: those are counted.
    let dropped = of(&counters, "dropped") as usize;
    assert!(dropped > 0 && lost <= dropped + UNDER_WAY, "{lost} lost: {counters:?}");
    assert!(lost * 20 < (FLOWS * rounds) as usize, "{lost} lost: {counters:?}");
    assert!(arrived.iter().all(|rounds| rounds.is_sorted_by(|a, b| a < b)));
    assert_eq!(of(&counters, "lapsed"), 0, "{counters:?}");
}

#[test]
fn differential_flows_end_with_the_lease_and_go_on_with_open_vswitch_with_openvswitch() {
    let mut lab = Lab::new();
    runs::keep_flows(&lab, 600_000);
    let rounds = 5_000;
    let run = begin(&lab, rounds, Duration::from_secs(1));
    lab.kill();
    sleep(Duration::from_secs(2));
    lab.start();
    until("the bridge takes rules", || lab.at("br0.mgmt").exists());
    let rules = lab.at("rules");
    lab.ofctl("add-flows", &[rules.to_str().expect("a path")]);
    let report = ended(run);
    let (arrived, counters) = (arrived(&report), counters(&report));
    println!("{:?} arrived: {counters:?}", arrived.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(of(&counters, "lapsed") > 0, "{counters:?}");
    assert_eq!(report.lines.iter().filter(|line| line.contains("openvswitch switch: there")).count(), 2);
    for flow in &arrived {
        assert!(flow.is_sorted_by(|a, b| a < b));
        let last: Vec<_> = (rounds - 100..rounds).collect();
        assert!(flow.ends_with(&last), "{:?}: {counters:?}", &flow[flow.len().saturating_sub(110)..]);
        assert!(flow.len() < rounds as usize, "nothing was lost: {counters:?}");
    }
}

/// Frames of the second need tokens: without them those behind wait for ever.
#[test]
fn differential_tokens_have_their_rules_again_when_somebody_takes_them_away_with_openvswitch() {
    let lab = Lab::new();
    runs::keep_flows(&lab, 600_000);
    let rounds = 3_000;
    let run = begin(&lab, rounds, Duration::from_secs(600));
    let tokens = format!("cookie={COOKIE:#x}/-1");
    lab.ofctl("del-flows", &[&tokens]);
    let report = ended(run);
    let (arrived, counters) = (arrived(&report), counters(&report));
    println!("{:?} arrived: {counters:?}", arrived.iter().map(Vec::len).collect::<Vec<_>>());
    for flow in &arrived {
        assert!(flow.is_sorted_by(|a, b| a < b), "{flow:?}");
        assert!(flow.last().is_some_and(|last| *last > rounds - 100), "{:?}: {counters:?}", flow.last());
    }
    assert!(lab.ofctl("dump-flows", &[&tokens]).contains("dl_type=0x88b5"));
}
