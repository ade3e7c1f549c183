//! Who is told of used buffers: a driver that asked, once for each time that it asked, and nobody else.

use super::*;
use sluice_abi::mmio::{Interrupt, reg};

const FORMATS: [F; 4] = [F::VERSION_1, F::EVENT_IDX, F::RING_PACKED, F::RING_PACKED.union(F::EVENT_IDX)];
const LAN: [&str; 2] = ["lan = [\"b\"]", "lan = [\"a\"]"];

/// Who was told since this was last asked.
fn told(world: &World) -> Vec<Told> {
    world.told.take()
}

fn interrupt_status(driver: &Driver<'_>) -> u32 {
    driver.device().read(reg::INTERRUPT_STATUS)
}

#[test]
fn a_driver_that_polls_is_told_of_nothing() {
    for features in FORMATS {
        let world = World::new(&LAN);
        let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, features | F::CTRL_VQ | F::CTRL_RX, 1));
        for mark in 0..200 {
            a.send(&frame(mac(1), mac(0), mark));
            assert_eq!(b.received().len(), 1);
            assert_eq!((told(&world), interrupt_status(&a), interrupt_status(&b)), (vec![], 0, 0), "{features:?}");
        }
        assert_eq!([0, 1].map(|vm| world.counters(vm).notified), [0, 0]);
    }
}

/// Of the first frame after the request, at the word that it changed; with an event index, and of a driver that takes
/// its request back, of no other.
#[test]
fn a_driver_that_asks_is_told_until_it_polls_again() {
    for features in FORMATS {
        let world = World::new(&LAN);
        let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, features, 1));
        for mark in 0..200 {
            let (word, seen) = b.receive[0].watch_word().expect("a word");
            b.receive[0].suppress_interrupts(false);
            assert!(!b.receive[0].is_ready().expect("no fault"));
            a.send(&frame(mac(1), mac(0), mark));
            let [Told { vm: 1, queue: 0, word: at }] = told(&world)[..] else { panic!("b alone, and once") };
            let changed = world.rams[1].sub(at.0, 4).expect("inside");
            assert!(core::ptr::eq(changed.as_ptr(), word.as_ptr()) && word.read::<u32>(0) != Ok(seen), "{features:?}");
            b.receive[0].suppress_interrupts(true);
            a.send(&frame(mac(1), mac(0), mark));
            assert_eq!((told(&world), b.received().len()), (vec![], 2), "{features:?}");
        }
        assert_eq!([0, 1].map(|vm| world.counters(vm).notified), [0, 200]);
    }
}

/// See: VIRTIO 4.2.2.1 "Device Requirements: MMIO Device Register Layout".
#[test]
fn the_line_is_asserted_until_the_driver_acknowledges_or_resets() {
    let world = World::new(&LAN);
    let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, F::VERSION_1, 1));
    let asserted = || [0, 1].map(|vm| world.network.borrow().interrupts(vm));
    b.receive[0].suppress_interrupts(false);
    for end in [(reg::INTERRUPT_ACK, Interrupt::USED_BUFFER.bits()), (reg::STATUS, 0)] {
        assert_eq!((asserted(), interrupt_status(&b)), ([false, false], 0));
        a.send(&frame(BROADCAST, mac(0), 1));
        assert_eq!((asserted(), interrupt_status(&b)), ([false, true], 1));
        b.device().write(reg::INTERRUPT_ACK, Interrupt::CONFIGURATION.bits());
        assert_eq!(asserted(), [false, true], "another cause was acknowledged");
        b.device().write(end.0, end.1);
    }
    assert_eq!((asserted(), interrupt_status(&b)), ([false, false], 0));
}

/// One that took its frame, and one that carried out a command.
#[test]
fn a_driver_that_asks_is_told_of_what_it_sent_and_of_an_answer() {
    for features in FORMATS {
        let world = World::new(&LAN);
        let mut a = world.start(0, features | F::CTRL_VQ | F::CTRL_RX, 1);
        a.transmit[0].suppress_interrupts(false);
        a.send(&frame(BROADCAST, mac(0), 1));
        assert_eq!(told(&world).len(), 1, "{features:?}");
        a.transmit[0].suppress_interrupts(true);
        // A request by hand, of the first buffer, as nobody sleeps while a command is carried out.
        let index = ControlQueue::index(&a.agreed);
        let queue = world.network.borrow().device(0).and_then(|device| device.queue(index)).expect("in use");
        let at = queue.addresses.driver.0;
        match (features.contains(F::RING_PACKED), features.contains(F::EVENT_IDX)) {
            (false, true) => a.ram().write(at + sluice_abi::virtq::avail::used_event(queue.size), 0u16),
            (false, false) => a.ram().write(at, 0u16),
            (true, _) => a.ram().write(at + 2, 0u16),
        }
        .expect("inside");
        let agreed = a.agreed;
        let mut device = a.device();
        let mut control = a.control.take().expect("agreed on");
        assert_eq!(control.set_promiscuous(&mut device, &agreed, true, || true), Ok(()), "{features:?}");
        assert_eq!(told(&world).len(), 1, "{features:?}");
        assert_eq!(world.counters(0).notified, 2);
    }
}
