//! A device side that breaks the rules. Each break is a fault with a name, and the queue takes nothing more.

use super::*;
use sluice_abi::virtq::used;

/// Writes one used element as the device. The fault that follows stays.
#[track_caller]
fn faulted(mut queue: Queue, expected: DeviceFault) {
    let fault = match queue.ready() {
        Ok(0) => panic!("nothing was noticed"),
        Ok(ready) => (0..ready).find_map(|_| queue.take().err()).expect("a fault"),
        Err(fault) => fault,
    };
    let after = (queue.ready(), queue.take(), queue.fault());
    assert_eq!((fault, after), (expected, (Err(expected), Err(expected), Some(expected))));
    assert!(!queue.give(Gpa(0), 64, 0) && queue.room() == 0, "a dead queue takes nothing");
    queue.publish();
    assert_eq!(queue.ready(), Err(expected));
}

#[test]
fn a_used_id_at_or_beyond_the_size_is_found() {
    for features in ALL {
        for id in [8, 9, 255, 0xffff] {
            let (queue, mut device) = given(3, features);
            device.write_used(id, 64, 1);
            device.show();
            faulted(queue, DeviceFault::UsedId);
        }
    }
}

#[test]
fn a_used_id_of_more_than_16_bits_is_not_cut() {
    for features in [SPLIT, SPLIT_IN_ORDER] {
        let (queue, mut device) = given(8, features);
        device.write_used(0x1_0000, 64, 1);
        device.show();
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn a_used_id_that_is_not_in_flight_is_found() {
    for (features, id) in ALL.into_iter().zip([0, 7, 5, 7]) {
        let (queue, mut device) = given(3, features);
        device.write_used(id, 64, 1);
        device.show();
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn a_used_id_in_the_middle_of_a_chain_is_found() {
    for (features, id) in ALL.into_iter().zip([6, 1, 1, 1]) {
        let (mut queue, mut device) = queue_of(8, features);
        assert!(queue.send(&[(Gpa(0), 12), (Gpa(64), 60)], 1));
        queue.publish();
        device.write_used(id, 0, 2);
        device.show();
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn a_used_id_that_is_not_published_is_found() {
    for (features, id) in ALL.into_iter().zip([4, 3, 3, 3]) {
        let (mut queue, mut device) = given(3, features);
        assert!(queue.give(Gpa(0), 64, 3));
        device.write_used(id, 60, 1);
        device.show();
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn the_same_id_twice_is_found() {
    for features in ALL {
        let (queue, mut device) = given(3, features);
        let first = device.take_all().remove(0);
        device.write_used(first.id.into(), 64, 1);
        device.write_used(first.id.into(), 64, 1);
        device.show();
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn more_bytes_than_the_buffer_has_are_found() {
    for features in ALL {
        for len in [2049, u32::MAX] {
            let (queue, mut device) = given(3, features);
            let first = device.take_all().remove(0);
            device.finish(&first, len);
            faulted(queue, DeviceFault::UsedLen);
        }
        let (mut queue, mut device) = given(1, features);
        let first = device.take_all().remove(0);
        device.finish(&first, 2048);
        assert_eq!(take_all(&mut queue), [(0, 2048)], "as many as it has are none too many");
    }
}

#[test]
fn bytes_in_a_buffer_that_was_only_to_be_read_are_found() {
    for features in ALL {
        let (mut queue, mut device) = queue_of(8, features);
        assert!(queue.send(&[(Gpa(0), 72)], 1));
        queue.publish();
        let buffer = device.take_all().remove(0);
        device.finish(&buffer, 1);
        faulted(queue, DeviceFault::UsedLen);
    }
}

#[test]
fn a_used_index_that_jumps_by_more_than_in_flight_is_found() {
    for features in [SPLIT, SPLIT_IN_ORDER] {
        for idx in [4, 8, 9, 32_768, 65_535] {
            let (queue, device) = given(3, features);
            device.set_used_idx(idx);
            faulted(queue, DeviceFault::UsedIdx);
        }
        let (mut queue, device) = given(3, features);
        assert!(queue.give(Gpa(0), 64, 3));
        device.set_used_idx(4);
        faulted(queue, DeviceFault::UsedIdx);
    }
}

#[test]
fn a_used_index_that_goes_backwards_is_found() {
    for features in [SPLIT, SPLIT_IN_ORDER] {
        let (mut queue, mut device) = given(5, features);
        for buffer in device.take_all() {
            device.finish(&buffer, 60);
        }
        assert_eq!(queue.ready(), Ok(5));
        assert!(queue.take().is_ok());
        device.set_used_idx(3);
        faulted(queue, DeviceFault::UsedIdx);
        let (mut queue, mut device) = given(5, features);
        let buffers = device.take_all();
        device.finish(&buffers[0], 60);
        assert_eq!(take_all(&mut queue).len(), 1);
        device.set_used_idx(0);
        faulted(queue, DeviceFault::UsedIdx);
    }
}

#[test]
fn a_used_element_is_read_once_it_is_counted_and_not_before() {
    let (mut queue, mut device) = given(3, SPLIT);
    device.write_used(7, 64, 1);
    assert_eq!((queue.ready(), queue.take()), (Ok(0), Err(DeviceFault::UsedIdx)));
    device.show();
    assert_eq!((queue.fault(), take_all(&mut queue)), (None, [(0, 64)].into()));
}

#[test]
fn taking_more_than_is_ready_is_no_fault_of_the_device() {
    for features in ALL {
        let (mut queue, mut device) = given(3, features);
        assert_eq!((queue.take(), queue.fault()), (Err(DeviceFault::UsedIdx), None));
        let buffer = device.take_all().remove(0);
        device.finish(&buffer, 60);
        assert_eq!(take_all(&mut queue), [(0, 60)]);
        assert_eq!((queue.take(), queue.fault()), (Err(DeviceFault::UsedIdx), None));
    }
}

#[test]
fn packed_flags_that_are_neither_available_nor_used_are_found() {
    for features in [PACKED, PACKED_IN_ORDER] {
        for flags in [0, 0x8000] {
            let (queue, device) = given(3, features);
            device.set_packed(0, 0, 60, flags);
            faulted(queue, DeviceFault::UsedFlags);
        }
    }
}

#[test]
fn a_flipped_wrap_counter_is_found() {
    for features in [PACKED, PACKED_IN_ORDER] {
        let (mut queue, mut device) = queue_of(3, features);
        for lap in 0..4 {
            assert!((0..3).all(|token| queue.give(Gpa(0x8000), 64, token)));
            queue.publish();
            let buffers = device.take_all();
            let (slot, wrap) = device.used_slot();
            if lap == 3 {
                device.set_packed(slot, buffers[0].id, 60, if wrap { 0 } else { 0x8080 });
                return faulted(queue, DeviceFault::UsedFlags);
            }
            buffers.iter().for_each(|buffer| device.finish(buffer, 60));
            assert_eq!(take_all(&mut queue).len(), 3);
        }
    }
}

#[test]
fn packed_slots_used_beyond_what_was_published_are_not_taken() {
    for features in [PACKED, PACKED_IN_ORDER] {
        let (mut queue, mut device) = given(3, features);
        let buffers = device.take_all();
        buffers.iter().for_each(|buffer| device.finish(buffer, 60));
        device.write_used(3, 60, 1);
        assert_eq!(queue.ready(), Ok(3));
        assert_eq!(take_all(&mut queue), [(0, 60), (1, 60), (2, 60)]);
        assert_eq!(queue.ready(), Ok(0));
    }
}

#[test]
fn used_flags_in_the_middle_of_a_packed_chain_give_nothing_more() {
    for features in [PACKED, PACKED_IN_ORDER] {
        let (mut queue, mut device) = queue_of(8, features);
        assert!(queue.send(&[(Gpa(0), 12), (Gpa(64), 60)], 1) && queue.give(Gpa(128), 64, 2));
        queue.publish();
        let buffers = device.take_all();
        device.finish(&buffers[0], 0);
        device.set_packed(1, buffers[0].id, 0, 0x8080);
        assert_eq!(take_all_or_fault(&mut queue), [1]);
        assert_eq!(queue.fault(), None);
    }
}

/// Returns the tokens until no more come.
fn take_all_or_fault(queue: &mut Queue) -> Vec<u32> {
    let mut taken = Vec::new();
    while let Ok(ready @ 1..) = queue.ready() {
        taken.extend((0..ready).map_while(|_| queue.take().ok()).map(|received| received.token));
    }
    taken
}

#[test]
fn a_batch_of_more_than_the_used_index_says_is_found() {
    let (queue, mut device) = given(5, SPLIT_IN_ORDER);
    let buffers = device.take_all();
    device.write_used(buffers[3].id.into(), 60, 1);
    device.set_used_idx(3);
    faulted(queue, DeviceFault::UsedIdx);
}

#[test]
fn out_of_order_where_order_was_agreed_on_is_found() {
    for features in [SPLIT_IN_ORDER, PACKED_IN_ORDER] {
        let (queue, mut device) = given(5, features);
        let buffers = device.take_all();
        // The element stands for a batch of buffers 0 to 2; then buffer 1 is used again.
        device.write_used(buffers[2].id.into(), 60, 3);
        if features == SPLIT_IN_ORDER {
            device.set_used_idx(3);
            device.write_used(0, 0, 1);
            device.write_used(0, 0, 1);
        }
        device.write_used(buffers[1].id.into(), 60, 1);
        device.show();
        let mut queue = queue;
        let taken: Vec<_> = (0..3).map_while(|_| queue.ready().ok().and_then(|_| queue.take().ok())).collect();
        assert_eq!(taken.len(), 3);
        faulted(queue, DeviceFault::UsedId);
    }
}

#[test]
fn a_batch_with_more_bytes_than_its_last_buffer_has_is_found() {
    for features in [SPLIT_IN_ORDER, PACKED_IN_ORDER] {
        let (mut queue, mut device) = given(5, features);
        let buffers = device.take_all();
        device.finish_batch(&buffers[..2], 2049);
        assert_eq!(queue.ready().and_then(|_| queue.take()).map(|received| received.len), Ok(2048));
        faulted(queue, DeviceFault::UsedLen);
    }
}

#[test]
fn what_is_ready_besides_a_fault_is_not_taken() {
    for features in ALL {
        let (mut queue, mut device) = given(3, features);
        device.take_all().iter().zip([2049, 60, 60]).for_each(|(buffer, len)| device.finish(buffer, len));
        assert_eq!(queue.ready(), Ok(3));
        assert_eq!([queue.take(), queue.take()], [Err(DeviceFault::UsedLen); 2]);
    }
}

#[test]
fn no_write_of_the_device_panics() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for features in ALL {
        for _ in 0..rounds(2000, 10) {
            let (mut queue, device) = given(5, features);
            for _ in 0..20 {
                let at = random() % (device.memory.len() - 8);
                device.memory.write(at, random()).unwrap();
                device.set_used_idx(random() as u16 % 8);
                for _ in 0..queue.ready().unwrap_or(0) {
                    if let Ok(received) = queue.take() {
                        assert!(received.token < 5 && received.len <= 2048);
                        let _ = queue.give(Gpa(0), 2048, received.token);
                    }
                }
                queue.publish();
                let _ = queue.needs_notification();
            }
        }
    }
    assert_eq!(used::IDX, 2);
}
