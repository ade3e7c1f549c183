//! Ports whose rights and limits change while frames go through them.

use super::*;
use sluice_control::{Limit, PortConfig};

/// Ports that may all send to each other.
fn all(count: usize) -> impl Iterator<Item = (PortConfig, Option<usize>)> {
    let lan = move |own| (0..count).filter(|&other| other != own).collect();
    (0..count).map(move |own| (PortConfig { lan: lan(own), ..PortConfig::default() }, Some(own)))
}

const ANY: &str = "macs = [\"any\"]";

#[test]
fn a_port_keeps_its_counters_and_addresses_when_rights_change() {
    let world = World::new(&[ANY; 3]);
    world.switch.borrow_mut().change(all(3), 1_000);
    let mut drivers = [0, 1, 2].map(|vm| world.start(vm, F::VERSION_1, 1));
    // Nobody's address is behind b.
    drivers[1].send(&frame(BROADCAST, NOBODY, 1));
    world.switch.borrow_mut().change(all(3), 1_000);
    drivers[0].send(&frame(NOBODY, mac(0), 2));
    assert_eq!((drivers[1].received().len(), drivers[2].received().len()), (1, 1), "what b sent reached c, a's only b");
    assert_eq!(world.counters(1), Counters { taken: 1, forwarded: 1, ..Counters::default() });
    // The port of b is new, and nothing is known of it.
    world.switch.borrow_mut().change(all(3).map(|(port, old)| (port, old.filter(|&old| old != 1))), 1_000);
    assert_eq!(world.counters(1), Counters::default());
    drivers[0].send(&frame(NOBODY, mac(0), 3));
    assert_eq!((drivers[1].received().len(), drivers[2].received().len()), (1, 1), "to everybody");
}

#[test]
fn who_may_no_longer_send_is_denied_at_once() {
    let world = World::new(&[ANY; 2]);
    world.switch.borrow_mut().change(all(2), 1_000);
    let mut drivers = [0, 1].map(|vm| world.start(vm, F::VERSION_1, 1));
    drivers[0].send(&frame(mac(1), mac(0), 1));
    let nobody = [0, 1].map(|port| (PortConfig::default(), Some(port)));
    world.switch.borrow_mut().change(nobody, 1_000);
    drivers[0].send(&frame(mac(1), mac(0), 2));
    assert_eq!(drivers[1].received(), [frame(mac(1), mac(0), 1)]);
    assert_eq!(world.counters(0).denied, 1);
}

#[test]
fn frames_beyond_the_limit_reach_nobody_and_are_counted() {
    let world = World::new(&[ANY; 2]);
    let limit = Limit { packets_per_second: Some(100), bits_per_second: None };
    let limited = |lan| PortConfig { lan, limit, ..PortConfig::default() };
    world.switch.borrow_mut().change([(limited(vec![1]), None), (limited(vec![0]), None)], 1_000);
    let mut drivers = [0, 1].map(|vm| world.start(vm, F::VERSION_1, 1));
    (0..25).for_each(|mark| drivers[0].send(&frame(mac(1), mac(0), mark)));
    let counters = Counters { taken: 25, limited: 15, ..Counters::default() };
    assert_eq!(world.counters(0), counters);
    assert_eq!(drivers[1].received().len(), 10, "a tenth of a second's");
    // A change of rights alone gives no second burst.
    world.switch.borrow_mut().change([(limited(vec![1]), Some(0)), (limited(vec![0]), Some(1))], 1_000);
    drivers[0].send(&frame(mac(1), mac(0), 1));
    assert_eq!((world.counters(0).limited, drivers[1].received().len()), (16, 0));
    world.now.set(10_000_000);
    drivers[0].send(&frame(mac(1), mac(0), 2));
    assert_eq!(drivers[1].received().len(), 1, "one came in 10 ms");
    assert_eq!(world.switch.borrow().bytes(0), [27 * 60, 0]);
    assert_eq!(world.switch.borrow().bytes(1), [0, 11 * 60]);
}
