//! Whose receive queue is whose. See: VIRTIO 5.1.6.5.6 "Automatic receive steering in multiqueue mode".

use super::*;
use sluice_driver::Cause;

const MQ: F = F::CTRL_VQ.union(F::MQ);
/// a and b send to c by windows, and c answers by the switch.
const TWO_SENDERS: [&str; 3] = ["peers = [\"c\"]", "peers = [\"c\"]", "lan = [\"a\", \"b\"]"];

pub(crate) fn set_pairs(driver: &mut Driver<'_>, pairs: u16) -> Result<(), Cause> {
    let (mut device, agreed) = (driver.device(), driver.agreed);
    let control = driver.control.as_mut().expect("a control queue");
    control.set_pairs(&mut device, &agreed, pairs, || true).map_err(|error| error.cause)
}

#[test]
fn pair_0_is_the_switchs_and_pair_k_the_kth_senders_once_it_is_enabled() {
    let world = World::new(&TWO_SENDERS);
    let mut c = world.start(2, MQ, 3);
    assert_eq!((c.agreed.pairs, c.agreed.max_pairs), (3, 3));
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [None, None], "one pair until it says more");
    let mut a = world.start(0, F::VERSION_1, 1);
    a.send(&frame(mac(2), mac(0), 1));
    assert_eq!(c.received().len(), 1);
    set_pairs(&mut c, 2).expect("a second pair");
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [Some(2), None]);
    assert_eq!(*world.events.borrow(), [Event::QueuesReady, Event::QueuesReady, Event::QueuesReady], "c, a, the pair");
    set_pairs(&mut c, 3).expect("a third pair");
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [Some(2), Some(4)]);
    a.send(&frame(mac(2), mac(0), 2));
    assert_eq!(c.received().len(), 1);
}

/// Otherwise its sender's window would be in a queue that is no more in use when the answer is read.
#[test]
fn pairs_do_not_become_fewer_until_a_reset() {
    let world = World::new(&TWO_SENDERS);
    let mut c = world.start(2, MQ, 3);
    set_pairs(&mut c, 3).expect("all pairs");
    for pairs in [1, 2] {
        assert_eq!(set_pairs(&mut c, pairs), Err(Cause::Refused));
    }
    set_pairs(&mut c, 3).expect("as many as there are");
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [Some(2), Some(4)]);
    let mut c = world.start(2, MQ, 3);
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [None, None], "one receive queue after a reset");
    set_pairs(&mut c, 2).expect("fewer than before");
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [Some(2), None]);
}

#[test]
fn a_driver_with_one_pair_leaves_it_to_its_only_sender_and_the_switch_counts() {
    let world = World::new(&["peers = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, F::VERSION_1, 1), world.start(1, F::VERSION_1, 1));
    assert_eq!(world.window_queue(0, 0), Some(0));
    a.send(&frame(mac(1), mac(0), 1));
    assert_eq!((b.received().len(), world.counters(1).no_queue), (0, 1));
}

#[test]
fn of_several_senders_none_has_the_only_pair_of_a_driver() {
    let world = World::new(&TWO_SENDERS);
    let (mut a, mut c) = (world.start(0, F::VERSION_1, 1), world.start(2, F::VERSION_1, 1));
    assert_eq!([0, 1].map(|sender| world.window_queue(sender, 0)), [None, None]);
    a.send(&frame(mac(2), mac(0), 1));
    assert_eq!(c.received().len(), 1, "the switch has it");
}

#[test]
fn frames_are_taken_from_every_pair_that_is_enabled_and_no_other() {
    let world = World::new(&["lan = [\"c\"]\npeers = [\"c\"]", "peers = [\"a\", \"c\"]", "peers = [\"a\"]"]);
    let mut a = world.start(0, MQ, 3);
    let mut c = world.start(2, MQ, 1);
    a.put(1, &Hdr::default(), &frame(mac(2), mac(0), 1));
    a.publish(1);
    assert_eq!(c.received().len(), 0);
    set_pairs(&mut a, 2).expect("a second pair");
    a.publish(1);
    a.send(&frame(mac(2), mac(0), 2));
    let marks: Vec<_> = c.received().iter().map(|frame| frame[20]).collect();
    assert_eq!((marks.len(), marks.contains(&1), marks.contains(&2)), (2, true, true));
}

#[test]
fn a_queue_that_is_not_set_up_is_not_enabled() {
    let world = World::new(&TWO_SENDERS);
    let _c = world.start(2, MQ, 2);
    let mut network = world.network.borrow_mut();
    for pairs in [0u16, 3, 4, 0x8000, 0xffff] {
        let [low, high] = pairs.to_le_bytes();
        assert_eq!(network.command(2, &[4, 0, low, high]), (1, None), "{pairs}");
    }
    assert_eq!(network.command(2, &[4, 0, 2, 0]), (0, Some(Event::QueuesReady)));
}

/// A driver that did not agree on several pairs has one, and its control queue behind that.
#[test]
fn without_several_pairs_the_control_queue_is_the_third() {
    let world = World::new(&["", "peers = [\"a\"]"]);
    let mut a = world.start(0, F::CTRL_VQ | F::CTRL_RX, 1);
    let (mut device, agreed) = (a.device(), a.agreed);
    let control = a.control.as_mut().expect("a control queue");
    assert_eq!(control.set_promiscuous(&mut device, &agreed, true, || true).map_err(|error| error.cause), Ok(()));
    let there = |index| {
        device.write(sluice_abi::mmio::reg::QUEUE_SEL, index);
        device.read(sluice_abi::mmio::reg::QUEUE_SIZE_MAX) > 0
    };
    assert_eq!([0, 1, 2, 3, 4, 5].map(there), [true, true, true, false, false, false]);
}
