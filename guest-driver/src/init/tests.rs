use super::*;
use crate::Registers;
use sluice_abi::Gpa;
use sluice_abi::mmio::reg;
use sluice_control::Device;
use std::vec::Vec;

/// This project's device behind registers, with the driver's writes to its status, and features offered besides, or
/// not.
struct Fake {
    device: Device,
    more: F,
    less: F,
    select: u32,
    accepted: u64,
    statuses: Vec<u32>,
    /// The answers to reads of the generation and of the words of the configuration, by turns.
    turns: u32,
    unstable: u32,
    pairs: u16,
    stuck: bool,
    deaf: bool,
}

impl Fake {
    fn new(more: F) -> Self {
        let device = Device::new([2, 3, 4, 5, 6, 7], 9000, 1);
        Self {
            device,
            more,
            less: F::empty(),
            select: 0,
            accepted: 0,
            statuses: Vec::new(),
            turns: 0,
            unstable: 0,
            pairs: 4,
            stuck: false,
            deaf: false,
        }
    }
}

impl Registers for Fake {
    fn read(&mut self, register: u32) -> u32 {
        match register {
            reg::STATUS if self.stuck => 1,
            reg::STATUS if self.deaf => self.device.read(reg::STATUS) & !Status::FEATURES_OK.bits(),
            reg::STATUS => self.device.read(reg::STATUS) | if self.accepted & self.more.bits() != 0 { 8 } else { 0 },
            reg::DEVICE_FEATURES => {
                let half = |features: F| (features.bits() >> (32 * (self.select & 1))) as u32;
                self.device.read(register) & !half(self.less) | half(self.more)
            }
            reg::CONFIG_GENERATION => {
                self.turns += 1;
                if self.turns <= self.unstable { self.turns } else { 77 }
            }
            0x100 if self.turns < self.unstable => 0xffff_ffff,
            0x108 => self.device.read(register) | u32::from(self.pairs),
            _ => self.device.read(register),
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        assert!(register < reg::CONFIG, "the configuration is the device's");
        match register {
            reg::STATUS => self.statuses.push(value),
            reg::DEVICE_FEATURES_SEL | reg::DRIVER_FEATURES_SEL => self.select = value,
            reg::DRIVER_FEATURES => {
                let shift = 32 * (self.select & 1);
                self.accepted = self.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            _ => {}
        }
        let value = match register {
            reg::DRIVER_FEATURES => value & !(self.more.bits() >> (32 * (self.select & 1))) as u32,
            _ => value,
        };
        self.device.write(register, value);
    }
}

const WANT_NOTHING: Wanted = Wanted { features: F::empty(), pairs: 1 };

fn queue<const N: usize>(size: u16, features: F) -> DriverQueue<N> {
    let len = DriverQueue::<N>::MEMORY_LEN;
    let memory = sluice_test_memory::zeroed(len);
    DriverQueue::new(Gpa(0x1_0000_1000), memory, size, features).unwrap()
}

#[test]
fn the_steps_come_in_their_order() {
    let mut fake = Fake::new(F::empty());
    let mut setup = Setup::new(&mut fake, WANT_NOTHING).unwrap();
    let queue = queue::<256>(256, setup.agreed().features);
    setup.set_queue(0, &queue).unwrap();
    let started = setup.start();
    let features = F::VERSION_1 | F::MAC | F::MTU | F::STATUS;
    assert_eq!(started, Started { mac: [2, 3, 4, 5, 6, 7], mtu: 9000, features, pairs: 1, max_pairs: 1 });
    assert_eq!(fake.statuses, [0, 1, 3, 11, 15]);
    let at = fake.device.queue(0).unwrap();
    assert_eq!((at.size, at.addresses, at.features), (256, queue.addresses(), features.bits()));
}

#[test]
fn each_format_is_agreed_on_with_our_own_device() {
    for wanted in [F::empty(), F::IN_ORDER, F::RING_PACKED, F::RING_PACKED | F::IN_ORDER | F::EVENT_IDX | F::MRG_RXBUF]
    {
        let mut fake = Fake::new(F::empty());
        let mut setup = Setup::new(&mut fake, Wanted { features: wanted, pairs: 1 }).unwrap();
        let features = setup.agreed().features;
        assert_eq!(features, wanted | ALWAYS);
        setup.set_queue(0, &queue::<8>(8, features)).unwrap();
        setup.start();
        assert_eq!(fake.device.queue(0).map(|queue| queue.features), Some(features.bits()));
    }
}

#[test]
fn what_is_not_offered_is_not_taken() {
    let mut fake = Fake::new(F::empty());
    let setup = Setup::new(&mut fake, Wanted { features: F::all(), pairs: 9 }).unwrap();
    let rings = F::INDIRECT_DESC | F::EVENT_IDX | F::MRG_RXBUF | F::IN_ORDER | F::RING_PACKED;
    let control = F::CTRL_VQ | F::CTRL_RX | F::CTRL_MAC_ADDR | F::GUEST_ANNOUNCE;
    let to_device = F::CSUM | F::HOST_TSO4 | F::HOST_TSO6 | F::HOST_ECN;
    let to_driver = F::GUEST_CSUM | F::GUEST_TSO4 | F::GUEST_TSO6 | F::GUEST_ECN | F::GUEST_UFO;
    let offered = ALWAYS | rings | control | to_device | to_driver;
    assert_eq!((setup.agreed().features, setup.agreed().pairs), (offered, 1));
}

#[test]
fn a_feature_is_not_taken_without_what_it_needs() {
    let needy = F::GUEST_TSO4 | F::GUEST_ECN | F::MQ | F::CTRL_MAC_ADDR | F::GUEST_ANNOUNCE;
    let mut fake = Fake { less: F::CTRL_VQ | F::GUEST_CSUM, ..Fake::new(needy) };
    let setup = Setup::new(&mut fake, Wanted { features: F::all(), pairs: 4 }).unwrap();
    assert!(!setup.agreed().features.intersects(needy));
    drop(setup);
    assert_eq!(fake.accepted & needy.bits(), 0);
    let mut fake = Fake::new(needy | F::CTRL_VQ | F::GUEST_CSUM);
    let setup = Setup::new(&mut fake, Wanted { features: F::all(), pairs: 3 }).unwrap();
    assert!(setup.agreed().features.contains(needy));
    assert_eq!((setup.agreed().pairs, setup.agreed().max_pairs), (3, 4));
}

#[test]
fn a_device_whose_mtu_the_buffers_do_not_hold_is_refused() {
    for most in [u16::MAX, 9001, 9000] {
        let mut fake = Fake::new(F::empty());
        let setup = Setup::with_mtu(&mut fake, WANT_NOTHING, most).unwrap();
        assert_eq!((setup.agreed().features, setup.agreed().mtu), (ALWAYS, 9000), "{most}");
        setup.start();
        assert_eq!((fake.device.mtu(), &fake.statuses[..]), (9000, &[0, 1, 3, 11, 15][..]));
    }
    for most in [8999, 1500, 0] {
        let mut fake = Fake::new(F::empty());
        let error = Setup::with_mtu(&mut fake, WANT_NOTHING, most).err();
        assert_eq!(error, Some(StartError::Mtu { device: 9000, most }));
        assert_eq!(fake.statuses, [0, 1, 3, 128 | 3], "the device is told that the driver gave up");
    }
}

#[test]
fn a_number_of_pairs_that_no_device_has_is_refused() {
    for pairs in [0, 0x8001] {
        let mut fake = Fake { pairs, ..Fake::new(F::MQ | F::CTRL_VQ) };
        let error = Setup::new(&mut fake, Wanted { features: F::all(), pairs: 2 }).err();
        assert_eq!(error, Some(StartError::Pairs(pairs)));
        assert_eq!(fake.statuses, [0, 1, 3, 11, 128 | 11], "no bit is cleared");
    }
}

#[test]
fn a_configuration_that_changes_while_it_is_read_is_read_again() {
    let mut fake = Fake { unstable: 4, ..Fake::new(F::empty()) };
    assert_eq!(Setup::new(&mut fake, WANT_NOTHING).unwrap().agreed().mac, [2, 3, 4, 5, 6, 7]);
    assert_eq!(fake.turns, 6);
    let mut fake = Fake { unstable: u32::MAX, ..Fake::new(F::empty()) };
    assert!(Setup::new(&mut fake, WANT_NOTHING).is_ok(), "one that changes for ever ends the reading, not the driver");
    assert_eq!(fake.turns, 16);
}

#[test]
fn a_queue_larger_than_the_device_has_is_refused_and_the_device_told() {
    let mut fake = Fake::new(F::empty());
    let mut setup = Setup::new(&mut fake, WANT_NOTHING).unwrap();
    assert_eq!(setup.set_queue(0, &queue::<2048>(2048, ALWAYS)), Err(StartError::QueueTooSmall(0, 1024)));
    assert_eq!(setup.set_queue(7, &queue::<8>(8, ALWAYS)), Err(StartError::QueueTooSmall(7, 0)));
    drop(setup);
    assert_eq!(fake.statuses, [0, 1, 3, 11, 128 | 11], "no bit is cleared");
    assert!(Status::from_bits_retain(fake.device.read(reg::STATUS)).contains(Status::FAILED));
}

#[test]
fn a_queue_that_the_device_does_not_take_or_has_already_is_refused() {
    let mut fake = Fake::new(F::empty());
    let mut setup = Setup::new(&mut fake, WANT_NOTHING).unwrap();
    assert_eq!(setup.set_queue(0, &queue::<8>(6, ALWAYS | F::RING_PACKED)), Err(StartError::QueueRefused(0)));
    assert_eq!(setup.set_queue(0, &queue::<8>(8, ALWAYS)), Ok(()));
    assert_eq!(setup.set_queue(0, &queue::<8>(8, ALWAYS)), Err(StartError::QueueRefused(0)));
}

#[test]
fn a_device_that_refuses_or_hangs_is_given_up() {
    let mut fake = Fake { deaf: true, ..Fake::new(F::empty()) };
    assert_eq!(Setup::new(&mut fake, WANT_NOTHING).err(), Some(StartError::FeaturesRefused));
    assert_eq!(fake.statuses, [0, 1, 3, 11, 128 | 11], "no bit is cleared");
    let mut fake = Fake { stuck: true, ..Fake::new(F::empty()) };
    assert_eq!(Setup::new(&mut fake, WANT_NOTHING).err(), Some(StartError::ResetStuck));
}

struct Fixed(u32);

impl Registers for Fixed {
    fn read(&mut self, _: u32) -> u32 {
        self.0
    }
    fn write(&mut self, _: u32, _: u32) {}
}

#[test]
fn what_is_no_device_is_named() {
    for value in [0, u32::MAX] {
        assert_eq!(Setup::new(&mut Fixed(value), WANT_NOTHING).err(), Some(StartError::NoDevice(value, value)));
    }
}

/// A running device of which only the generation and the status word of the configuration are read.
struct Link(LinkStatus);

impl Registers for Link {
    fn read(&mut self, register: u32) -> u32 {
        if register == reg::CONFIG + 4 { u32::from(self.0.bits()) << 16 } else { 0 }
    }
    fn write(&mut self, register: u32, _: u32) {
        panic!("{register:#x} is not for writing");
    }
}

#[test]
fn a_link_is_as_the_device_says_and_announcements_are_asked_for_only_where_that_was_agreed() {
    let (up, announce) = (LinkStatus::LINK_UP, LinkStatus::ANNOUNCE);
    for status in [LinkStatus::empty(), up, announce, up | announce] {
        for (features, expected) in [
            (F::empty(), up),
            (F::GUEST_ANNOUNCE, up),
            (F::STATUS, status - announce),
            (F::STATUS | F::GUEST_ANNOUNCE, status),
        ] {
            let started = Started { mac: [0; 6], mtu: 1500, features, pairs: 1, max_pairs: 1 };
            assert_eq!(link_status(&mut Link(status), &started), expected, "{status:?} {features:?}");
        }
    }
}

/// A queue whose reset takes a while, with its reads and writes in order.
struct Resetting {
    looks: u32,
    log: Vec<(u32, u32)>,
    ready: bool,
}

impl Registers for Resetting {
    fn read(&mut self, register: u32) -> u32 {
        match register {
            reg::QUEUE_RESET => {
                self.looks = self.looks.saturating_sub(1);
                u32::from(self.looks > 0)
            }
            reg::QUEUE_READY => (self.ready || self.looks > 0).into(),
            reg::QUEUE_SIZE_MAX => 8,
            _ => 0,
        }
    }
    fn write(&mut self, register: u32, value: u32) {
        self.ready |= (register, value) == (reg::QUEUE_READY, 1);
        self.log.push((register, value));
    }
}

/// See: VIRTIO 2.6.1.2 "Driver Requirements: Virtqueue Reset", 4.2.2.2 "Driver Requirements: MMIO Device Register
/// Layout".
#[test]
fn the_memory_of_a_queue_is_the_drivers_only_once_its_reset_is_done() {
    for looks in [1, 2, 3, 100] {
        let mut device = Resetting { looks, log: Vec::new(), ready: false };
        let (at, made) = (core::cell::Cell::new(0), queue::<8>(8, ALWAYS));
        let addresses = made.addresses();
        let renewed = renew_queue(&mut device, 5, || {
            at.set(1);
            made
        });
        assert_eq!((renewed.map(|queue| queue.addresses()), at.get()), (Ok(addresses), 1));
        let reset = device.log.iter().position(|&write| write == (reg::QUEUE_RESET, 1));
        let ready = device.log.iter().position(|&write| write == (reg::QUEUE_READY, 1));
        assert!(reset.is_some() && reset < ready && device.looks == 0, "{looks}");
    }
    // The first device never finishes, and the second does not know the register.
    for (looks, ready) in [(u32::MAX, false), (0, true)] {
        let mut stuck = Resetting { looks, log: Vec::new(), ready };
        let renewed = renew_queue::<8>(&mut stuck, 5, || panic!("its memory is still the device's"));
        assert_eq!(renewed.err(), Some(StartError::ResetStuck));
        assert!(stuck.log.iter().all(|&(register, _)| [reg::QUEUE_SEL, reg::QUEUE_RESET].contains(&register)));
    }
}
