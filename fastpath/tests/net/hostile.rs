//! A device side that breaks the protocol, and starting anew.

use super::*;
use sluice::{DeviceFault, Transmit, TxError};
use sluice_abi::packed::{Desc, DescF};
use sluice_abi::virtq::{QueueAddresses, UsedElem, used};
use sluice_driver::StartError;

/// The faults of a device with a transmit queue that holds four frames.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// The device uses more buffers than there are.
    TooMany,
    /// The device uses a buffer that does not exist.
    NoBuffer,
    /// The device uses the same buffer twice.
    Twice,
    /// The device writes into a buffer that is for reading only.
    Written,
}

/// The device's side of VM a's transmit queue.
struct Liar {
    ram: PeerSlice<'static>,
    at: QueueAddresses,
}

impl Liar {
    fn new(lan: &Lan) -> Self {
        Self { ram: lan.rams[0], at: lan.queue(0, transmitq(0)).addresses }
    }

    fn use_split(&self, at: u16, id: u32, len: u32) {
        let element = self.at.device.0 + used::RING + u64::from(at) * size_of::<UsedElem>() as u64;
        self.ram.write(element, UsedElem { id, len }).expect("inside");
    }

    fn publish(&self, idx: u16) {
        self.ram.write(self.at.device.0 + used::IDX, idx).expect("inside");
    }

    fn use_packed(&self, at: u16, id: u16, len: u32) {
        // Without the flag the length is undefined. See: VIRTIO 2.8.4 "Element Address and Length".
        let flags = DescF::used(true).union(if len > 0 { DescF::WRITE } else { DescF::empty() });
        let desc = Desc { addr: Gpa(0), len, id, flags: flags.bits() };
        self.ram.write(self.at.desc.0 + u64::from(at) * size_of::<Desc>() as u64, desc).expect("inside");
    }

    fn tell(&self, format: RingFormat, lie: Lie) {
        match (format, lie) {
            (RingFormat::Packed, Lie::Written) => self.use_packed(0, 0, 1),
            (RingFormat::Packed, Lie::Twice) => {
                self.use_packed(0, 0, 0);
                self.use_packed(1, 0, 0);
            }
            (RingFormat::Packed, _) => self.use_packed(0, 77, 0),
            (_, Lie::TooMany) => self.publish(5),
            (_, Lie::NoBuffer) => {
                self.use_split(0, 77, 0);
                self.publish(1);
            }
            (_, Lie::Twice) => {
                let head: u16 = self.ram.read(self.at.driver.0 + 4).expect("inside");
                self.use_split(0, head.into(), 0);
                self.use_split(1, head.into(), 0);
                self.publish(2);
            }
            (_, Lie::Written) => {
                let head: u16 = self.ram.read(self.at.driver.0 + 4).expect("inside");
                self.use_split(0, head.into(), 1);
                self.publish(1);
            }
        }
    }
}

/// Nothing more goes to such a device, no buffer is in the pool twice, and unsent frames are counted when the device
/// is started anew.
#[test]
fn a_device_that_lies_about_what_it_sent_gets_nothing_more_until_a_restart() {
    for (format, lie) in RingFormat::ALL
        .into_iter()
        .flat_map(|format| [Lie::TooMany, Lie::NoBuffer, Lie::Twice, Lie::Written].map(|lie| (format, lie)))
    {
        let lan = Lan::two();
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(format)));
        lan.asleep.set(true);
        let frames: Vec<_> = (0..4).map(|mark| frame(mac(1), mac(0), mark)).collect();
        let mut burst = a.burst(&frames);
        a.net.tx_burst(&mut burst, MAX_BURST).expect("room");
        Liar::new(&lan).tell(format, lie);
        let mut more = a.burst(&frames);
        for _ in 0..2 {
            let error = a.net.tx_burst(&mut more, MAX_BURST).expect_err(&format!("{format:?} {lie:?}"));
            let fault = a.net.fault().expect("a fault");
            assert_eq!(
                (error, more.len(), a.net.tx_stats().packets),
                (TxError::Device(fault), 4, 4),
                "{format:?} {lie:?}"
            );
        }
        let told = usize::from(matches!(lie, Lie::Twice));
        a.net.restart().expect("the same device");
        assert_eq!((a.net.fault(), a.net.tx_stats().unsent as usize), (None, 4 - told), "{format:?} {lie:?}");
        drop((burst, more));
        assert_eq!(a.pool.available(), BUFFERS - usize::from(ENTRIES));
        let mut all = a.pool.burst();
        let mut offsets: Vec<_> =
            std::iter::from_fn(|| all.push(60).ok().map(|frame| frame.bytes().as_ptr())).collect();
        offsets.sort();
        offsets.dedup();
        assert_eq!(offsets.len(), BUFFERS - usize::from(ENTRIES), "each buffer once");
        drop(all);
        lan.asleep.set(false);
        let mut burst = a.burst(&frames);
        assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(4));
        assert_eq!(b.received(), frames);
    }
}

#[test]
fn a_lie_about_the_transmit_queue_does_not_stop_the_receive_queue() {
    let lan = Lan::two();
    let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::Split)));
    lan.asleep.set(true);
    a.net.tx_burst(&mut a.burst(&[frame(mac(1), mac(0), 0)]), MAX_BURST).expect("room");
    Liar::new(&lan).publish(9);
    lan.asleep.set(false);
    b.net.tx_burst(&mut b.burst(&[frame(mac(0), mac(1), 1)]), MAX_BURST).expect("room");
    assert_eq!(a.received(), [frame(mac(0), mac(1), 1)]);
    assert_eq!(a.net.fault(), Some(DeviceFault::UsedIdx), "found, and kept for the next call that sends");
}

#[test]
fn a_restart_and_a_stop_give_every_buffer_back() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(format)));
        for round in 1..4 {
            lan.asleep.set(true);
            let mut burst = a.burst(&[frame(mac(1), mac(0), 1), frame(mac(1), mac(0), 2)]);
            assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(2));
            lan.asleep.set(false);
            a.net.restart().expect("the same device");
            assert_eq!((a.net.tx_stats().unsent, a.pool.available()), (2 * round, BUFFERS - usize::from(ENTRIES)));
            let mut burst = a.burst(&[frame(mac(1), mac(0), 3)]);
            assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(1));
            assert_eq!(b.received(), [frame(mac(1), mac(0), 3)]);
        }
        let Vm { net, pool } = a;
        let device = net.stop().expect("a device that resets");
        assert_eq!(pool.available(), BUFFERS);
        assert!(lan.network.borrow().device(0).expect("there").queue(receiveq(0)).is_none());
        let again =
            VirtioNet::start(device, lan.packets(0).split_at(VirtioNet::QUEUE_LEN).expect("room").0, pool, format);
        // The whole pool fits the largest queue.
        assert_eq!(again.map(|net| net.pairs()), Ok(1));
    }
}

/// A device that does not finish its reset may still write to its buffers.
#[test]
fn a_device_that_does_not_finish_its_reset_keeps_its_buffers() {
    struct Stuck(Device, Rc<Cell<bool>>);
    impl Registers for Stuck {
        fn read(&mut self, register: u32) -> u32 {
            let stuck = register == sluice_abi::mmio::reg::STATUS && self.1.get();
            if stuck { 4 } else { self.0.read(register) }
        }
        fn write(&mut self, register: u32, value: u32) {
            self.0.write(register, value);
        }
    }
    let (lan, stuck) = (Lan::two(), Rc::default());
    let started = lan.start_on(0, Stuck(lan.device(0), Rc::clone(&stuck)), options(RingFormat::default()));
    let mut a: Vm<_, 1> = started.expect("a device");
    stuck.set(true);
    assert_eq!(a.net.restart(), Err(VirtioNetError::Start(StartError::ResetStuck)));
    assert_eq!(a.pool.available(), BUFFERS - usize::from(ENTRIES));
    stuck.set(false);
    a.net.restart().expect("the same device");
    assert_eq!(a.pool.available(), BUFFERS - usize::from(ENTRIES));
}
