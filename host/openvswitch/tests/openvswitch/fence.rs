//! That a token comes back behind all frames before it, and that its rules change nothing else.

use crate::frames::{Random, ethernet, ipv4, udp};
use crate::lab::{Lab, Mirror, PORTS, fenced, through, until};
use sluice_openvswitch::Sent;
use std::iter;
use std::time::Instant;

/// Sends of one port, before a token.
const FRAMES: u16 = 20;

fn numbered(number: u16, kind: u8) -> Vec<u8> {
    ethernet(2, 1, 0x0800, &ipv4([1, kind], 17, 64, 0, &udp(1000, 53, &number.to_be_bytes())))
}

fn number(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[42], frame[43]])
}

/// Some of the frames need an upcall, some don't; some go out by one port, some by others, some by way of connection
/// tracking. Whatever Open vSwitch sends of them is there before the token is.
#[test]
fn a_token_is_behind_all_frames_that_its_port_was_given_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    let rules = [
        "ip,nw_dst=10.0.0.2,actions=output:2",
        "ip,nw_dst=10.0.0.3,actions=output:3,output:4",
        "ip,nw_dst=10.0.0.4,actions=ct(table=1)",
        "ip,nw_dst=10.0.0.5,actions=in_port",
        "ip,nw_dst=10.0.0.6,actions=output:2,output:2,output:2,output:2,output:2,output:2,output:2,output:2",
        "table=1,actions=output:2",
    ];
    lab.rules(&switch, &rules);
    let mut random = Random(11);
    for round in 0..100 {
        if random.one_in(4) {
            // All flows are gone, that of the token, too.
            lab.call("revalidator/purge", &[]);
        }
        let kinds: Vec<u8> = (0..FRAMES).map(|_| 2 + random.below(5) as u8).collect();
        for (at, kind) in (0..).zip(&kinds) {
            assert_eq!(switch.send(0, &numbered(at, *kind)).expect("a port"), Sent::Queued);
        }
        let came = fenced(&mut switch, &[0]);
        for port in 0..PORTS {
            // What goes out more than once by a port waits there for longer than what goes out by the others.
            let times = |kind: u8| match (port, kind) {
                (1, 6) => 8,
                (0, 5) | (1, 2 | 4) | (2 | 3, 3) => 1,
                _ => 0,
            };
            let wanted = (0..).zip(&kinds).flat_map(|(at, kind)| iter::repeat_n(at, times(*kind)));
            let wanted: Vec<u16> = wanted.collect();
            let got: Vec<_> = came.iter().filter(|(by, _)| *by == port).map(|(_, frame)| number(frame)).collect();
            assert_eq!(got, wanted, "round {round}, port {port}");
        }
    }
}

#[test]
fn a_token_does_not_come_back_without_its_rules_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    // It is flooded, but not by the port that it came from.
    lab.ofctl("del-flows", &[]);
    lab.ofctl("add-flow", &["actions=NORMAL"]);
    assert!(switch.fence(0).expect("a port").is_some());
    let end = Instant::now() + std::time::Duration::from_millis(500);
    let mut frames = 0;
    while Instant::now() < end {
        switch.receive(32, |_, _| frames += 1);
        assert_eq!(switch.fenced().count(), 0);
    }
    assert_eq!(frames, 0, "a token was taken for a frame");
}

/// A rule beside the others that looked at the addresses would have made each flow one of its addresses.
#[test]
fn the_rules_of_tokens_leave_flows_as_wide_as_they_were_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    lab.rules(&switch, &["ip,actions=output:2"]);
    through(&mut switch, 0, &numbered(0, 2));
    let mut mirror = Mirror::default();
    until("the flow is there", || {
        mirror.update(&mut switch);
        mirror.flows.len() == 1
    });
    let mask = *mirror.flows.values().next().expect("one").mask.key();
    assert_eq!((mask.source, mask.destination, mask.protocol), ([0; 6], [0; 6], 0));
}

/// Who has no secret makes no token, and his frame goes nowhere.
#[test]
fn a_frame_with_the_tokens_type_is_dropped_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    lab.rules(&switch, &["actions=output:2"]);
    assert_eq!(through(&mut switch, 0, &ethernet(2, 1, sluice_openvswitch::ETHER_TYPE, &[0; 46])), []);
    assert_eq!(through(&mut switch, 0, &ethernet(2, 1, 0x88b6, &[0; 46])).len(), 1);
}
