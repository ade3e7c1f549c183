//! Drivers of all kinds, in whatever order they write.

mod messages;
mod queues;

use super::*;
use alloc::vec;
use alloc::vec::Vec;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;

const MAC: [u8; 6] = [2, 1, 2, 3, 4, 5];

fn started() -> Device {
    let mut device = Device::new(MAC, 1500, 1);
    for (offset, value) in [
        (reg::STATUS, 1),
        (reg::STATUS, 3),
        (reg::DRIVER_FEATURES_SEL, 1),
        (reg::DRIVER_FEATURES, 1),
        (reg::STATUS, 11),
        (reg::QUEUE_SEL, 0),
        (reg::QUEUE_SIZE, 256),
        (reg::QUEUE_DESC_LOW, 0x1000),
        (reg::QUEUE_DEVICE_HIGH, 7),
        (reg::QUEUE_READY, 1),
    ] {
        assert_eq!(device.write(offset, value), None);
    }
    device
}

#[test]
fn a_driver_without_version_1_or_with_unknown_features_is_refused() {
    for features in [0u64, 1 << 32 | 1 << 19, 1 << 32 | 1 << 33, 1 << 32 | 1 << 63, 1 << 15 | 1 << 34] {
        let mut device = Device::new(MAC, 1500, 1);
        for half in [0, 1] {
            device.write(reg::DRIVER_FEATURES_SEL, half);
            device.write(reg::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        device.write(reg::STATUS, 11);
        assert_eq!(device.read(reg::STATUS), 3);
        assert_eq!(device.write(reg::STATUS, 15), None);
        assert_eq!(device.read(reg::STATUS), 3);
    }
}

/// A device whose driver took `features`, and gave it a receive queue of `size` entries.
fn with_queue(features: F, size: u16) -> Device {
    let mut device = Device::new(MAC, 1500, 1);
    for half in [0, 1] {
        device.write(reg::DRIVER_FEATURES_SEL, half);
        device.write(reg::DRIVER_FEATURES, (features.bits() >> (32 * half)) as u32);
    }
    for (offset, value) in [(reg::STATUS, 11), (reg::QUEUE_SIZE, size.into()), (reg::QUEUE_READY, 1), (reg::STATUS, 15)]
    {
        device.write(offset, value);
    }
    device
}

#[test]
fn no_write_to_any_register_panics() {
    let mut device = Device::new(MAC, 1500, 1);
    for round in 0..4u32 {
        for offset in 0..0x204 {
            for value in [0, 1, 2, 15, 255, u32::MAX] {
                device.write(offset, value.wrapping_sub(round));
                device.read(offset);
            }
        }
    }
}

#[test]
fn the_configuration_is_what_was_asked_for() {
    let device = Device::new(MAC, 9000, 1);
    let bytes: Vec<u8> = (0..3).flat_map(|word| device.read(reg::CONFIG + 4 * word).to_le_bytes()).collect();
    assert_eq!(bytes[..6], MAC);
    assert_eq!((bytes[6..8].to_vec(), bytes[10..].to_vec()), (vec![1, 0], 9000u16.to_le_bytes().to_vec()));
}

#[test]
fn frames_are_as_long_as_was_agreed_on() {
    for (mtu, with, without) in [(9000, 9000, 1500), (1500, 1500, 1500), (1280, 1280, 1280), (68, 68, 68)] {
        let mut device = Device::new(MAC, mtu, 1);
        assert_eq!(device.mtu(), without, "no driver has agreed on anything");
        for (features, expected) in [(F::VERSION_1 | F::MTU, with), (F::VERSION_1, without)] {
            device.write(reg::STATUS, 0);
            device.write(reg::STATUS, 1);
            device.write(reg::STATUS, 3);
            for half in [0, 1] {
                device.write(reg::DRIVER_FEATURES_SEL, half);
                device.write(reg::DRIVER_FEATURES, (features.bits() >> (32 * half)) as u32);
            }
            device.write(reg::STATUS, 11);
            assert_eq!((device.mtu(), device.read(reg::CONFIG + 8) >> 16), (expected, mtu.into()));
        }
    }
}

#[test]
fn the_mtu_stays_whatever_the_driver_writes() {
    let mut device = Device::new(MAC, 9000, 1);
    for register in (0..reg::CONFIG + 12).step_by(4) {
        for value in [0, 1, 0xffff_ffff] {
            device.write(register, value);
            assert_eq!(device.read(reg::CONFIG + 8) >> 16, 9000, "{register:#x}");
        }
    }
}

/// Writes each (register, value); what that changed.
fn write_all(device: &mut Device, writes: &[(u32, u32)]) -> Vec<Event> {
    writes.iter().filter_map(|&(offset, value)| device.write(offset, value)).collect()
}

/// What a driver writes that starts its device with a receive queue of 64 entries.
pub(crate) const START: [(u32, u32); 6] = [
    (reg::DRIVER_FEATURES_SEL, 1),
    (reg::DRIVER_FEATURES, 1),
    (reg::STATUS, 11),
    (reg::QUEUE_SIZE, 64),
    (reg::QUEUE_READY, 1),
    (reg::STATUS, 15),
];

/// Only 0 resets, no bit is cleared, and what no driver may say is not taken from it.
#[test]
fn a_status_bit_is_set_by_who_may_and_cleared_by_a_reset() {
    let mut device = Device::new(MAC, 1500, 1);
    for (value, status) in
        [(64, 0), (0x100, 0), (u32::MAX << 8, 0), (1, 1), (2, 3), (16 | 32 | 64, 3), (0x8000_0000, 3)]
    {
        device.write(reg::STATUS, value);
        assert_eq!(device.read(reg::STATUS), status, "{value:#x}");
    }
    device.write(reg::STATUS, 0);
    write_all(&mut device, &START);
    for value in [1, 4, 64, 0x100, 64 | 15] {
        assert_eq!(device.write(reg::STATUS, value), None);
        assert_eq!((device.read(reg::STATUS), device.queue(0).is_some()), (15, true), "{value:#x}");
    }
    assert_eq!((device.write(reg::STATUS, 0), device.read(reg::STATUS)), (Some(Event::Reset), 0));
}

/// DRIVER_OK counts once FEATURES_OK is there, whether both come in one write or not.
#[test]
fn a_driver_is_not_ready_before_the_features_are() {
    let mut device = Device::new(MAC, 1500, 1);
    device.write(reg::STATUS, 1 | 2 | 4);
    assert_eq!(device.read(reg::STATUS), 3);
    device.write(reg::STATUS, 1 | 2 | 4 | 8);
    assert_eq!(device.read(reg::STATUS), 3, "no feature was taken");
    write_all(&mut device, &START[..3]);
    device.write(reg::STATUS, 4);
    assert_eq!(device.read(reg::STATUS), 15, "what was set before stays");
}

/// Bits 64 and up are not there: nothing is read of them, and nothing written to them lands elsewhere.
#[test]
fn halves_of_features_that_are_not_there_are_empty() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START[..2]);
    for half in [2, 3, 33, 1 << 31, u32::MAX] {
        write_all(&mut device, &[(reg::DEVICE_FEATURES_SEL, half), (reg::DRIVER_FEATURES_SEL, half)]);
        device.write(reg::DRIVER_FEATURES, u32::MAX);
        assert_eq!(device.read(reg::DEVICE_FEATURES), 0, "{half}");
    }
    write_all(&mut device, &START[2..]);
    assert_eq!(device.queue(0).map(|queue| queue.features), Some(F::VERSION_1.bits()));
}

#[test]
fn features_that_were_agreed_on_stay() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START[..3]);
    for half in [0, 1] {
        write_all(&mut device, &[(reg::DRIVER_FEATURES_SEL, half), (reg::DRIVER_FEATURES, u32::MAX)]);
    }
    write_all(&mut device, &START[3..]);
    write_all(&mut device, &[(reg::DRIVER_FEATURES_SEL, 1), (reg::DRIVER_FEATURES, 0)]);
    assert_eq!(device.queue(0).map(|queue| queue.features), Some(F::VERSION_1.bits()));
    // A reset is the way to renegotiate.
    write_all(&mut device, &[(reg::STATUS, 0), (reg::STATUS, 11)]);
    assert_eq!(device.read(reg::STATUS), 3);
}

/// See: VIRTIO 2.4.2 "Device Requirements: Device Reset", 4.2.2.1 "Device Requirements: MMIO Device Register Layout".
#[test]
fn a_device_that_was_reset_is_as_a_new_one() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START);
    write_all(&mut device, &[(reg::QUEUE_SEL, 1), START[3], START[4], (reg::DEVICE_FEATURES_SEL, 1), (reg::STATUS, 0)]);
    let (new, all) = (Device::new(MAC, 1500, 1), (0..0x200).step_by(4));
    assert!(all.into_iter().all(|register| device.read(register) == new.read(register)));
    for queue in [0, 1] {
        device.write(reg::QUEUE_SEL, queue);
        assert_eq!(device.read(reg::QUEUE_READY), 0);
        // Its size is gone, too.
        write_all(&mut device, &[START[0], START[1], START[2], START[4]]);
        assert_eq!(device.read(reg::QUEUE_READY), 0);
    }
}

/// Length and address of a region that is not there are -1, and here none is. See: VIRTIO 4.2.2 "MMIO Device Register
/// Layout".
#[test]
fn there_is_no_shared_memory() {
    let mut device = Device::new(MAC, 1500, 1);
    for region in [0, 1, 255, u32::MAX] {
        device.write(0xac, region);
        assert_eq!([0xb0, 0xb4, 0xb8, 0xbc].map(|register| device.read(register)), [u32::MAX; 4]);
    }
}

/// What a driver reads of a register that is written only, of one that is none, and of one that it reads in the middle.
#[test]
fn what_is_no_register_reads_as_zero() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START);
    let readable = [
        (reg::MAGIC_VALUE, mmio::MAGIC),
        (reg::VERSION, 2),
        (reg::DEVICE_ID, 1),
        (reg::VENDOR_ID, VENDOR),
        (reg::DEVICE_FEATURES, device.offered().bits() as u32),
        (reg::QUEUE_SIZE_MAX, 1024),
        (reg::QUEUE_READY, 1),
        (reg::STATUS, 15),
        (reg::SHM_LEN_LOW, u32::MAX),
        (reg::SHM_LEN_HIGH, u32::MAX),
        (reg::SHM_BASE_LOW, u32::MAX),
        (reg::SHM_BASE_HIGH, u32::MAX),
    ];
    for offset in 0..reg::CONFIG {
        let wanted = readable.iter().find(|(register, _)| *register == offset).map_or(0, |(_, value)| *value);
        assert_eq!(device.read(offset), wanted, "{offset:#x}");
    }
}

/// A register is 32 bits wide, and written as a whole or not at all.
#[test]
fn a_write_into_the_middle_of_a_register_is_none() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START);
    for offset in (0..reg::CONFIG).filter(|offset| offset % 4 != 0) {
        for value in [0, 1, 15, u32::MAX] {
            assert_eq!(device.write(offset, value), None, "{offset:#x}");
        }
    }
    assert_eq!((device.read(reg::STATUS), device.read(reg::QUEUE_READY)), (15, 1));
}

/// The configuration is read from any byte on, and nothing is behind it. See: VIRTIO 4.2.2.2 "Driver Requirements: MMIO
/// Device Register Layout".
#[test]
fn the_configuration_is_read_by_bytes() {
    let device = Device::new(MAC, 0x2328, 1);
    let bytes = [2, 1, 2, 3, 4, 5, 1, 0, 0, 0, 0x28, 0x23];
    for offset in 0..0x100 {
        let at = |index: u32| bytes.get((offset + index) as usize).copied().unwrap_or(0);
        let wanted = u32::from_le_bytes([0, 1, 2, 3].map(at));
        assert_eq!(device.read(reg::CONFIG + offset), wanted, "{offset}");
    }
    assert_eq!((device.read(u32::MAX), device.read(reg::CONFIG + (1 << 29))), (0, 0));
}
