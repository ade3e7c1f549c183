//! Descriptors that the device has, or that it used and the driver has not taken yet.

use super::device::Buffer;
use super::*;

/// Returns the addresses of the descriptors of `buffer`. In a packed ring the buffer starts at slot `start`.
fn descriptors(device: &Device, buffer: &Buffer, start: u16) -> Vec<u16> {
    if device.is_packed() {
        return (start..start + buffer.slots).map(|slot| slot % 8).collect();
    }
    let next = |&index: &u16| Some(device.split_desc(index)).filter(|desc| desc.flags & 1 != 0).map(|desc| desc.next);
    core::iter::successors(Some(buffer.id), next).collect()
}

/// Returns the bytes of these descriptors.
fn contents(device: &Device, held: &[u16]) -> Vec<[u64; 2]> {
    let word = |index: u16, half| device.memory.read::<u64>(16 * u64::from(index) + half).unwrap();
    held.iter().map(|&index| [word(index, 0), word(index, 8)]).collect()
}

/// Does everything that a driver can do but take buffers that came back.
fn anything_else(queue: &mut Queue, token: u32) {
    assert!(queue.give(Gpa(0x9000), 64, token) && queue.send(&[(Gpa(0xa000), 12), (Gpa(0xb000), 60)], token + 1));
    queue.publish();
    let _ = (queue.ready().expect("no fault"), queue.needs_notification());
    queue.suppress_interrupts(false);
    queue.suppress_interrupts(true);
    queue.publish();
}

/// See: VIRTIO 2.8.16 "Driver Requirements: The Virtqueue Descriptor Table".
#[test]
fn a_descriptor_that_the_device_has_is_left_alone_until_it_is_used_and_taken() {
    for features in ALL {
        let (mut queue, mut device) = queue_of(8, features);
        let mut start = 0;
        for round in 0..rounds(40, 6) {
            assert!(queue.send(&[(Gpa(0x8000), 12), (Gpa(0x8100), 60)], 0));
            queue.publish();
            let first = device.take_all().remove(0);
            let held = descriptors(&device, &first, start);
            let before = contents(&device, &held);
            anything_else(&mut queue, 1);
            assert_eq!(contents(&device, &held), before, "{features:?}, round {round}: the device has it");
            let rest = device.take_all();
            device.finish(&first, 0);
            let used = contents(&device, &held);
            assert!(queue.give(Gpa(0xc000), 64, 9));
            queue.publish();
            anything_else_is_full(&mut queue);
            assert_eq!(contents(&device, &held), used, "{features:?}, round {round}: it is used, and not taken");
            rest.iter().for_each(|buffer| device.finish(buffer, 0));
            device.take_all().iter().for_each(|buffer| device.finish(buffer, 0));
            assert_eq!(take_all(&mut queue).len(), 4);
            start = (start + 6) % 8;
        }
    }
}

/// No more buffers are given than there is room for.
fn anything_else_is_full(queue: &mut Queue) {
    assert!(!queue.send(&[(Gpa(0), 1), (Gpa(1), 1), (Gpa(2), 1)], 9));
    queue.publish();
}
