//! The registers of a virtio-mmio device that the driver reads and writes, and their order, with this project's device
//! behind them.

use sluice_abi::Gpa;
use sluice_abi::mmio::{Interrupt, Status, reg};
use sluice_abi::net::F;
use sluice_control::Device;
use sluice_driver::{
    DriverQueue, RegisterBlock, Registers, Setup, StartError, Transport, VirtioMmio, Wanted, acknowledge, renew_queue,
};
use sluice_test_memory::zeroed;
use std::ops::Range;

/// The registers that may be read, and those that may be written. See: VIRTIO 4.2.2 "MMIO Device Register Layout".
const READABLE: [u32; 11] = [
    reg::MAGIC_VALUE,
    reg::VERSION,
    reg::DEVICE_ID,
    reg::VENDOR_ID,
    reg::DEVICE_FEATURES,
    reg::QUEUE_SIZE_MAX,
    reg::QUEUE_READY,
    reg::INTERRUPT_STATUS,
    reg::STATUS,
    reg::QUEUE_RESET,
    reg::CONFIG_GENERATION,
];
const WRITABLE: [u32; 16] = [
    reg::DEVICE_FEATURES_SEL,
    reg::DRIVER_FEATURES,
    reg::DRIVER_FEATURES_SEL,
    reg::QUEUE_SEL,
    reg::QUEUE_SIZE,
    reg::QUEUE_READY,
    reg::QUEUE_NOTIFY,
    reg::INTERRUPT_ACK,
    reg::STATUS,
    reg::QUEUE_DESC_LOW,
    reg::QUEUE_DESC_HIGH,
    reg::QUEUE_DRIVER_LOW,
    reg::QUEUE_DRIVER_HIGH,
    reg::QUEUE_DEVICE_LOW,
    reg::QUEUE_DEVICE_HIGH,
    reg::QUEUE_RESET,
];
/// The registers of a queue.
const QUEUE: Range<u32> = reg::QUEUE_DESC_LOW..reg::QUEUE_DEVICE_HIGH + 4;
/// The bytes of the MAC address, which are read one by one. All other fields are read as 16 bits.
const MAC: Range<u32> = reg::CONFIG..reg::CONFIG + 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read(u32),
    Write(u32, u32),
}

use Access::{Read, Write};

/// A device of this project, or one with other values in some registers, and the driver's accesses.
struct Recorder {
    device: Device,
    /// The other values, by register.
    says: Vec<(u32, u32)>,
    log: Vec<Access>,
    ready: Vec<u32>,
    queue: u32,
}

impl Recorder {
    fn new(says: &[(u32, u32)]) -> Self {
        let device = Device::new([2, 3, 4, 5, 6, 7], 1500, 1);
        Self { device, says: says.to_vec(), log: Vec::new(), ready: Vec::new(), queue: 0 }
    }

    fn at(&self, access: Access) -> usize {
        self.log.iter().position(|&it| it == access).unwrap_or_else(|| panic!("{access:x?} in {:x?}", self.log))
    }

    fn statuses(&self) -> Vec<u32> {
        self.log
            .iter()
            .filter_map(|access| if let Write(reg::STATUS, value) = access { Some(*value) } else { None })
            .collect()
    }
}

impl Registers for Recorder {
    fn read(&mut self, register: u32) -> u32 {
        assert!(READABLE.contains(&register), "read of {register:#x}");
        self.log.push(Read(register));
        let said = self.says.iter().find(|(at, _)| *at == register);
        said.map_or_else(|| self.device.read(register), |(_, value)| *value)
    }

    fn write(&mut self, register: u32, value: u32) {
        assert!(WRITABLE.contains(&register), "write of {register:#x}");
        let of_queue = register == reg::QUEUE_SIZE || QUEUE.contains(&register);
        assert!(!of_queue || !self.ready.contains(&self.queue), "{register:#x} of a queue in use");
        match register {
            reg::QUEUE_SEL => self.queue = value,
            reg::QUEUE_READY if value == 1 => self.ready.push(self.queue),
            reg::QUEUE_RESET => self.ready.retain(|&queue| queue != self.queue),
            reg::STATUS if value == 0 => self.ready.clear(),
            _ => {}
        }
        self.log.push(Write(register, value));
        self.device.write(register, value);
    }

    fn read8(&mut self, offset: u32) -> u8 {
        assert!(MAC.contains(&offset), "8 bits of {offset:#x}");
        (self.device.read(offset & !3) >> (8 * (offset & 3))) as u8
    }

    fn read16(&mut self, offset: u32) -> u16 {
        assert!((MAC.end..MAC.end + 6).contains(&offset) && offset.is_multiple_of(2), "16 bits of {offset:#x}");
        (self.device.read(offset & !3) >> (8 * (offset & 2))) as u16
    }
}

const WANTED: Wanted = Wanted { features: F::empty(), pairs: 1 };

fn queue(features: F) -> DriverQueue<8> {
    DriverQueue::new(Gpa(0x1_0000_1000), zeroed(DriverQueue::<8>::MEMORY_LEN), 8, features).unwrap()
}

/// The recorder panics at an access that the register does not have, or that its queue does not allow.
#[test]
fn registers_are_used_as_each_may_be_and_in_the_order_of_the_steps() {
    let mut device = Recorder::new(&[]);
    let mut setup = Setup::new(&mut device, WANTED).unwrap();
    for index in [0, 1] {
        let queue = queue(setup.agreed().features);
        setup.set_queue(index, &queue).unwrap();
    }
    setup.start();
    assert_eq!(
        device.log[..4],
        [Read(reg::MAGIC_VALUE), Read(reg::VERSION), Read(reg::DEVICE_ID), Write(reg::STATUS, 0)]
    );
    assert_eq!(device.statuses(), [0, 1, 3, 11, 15]);
    let features_ok = device.at(Write(reg::STATUS, 11));
    let (before, after) = device.log.split_at(features_ok + 1);
    assert_eq!(after[0], Read(reg::STATUS), "whether the device agrees");
    assert!(after.iter().all(|access| !matches!(access, Write(reg::DRIVER_FEATURES, _))), "not any more");
    for half in [0, 1] {
        let select = device.at(Write(reg::DEVICE_FEATURES_SEL, half));
        assert_eq!(before[select + 1], Read(reg::DEVICE_FEATURES));
        let select = device.at(Write(reg::DRIVER_FEATURES_SEL, half));
        assert!(matches!(before[select + 1], Write(reg::DRIVER_FEATURES, _)));
    }
    assert_eq!(before.iter().filter(|&&access| access == Read(reg::DEVICE_FEATURES)).count(), 2);
    assert_eq!(before.iter().filter(|access| matches!(access, Write(reg::DRIVER_FEATURES, _))).count(), 2);
    assert!(
        before.iter().all(|access| !matches!(access, Write(reg::QUEUE_SEL..=reg::QUEUE_READY, _))),
        "queues come later"
    );
    assert_eq!(device.log.last(), Some(&Write(reg::STATUS, 15)), "nothing is notified before that");
    assert!(device.log.iter().all(|access| !matches!(access, Write(reg::QUEUE_NOTIFY, _))));
}

#[test]
fn of_what_is_no_device_for_it_nothing_more_is_touched() {
    for (says, read, error) in [
        ((reg::MAGIC_VALUE, 0x7472_6977), 2, StartError::NoDevice(0x7472_6977, 2)),
        ((reg::VERSION, 1), 2, StartError::NoDevice(0x7472_6976, 1)),
        ((reg::VERSION, 3), 2, StartError::NoDevice(0x7472_6976, 3)),
        ((reg::DEVICE_ID, 0), 3, StartError::NotNet(0)),
        ((reg::DEVICE_ID, 2), 3, StartError::NotNet(2)),
    ] {
        let mut device = Recorder::new(&[says]);
        assert_eq!(Setup::new(&mut device, WANTED).err(), Some(error));
        let first = [Read(reg::MAGIC_VALUE), Read(reg::VERSION), Read(reg::DEVICE_ID)];
        assert_eq!(device.log, first[..read]);
    }
}

#[test]
fn features_that_nobody_knows_are_ignored_and_no_reason_to_fail() {
    let mut device = Recorder::new(&[(reg::DEVICE_FEATURES, u32::MAX)]);
    // The driver accepts no unknown feature; this project's device would refuse one.
    let wanted = Wanted { features: F::MRG_RXBUF, pairs: 1 };
    let agreed = Setup::new(&mut device, wanted).unwrap().agreed().features;
    assert_eq!(agreed, F::VERSION_1 | F::MAC | F::MTU | F::STATUS | F::MRG_RXBUF);
    let half = |half| {
        let at = device.at(Write(reg::DRIVER_FEATURES_SEL, half));
        if let Write(reg::DRIVER_FEATURES, value) = device.log[at + 1] { u64::from(value) << (32 * half) } else { 0 }
    };
    assert_eq!(half(0) | half(1), agreed.bits());
}

#[test]
fn a_device_without_what_is_needed_is_given_up_and_reset_before_it_is_tried_again() {
    let mut device = Recorder::new(&[(reg::DEVICE_FEATURES, 0)]);
    assert_eq!(Setup::new(&mut device, WANTED).err(), Some(StartError::Legacy));
    let failed = Status::FAILED.bits();
    assert_eq!(device.statuses(), [0, 1, 3, 3 | failed], "no bit is cleared");
    assert!(device.log.iter().all(|access| !matches!(access, Write(reg::DRIVER_FEATURES | reg::QUEUE_SEL, _))));
    device.says.clear();
    device.log.clear();
    assert!(Setup::new(&mut device, WANTED).is_ok());
    assert_eq!(device.statuses()[..4], [0, 1, 3, 11]);
    assert!(device.at(Read(reg::STATUS)) < device.at(Write(reg::STATUS, 1)), "the reset is done");
}

/// The steps are those of the first time: number, size, the three areas, and then that the queue is ready.
#[test]
fn a_queue_after_its_reset_is_set_up_as_at_first() {
    let mut device = Recorder::new(&[]);
    let mut setup = Setup::new(&mut device, WANTED).unwrap();
    let (first, features) = (queue(setup.agreed().features), setup.agreed().features);
    setup.set_queue(1, &first).unwrap();
    setup.start();
    let set_up = |log: &[Access]| -> Vec<Access> {
        log.iter()
            .copied()
            .filter(|access| matches!(access, Write(reg::QUEUE_SIZE..=reg::QUEUE_DEVICE_HIGH, _)))
            .collect()
    };
    let (at_first, begun) = (set_up(&device.log), device.log.len());
    // This project's device has no reset of a single queue, and refuses to set up a queue in use.
    device.says = vec![(reg::QUEUE_RESET, 0), (reg::QUEUE_READY, 0)];
    assert_eq!(renew_queue(&mut device, 1, || queue(features)).err(), Some(StartError::QueueRefused(1)));
    let again = set_up(&device.log[begun..]);
    assert_eq!(again.len(), 8);
    assert_eq!(
        again,
        at_first.iter().copied().filter(|access| !matches!(access, Write(reg::STATUS, _))).collect::<Vec<_>>()
    );
}

#[test]
fn every_set_of_features_that_is_offered_is_taken_and_served() {
    let mut device = Recorder::new(&[]);
    let offered = device.device_features();
    assert_eq!(offered.supported(), offered, "a feature without what it needs");
    let alone = offered.iter().map(|feature| feature | F::VERSION_1).filter(|list| list.supported() == *list);
    let lists = alone.chain([offered]);
    for features in lists {
        device.set_status(Status::empty());
        device.set_driver_features(features);
        device.set_status(Status::FEATURES_OK);
        assert!(device.status().contains(Status::FEATURES_OK), "{features:?}");
        let made = queue(features);
        device.enable_queue(0, made.size(), made.addresses());
        device.set_status(Status::FEATURES_OK | Status::DRIVER_OK);
        let entry = device.device.queue(0).expect("in use");
        let regions = sluice_inside::Regions::from_slices(&[(Gpa(0x1_0000_1000), zeroed(0x4000))]).unwrap();
        assert!(sluice_inside::DeviceQueue::new(&entry, &regions).is_ok(), "{features:?}");
    }
}

/// In a register file in memory, each access reads the bytes that are there, with its own width.
#[test]
fn each_field_is_read_where_it_is() {
    let mut words = [0u32; 128];
    for (at, word) in words.iter_mut().enumerate() {
        *word = 0x0302_0100u32.wrapping_add((at as u32).wrapping_mul(0x0404_0404));
    }
    let mut registers = VirtioMmio::new(RegisterBlock::from_words(words.to_vec().leak()));
    for offset in (0..0x200u32).step_by(4) {
        let bytes = [0, 1, 2, 3].map(|byte| registers.read8(offset + byte));
        assert_eq!(u32::from_le_bytes(bytes), registers.read(offset));
        assert_eq!(
            [0, 2].map(|half| registers.read16(offset + half)),
            [0, 2].map(|half| (registers.read(offset) >> (8 * half)) as u16)
        );
    }
    registers.write(reg::STATUS, 7);
    assert_eq!((registers.read(reg::STATUS), registers.read(reg::STATUS + 4)), (7, 0x7776_7574));
}

/// See: VIRTIO 4.2.3.4.1 "Driver Requirements: Notifications From The Device".
#[test]
fn what_an_interrupt_tells_of_is_acknowledged_and_no_undefined_bit() {
    for (status, told) in [(1, 1), (2, 2), (3, 3), (0xffff_fffd, 1), (4, 0), (0, 0)] {
        let mut device = Recorder::new(&[(reg::INTERRUPT_STATUS, status)]);
        assert_eq!(acknowledge(&mut device), Interrupt::from_bits_retain(told));
        assert_eq!(device.log, [Read(reg::INTERRUPT_STATUS), Write(reg::INTERRUPT_ACK, told)]);
    }
}
