//! A flow in use, and the address of the station that sends it, stay in Open vSwitch as long as they would without a
//! table.

use super::captures::synthetic;
use super::lab::Lab;
use super::runs::{self, GAP, scenario};
use crate::{embedded, passed};

/// A rule that learns addresses.
const RULE: &str = "priority=0,actions=normal";

/// Sends `packets` packets of one flow, with Open vSwitch that keeps flows which nobody uses for `idle` milliseconds.
/// All are counted for one flow, and the sender's address is known at the end.
fn stays(idle: u32, packets: u32) {
    let lab = Lab::new();
    runs::keep_flows(&lab, idle);
    // The shortest time that there is, in seconds.
    lab.vsctl(&["set", "bridge", "br0", "other_config:mac-aging-time=15"]);
    let switch = lab.open();
    lab.rules(&switch, &[RULE]);
    drop(switch);
    // The receiver sends nothing, so its address is not learned.
    lab.call("fdb/add", &["br0", "p1", "0", "02:00:00:00:00:02"]);
    let report = embedded(&scenario(&lab.at(""), &synthetic(1, packets), 5 * GAP, ""));
    passed(&report);
    let addresses = lab.call("fdb/show", &["br0"]);
    assert!(addresses.lines().any(|line| line.contains(" 02:01:00:00:00:00 ")), "{addresses}");
    let (datapath, table) = (runs::datapath(&lab), runs::table(&report));
    let [(_, (ufid, counts))] = &datapath.iter().collect::<Vec<_>>()[..] else { panic!("{datapath:#?}") };
    println!("Open vSwitch {counts:?}, table {:?}: {addresses}", table.get(ufid));
    // The first packet made the flow, and counts for none.
    assert_eq!(counts[0] + table[ufid][0], u64::from(packets) - 1, "{datapath:#?} {table:#?}");
}

/// The packets take longer than the flow is kept, and are followed by a shorter silence.
#[test]
fn differential_no_flow_in_use_expires_with_openvswitch() {
    stays(7_000, 12_000);
}

/// The packets take longer than an address is kept.
#[test]
fn differential_no_address_of_a_flow_in_use_expires_with_openvswitch() {
    stays(600_000, 16_000);
}
