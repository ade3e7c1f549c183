//! What a driver sees of a device that it writes to at will.

use sluice_abi::mmio::reg;
use sluice_control::Device;

/// Nothing that it reads twice can be of two configurations. See: VIRTIO 4.2.2.1 "Device Requirements: MMIO Device
/// Register Layout".
#[test]
fn the_configuration_never_changes_nor_does_its_generation() {
    let mut device = Device::new([2, 3, 4, 5, 6, 7], 1500, 1);
    let seen = |device: &Device| {
        let words = [0, 4, 8].map(|offset| device.read(reg::CONFIG + offset));
        (words, device.read(reg::CONFIG_GENERATION))
    };
    let first = seen(&device);
    for value in [1, 3, 11, 15, 0x8f, 0, u32::MAX] {
        for register in (0..0x200).step_by(4) {
            device.write(register, value);
            assert_eq!(seen(&device), first, "{register:#x} {value:#x}");
        }
    }
}

/// No buffer is used, so no event is told of. See: VIRTIO 4.2.2.1 "Device Requirements: MMIO Device Register Layout".
#[test]
fn no_event_is_presented_that_did_not_take_place() {
    let mut device = Device::new([2, 3, 4, 5, 6, 7], 1500, 1);
    for (register, value) in [
        (reg::DRIVER_FEATURES_SEL, 1),
        (reg::DRIVER_FEATURES, 1),
        (reg::STATUS, 11),
        (reg::QUEUE_SIZE, 64),
        (reg::QUEUE_READY, 1),
        (reg::STATUS, 15),
        (reg::QUEUE_NOTIFY, 0),
        (reg::QUEUE_NOTIFY, 1),
        (reg::INTERRUPT_ACK, 3),
        (reg::QUEUE_READY, 0),
        (reg::STATUS, 0),
    ] {
        device.write(register, value);
        assert_eq!(device.read(reg::INTERRUPT_STATUS), 0, "{register:#x}");
    }
}
