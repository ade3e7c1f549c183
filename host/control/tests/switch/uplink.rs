//! Ports whose frames go to an in-VM switch.

use super::*;
use sluice_control::PortConfig;

/// An in-VM switch gets what its uplinks transmit, whatever its device's filters are, and nobody else does.
#[test]
fn all_frames_of_a_port_with_an_uplink_go_into_its_queue_there() {
    // A queue of the uplink is that of a window: b has one pair, which belongs to its one sender.
    let world = World::new(&["peers = [\"b\"]", "", ""]);
    let filters = F::VERSION_1 | F::CTRL_VQ | F::CTRL_RX;
    let (mut a, mut b) = (world.start(0, F::VERSION_1, 1), world.start(1, filters, 1));
    let mut c = world.start(2, F::VERSION_1, 1);
    let ports = |uplink| [(PortConfig { lan: vec![2], uplink, ..PortConfig::default() }, Some(0))];
    let others = || [1, 2].map(|port| (PortConfig::default(), Some(port)));
    world.switch.borrow_mut().change(ports(Some(1)).into_iter().chain(others()), 1_000);
    let frames = [BROADCAST, NOBODY, mac(2), mac(1)].map(|destination| frame(destination, mac(0), 1));
    frames.iter().for_each(|frame| a.send(frame));
    assert_eq!((b.received(), c.received()), (frames.to_vec(), vec![]));
    // It is the sender's own address all the same.
    a.send(&frame(mac(2), NOBODY, 2));
    assert_eq!((world.counters(0).source_refused, world.counters(1).forwarded), (1, 4));
    // Nobody is there.
    Device(&world, 1).write(sluice_abi::mmio::reg::STATUS, 0);
    a.send(&frames[0]);
    assert_eq!(world.counters(1).no_queue, 1);
    world.switch.borrow_mut().change(ports(None).into_iter().chain(others()), 1_000);
    a.send(&frames[0]);
    assert_eq!(c.received(), frames[..1]);
}
