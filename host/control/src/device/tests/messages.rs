//! A device that a front-end sets up by messages.

use super::*;
use sluice_abi::virtq::QueueAddresses;

fn queue(index: u16, desc: u64) -> Queue {
    let addresses = QueueAddresses { desc: Gpa(desc), driver: Gpa(0x2000), device: Gpa(0x3000) };
    Queue { addresses, index, size: 256, ..Queue::default() }
}

#[test]
fn a_front_ends_queues_are_in_use_and_taken_back_without_a_register() {
    let mut device = Device::new(MAC, 9000, 2);
    assert_eq!(device.set_up(F::VERSION_1, &[]), None);
    assert_eq!(device.set_up(F::VERSION_1, &[queue(0, 0x1000), queue(1, 0x5000)]), Some(Event::QueuesReady));
    assert_eq!((device.pairs(), device.mtu(), device.features()), (1, 9000, F::VERSION_1));
    assert_eq!(device.queue(1).map(|queue| queue.addresses.desc), Some(Gpa(0x5000)));
    assert_eq!(device.set_up(F::VERSION_1, &[queue(0, 0x1000), queue(1, 0x5000)]), None, "nothing changed");
    let pairs = [0, 1, 2, 3].map(|index| queue(index, 0x1000));
    device.set_up(F::VERSION_1, &pairs);
    assert_eq!((device.pairs(), device.queue(3).is_some()), (2, true));
    assert_eq!(device.set_up(F::VERSION_1, &[]), Some(Event::Reset));
    assert_eq!((0..4).find_map(|index| device.queue(index)), None);
}

#[test]
fn a_front_ends_queue_that_moves_or_returns_has_another_start() {
    let mut device = Device::new(MAC, 1500, 1);
    let mut start = |features, queues: &[Queue]| {
        device.set_up(features, queues);
        device.queue(0).map(|queue| queue.start)
    };
    let first = start(F::VERSION_1, &[queue(0, 0x1000)]);
    let moved = start(F::VERSION_1, &[queue(0, 0x4000)]);
    assert_eq!(start(F::VERSION_1, &[]), None);
    let returned = start(F::VERSION_1, &[queue(0, 0x4000)]);
    let other = start(F::VERSION_1 | F::MRG_RXBUF, &[queue(0, 0x4000)]);
    assert!([first, moved, returned, other].windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn what_a_front_end_filters_itself_is_not_filtered_once_more() {
    let mut device = Device::new(MAC, 1500, 1);
    device.set_up(F::VERSION_1 | F::CTRL_VQ | F::CTRL_RX, &[queue(0, 0x1000)]);
    assert!(device.takes([0x33, 0x33, 0, 0, 0, 1]) && device.takes([2, 0, 0, 0, 0, 9]));
    assert_eq!(device.controlq(), None);
}
