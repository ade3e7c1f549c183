use super::*;
use crate::{DriverQueue, RegisterBlock, Setup, Wanted};
use sluice_abi::Gpa;
use sluice_abi::mmio::reg;
use sluice_control::Device;
use std::vec;
use std::vec::Vec;

const BAR: u8 = 4;
const BAR_LEN: u32 = 0x4000;
const COMMON: u32 = 0x1000;
const NOTIFY: u32 = 0x3000;
const DEVICE: u32 = 0x2000;
const MULTIPLIER: u32 = 4;

/// A modern virtio-net function: a list of capabilities, and in one BAR the structures, behind which this project's
/// device stands.
struct Fake {
    config: Vec<u32>,
    device: Device,
    select: [u32; 3],
    notified: Vec<(u32, u32)>,
    notify_off: u32,
    resets: u32,
    reset_looks: u32,
    accesses: usize,
}

impl Fake {
    fn new() -> Self {
        let mut fake = Self {
            config: vec![0; 64],
            device: Device::new([2, 3, 4, 5, 6, 7], 9000, 1),
            select: [0; 3],
            notified: Vec::new(),
            notify_off: 3,
            resets: 0,
            reset_looks: 0,
            accesses: 0,
        };
        fake.config[0] = 0x1041_1af4;
        fake.config[1] = 0x0010_0400;
        fake.config[0x34 / 4] = 0x40;
        // MSI-X; then one common structure that no driver can use, one that it can, notification, ISR, device
        // configuration.
        fake.config[0x40 / 4] = 0x0000_5011;
        fake.capability(0x50, 0x60, 16, cap::COMMON_CFG, [7, COMMON, 56]);
        fake.capability(0x60, 0x70, 16, cap::COMMON_CFG, [BAR.into(), COMMON, 64]);
        fake.capability(0x70, 0x84, 20, cap::NOTIFY_CFG, [BAR.into(), NOTIFY, 0x100]);
        fake.config[0x80 / 4] = MULTIPLIER;
        fake.capability(0x84, 0x94, 16, 3, [BAR.into(), 0, 1]);
        fake.capability(0x94, 0, 16, cap::DEVICE_CFG, [BAR.into(), DEVICE, 12]);
        fake
    }

    fn capability(&mut self, at: usize, next: u8, len: u8, kind: u8, [bar, offset, length]: [u32; 3]) {
        self.config[at / 4] = u32::from_le_bytes([9, next, len, kind]);
        self.config[at / 4 + 1..at / 4 + 4].copy_from_slice(&[bar, offset, length]);
    }

    fn half(&mut self, sel: u32, register: u32, at: usize) -> u32 {
        self.device.write(sel, self.select[at]);
        self.device.read(register)
    }
}

impl Function for &mut Fake {
    fn config(&mut self, offset: u16) -> u32 {
        self.accesses += 1;
        self.config[usize::from(offset) / 4]
    }

    fn set_config(&mut self, offset: u16, value: u32) {
        self.config[usize::from(offset) / 4] = value;
    }

    fn bar_len(&mut self, bar: u8) -> u64 {
        if bar == BAR { BAR_LEN.into() } else { 0 }
    }

    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32 {
        assert!(bar == BAR && offset + width.bytes() <= BAR_LEN && offset.is_multiple_of(width.bytes()));
        if offset >= DEVICE {
            let word = self.device.read(reg::CONFIG + ((offset - DEVICE) & !3));
            let wide = if width == Width::One { 0xff } else { 0xffff };
            assert!(
                offset + width.bytes() <= DEVICE + 12 && (width == Width::One) == (offset < DEVICE + 6),
                "a field's own width"
            );
            return word >> (8 * (offset & 3)) & wide;
        }
        let field = offset - COMMON;
        assert_eq!(width, width_of(field), "a field is accessed by its own width");
        match field {
            common::DEVICE_FEATURE => self.half(reg::DEVICE_FEATURES_SEL, reg::DEVICE_FEATURES, 0),
            common::DEVICE_STATUS => self.device.read(reg::STATUS),
            common::CONFIG_GENERATION => 5,
            common::QUEUE_SIZE => self.device.read(reg::QUEUE_SIZE_MAX),
            common::QUEUE_ENABLE => self.device.read(reg::QUEUE_READY),
            common::QUEUE_NOTIFY_OFF => self.notify_off,
            common::QUEUE_RESET => {
                self.reset_looks += 1;
                if self.reset_looks < 3 {
                    return 1;
                }
                0
            }
            _ => panic!("field {field} is not for reading"),
        }
    }

    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32) {
        assert!(bar == BAR && offset + width.bytes() <= BAR_LEN && offset.is_multiple_of(width.bytes()));
        if offset >= NOTIFY {
            return self.notified.push((offset - NOTIFY, value));
        }
        let field = offset - COMMON;
        assert_eq!(width, width_of(field), "a field is accessed by its own width");
        match field {
            common::DEVICE_FEATURE_SELECT => self.select[0] = value,
            common::DRIVER_FEATURE_SELECT => self.device.write(reg::DRIVER_FEATURES_SEL, value).map_or((), drop),
            common::DRIVER_FEATURE => self.device.write(reg::DRIVER_FEATURES, value).map_or((), drop),
            common::QUEUE_RESET => self.resets += value,
            _ => drop(self.device.write(register_of(field), value)),
        }
    }
}

fn width_of(field: u32) -> Width {
    match field {
        0..=12 | 32..=52 => Width::Four,
        20 | 21 => Width::One,
        _ => Width::Two,
    }
}

/// Returns the register of virtio-mmio that does the same.
fn register_of(field: u32) -> u32 {
    match field {
        common::DEVICE_STATUS => reg::STATUS,
        common::QUEUE_SELECT => reg::QUEUE_SEL,
        common::QUEUE_SIZE => reg::QUEUE_SIZE,
        common::QUEUE_ENABLE => reg::QUEUE_READY,
        common::QUEUE_DESC => reg::QUEUE_DESC_LOW,
        36 => reg::QUEUE_DESC_HIGH,
        common::QUEUE_DRIVER => reg::QUEUE_DRIVER_LOW,
        44 => reg::QUEUE_DRIVER_HIGH,
        common::QUEUE_DEVICE => reg::QUEUE_DEVICE_LOW,
        52 => reg::QUEUE_DEVICE_HIGH,
        _ => panic!("field {field} is not for writing"),
    }
}

const WANTED: Wanted = Wanted { features: F::RING_PACKED, pairs: 1 };

fn queue(features: F) -> DriverQueue<8> {
    let len = DriverQueue::<8>::MEMORY_LEN;
    let memory = sluice_test_memory::zeroed(len);
    DriverQueue::new(Gpa(0x1_0000_1000), memory, 7, features).unwrap()
}

#[test]
fn a_device_is_started_over_pci() {
    let mut fake = Fake::new();
    let mut pci = VirtioPci::new(&mut fake).unwrap();
    let mut setup = Setup::new(&mut pci, WANTED).unwrap();
    let queue = queue(setup.agreed().features);
    setup.set_queue(0, &queue).unwrap();
    let started = setup.start();
    assert_eq!((started.mac, started.mtu), ([2, 3, 4, 5, 6, 7], 9000));
    pci.notify(0);
    pci.notify(1);
    pci.notify(u16::MAX);
    assert_eq!(fake.notified, [(3 * MULTIPLIER, 0)], "a queue that is not in use is not notified");
    let at = fake.device.queue(0).unwrap();
    assert_eq!((at.size, at.addresses, at.features), (7, queue.addresses(), started.features.bits()));
    assert_eq!(fake.config[1], 0x0406, "memory and bus master on, what else was on stays, status bits are left alone");
}

#[test]
fn a_function_that_is_no_virtio_device_is_named() {
    for (id, error) in [
        (0x1041_8086, Some(PciError::NotVirtio(0x8086, 0x1041))),
        (0x1001_1af4, Some(PciError::NotVirtio(0x1af4, 0x1001))),
        (0xffff_ffff, Some(PciError::NotVirtio(0xffff, 0xffff))),
        (0x1000_1af4, None),
    ] {
        let mut fake = Fake::new();
        fake.config[0] = id;
        assert_eq!(VirtioPci::new(&mut fake).err(), error);
    }
    let mut fake = Fake::new();
    fake.config[0] = 0x1042_1af4;
    let mut block = VirtioPci::new(&mut fake).unwrap();
    assert_eq!(Setup::new(&mut block, WANTED).err(), Some(StartError::NotNet(2)));
}

#[test]
fn a_capability_outside_its_bar_is_not_used() {
    for (place, values, missing) in [
        (0x60, [BAR.into(), BAR_LEN - 60, 64], cap::COMMON_CFG),
        (0x60, [BAR.into(), COMMON, u32::MAX], cap::COMMON_CFG),
        (0x60, [BAR.into(), 0u32.wrapping_sub(64), 64], cap::COMMON_CFG),
        (0x60, [BAR.into(), COMMON, 55], cap::COMMON_CFG),
        (0x60, [BAR.into(), COMMON + 2, 64], cap::COMMON_CFG),
        (0x60, [5, COMMON, 64], cap::COMMON_CFG),
        (0x60, [0xff, COMMON, 64], cap::COMMON_CFG),
        (0x70, [BAR.into(), BAR_LEN, 2], cap::NOTIFY_CFG),
        (0x70, [BAR.into(), NOTIFY, 1], cap::NOTIFY_CFG),
    ] {
        let mut fake = Fake::new();
        fake.config[place / 4 + 1..place / 4 + 4].copy_from_slice(&values);
        assert_eq!(VirtioPci::new(&mut fake).err(), Some(PciError::NoCapability(missing)), "{values:?}");
    }
}

#[test]
fn a_list_of_capabilities_that_goes_round_or_leads_astray_ends() {
    for next in [0x40, 0x50, 0xff, 0xfc, 0x3c, 0x00] {
        let mut fake = Fake::new();
        fake.config[0x50 / 4] = u32::from_le_bytes([9, next, 16, cap::COMMON_CFG]);
        assert_eq!(VirtioPci::new(&mut fake).err(), Some(PciError::NoCapability(cap::COMMON_CFG)), "{next:#x}");
        assert!(fake.accesses < 400);
    }
    let mut fake = Fake::new();
    fake.config[1] = 0;
    assert_eq!(VirtioPci::new(&mut fake).err(), Some(PciError::NoCapability(cap::COMMON_CFG)));
}

#[test]
fn a_queue_that_would_be_notified_outside_its_structure_is_refused() {
    for notify_off in [0x40, 0xffff] {
        let mut fake = Fake { notify_off, ..Fake::new() };
        let mut pci = VirtioPci::new(&mut fake).unwrap();
        let mut setup = Setup::new(&mut pci, WANTED).unwrap();
        let queue = queue(setup.agreed().features);
        assert_eq!(setup.set_queue(0, &queue), Err(StartError::QueueRefused(0)));
        drop(setup);
        pci.notify(0);
        assert_eq!(fake.notified, []);
    }
}

#[test]
fn without_a_device_configuration_it_reads_as_zero() {
    let mut fake = Fake::new();
    fake.config[0x94 / 4] = 0;
    let mut pci = VirtioPci::new(&mut fake).unwrap();
    assert_eq!((pci.config8(0), pci.config16(10)), (0, 0));
    let mut fake = Fake::new();
    fake.config[0x94 / 4 + 3] = 7;
    let mut pci = VirtioPci::new(&mut fake).unwrap();
    assert_eq!((pci.config8(5), pci.config16(6), pci.config16(u32::MAX - 1)), (7, 0, 0));
}

#[test]
fn a_queue_is_renewed_only_once_its_reset_is_done() {
    let mut fake = Fake::new();
    let mut pci = VirtioPci::new(&mut fake).unwrap();
    let mut setup = Setup::new(&mut pci, WANTED).unwrap();
    let features = setup.agreed().features;
    setup.set_queue(0, &queue(features)).unwrap();
    setup.start();
    pci.write(common::QUEUE_ENABLE, Width::Two, 0);
    let renewed = crate::renew_queue(&mut pci, 0, || queue(features)).unwrap();
    assert_eq!((fake.resets, fake.reset_looks), (1, 3));
    assert_eq!(fake.device.queue(0).unwrap().addresses, renewed.addresses());
}

/// The reset field of such a function is behind the end of the structure.
#[test]
fn a_function_that_cannot_reset_a_queue_is_not_asked_to() {
    let mut fake = Fake::new();
    fake.capability(0x60, 0x70, 16, cap::COMMON_CFG, [BAR.into(), COMMON, 56]);
    let mut pci = VirtioPci::new(&mut fake).unwrap();
    let mut setup = Setup::new(&mut pci, WANTED).unwrap();
    let features = setup.agreed().features;
    setup.set_queue(0, &queue(features)).unwrap();
    setup.start();
    let renewed = crate::renew_queue::<8>(&mut pci, 0, || panic!("its memory is still the device's"));
    assert_eq!(renewed.err(), Some(StartError::ResetStuck));
    assert!(fake.device.queue(0).is_some());
    assert_eq!((fake.resets, fake.reset_looks), (0, 0));
}

#[test]
fn a_mapped_function_reads_and_writes_its_own_bytes() {
    let words = |words: &[u32]| RegisterBlock::from_words(words.to_vec().leak());
    let mut config = [0; CONFIG_LEN as usize / 4];
    config[0] = 0x1041_1af4;
    let (config, bar, none) = (words(&config), words(&[0x1122_3344, 0x5566_7788]), words(&[]));
    let mut function = MappedFunction::new(config, [none, bar, none, none, none, none]);
    assert_eq!(
        (function.config(0), function.bar_len(1), function.bar_len(0), function.bar_len(9)),
        (0x1041_1af4, 8, 0, 0)
    );
    assert_eq!(function.read(1, 0, Width::Four), 0x1122_3344);
    assert_eq!((function.read(1, 6, Width::Two), function.read(1, 7, Width::One)), (0x5566, 0x55));
    function.write(1, 4, Width::One, 0xaaaa_aa01);
    function.write(1, 2, Width::Two, 0xbbbb_0203);
    function.set_config(4, 6);
    assert_eq!(function.read(1, 4, Width::Four), 0x5566_7701);
    function.write(1, 4, Width::Four, 9);
    assert_eq!([0, 4].map(|at| bar.read(at, Width::Four)), [0x0203_3344, 9]);
    assert_eq!(config.read(4, Width::Four), 6);
}
