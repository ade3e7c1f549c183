//! Buffers that are taken in a row, each for another one.

use super::*;

const OUT_OF_ORDER: [F; 2] = [SPLIT, PACKED];

fn address(token: u32) -> Gpa {
    Gpa(0x8000 + 2048 * u64::from(token % 64))
}

/// Exchanges up to `most` buffers for others with tokens from `next` on, and returns the buffers that were taken.
fn exchange(queue: &mut Queue, most: usize, next: &mut u32) -> Vec<(u32, u32)> {
    let mut taken = Vec::new();
    let count = queue.exchange(most, |token, len| {
        taken.push((token, len));
        *next += 1;
        Some((address(*next - 1), 2048, *next - 1))
    });
    assert_eq!(count, taken.len());
    taken
}

#[test]
fn buffers_come_back_as_what_they_were_exchanged_for() {
    for features in ALL {
        let (mut queue, mut device) = given(8, features);
        let (mut pending, mut first, mut next) = (device.take_all(), 0, 8);
        for round in 0..rounds(80, 8) {
            let count = 1 + round % 8;
            for (buffer, token) in pending.drain(..count as usize).zip(first..) {
                assert_eq!(buffer.pieces, [(address(token).0, 2048, true)], "{features:?}");
                device.finish(&buffer, 100 + token % 64);
            }
            let expected: Vec<_> = (first..first + count).map(|token| (token, 100 + token % 64)).collect();
            assert_eq!(exchange(&mut queue, 8, &mut next), expected, "{features:?}, round {round}");
            assert_eq!((queue.room(), device.take_all()), (0, Vec::new()), "nothing is shown yet");
            queue.publish();
            pending.extend(device.take_all());
            first += count;
        }
        assert_eq!((pending.len(), queue.fault()), (8, None));
    }
}

#[test]
fn a_buffer_without_another_and_what_is_beyond_the_most_stay() {
    for features in ALL {
        let (mut queue, mut device) = given(8, features);
        device.take_all().iter().for_each(|buffer| device.finish(buffer, 64));
        let mut next = 8;
        assert_eq!(exchange(&mut queue, 2, &mut next), [(0, 64), (1, 64)]);
        assert_eq!((queue.exchange(8, |_, _| None), queue.room()), (0, 0));
        queue.publish();
        let left: Vec<_> = (2..8).map(|token| (token, 64)).collect();
        assert_eq!(take_all(&mut queue), left, "{features:?}");
    }
}

#[test]
fn a_buffer_that_is_used_twice_in_a_row_is_exchanged_once() {
    for features in OUT_OF_ORDER {
        let (mut queue, mut device) = given(8, features);
        let buffer = device.take_all().remove(0);
        device.finish(&buffer, 64);
        device.finish(&buffer, 64);
        assert_eq!(exchange(&mut queue, 8, &mut 8), [(0, 64)], "{features:?}");
        assert_eq!(queue.take(), Err(DeviceFault::UsedId));
        assert_eq!(queue.exchange(8, |_, _| panic!("a queue at fault")), 0);
    }
}

#[test]
fn a_buffer_that_the_device_does_not_have_or_overran_is_not_exchanged() {
    for features in OUT_OF_ORDER {
        for (id, len, fault) in [(200, 64, DeviceFault::UsedId), (3, 2049, DeviceFault::UsedLen)] {
            let (mut queue, mut device) = given(8, features);
            device.take_all();
            device.write_used(id, len, 1);
            device.show();
            assert_eq!((exchange(&mut queue, 8, &mut 8), queue.take()), (Vec::new(), Err(fault)), "{features:?}");
        }
    }
}

#[test]
fn a_chain_is_not_exchanged() {
    for features in ALL {
        let (mut queue, mut device) = queue_of(8, features);
        assert!(queue.send(&[(Gpa(0x8000), 12), (Gpa(0x8100), 60)], 5));
        queue.publish();
        let chain = device.take_all().remove(0);
        device.finish(&chain, 0);
        assert_eq!(exchange(&mut queue, 8, &mut 8), [], "{features:?}");
        assert_eq!(take_all(&mut queue), [(5, 0)]);
    }
}
