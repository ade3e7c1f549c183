//! Who is told of what.

use super::*;
use sluice_abi::packed::event;
use sluice_inside::{DeviceQueue, Enqueue};
use sluice_memory::Words;

/// Sends `count` frames and takes them; whether the driver is to be told.
fn pass(driver: &mut Driver, queue: &mut DeviceQueue, regions: &sluice_inside::Regions, count: usize) -> bool {
    let (_memory, frame) = frame(&bytes(0, 60));
    for _ in 0..count {
        let piece = driver.piece(100, true);
        driver.give(&[piece], false);
        assert_eq!(queue.enqueue(regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
    }
    queue.publish();
    (0..count).for_each(|_| assert!(driver.take().is_some()));
    queue.needs_notification()
}

#[test]
fn the_driver_is_told_unless_it_polls() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        assert!(!pass(&mut driver, &mut queue, &regions, 0));
        assert!(pass(&mut driver, &mut queue, &regions, 2));
        assert!(!queue.needs_notification());
        // NO_INTERRUPT, or DISABLE.
        driver.ask(1, 0);
        assert!(!pass(&mut driver, &mut queue, &regions, 1));
    }
}

#[test]
fn the_driver_is_told_of_the_entry_that_it_asks_for() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::EVENT_IDX);
        let (mut queue, regions) = driver.device();
        // The third, in the first lap.
        let packed = features.contains(F::RING_PACKED);
        driver.ask(if packed { event::DESC } else { 0 }, if packed { 2 | 1 << 15 } else { 2 });
        let told = [2, 1, 1, 3].map(|count| pass(&mut driver, &mut queue, &regions, count));
        assert_eq!(told, [false, true, false, false]);
    }
}

#[test]
fn the_device_asks_for_the_next_entry_or_for_none() {
    for (features, size) in FORMATS {
        for event_idx in [false, true] {
            let mut driver = Driver::new(size, features | if event_idx { F::EVENT_IDX } else { SPLIT });
            let (mut queue, regions) = driver.device();
            pass(&mut driver, &mut queue, &regions, 3);
            queue.ask_for_notifications(true);
            let packed = features.contains(F::RING_PACKED);
            let on = match (packed, event_idx) {
                (false, false) => (0, 0),
                (false, true) => (0, 3),
                (true, false) => (event::ENABLE, 0),
                (true, true) => (event::DESC, 3 | 1 << 15),
            };
            assert_eq!(driver.asked(), on);
            queue.ask_for_notifications(false);
            let off = if !packed && event_idx { 0 } else { 1 };
            assert_eq!(driver.asked().0, off);
        }
    }
}

/// It asks for the entry behind those that it was shown. That was shown, too, once the numbers of entries, or slots and
/// wrap counters, went round: after 65,536 entries, or two laps.
#[test]
fn a_driver_that_was_not_looked_at_for_long_is_told() {
    for (features, size) in FORMATS {
        let packed = features.contains(F::RING_PACKED);
        let round = if packed { 2 * u32::from(size) } else { 65_536 };
        let longer = if packed { [2 * round, 5 * round] } else { [65_537, 65_538] };
        let counts = [round - 1, round, round + 1].into_iter().chain(longer);
        for count in counts.filter(|&count| !cfg!(miri) || count < 100) {
            let mut driver = Driver::new(size, features | F::EVENT_IDX);
            let (mut queue, regions) = driver.device();
            pass_unseen(&mut driver, &mut queue, &regions, count);
            let (slot, lap) = ((count % u32::from(size)) as u16, count / u32::from(size) % 2);
            let event = if packed { slot | u16::from(lap == 0) << 15 } else { count as u16 };
            driver.ask(if packed { event::DESC } else { 0 }, event);
            assert_eq!(queue.needs_notification(), count >= round, "{features:?} {size} {count}");
            assert!(!queue.needs_notification(), "nothing new");
        }
    }
}

#[test]
fn a_driver_that_polls_is_not_told_however_long_it_was_not_looked_at() {
    for (features, size) in FORMATS {
        for count in if cfg!(miri) { [20, 21] } else { [65_536, 65_538] } {
            let mut driver = Driver::new(size, features);
            let (mut queue, regions) = driver.device();
            // NO_INTERRUPT, or DISABLE.
            driver.ask(1, 0);
            pass_unseen(&mut driver, &mut queue, &regions, count);
            assert!(!queue.needs_notification(), "{features:?} {count}");
            driver.ask(0, 0);
            pass_unseen(&mut driver, &mut queue, &regions, 1);
            assert!(queue.needs_notification(), "{features:?} {count}");
        }
    }
}

/// Sends `count` frames and takes them; nobody looks whether the driver is to be told.
fn pass_unseen(driver: &mut Driver, queue: &mut DeviceQueue, regions: &sluice_inside::Regions, count: u32) {
    let (_memory, frame) = frame(&bytes(0, 4));
    for _ in 0..count {
        let piece = driver.piece(16, true);
        driver.give(&[piece], false);
        assert_eq!(queue.enqueue(regions, &PLAIN, frame, 4, Words), Ok(Enqueue::Filled));
        queue.publish();
        assert!(driver.take().is_some());
    }
}

/// Of what was used and is not published yet nobody need be told.
#[test]
fn the_device_asks_for_the_entry_behind_those_that_it_used() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::EVENT_IDX);
        let (mut queue, regions) = driver.device();
        let (_memory, frame) = frame(&bytes(0, 60));
        for used in 1..=size {
            let piece = driver.piece(100, true);
            driver.give(&[piece], false);
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
            queue.ask_for_notifications(true);
            let expected = match features.contains(F::RING_PACKED) {
                true if used < size => (event::DESC, used | 1 << 15),
                true => (event::DESC, 0),
                false => (0, used),
            };
            assert_eq!(driver.asked(), expected, "{features:?}");
        }
    }
}
