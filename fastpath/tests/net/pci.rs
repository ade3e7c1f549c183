//! The same device as a PCI function. See: VIRTIO 4.1 "Virtio Over PCI Bus".

use super::*;
use sluice::{Hdr, Transmit};
use sluice_abi::mmio::reg;
use sluice_abi::pci::{cap, common};
use sluice_driver::{Function, VirtioPci, Width};
use sluice_inside::{DeviceQueue, Enqueue, Regions};

const COMMON: u32 = 0x1000;
const DEVICE: u32 = 0x2000;
const NOTIFY: u32 = 0x3000;
const BAR_LEN: u32 = 0x4000;

/// A modern virtio-net function: a list of three capabilities, and in BAR 0 the structures, behind which the registers
/// of `device` are.
struct Pci {
    device: Device,
    config: [u32; 64],
    /// The half of the features that is read, and the half that is written.
    halves: [u32; 2],
    selected: u32,
}

impl Pci {
    fn new(device: Device) -> Self {
        let mut config = [0; 64];
        (config[0], config[1], config[0x34 / 4]) = (0x1041_1af4, 0x0010_0000, 0x40);
        let mut capability = |at: usize, next: u8, len: u8, kind: u8, offset: u32, length: u32| {
            config[at / 4] = u32::from_le_bytes([9, next, len, kind]);
            config[at / 4 + 1..at / 4 + 4].copy_from_slice(&[0, offset, length]);
        };
        capability(0x40, 0x50, 16, cap::COMMON_CFG, COMMON, 64);
        capability(0x50, 0x64, 20, cap::NOTIFY_CFG, NOTIFY, 0x100);
        capability(0x64, 0, 16, cap::DEVICE_CFG, DEVICE, 12);
        config[0x60 / 4] = 4;
        Self { device, config, halves: [0; 2], selected: 0 }
    }
}

/// Returns the register of virtio-mmio that does the same; `None` if there is none.
fn register(field: u32) -> Option<u32> {
    Some(match field {
        common::DEVICE_STATUS => reg::STATUS,
        common::CONFIG_GENERATION => reg::CONFIG_GENERATION,
        common::QUEUE_SELECT => reg::QUEUE_SEL,
        common::QUEUE_ENABLE => reg::QUEUE_READY,
        common::QUEUE_DESC => reg::QUEUE_DESC_LOW,
        common::QUEUE_DRIVER => reg::QUEUE_DRIVER_LOW,
        common::QUEUE_DEVICE => reg::QUEUE_DEVICE_LOW,
        _ => match field.checked_sub(4) {
            Some(common::QUEUE_DESC) => reg::QUEUE_DESC_HIGH,
            Some(common::QUEUE_DRIVER) => reg::QUEUE_DRIVER_HIGH,
            Some(common::QUEUE_DEVICE) => reg::QUEUE_DEVICE_HIGH,
            _ => return None,
        },
    })
}

impl Function for Pci {
    fn config(&mut self, offset: u16) -> u32 {
        self.config[usize::from(offset) / 4]
    }

    fn set_config(&mut self, offset: u16, value: u32) {
        self.config[usize::from(offset) / 4] = value;
    }

    fn bar_len(&mut self, bar: u8) -> u64 {
        if bar == 0 { BAR_LEN.into() } else { 0 }
    }

    fn read(&mut self, _: u8, offset: u32, width: Width) -> u32 {
        if offset >= DEVICE {
            let word = self.device.read(reg::CONFIG + ((offset - DEVICE) & !3)) >> (8 * (offset & 3));
            return word & if width == Width::One { 0xff } else { 0xffff };
        }
        match offset - COMMON {
            common::DEVICE_FEATURE => {
                self.device.write(reg::DEVICE_FEATURES_SEL, self.halves[0]);
                self.device.read(reg::DEVICE_FEATURES)
            }
            common::QUEUE_SIZE => self.device.read(reg::QUEUE_SIZE_MAX),
            // Each queue has a place of its own: queue q is notified at 4 q.
            common::QUEUE_NOTIFY_OFF => self.selected,
            field => self.device.read(register(field).expect("a register")),
        }
    }

    fn write(&mut self, _: u8, offset: u32, _: Width, value: u32) {
        if offset >= NOTIFY {
            assert_eq!((offset - NOTIFY) / 4, value, "a queue's own place");
            return self.device.write(reg::QUEUE_NOTIFY, value);
        }
        match offset - COMMON {
            common::DEVICE_FEATURE_SELECT => self.halves[0] = value,
            common::DRIVER_FEATURE_SELECT => self.halves[1] = value,
            common::DRIVER_FEATURE => {
                self.device.write(reg::DRIVER_FEATURES_SEL, self.halves[1]);
                self.device.write(reg::DRIVER_FEATURES, value);
            }
            common::QUEUE_SIZE => self.device.write(reg::QUEUE_SIZE, value),
            common::QUEUE_SELECT => {
                self.selected = value;
                self.device.write(reg::QUEUE_SEL, value);
            }
            field => self.device.write(register(field).expect("a register"), value),
        }
    }
}

fn function(lan: &Lan, vm: u32) -> VirtioPci<Pci> {
    VirtioPci::new(Pci::new(lan.device(vm))).expect("a virtio function")
}

#[test]
fn a_pci_function_sends_receives_and_is_asked_as_any_other_device() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let mut a: Vm<_, 1> = lan.start_on(0, function(&lan, 0), options(format)).expect("a device");
        let mut b = lan.start(1, options(format));
        assert_eq!((a.net.mac(), a.net.mtu(), a.net.pairs()), (mac(0), 1500, 1));
        for mark in 0..100 {
            let (question, answer) = (frame(BROADCAST, mac(0), mark), frame(mac(0), mac(1), mark));
            let mut burst = a.burst(std::slice::from_ref(&question));
            assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(1));
            assert_eq!(b.received(), [question]);
            let mut burst = b.burst(std::slice::from_ref(&answer));
            assert_eq!(b.net.tx_burst(&mut burst, MAX_BURST), Ok(1));
            assert_eq!(a.received(), [answer]);
        }
        let moved = [2, 0, 0, 0, 0, 0x77];
        assert_eq!((a.net.control(|| true).set_mac(moved), a.net.mac()), (Ok(()), moved));
        a.net.restart().expect("the same device");
        assert_eq!((a.net.mac(), a.received().len()), (mac(0), 0));
        let Vm { net, pool } = a;
        assert!(net.stop().is_ok());
        assert_eq!(pool.available(), BUFFERS);
    }
}

#[test]
fn a_pci_function_with_several_pairs_receives_from_all() {
    let lan = Lan::new(&["peers = [\"b\"]", "lan = [\"a\"]"]);
    let mut b: Vm<_, 2> =
        lan.start_on(1, function(&lan, 1), Options { pairs: 2, ..options(RingFormat::default()) }).expect("a device");
    assert_eq!(b.net.pairs(), 2);
    let regions = Regions::from_slices(&[(Gpa(0), lan.rams[1])]).expect("RAM");
    let mut window = DeviceQueue::new(&lan.queue(1, receiveq(1)), &regions).expect("a queue");
    let bytes = zeroed(64);
    bytes.copy_from_slice(0, &frame(mac(1), mac(0), 9)).expect("room");
    let bytes = bytes.sub(0, 60).expect("inside");
    assert_eq!(window.enqueue(&regions, &Hdr::default(), bytes, 60, Words), Ok(Enqueue::Filled));
    window.publish();
    assert_eq!(b.received(), [frame(mac(1), mac(0), 9)]);
}
