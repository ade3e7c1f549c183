//! Queues that are left and taken up, and the log of what is written.

use super::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Code, Status};
use sluice_inside::{DeviceQueue, DirtyLog, Enqueue, transmit};
use sluice_memory::Words;

#[test]
fn a_queue_goes_on_where_it_was_left() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        for round in 0..40 {
            queue = DeviceQueue::resume(&driver.queue, &regions, queue.base()).expect("lawful");
            for at in 0..1 + round % 3 {
                let piece = driver.piece(100, true);
                driver.give(&[piece], false);
                let (_memory, frame) = frame(&bytes(at, 60));
                assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
            }
            if round % 4 == 0 {
                queue.rewind();
                for at in 0..1 + round % 3 {
                    let (_memory, frame) = frame(&bytes(at, 60));
                    assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
                }
            }
            queue.publish();
            for at in 0..1 + round % 3 {
                assert_eq!(driver.take(), Some((72, arrived(1, &bytes(at, 60)))));
            }
        }
    }
}

#[test]
fn every_page_that_is_written_is_logged() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::MRG_RXBUF);
        let (mut queue, regions) = driver.device();
        let (short, log) = (Memory::new(&[0x8000]), Memory::new(&[0x9000]));
        assert!(!queue.set_log(Some(DirtyLog::new(short.run(0))), &regions));
        assert!(queue.set_log(Some(DirtyLog::new(log.run(0))), &regions));
        let pieces = [driver.piece(9000, true), driver.piece(9000, true), driver.piece(9000, true)];
        pieces.iter().for_each(|&piece| driver.give(&[piece], false));
        let (_memory, frame) = frame(&bytes(0, 12_000));
        assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 1514, Words), Ok(Enqueue::Filled));
        queue.publish();
        let marked = |at: u64| peer::read(log.run(0), at / 4096 / 8, 1)[0] >> (at / 4096 % 8) & 1 == 1;
        let (first, _, _) = pieces[0];
        let (second, _, _) = pieces[1];
        assert!([first, first + 4096, first + 8999, second, second + 3011].into_iter().all(marked));
        assert!(!marked(second + 8192 + 4096));
        let used =
            if features.contains(F::RING_PACKED) { driver.queue.addresses.desc } else { driver.queue.addresses.device };
        assert!(marked(used.0) && !marked(driver.queue.addresses.driver.0));
    }
}

/// Whole bursts of what is usual, too.
#[test]
fn every_page_that_a_call_writes_is_logged() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut window, _packets, request) = window_to(&driver);
        request.run(0).write(0, PACKET).expect("inside");
        let log = Memory::new(&[0x9000]);
        let logged = |at: u64| peer::read(log.run(0), at / 4096 / 8, 1)[0] >> (at / 4096 % 8) & 1 == 1;
        let on = || Some(DirtyLog::new(log.run(0)));
        assert!(!window.set_log(PeerIdx(1), on()), "there is no such peer");
        for (log, marked) in [(None, false), (on(), true)] {
            assert!(window.set_log(PeerIdx(0), log));
            let piece = driver.piece(1600, true);
            driver.give(&[piece], false);
            assert_eq!(transmit(&mut window, request.run(0), 1, Words).status, Status::OK);
            assert_eq!((logged(piece.0), driver.take().is_some()), (marked, true), "{features:?}");
        }
    }
}

/// Usual frames, and others.
#[test]
fn frames_come_from_the_packet_memory_that_is_registered_and_without_one_from_nowhere() {
    for (features, size) in FORMATS {
        for len in [64, 100] {
            let mut driver = Driver::new(size, features);
            let (mut window, _packets, request) = window_to(&driver);
            request.run(0).write(0, Packet { len, ..PACKET }).expect("inside");
            for round in 0..4 {
                let memory = Memory::new(&[0x4000]);
                memory.run(0).copy_from_slice(0, &bytes(round, len.into())).expect("inside");
                window.set_packets(memory.run(0));
                let piece = driver.piece(1600, true);
                driver.give(&[piece], false);
                assert_eq!(transmit(&mut window, request.run(0), 1, Words).status, Status::OK);
                assert_eq!(driver.take(), Some((u32::from(len) + 12, arrived(1, &bytes(round, len.into())))));
                window.forget_packets();
                let outcome = transmit(&mut window, request.run(0), 1, Words);
                assert_eq!(outcome.status, Status::new(Code::NotRegistered), "{features:?}");
                driver.give(&[piece], false);
                let outcome = transmit(&mut window, request.run(0), 1, Words);
                assert_eq!((outcome.status, outcome.accepted.count()), (Status::new(Code::NotRegistered), 0));
                assert_eq!(driver.take(), None);
                // The buffer is still there.
                window.set_packets(memory.run(0));
                assert_eq!(transmit(&mut window, request.run(0), 1, Words).status, Status::OK);
                assert!(driver.take().is_some());
            }
        }
    }
}

/// What is noted of used slots until they are published is as long as a burst.
#[test]
fn a_packed_ring_longer_than_a_burst_is_published_in_between() {
    const BURST: usize = sluice_abi::call::MAX_BURST;
    for size in [256, 257, 300, 600] {
        let mut driver = Driver::new(size, F::RING_PACKED);
        let (mut queue, regions) = driver.device();
        let (_memory, frame) = frame(&bytes(0, 4));
        for _ in 0..3 {
            for _ in 0..size {
                let piece = driver.piece(16, true);
                driver.give(&[piece], false);
            }
            let (mut arrived, mut bursts) = (0, 0);
            while arrived < usize::from(size) {
                let fill = |_: &usize| queue.enqueue(&regions, &PLAIN, frame, 4, Words) == Ok(Enqueue::Filled);
                let filled = (0..usize::from(size)).take_while(fill).count();
                assert_eq!(filled, BURST.min(usize::from(size) - arrived));
                queue.publish();
                assert_eq!(core::iter::from_fn(|| driver.take()).count(), filled);
                (arrived, bursts) = (arrived + filled, bursts + 1);
            }
            assert_eq!(bursts, usize::from(size).div_ceil(BURST));
        }
    }
}

/// The used ring of 1,024 entries has three pages, the packed ring four.
#[test]
fn all_pages_of_what_the_driver_is_shown_are_logged() {
    for features in [SPLIT, F::IN_ORDER, F::RING_PACKED] {
        let mut driver = Driver::new(1024, features);
        let (mut queue, regions) = driver.device();
        let log = Memory::new(&[0x9000]);
        assert!(queue.set_log(Some(DirtyLog::new(log.run(0))), &regions));
        let piece = driver.piece(100, true);
        driver.give(&[piece], false);
        let (_memory, frame) = frame(&bytes(0, 60));
        assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 88, Words), Ok(Enqueue::Filled));
        queue.publish();
        let at = driver.queue.addresses;
        let (area, len) = if features == F::RING_PACKED { (at.desc, 16 * 1024) } else { (at.device, 4 + 8 * 1024 + 2) };
        let marked = |at: u64| peer::read(log.run(0), at / 4096 / 8, 1)[0] >> (at / 4096 % 8) & 1 == 1;
        assert!((area.0..area.0 + len).step_by(4096).all(marked) && marked(area.0 + len - 1), "{features:?}");
    }
}
