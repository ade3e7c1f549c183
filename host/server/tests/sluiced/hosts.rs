//! Two hosts: a server on each, with a tap in a bridge of an Open vSwitch, and Geneve between these.

use crate::host::*;
use crate::lab::*;
use crate::openvswitch::OpenVswitch;
use sluice_vhost_user::Frontend;
use std::time::Duration;

/// Largest frame that fits into a tunnel beneath which packets have 1,500 bytes: docs/scale.md.
const LARGEST: usize = 1_464;
const FRAMES: usize = 100;

/// Connects two hosts by a cable, and their bridges by a tunnel through it.
fn join(hosts: [&OpenVswitch; 2]) {
    let ends = [fresh(), fresh()];
    ip(&format!("link add {} type veth peer name {}", ends[0], ends[1]));
    for (at, (host, end)) in (1..).zip(hosts.into_iter().zip(&ends)) {
        let space = &host.space.0;
        ip(&format!("link set {end} netns {space}"));
        ip(&format!("-n {space} link set {end} up mtu 1500"));
        host.vsctl("add-br phy -- set bridge phy datapath_type=netdev");
        host.vsctl(&format!("add-port phy {end}"));
        ip(&format!("-n {space} address add 192.0.2.{at}/24 dev phy"));
        ip(&format!("-n {space} link set phy up"));
        let remote = format!("options:remote_ip=192.0.2.{}", 3 - at);
        host.vsctl(&format!("add-port br0 far -- set interface far type=geneve {remote} options:key=7"));
    }
}

/// A frame of `len` bytes.
fn frame_of(to: char, from: char, len: usize) -> Vec<u8> {
    let bytes = (0..len - 14).map(|at| (at * 7 + len) as u8);
    mac(to).into_iter().chain(mac(from)).chain([0x88, 0xb6]).chain(bytes).collect()
}

#[track_caller]
fn give(front: &mut Frontend, frame: &[u8]) {
    assert!(front.send(0, frame).expect("a transmit queue"));
    front.flush(0).expect("published");
}

/// Takes a frame if there is one.
fn get(front: &mut Frontend) -> Option<Vec<u8>> {
    let mut bytes = [0; 2_048];
    let len = front.receive(0, &mut bytes).expect("a receive queue")?;
    front.flush(0).expect("published");
    Some(bytes[..len].to_vec())
}

#[track_caller]
fn next(front: &mut Frontend) -> Vec<u8> {
    let mut found = None;
    until("a frame comes", || {
        found = get(front);
        found.is_some()
    });
    found.expect("a frame")
}

#[test]
fn vms_of_two_servers_reach_each_other_by_geneve_with_tap_with_openvswitch() {
    let taps = [Device::tap(), Device::tap()];
    let policy = |name: char, tap: &Device| {
        vm(name, "lan = [\"up\"]") + &tap.table(&format!("lan = [\"{name}\"]\noffloads = false"))
    };
    let labs = [Lab::new(&policy('a', &taps[0])), Lab::new(&policy('b', &taps[1]))];
    let (mut a, mut b) = (labs[0].connect('a', SPLIT), labs[1].connect('b', PACKED));
    let hosts = [OpenVswitch::new(), OpenVswitch::new()];
    hosts.iter().zip(&taps).for_each(|(host, tap)| host.add(&[&tap.0]));
    join(hosts.each_ref());
    // What has no neighbour yet is dropped, and asks for it.
    until("the hosts have found each other", || {
        give(&mut a, &frame_of('b', 'a', 60));
        std::thread::sleep(Duration::from_millis(50));
        get(&mut b).is_some()
    });
    std::thread::sleep(Duration::from_millis(200));
    while get(&mut b).is_some() {}

    for number in 0..FRAMES {
        let len = 60 + number * (LARGEST - 60) / (FRAMES - 1);
        give(&mut a, &frame_of('b', 'a', len));
        assert_eq!(next(&mut b), frame_of('b', 'a', len), "{len} bytes");
        give(&mut b, &frame_of('a', 'b', len));
        assert_eq!(next(&mut a), frame_of('a', 'b', len), "{len} bytes");
    }
    // One byte more is lost, with all that Open vSwitch sends at the same time, and what comes later is not.
    give(&mut a, &frame_of('b', 'a', LARGEST + 1));
    std::thread::sleep(Duration::from_millis(200));
    give(&mut a, &frame_of('b', 'a', LARGEST));
    assert_eq!(next(&mut b), frame_of('b', 'a', LARGEST));
    let flows = hosts[0].appctl(&["dpctl/dump-flows", "-m"]);
    assert!(flows.contains("tnl_push(") && flows.contains("geneve(vni=0x7)"), "{flows}");
    let flows = hosts[1].appctl(&["dpctl/dump-flows", "-m"]);
    assert!(flows.contains("tunnel(tun_id=0x7,src=192.0.2.1,dst=192.0.2.2"), "{flows}");
}
