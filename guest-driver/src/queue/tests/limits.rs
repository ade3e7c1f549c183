//! Numbers that wrap around, and chains of the largest length.

use super::*;
use sluice_abi::packed::event;
use sluice_abi::virtq::used;
use std::vec;

/// Publishes `count` buffers, and takes each back, without a look at the notifications that the device asks for.
fn pass(queue: &mut Queue, device: &mut Device, count: u32) {
    for done in (0..count).step_by(8) {
        let burst = (count - done).min(8);
        assert!((0..burst).all(|token| queue.give(Gpa(0x8000), 64, token)));
        queue.publish();
        device.take_all().iter().for_each(|buffer| device.finish(buffer, 60));
        assert_eq!(take_all(queue).len(), burst as usize);
    }
}

/// The device asks for the entry behind those that were published. That was published, too, once the numbers of
/// entries, or slots and wrap counters, went round: after 65,536 entries, or two laps.
#[test]
fn a_device_that_was_not_looked_at_for_long_is_told() {
    for features in ALL.map(|features| features | F::EVENT_IDX) {
        let packed = features.contains(F::RING_PACKED);
        let (round, counts) =
            if packed { (16, vec![15, 16, 17, 24, 48]) } else { (65_536, vec![65_535, 65_536, 65_538]) };
        for count in counts.into_iter().chain(packed.then_some(65_536)) {
            let count = if count > 1000 { rounds(count, 0) } else { count };
            let (mut queue, mut device) = queue_of(8, features);
            pass(&mut queue, &mut device, count);
            if packed {
                let at = count % 16;
                device.set_device16(0, if at < 8 { at as u16 | 1 << 15 } else { at as u16 - 8 });
                device.set_device16(2, event::DESC);
            } else {
                device.set_device16(used::avail_event(8), count as u16);
            }
            assert_eq!(queue.needs_notification(), count >= round, "{features:?} {count}");
            assert!(!queue.needs_notification(), "nothing new");
        }
    }
}

#[test]
fn a_device_that_polls_is_not_told_however_long_it_was_not_looked_at() {
    for features in ALL {
        for count in rounds([65_535, 65_536, 65_538].as_slice(), &[20]) {
            let (mut queue, mut device) = queue_of(8, features);
            device.set_device16(if features.contains(F::RING_PACKED) { 2 } else { used::FLAGS }, 1);
            pass(&mut queue, &mut device, *count);
            assert!(!queue.needs_notification(), "{features:?} {count}");
        }
    }
}

#[test]
fn a_chain_longer_than_the_queue_is_not_made() {
    for features in ALL.into_iter().flat_map(|features| [features, features | F::INDIRECT_DESC]) {
        for size in [1, 2, 4, 8] {
            for count in rounds(1..=20, 8..=9) {
                let (mut queue, mut device) = queue_of(size, features);
                let pieces: Vec<_> = (0..count).map(|at| (Gpa(0x100 * u64::from(at)), 16)).collect();
                let (readable, writable) = pieces.split_at(usize::from(count) / 2);
                assert_eq!(queue.request(readable, writable, 1), count <= size, "{features:?} {size} {count}");
                queue.publish();
                let seen: usize = device.take_all().iter().map(|buffer| buffer.pieces.len()).sum();
                assert_eq!(seen, if count <= size { count.into() } else { 0 });
            }
        }
    }
}

#[test]
fn a_chain_longer_than_our_own_device_follows_is_not_made() {
    for features in ALL.into_iter().flat_map(|features| [features, features | F::INDIRECT_DESC]) {
        let memory = memory::<128>(true);
        let mut queue = DriverQueue::<128>::new(Gpa(GPA), memory, 128, features).unwrap();
        let pieces = [(Gpa(0x8000), 16); 65];
        assert!(!queue.send(&pieces, 1) && queue.send(&pieces[..64], 2), "{features:?}");
    }
}
