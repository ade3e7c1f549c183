//! Frames out of a transmit queue.

use super::*;
use sluice_inside::Dequeue;
use sluice_memory::Words;

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

/// See: VIRTIO 5.1.4.1 "Device Requirements: Device configuration layout".
#[test]
fn a_frame_as_long_as_any_mtu_allows_is_taken_whole() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        for mtu in [68, 1500, 9000, 65_517] {
            let payload = bytes(7, mtu + 14);
            let pieces = [driver.piece(12, false), driver.piece(payload.len() as u32, false)];
            driver.put(&pieces, &[&[0; 12], &payload[..]].concat());
            driver.give(&pieces, false);
            let (room, len) = (Memory::new(&[payload.len() as u64]), payload.len() as u32);
            assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: PLAIN, len }));
            assert!(peer::read(room.run(0), 0, len.into()) == payload, "{mtu}");
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
