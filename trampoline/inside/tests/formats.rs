//! What a device side does with lawful drivers: every format, every shape of buffer.

#[allow(dead_code, reason = "the hostile tests need the rest")]
mod driver;
#[allow(dead_code, reason = "the hostile tests need the rest")]
mod peer;

use driver::Driver;
use peer::Memory;
use sluice_abi::call::{Accepted, HAS_HDR, Outcome, Packet, Status};
use sluice_abi::net::{F, HDR_LEN, Hdr, HdrF, PLAIN_HDR, gso};
use sluice_abi::packed::event;
use sluice_inside::{Dequeue, DeviceQueue, DirtyLog, Enqueue, Window, transmit};
use sluice_memory::{PeerSlice, Words};
use zerocopy::IntoBytes;

const SPLIT: F = F::empty();
/// Formats, each with a size that it may have.
const FORMATS: [(F, u16); 5] =
    [(SPLIT, 8), (F::IN_ORDER, 8), (F::RING_PACKED, 8), (F::RING_PACKED, 7), (F::RING_PACKED.union(F::IN_ORDER), 5)];
const PLAIN: Hdr =
    Hdr { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0, num_buffers: 0 };

const PACKET: Packet = Packet { offset: 0, len: 64, peer: 0 };

fn bytes(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 13 + 1) as u8).collect()
}

/// A frame in memory of its own.
fn frame(bytes: &[u8]) -> (Memory, PeerSlice<'static>) {
    let memory = Memory::new(&[bytes.len() as u64]);
    memory.run(0).copy_from_slice(0, bytes).expect("inside");
    let run = memory.run(0);
    (memory, run)
}

fn arrived(num_buffers: u16, payload: &[u8]) -> Vec<u8> {
    let hdr = Hdr { num_buffers, ..PLAIN };
    [hdr.as_bytes(), payload].concat()
}

/// A window with `driver` at place 0.
#[allow(unsafe_code, reason = "vouches for the driver's memory")]
fn window_to(driver: &Driver) -> Window {
    let mut window = Window::new();
    // SAFETY: the driver's memory is never freed, is as long as the entry says, and only slices lead into it.
    let attached = unsafe { window.attach_peer(0, &driver.entry(1500), driver.base()) };
    assert_eq!(attached, Ok(()));
    window
}

#[test]
fn bursts_through_a_window_arrive_whole_and_in_order_over_many_laps() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let mut window = window_to(&driver);
        let packets = Memory::new(&[0x4000]);
        let request = Memory::new(&[4096]);
        window.set_packets(packets.run(0));
        let mut number = 0;
        for round in 0..200 {
            let burst = 1 + round % usize::from(size);
            let frames: Vec<_> = (0..burst).map(|at| bytes(number + at, 60 + (number + at) % 40)).collect();
            for (at, frame) in frames.iter().enumerate() {
                let pieces = match (round + at) % 5 {
                    0 => vec![driver.piece(12, true), driver.piece(1600, true)],
                    _ => vec![driver.piece(1600, true)],
                };
                if driver.has_room(pieces.len() as u16) {
                    driver.give(&pieces, false);
                }
                packets.run(0).copy_from_slice(2048 * at as u64, frame).expect("inside");
                let packet = Packet { offset: 2048 * at as u32, len: frame.len() as u16, peer: 0 };
                request.run(0).write(8 * at as u64, packet).expect("inside");
            }
            let Outcome { status, accepted } = transmit(&mut window, request.run(0), burst as u64, Words);
            assert!(status == Status::OK || status == Status::FULL, "{status:?}");
            let sent = if status == Status::OK { burst } else { accepted.count() };
            for frame in &frames[..sent] {
                assert_eq!(driver.take(), Some((frame.len() as u32 + HDR_LEN, arrived(1, frame))));
            }
            assert_eq!(driver.take(), None);
            number += sent;
        }
        assert!(number > 400);
    }
}

/// Entries and descriptors of the lap before are still there.
#[test]
fn in_a_later_lap_no_more_is_filled_than_was_given() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut window, packets, request) = (window_to(&driver), Memory::new(&[0x4000]), Memory::new(&[4096]));
        window.set_packets(packets.run(0));
        (0..size).for_each(|at| request.run(0).write(8 * u64::from(at), PACKET).expect("inside"));
        for given in [size, 2, 0, 1, size] {
            for _ in 0..given {
                let piece = driver.piece(1600, true);
                driver.give(&[piece], false);
            }
            let Outcome { status, accepted } = transmit(&mut window, request.run(0), size.into(), Words);
            let (all, expected) = (usize::from(given), if given == size { Status::OK } else { Status::FULL });
            assert_eq!((status, if given == size { all } else { accepted.count() }), (expected, all), "{features:?}");
            (0..given).for_each(|_| assert!(driver.take().is_some()));
            assert_eq!(driver.take(), None);
        }
    }
}

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

#[test]
fn indirect_tables_are_followed() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        for round in 0..50 {
            let chain = [driver.piece(12, true), driver.piece(40, true), driver.piece(100, true)];
            driver.give(&chain, round % 3 != 0);
            let payload = bytes(round, 60 + round);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 100, Words), Ok(Enqueue::Filled));
            queue.publish();
            assert_eq!(driver.take(), Some((payload.len() as u32 + HDR_LEN, arrived(1, &payload))));
        }
    }
}

#[test]
fn frames_are_taken_from_a_transmit_queue_whatever_their_shape() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        let room = Memory::new(&[2048]);
        for round in 0..100 {
            let payload = bytes(round, 60 + round);
            let all = [&[0; 12], &payload[..]].concat();
            let lens = [
                vec![all.len()],
                vec![12, all.len() - 12],
                vec![3, 20, all.len() - 23],
                vec![12, 1, 0, all.len() - 13],
            ];
            let pieces: Vec<_> = lens[round % 4].iter().map(|&len| driver.piece(len as u32, false)).collect();
            driver.put(&pieces, &all);
            assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Empty));
            driver.give(&pieces, round % 3 == 0);
            let len = payload.len() as u32;
            assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: PLAIN, len }));
            assert_eq!(peer::read(room.run(0), 0, len.into()), payload);
            assert_eq!(driver.take(), None);
            queue.publish();
            assert_eq!(driver.take(), Some((0, vec![])));
        }
    }
}

#[test]
fn a_frame_longer_than_the_room_for_it_is_gone_and_the_next_one_comes() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        let room = Memory::new(&[100]);
        for len in [101, 100] {
            let piece = driver.piece(12 + len, false);
            driver.put(&[piece], &vec![0; 12 + len as usize]);
            driver.give(&[piece], false);
        }
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::TooLong));
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: PLAIN, len: 100 }));
        queue.publish();
        assert_eq!((driver.take(), driver.take(), driver.take()), (Some((0, vec![])), Some((0, vec![])), None));
    }
}

#[test]
fn a_header_passes_where_its_offloads_are_negotiated_and_only_there() {
    let tcp = Hdr {
        flags: HdrF::NEEDS_CSUM.bits(),
        gso_type: gso::TCPV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 9,
    };
    for (format, size) in FORMATS {
        for (features, done) in [
            (F::GUEST_CSUM | F::GUEST_TSO4, Enqueue::Filled),
            (F::GUEST_CSUM | F::GUEST_TSO6, Enqueue::BadHeader),
            (SPLIT, Enqueue::BadHeader),
        ] {
            let mut driver = Driver::new(size, format | features);
            let (mut queue, regions) = driver.device();
            let piece = driver.piece(3000, true);
            driver.give(&[piece], false);
            let payload = bytes(1, 2900);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &tcp, frame, 1514, Words), Ok(done));
            queue.publish();
            let expected = [Hdr { num_buffers: 1, ..tcp }.as_bytes(), &payload].concat();
            assert_eq!(driver.take(), (done == Enqueue::Filled).then_some((2912, expected)));
        }
    }
}

#[test]
fn a_header_before_the_frame_goes_through_the_window() {
    let mut driver = Driver::new(8, F::GUEST_CSUM);
    let mut window = window_to(&driver);
    let (packets, request) = (Memory::new(&[0x4000]), Memory::new(&[4096]));
    window.set_packets(packets.run(0));
    let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let payload = bytes(5, 100);
    packets.run(0).copy_from_slice(88, hdr.as_bytes()).expect("inside");
    packets.run(0).copy_from_slice(100, &payload).expect("inside");
    for (at, (offset, peer)) in [(100, HAS_HDR), (100, 0), (11, HAS_HDR)].into_iter().enumerate() {
        let piece = driver.piece(1600, true);
        driver.give(&[piece], false);
        request.run(0).write(8 * at as u64, Packet { offset, len: 100, peer }).expect("inside");
    }
    let outcome = transmit(&mut window, request.run(0), 3, Words);
    assert_eq!(outcome.accepted, Accepted([0b11, 0, 0, 0]));
    let with_hdr = [Hdr { num_buffers: 1, ..hdr }.as_bytes(), &payload].concat();
    assert_eq!(driver.take(), Some((112, with_hdr)));
    assert_eq!(driver.take(), Some((112, [&PLAIN_HDR[..], &payload].concat())));
    assert_eq!(driver.take(), None);
}

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
        let (mut window, packets, request) = (window_to(&driver), Memory::new(&[0x4000]), Memory::new(&[4096]));
        window.set_packets(packets.run(0));
        request.run(0).write(0, PACKET).expect("inside");
        let log = Memory::new(&[0x9000]);
        let logged = |at: u64| peer::read(log.run(0), at / 4096 / 8, 1)[0] >> (at / 4096 % 8) & 1 == 1;
        let on = || Some(DirtyLog::new(log.run(0)));
        assert!(!window.set_log(1, on()), "there is no such peer");
        for (log, marked) in [(None, false), (on(), true)] {
            assert!(window.set_log(0, log));
            let piece = driver.piece(1600, true);
            driver.give(&[piece], false);
            assert_eq!(transmit(&mut window, request.run(0), 1, Words).status, Status::OK);
            assert_eq!((logged(piece.0), driver.take().is_some()), (marked, true), "{features:?}");
        }
    }
}

#[test]
fn a_packed_indirect_table_to_be_sent_may_say_that_it_is_writable() {
    let mut driver = Driver::new(8, F::RING_PACKED | F::INDIRECT_DESC);
    let (mut queue, regions) = driver.device();
    let (room, pieces) = (Memory::new(&[2048]), [driver.piece(12, true), driver.piece(60, true)]);
    driver.put(&pieces, &[&[0; 12], &bytes(3, 60)[..]].concat());
    driver.give(&pieces, true);
    assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: PLAIN, len: 60 }));
    assert_eq!(peer::read(room.run(0), 0, 60), bytes(3, 60));
    driver.give(&pieces[..1], false);
    assert_eq!(queue.dequeue(&regions, room.run(0), Words), Err(sluice_abi::call::Clause::NotReadable));
}
