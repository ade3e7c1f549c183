//! Buffers that the device sees, and buffers that come back from a device that keeps the rules.

use super::*;
use sluice_abi::packed::event;
use sluice_abi::virtq::{Desc, avail, used};
use std::vec;

#[test]
fn the_device_sees_what_was_given_only_after_publish() {
    for features in ALL {
        let (mut queue, mut device) = queue_of(8, features);
        for token in 0..3 {
            assert!(queue.give(Gpa(0x8000 + u64::from(token)), 2048, token));
        }
        assert_eq!(device.take_all(), []);
        queue.publish();
        let pieces: Vec<_> = device.take_all().into_iter().flat_map(|buffer| buffer.pieces).collect();
        assert_eq!(pieces, [(0x8000, 2048, true), (0x8001, 2048, true), (0x8002, 2048, true)]);
        assert_eq!((queue.room(), queue.size()), (5, 8));
    }
}

#[test]
fn a_split_queue_is_laid_out_as_its_addresses_say() {
    let (queue, device) = given(3, SPLIT);
    let at = queue.addresses();
    assert_eq!((at.desc, at.driver, at.device), (Gpa(GPA), Gpa(GPA + 128), Gpa(GPA + 192)));
    assert_eq!(device.split_desc(7), Desc { addr: Gpa(0x8000), len: 2048, flags: 2, next: 0 });
    assert_eq!([0, 2, 4].map(|offset| device.driver16(offset)), [1, 3, 7]);
}

#[test]
fn a_packed_queue_is_laid_out_as_its_addresses_say() {
    let (queue, device) = given(3, PACKED);
    let at = queue.addresses();
    assert_eq!((at.desc, at.driver, at.device), (Gpa(GPA), Gpa(GPA + 128), Gpa(GPA + 192)));
    let desc = device.packed_desc(1);
    assert_eq!((desc.addr, desc.len, desc.id, desc.flags), (Gpa(0x8800), 2048, 1, 0x82));
    assert_eq!([0, 2].map(|offset| device.driver16(offset)), [0, event::DISABLE]);
}

#[test]
fn the_areas_of_a_queue_of_any_size_are_aligned_and_lie_behind_each_other() {
    for (features, size) in ALL.into_iter().flat_map(|features| (1..=8u16).map(move |size| (features, size))) {
        let packed = features.contains(F::RING_PACKED);
        if !packed && !size.is_power_of_two() {
            continue;
        }
        let at = queue_of(size, features).0.addresses();
        let lens =
            if packed { [16 * size, 4, 4] } else { [16 * size, avail::len(size) as u16, used::len(size) as u16] };
        let [desc, driver, device] = [at.desc.0, at.driver.0, at.device.0];
        let aligned = if packed { [16, 4, 4] } else { [16, 2, 4] };
        assert_eq!([desc % aligned[0], driver % aligned[1], device % aligned[2]], [0; 3], "{size}");
        assert!(desc + u64::from(lens[0]) <= driver && driver + u64::from(lens[1]) <= device);
        assert!(device + u64::from(lens[2]) <= GPA + Queue::MEMORY_LEN);
    }
}

#[test]
fn what_the_device_writes_is_cleared_before_it_is_told_of_the_queue() {
    for features in ALL.map(|features| features | F::EVENT_IDX) {
        let (mut queue, device) = queue_of(8, features);
        assert_eq!([0, 2].map(|offset| device.device16(offset)), [0, 0]);
        assert_eq!(queue.ready(), Ok(0));
    }
    let (_, device) = queue_of(8, SPLIT | F::EVENT_IDX);
    assert_eq!(device.device16(used::avail_event(8)), 0);
    let (_, device) = queue_of(8, PACKED);
    assert!((0..8).all(|slot| device.packed_desc(slot) == Default::default()), "of none it is said whose it is");
}

#[test]
fn a_full_queue_takes_nothing_more() {
    for features in ALL {
        let (mut queue, _) = given(8, features);
        assert!(!queue.give(Gpa(0), 64, 9) && !queue.send(&[(Gpa(0), 64)], 9));
        assert_eq!(queue.room(), 0);
    }
}

#[test]
fn buffers_come_back_in_any_order_and_can_be_given_again_past_the_wrap() {
    for features in [SPLIT, PACKED] {
        let (mut queue, mut device) = given(8, features);
        let mut held = device.take_all();
        for round in 0..rounds(70_000, 60) {
            let buffer = held.remove(round * 5 % held.len());
            device.finish(&buffer, 76);
            assert_eq!(queue.ready(), Ok(1));
            let received = queue.take().unwrap();
            assert_eq!((received.len, buffer.pieces[0].0), (76, 0x8000 + 2048 * u64::from(received.token)));
            assert!(queue.give(Gpa(buffer.pieces[0].0), 2048, received.token));
            queue.publish();
            held.extend(device.take_all());
        }
        assert_eq!(held.len(), 8);
    }
}

#[test]
fn a_packed_queue_of_a_size_that_is_no_power_of_two_goes_round() {
    for features in [PACKED, PACKED_IN_ORDER] {
        for size in [1, 3, 5, 7] {
            let (mut queue, mut device) = queue_of(size, features);
            for round in 0..rounds(40, 5) {
                assert!((0..size).all(|token| queue.give(Gpa(0x8000), 64, token.into())));
                assert!(!queue.give(Gpa(0x8000), 64, 99));
                queue.publish();
                for buffer in device.take_all() {
                    device.finish(&buffer, 60 + round % 2);
                }
                assert_eq!(queue.ready(), Ok(size));
                assert_eq!(
                    take_all(&mut queue),
                    (0..size).map(|token| (token.into(), 60 + round % 2)).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn a_size_that_the_format_does_not_have_is_refused() {
    for (size, features) in [(0, SPLIT), (0, PACKED), (9, PACKED), (16, SPLIT), (6, SPLIT)] {
        let refused = Queue::new(Gpa(GPA), memory::<N>(false), size, features).err();
        assert_eq!(refused, Some(QueueError::Size(size)));
    }
}

#[test]
fn memory_that_is_too_small_or_not_aligned_is_refused() {
    for features in ALL {
        let all = memory::<N>(false);
        assert!(Queue::new(Gpa(GPA), all.sub(0, 192).unwrap(), 8, features).is_err());
        assert!(Queue::new(Gpa(GPA + 8), all, 8, features).is_err());
        assert!(Queue::new(Gpa(u64::MAX - 15), all, 8, features).is_err());
        assert!(Queue::new(Gpa(GPA), all.sub(1, all.len() - 1).unwrap(), 8, features).is_err());
    }
}

const HDR: (Gpa, u32) = (Gpa(0x100), 12);
const FRAME: (Gpa, u32) = (Gpa(0x200), 60);
const MORE: (Gpa, u32) = (Gpa(0x300), 7);

#[test]
fn a_chain_is_one_buffer_and_comes_back_as_one() {
    for features in ALL {
        let (mut queue, mut device) = queue_of(8, features);
        for round in 0..rounds(50, 5) {
            assert!(queue.send(&[HDR, FRAME], round) && queue.send(&[HDR, FRAME, MORE], round + 1));
            assert!(queue.request(&[HDR], &[FRAME], round + 2));
            assert!(!queue.send(&[HDR, FRAME], 9));
            assert_eq!(queue.room(), 1);
            queue.publish();
            let buffers = device.take_all();
            let pieces: Vec<_> = buffers.iter().map(|buffer| buffer.pieces.clone()).collect();
            let [hdr, frame, more] = [HDR, FRAME, MORE].map(|(at, len)| (at.0, len, false));
            assert_eq!(pieces, [vec![hdr, frame], vec![hdr, frame, more], vec![hdr, (frame.0, frame.1, true)]]);
            for (buffer, len) in buffers.iter().zip([0, 0, 59]) {
                device.finish(buffer, len);
            }
            assert_eq!(take_all(&mut queue), [(round, 0), (round + 1, 0), (round + 2, 59)]);
            assert_eq!(queue.room(), 8);
        }
    }
}

#[test]
fn in_order_a_chain_goes_from_each_descriptor_to_the_next_and_from_the_last_to_the_first() {
    let (mut queue, mut device) = queue_of(8, SPLIT_IN_ORDER);
    for round in 0..9 {
        assert!(queue.send(&[HDR, FRAME, MORE], round));
        queue.publish();
        for buffer in device.take_all() {
            device.finish(&buffer, 0);
        }
        assert_eq!(take_all(&mut queue).len(), 1);
    }
    for index in 0..8 {
        let desc = device.split_desc(index);
        assert!(desc.flags == 0 || desc.next == (index + 1) % 8, "{index}: {desc:?}");
    }
}

#[test]
fn chains_that_are_no_chains_are_refused() {
    for features in ALL.map(|features| features | F::INDIRECT_DESC) {
        let (mut queue, mut device) = queue_of(8, features);
        let long: Vec<_> = (0..17).map(|_| FRAME).collect();
        assert!(!queue.send(&[], 1));
        assert!(!queue.send(&[HDR, (Gpa(0x200), 0)], 1));
        assert!(!queue.send(&[(Gpa(0), u32::MAX), (Gpa(0), 1)], 1));
        assert!(!queue.send(&long, 1), "longer than a table, and longer than the queue");
        queue.publish();
        assert_eq!((queue.room(), device.take_all()), (8, vec![]));
    }
}

#[test]
fn with_indirect_descriptors_a_chain_takes_one_slot() {
    for features in ALL.map(|features| features | F::INDIRECT_DESC) {
        let (mut queue, mut device) = queue_of(8, features);
        for round in 0..3 {
            assert!((0..8).all(|token| queue.send(&[HDR, (Gpa(0x200), 60 + token), MORE], token)));
            assert!(!queue.send(&[HDR, FRAME], 9));
            queue.publish();
            let buffers = device.take_all();
            assert_eq!(buffers.len(), 8);
            for (buffer, token) in buffers.iter().zip(0..) {
                assert_eq!(buffer.slots, 1);
                assert_eq!(buffer.pieces, [(0x100, 12, false), (0x200, 60 + token, false), (0x300, 7, false)]);
                device.finish(buffer, 0);
            }
            assert_eq!(take_all(&mut queue).len(), 8, "round {round}");
        }
        assert!(queue.request(&[HDR], &[FRAME], 5));
        queue.publish();
        assert_eq!(device.take_all()[0].pieces, [(0x100, 12, false), (0x200, 60, true)]);
    }
}

#[test]
fn without_the_feature_or_without_tables_there_are_no_indirect_descriptors() {
    for (features, with_tables) in ALL.into_iter().flat_map(|f| [(f, true), (f | F::INDIRECT_DESC, false)]) {
        let memory = memory::<N>(with_tables);
        let mut queue = Queue::new(Gpa(GPA), memory, 8, features).unwrap();
        assert!(queue.send(&[HDR, FRAME], 1));
        queue.publish();
        assert_eq!(Device::of(&queue, memory, features).take_all()[0].slots, 2);
    }
}

#[test]
fn one_used_element_stands_for_a_batch_and_what_it_skips_is_full() {
    for features in [SPLIT_IN_ORDER, PACKED_IN_ORDER] {
        let (mut queue, mut device) = queue_of(8, features);
        for _ in 0..rounds(20, 5) {
            assert!((0..5).all(|token| queue.give(Gpa(0x8000), 2048, token)));
            queue.publish();
            let buffers = device.take_all();
            device.finish_batch(&buffers[..3], 70);
            assert_eq!(take_all(&mut queue), [(0, 2048), (1, 2048), (2, 70)]);
            device.finish(&buffers[3], 71);
            device.finish_batch(&buffers[4..], 72);
            assert_eq!(take_all(&mut queue), [(3, 71), (4, 72)]);
        }
    }
}

#[test]
fn a_batch_of_chains_is_taken_whole() {
    for features in [SPLIT_IN_ORDER, PACKED_IN_ORDER] {
        let (mut queue, mut device) = queue_of(8, features);
        for _ in 0..rounds(20, 5) {
            assert!(queue.send(&[HDR, FRAME], 1) && queue.send(&[HDR, FRAME, MORE], 2) && queue.send(&[FRAME], 3));
            queue.publish();
            let buffers = device.take_all();
            device.finish_batch(&buffers, 0);
            assert_eq!(take_all(&mut queue), [(1, 0), (2, 0), (3, 0)]);
            assert_eq!(queue.room(), 8);
        }
    }
}

#[test]
fn without_the_write_flag_a_packed_length_means_nothing() {
    for features in [PACKED, PACKED_IN_ORDER] {
        let (mut queue, mut device) = given(1, features);
        let buffer = device.take_all().remove(0);
        device.set_packed(0, buffer.id, 4711, 0x8080);
        assert_eq!(take_all(&mut queue), [(0, 0)]);
    }
}

#[test]
fn a_device_that_wants_no_notification_gets_none() {
    let (mut queue, device) = given(1, SPLIT);
    assert!(queue.needs_notification());
    assert!(!queue.needs_notification(), "nothing new");
    device.set_device16(used::FLAGS, 1);
    assert!(queue.give(Gpa(0), 64, 1));
    queue.publish();
    assert!(!queue.needs_notification());
    for (flags, wanted) in [(event::ENABLE, true), (event::DISABLE, false)] {
        let (mut queue, device) = given(1, PACKED);
        device.set_device16(2, flags);
        assert_eq!(queue.needs_notification(), wanted);
    }
}

#[test]
fn without_an_event_index_the_event_of_the_device_means_nothing() {
    for features in [SPLIT, SPLIT_IN_ORDER] {
        for (event, flags) in [0, 1, 2, 65_535].into_iter().flat_map(|event| [(event, 0), (event, 1)]) {
            let (mut queue, device) = given(2, features);
            device.set_device16(used::avail_event(8), event);
            device.set_device16(used::FLAGS, flags);
            assert_eq!(queue.needs_notification(), flags == 0, "{event}");
        }
    }
}

#[test]
fn with_an_event_index_the_device_is_told_when_its_entry_is_published() {
    for features in [SPLIT | F::EVENT_IDX, SPLIT_IN_ORDER | F::EVENT_IDX] {
        for (event, wanted) in [(0, true), (2, true), (3, false), (65_535, false)] {
            let (mut queue, device) = given(3, features);
            device.set_device16(used::FLAGS, 1);
            device.set_device16(used::avail_event(8), event);
            assert_eq!(queue.needs_notification(), wanted, "{event}");
        }
    }
    for features in [PACKED | F::EVENT_IDX, PACKED_IN_ORDER | F::EVENT_IDX] {
        for (slot, wrap, wanted) in
            [(0, true, true), (2, true, true), (3, true, false), (7, true, false), (7, false, false)]
        {
            let (mut queue, device) = given(3, features);
            device.set_device16(0, slot | u16::from(wrap) << 15);
            device.set_device16(2, event::DESC);
            assert_eq!(queue.needs_notification(), wanted, "{slot} {wrap}");
        }
    }
}

#[test]
fn interrupts_are_suppressed_and_asked_for() {
    let (mut queue, device) = queue_of(8, SPLIT);
    assert_eq!(device.driver16(avail::FLAGS), 1);
    queue.suppress_interrupts(false);
    assert_eq!(device.driver16(avail::FLAGS), 0);
    let (mut queue, device) = queue_of(8, PACKED);
    assert_eq!(device.driver16(2), event::DISABLE);
    queue.suppress_interrupts(false);
    assert_eq!(device.driver16(2), event::ENABLE);
}

#[test]
fn with_an_event_index_an_interrupt_is_asked_for_by_entry_and_the_flag_stays_0() {
    let (mut queue, mut device) = given(3, SPLIT | F::EVENT_IDX);
    let asked = |device: &Device| (device.driver16(avail::FLAGS), device.driver16(avail::used_event(8)));
    assert_eq!(asked(&device), (0, 65_535), "none soon");
    let buffers = device.take_all();
    device.finish(&buffers[0], 60);
    assert_eq!(take_all(&mut queue).len(), 1);
    queue.suppress_interrupts(false);
    assert_eq!(asked(&device), (0, 1));
    let (mut queue, device) = queue_of(8, PACKED | F::EVENT_IDX);
    queue.suppress_interrupts(false);
    assert_eq!([0, 2].map(|offset| device.driver16(offset)), [1 << 15, event::DESC]);
}

#[test]
fn after_a_reset_the_buffers_are_the_callers_again() {
    for features in ALL {
        let (mut queue, mut device) = given(5, features);
        let buffers = device.take_all();
        device.finish(&buffers[0], 60);
        let taken = take_all(&mut queue)[0].0;
        let mut back: Vec<_> = core::iter::from_fn(|| queue.reclaim()).collect();
        back.push(taken);
        back.sort_unstable();
        assert_eq!(back, [0, 1, 2, 3, 4]);
        assert!(!queue.give(Gpa(0), 64, 1));
    }
}
