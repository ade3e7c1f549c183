//! Queues that begin in the middle, and split rings that two device sides fill in turn.

use super::*;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::virtq::{self, used};
use sluice_inside::{DeviceQueue, Enqueue, LockPage, Regions};
use sluice_memory::Words;

/// Gives a buffer and fills it with frame `number`.
fn fill(driver: &mut Driver, queue: &mut DeviceQueue, regions: &Regions, number: usize) {
    let piece = driver.piece(100, true);
    driver.give(&[piece], false);
    let (_memory, frame) = frame(&bytes(number, 60));
    assert_eq!(queue.enqueue(regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
}

#[test]
fn a_queue_of_an_entry_with_a_base_begins_there() {
    for (features, size) in FORMATS {
        let packed = |slot: u32, wrap: u32| (slot | wrap << 15) << 16 | slot | wrap << 15;
        let bases = match features.contains(F::RING_PACKED) {
            true => [packed(0, 1), packed(1, 1), packed(4, 1), packed(3, 0), packed(0, 0)],
            false => [0, 1, 7, 0xfffd, 0xffff],
        };
        for base in bases {
            let mut driver = Driver::starting_at(size, features, base);
            let entry = Queue { base: base ^ virtq::start(driver.queue.features), ..driver.queue };
            let regions = driver.regions();
            let mut queue = DeviceQueue::new(&entry, &regions).expect("a lawful base");
            assert_eq!(queue.base(), base, "{features:?}");
            for number in 0..20 {
                fill(&mut driver, &mut queue, &regions, number);
                queue.publish();
                assert_eq!(driver.take(), Some((72, arrived(1, &bytes(number, 60)))), "{features:?} {base:#x}");
            }
        }
    }
}

#[test]
fn an_entry_with_a_base_that_no_queue_has_is_refused() {
    for (features, size, base) in
        [(SPLIT, 8, 0x1_0000), (SPLIT, 8, u32::MAX), (F::RING_PACKED, 8, 8), (F::RING_PACKED, 7, 7)]
    {
        let driver = Driver::new(size, features);
        let entry = Queue { base, ..driver.queue };
        assert_eq!(DeviceQueue::new(&entry, &driver.regions()).err(), Some(Clause::Layout), "{features:?} {base:#x}");
    }
}

/// The two go on behind each other, also over the end of the index.
#[test]
fn who_catches_up_goes_on_behind_another_device_side() {
    for features in [SPLIT, F::IN_ORDER] {
        let mut driver = Driver::starting_at(8, features, 0xffee);
        let regions = driver.regions();
        let new = || DeviceQueue::new(&Queue { base: 0xffee, ..driver.queue }, &regions).expect("a queue");
        let (mut now, mut other, mut numbers) = (new(), new(), 0..);
        assert_eq!((now.catch_up(None), now.base()), (Ok(0), 0xffee));
        for count in (1..6).cycle().take(20) {
            let burst: Vec<_> = numbers.by_ref().take(count).collect();
            burst.iter().for_each(|&number| fill(&mut driver, &mut now, &regions, number));
            assert_eq!(other.catch_up(None), Ok(0), "nothing is published");
            now.publish();
            assert!(burst.iter().all(|&number| driver.take() == Some((72, arrived(1, &bytes(number, 60))))));
            assert_eq!((other.catch_up(None), other.base()), (Ok(count as u32), now.base()));
            assert_eq!(other.catch_up(None), Ok(0), "once");
            std::mem::swap(&mut now, &mut other);
        }
        assert!(now.base() < 0x100, "beyond the end of 16 bits");
    }
}

/// A packed ring does not say where another device side came: the page of a lock does.
#[test]
fn who_catches_up_in_a_packed_ring_goes_where_the_page_says() {
    for size in [8, 5] {
        let mut driver = Driver::new(size, F::RING_PACKED);
        let memory = Memory::new(&[4096]);
        let page = LockPage::new(memory.run(0)).expect("a page");
        let ((mut queue, regions), (mut other, _)) = (driver.device(), driver.device());
        for number in 0..20 {
            fill(&mut driver, &mut queue, &regions, number);
            queue.publish();
            let before = other.base();
            assert_eq!((other.catch_up(None), other.base()), (Err(Clause::Layout), before));
            queue.leave(&page);
            assert_eq!((other.catch_up(Some(&page)), other.base()), (Ok(0), queue.base()), "nobody counted it");
            assert_eq!(driver.take(), Some((72, arrived(1, &bytes(number, 60)))));
            std::mem::swap(&mut queue, &mut other);
        }
    }
}

/// The index of the used ring is in memory that the driver, and a hostile sender, can write.
#[test]
fn whatever_the_index_says_no_more_is_filled_than_is_available() {
    for features in [SPLIT, F::IN_ORDER, F::EVENT_IDX] {
        for given in [0, 3, 8] {
            for index in
                (0..=u16::MAX).step_by(if cfg!(miri) { 0x3fff } else { 0x101 }).chain([1, 3, 8, 9, 0xfff8, 0x8000])
            {
                let mut driver = Driver::new(8, features);
                let (mut queue, regions) = driver.device();
                for _ in 0..given {
                    let piece = driver.piece(100, true);
                    driver.give(&[piece], false);
                }
                let device = driver.queue.addresses.device.0 - driver.entry(1500).regions[0].gpa.0;
                driver.ram().write(device + used::IDX, index).expect("inside");
                assert_eq!((queue.catch_up(None), queue.base()), (Ok(index.into()), index.into()));
                let available = u16::wrapping_sub(given, index);
                assert_eq!(queue.available(), if available > 8 { Err(Clause::AvailIdx) } else { Ok(available) });
                let (_memory, frame) = frame(&bytes(0, 60));
                let fill = |_: &u16| queue.enqueue(&regions, &PLAIN, frame, 88, Words) == Ok(Enqueue::Filled);
                let filled = (0..100).take_while(fill).count();
                assert!(filled <= usize::from(if available > 8 { 0 } else { available }), "{index:#x}: {filled}");
                queue.publish();
                queue.needs_notification();
            }
        }
    }
}
