//! Frames over several buffers, and the longest one.

use super::*;
use sluice_abi::net::HDR_LEN;
use sluice_inside::Enqueue;
use sluice_memory::Words;

#[test]
fn a_frame_is_merged_over_as_many_buffers_as_it_takes() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(4 * size, features | F::MRG_RXBUF);
        let (mut queue, regions) = driver.device();
        for round in 0..60 {
            let payload = bytes(round, 30 + 17 * (round % 12));
            let (_memory, frame) = frame(&payload);
            let mut buffers = 0;
            loop {
                let done = queue.enqueue(&regions, &PLAIN, frame, 1514, Words).expect("lawful");
                queue.publish();
                if done == Enqueue::Filled {
                    break;
                }
                assert_eq!((done, driver.take()), (Enqueue::Full, None));
                let pieces = [driver.piece(5, true), driver.piece(7, true), driver.piece(48, true)];
                driver.give(&pieces[if buffers % 2 == 0 { 2 } else { 0 }..], false);
                buffers += 1;
                assert!(buffers <= 5 + payload.len() / 48);
            }
            let mut all = Vec::new();
            let mut used = 0;
            while let Some((len, bytes)) = driver.take() {
                assert!(len > 0);
                all.extend(bytes);
                used += 1;
            }
            assert_eq!(all, arrived(used, &payload));
        }
    }
}

/// See: VIRTIO 5.1.6.4.1 "Device Requirements: Processing of Incoming Packets".
#[test]
fn of_a_merged_frame_all_buffers_but_the_last_are_full() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::MRG_RXBUF);
        let (mut queue, regions) = driver.device();
        // What of the frame ends with a buffer, one byte before it, and one behind it.
        for len in [60 - HDR_LEN, 60 - HDR_LEN - 1, 60 - HDR_LEN + 1, 100] {
            let chains = [vec![driver.piece(12, true), driver.piece(28, true)], vec![driver.piece(20, true)]];
            chains.iter().for_each(|chain| driver.give(chain, false));
            let last = driver.piece(60, true);
            driver.give(&[last], false);
            let (_memory, frame) = frame(&bytes(0, len as usize));
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::Filled));
            queue.publish();
            let lens: Vec<_> = core::iter::from_fn(|| driver.take()).map(|(len, _)| len).collect();
            let total = len + HDR_LEN;
            let expected = if total > 60 { vec![40, 20, total - 60] } else { vec![40, total - 40] };
            assert_eq!(lens, expected, "{features:?}");
            // The third buffer, where it was not needed.
            if total <= 60 {
                let (_memory, frame) = self::frame(&bytes(0, 1));
                assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::Filled));
                queue.publish();
                assert_eq!(driver.take().map(|(len, _)| len), Some(HDR_LEN + 1));
            }
        }
    }
}

#[test]
fn a_frame_that_all_buffers_together_do_not_hold_is_too_long() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::MRG_RXBUF);
        let (mut queue, regions) = driver.device();
        while driver.has_room(1) {
            let piece = driver.piece(64, true);
            driver.give(&[piece], false);
        }
        let (_memory, frame) = frame(&bytes(0, 64 * usize::from(size)));
        assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::TooLong));
        queue.publish();
        assert_eq!(driver.take(), None);
        let short = frame.sub(0, 64 * u64::from(size) - u64::from(HDR_LEN)).expect("inside");
        assert_eq!(queue.enqueue(&regions, &PLAIN, short, 1514, Words), Ok(Enqueue::Filled));
    }
}

#[test]
fn the_longest_frame_passes_over_chains_and_merged_buffers() {
    for (features, _) in FORMATS {
        for (merge, pieces) in [(F::MRG_RXBUF, 1), (SPLIT, 44)] {
            let mut driver = Driver::new(64, features | merge);
            let (mut queue, regions) = driver.device();
            for _ in 0..if pieces == 1 { 44 } else { 1 } {
                let chain: Vec<_> = (0..pieces).map(|_| driver.piece(1500, true)).collect();
                driver.give(&chain, false);
            }
            let payload = bytes(3, 65_535);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 65_535, Words), Ok(Enqueue::Filled));
            queue.publish();
            let mut all = Vec::new();
            while let Some((_, bytes)) = driver.take() {
                all.extend(bytes);
            }
            assert_eq!(all, arrived(44 / pieces, &payload));
        }
    }
}

/// The window is open only so long for one frame (rule G10), however many buffers it takes.
#[test]
fn a_frame_over_more_descriptors_than_are_followed_for_one_is_too_long() {
    for (features, pieces) in
        FORMATS.into_iter().flat_map(|(features, _)| [1, 2, 4, 16].map(|pieces| (features, pieces)))
    {
        let mut driver = Driver::new(128, features | F::MRG_RXBUF | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        for _ in 0..128 / pieces {
            let chain: Vec<_> = (0..pieces).map(|_| driver.piece(20, true)).collect();
            driver.give(&chain, false);
        }
        let (_memory, frame) = frame(&bytes(0, 1300));
        let part = |descriptors: u64| frame.sub(0, 20 * descriptors - u64::from(HDR_LEN)).expect("inside");
        assert_eq!(
            queue.enqueue(&regions, &PLAIN, part(65), 1514, Words),
            Ok(Enqueue::TooLong),
            "{features:?} {pieces}"
        );
        queue.publish();
        assert_eq!(driver.take(), None);
        for _ in 0..2 {
            assert_eq!(queue.enqueue(&regions, &PLAIN, part(64), 1514, Words), Ok(Enqueue::Filled));
        }
        queue.publish();
        assert_eq!(core::iter::from_fn(|| driver.take()).count(), 128 / pieces);
    }
}

/// What bounds each chain is the queue's size, not what all of a frame have together.
#[test]
fn merged_buffers_in_tables_have_each_as_many_descriptors_as_the_queue() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::MRG_RXBUF | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        for _ in 0..4 {
            let chain: Vec<_> = (0..size).map(|_| driver.piece(20, true)).collect();
            driver.give(&chain, true);
        }
        let payload = bytes(0, 80 * usize::from(size) - HDR_LEN as usize);
        let (_memory, frame) = frame(&payload);
        assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::Filled), "{features:?}");
        queue.publish();
        let all: Vec<_> = core::iter::from_fn(|| driver.take()).flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(all, arrived(4, &payload));
    }
}

/// Nor has the driver more to give if its buffers take several descriptors each.
#[test]
fn a_frame_that_all_chains_of_a_ring_together_do_not_hold_is_too_long() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::MRG_RXBUF);
        let (mut queue, regions) = driver.device();
        let (_memory, frame) = frame(&bytes(0, 64 * usize::from(size)));
        for count in (1..=size).rev().filter(|count| size % count == 0) {
            let mut given = 0;
            while driver.has_room(count) {
                let done = queue.enqueue(&regions, &PLAIN, frame, 1514, Words);
                assert_eq!(done, Ok(Enqueue::Full), "{features:?} {count} {given}");
                let chain: Vec<_> = (0..count).map(|_| driver.piece(64, true)).collect();
                driver.give(&chain, false);
                given += 1;
            }
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::TooLong));
            let short = frame.sub(0, 64 * u64::from(size) - u64::from(HDR_LEN)).expect("inside");
            assert_eq!(queue.enqueue(&regions, &PLAIN, short, 1514, Words), Ok(Enqueue::Filled));
            queue.publish();
            assert_eq!(core::iter::from_fn(|| driver.take()).count(), given);
        }
    }
}
