//! How soon a change is known, and what is known while Open vSwitch is not there.

use crate::frames::{ethernet, ipv4, udp};
use crate::lab::{Lab, Mirror, through, until};
use sluice_openvswitch::{Error, Sent};
use std::time::{Duration, Instant};

/// Longest time up to which a change of a rule may be a change of what we know: the period, twice the time of an
/// answer, and what Open vSwitch takes for its revalidation, on a busy machine.
const BOUND: Duration = Duration::from_secs(2);

fn frame() -> Vec<u8> {
    ethernet(2, 1, 0x0800, &ipv4([1, 2], 17, 64, 0, &udp(1000, 53, b"four")))
}

#[test]
fn a_rule_that_is_deleted_takes_its_flow_away_in_time_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    let mut times = Vec::new();
    for _ in 0..10 {
        lab.rules(&switch, &["ip,actions=output:2"]);
        assert_eq!(through(&mut switch, 0, &frame()), [(1, frame())]);
        let mut mirror = Mirror::default();
        mirror.update_from_scratch(&mut switch);
        assert_eq!(mirror.flows.len(), 1);
        lab.ofctl("del-flows", &["ip"]);
        let deleted = Instant::now();
        until("the flow is gone, or one that drops", || {
            mirror.update(&mut switch);
            mirror.flows.values().all(|flow| flow.actions == sluice_switch::ActionList::DROP)
        });
        times.push(deleted.elapsed());
        assert_eq!(through(&mut switch, 0, &frame()), []);
    }
    times.sort_unstable();
    println!("from the answer to ovs-ofctl up to the change: median {:?}, most {:?}", times[5], times[9]);
    assert!(times[9] < BOUND, "{times:?}");
}

/// It has no number in the datapath.
#[test]
fn a_bridge_with_a_patch_port_is_followed_as_any_other_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    lab.vsctl(&["add-br", "br1", "--", "set", "bridge", "br1", "datapath_type=dummy"]);
    for (bridge, name, peer) in [("br0", "to1", "options:peer=to0"), ("br1", "to0", "options:peer=to1")] {
        lab.vsctl(&["add-port", bridge, name, "--", "set", "interface", name, "type=patch", peer]);
    }
    let said = lab.call("dpif/show", &[]);
    assert!(said.contains("/none: (patch"), "{said}");
    lab.rules(&switch, &["ip,actions=output:2"]);
    assert_eq!(through(&mut switch, 0, &frame()), [(1, frame())]);
    let mut mirror = Mirror::default();
    mirror.update_from_scratch(&mut switch);
    assert_eq!((mirror.flows.len(), switch.missing().len()), (1, 0));
}

#[test]
fn counters_are_those_of_open_vswitch_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    lab.rules(&switch, &["ip,actions=output:2"]);
    for _ in 0..8 {
        through(&mut switch, 0, &frame());
    }
    let mut mirror = Mirror::default();
    mirror.update_from_scratch(&mut switch);
    let ufid = *mirror.flows.keys().next().expect("a flow");
    let counters = switch.counters(ufid).expect("they are known");
    // The first one made the flow, and is not counted.
    assert_eq!((counters.packets, counters.bytes), (7, 7 * frame().len() as u64));
    assert!(counters.used.is_some_and(|used| used < BOUND), "{counters:?}");
}

#[test]
fn open_vswitch_may_end_and_come_back_with_openvswitch() {
    let mut lab = Lab::new();
    let mut switch = lab.open();
    lab.rules(&switch, &["ip,actions=output:2"]);
    through(&mut switch, 0, &frame());
    let mut mirror = Mirror::default();
    mirror.update_from_scratch(&mut switch);
    let before = mirror.flows.clone();
    assert_eq!(before.len(), 1);
    lab.kill();
    until("it is known to be gone", || matches!(switch.poll_flows(Instant::now()), Err(Error::Gone { .. })));
    until("the ports are known to be down", || {
        switch.receive(32, |_, _| {});
        switch.send(0, &frame()).expect("a port") == Sent::Down && switch.fence(1).expect("a port").is_none()
    });
    assert_eq!(switch.flows().map(|(flow, _)| *flow).collect::<Vec<_>>(), before.values().copied().collect::<Vec<_>>());
    lab.start();
    // Its rules are gone with it. The first poll that succeeds says that the flow is gone, too.
    until("the flow is gone", || {
        if let Ok(Some(seen)) = switch.poll_flows(Instant::now()) {
            mirror.take(seen.changes);
        }
        mirror.flows.is_empty()
    });
    // New connections, a new secret of nobody: the rules are added again, and the flow is there again.
    until("frames go through again", || {
        std::thread::sleep(Duration::from_millis(20));
        lab.at("br0.mgmt").exists() && lab.at("p0").exists() && lab.at("p1").exists()
    });
    lab.rules(&switch, &["ip,actions=output:2"]);
    until("a frame arrives", || {
        let mut came = Vec::new();
        let sent = switch.send(0, &frame()).expect("a port");
        let end = Instant::now() + Duration::from_millis(100);
        while sent == Sent::Queued && came.is_empty() && Instant::now() < end {
            switch.receive(32, |port, bytes| came.push((port, bytes.to_vec())));
        }
        came.first().is_some_and(|first| *first == (1, frame()))
    });
    until("the flow is known again", || {
        mirror.update(&mut switch);
        mirror.flows.len() == 1
    });
}
