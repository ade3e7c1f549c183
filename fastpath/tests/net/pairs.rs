//! Several queue pairs: the host's switch fills pair 0, and each VM that may send through a window one of the others.

use super::*;
use sluice::{Hdr, Transmit};
use sluice_inside::{DeviceQueue, Enqueue, Regions};

/// The VMs a and b send to c through windows, and c answers by the switch.
const TWO_SENDERS: [&str; 3] = ["peers = [\"c\"]", "peers = [\"c\"]", "lan = [\"a\", \"b\"]"];
const C: u32 = 2;

type Receiver = Vm<Device, 4>;

fn pairs(format: RingFormat, pairs: u16) -> Options {
    Options { pairs, ..options(format) }
}

/// The device side of the receive queue of pair `pair` of c, as a window has it.
fn window(lan: &Lan, pair: u16) -> (DeviceQueue, Regions) {
    let regions = Regions::from_slices(&[(Gpa(0), lan.rams[C as usize])]).expect("RAM");
    (DeviceQueue::new(&lan.queue(C, receiveq(pair)), &regions).expect("a queue"), regions)
}

/// Puts at most `most` frames into the queue, and returns the number that it took.
fn put((queue, regions): &mut (DeviceQueue, Regions), most: usize, mark: u8) -> usize {
    let from = zeroed(64);
    from.copy_from_slice(0, &frame(mac(C), mac(0), mark)).expect("room");
    let bytes = from.sub(0, 60).expect("inside");
    let mut one = |_: &usize| matches!(queue.enqueue(regions, &Hdr::default(), bytes, 60, Words), Ok(Enqueue::Filled));
    let count = (0..most).take_while(&mut one).count();
    queue.publish();
    count
}

#[test]
fn frames_of_every_pair_arrive() {
    for format in RingFormat::ALL {
        let lan = Lan::new(&TWO_SENDERS);
        let mut c: Receiver = lan.start_on(C, lan.device(C), pairs(format, 4)).expect("a device");
        assert_eq!((c.net.pairs(), c.net.features().contains(F::MQ)), (3, true), "as many as the device has");
        let mut a = lan.start(0, options(format));
        let mut windows = [1, 2].map(|pair| window(&lan, pair));
        for _ in 0..100 {
            for (mark, window) in (1..).zip(&mut windows) {
                assert_eq!(put(window, 2, mark), 2);
            }
            a.net.tx_burst(&mut a.burst(&[frame(mac(C), mac(0), 3)]), MAX_BURST).expect("room");
            let mut marks: Vec<_> = c.received().iter().map(|frame| frame[20]).collect();
            marks.sort();
            assert_eq!(marks, [1, 1, 2, 2, 3]);
        }
        assert_eq!(c.net.rx_stats().packets, 500);
    }
}

#[test]
fn frames_are_sent_on_the_transmit_queue_of_one_pair_alone() {
    for (tx_pair, expected) in [(0, [100, 0, 0]), (2, [0, 0, 100])] {
        let lan = Lan::new(&TWO_SENDERS);
        let options = Options { tx_pair, ..pairs(RingFormat::Split, 3) };
        let mut c: Receiver = lan.start_on(C, lan.device(C), options).expect("a device");
        for mark in 0..100 {
            assert_eq!(c.net.tx_burst(&mut c.burst(&[frame(mac(0), mac(C), mark)]), MAX_BURST), Ok(1));
        }
        let given = [0, 1, 2].map(|pair| {
            let avail = lan.queue(C, transmitq(pair)).addresses.driver.0;
            lan.rams[C as usize].read::<u16>(avail + 2).expect("inside")
        });
        assert_eq!(given, expected);
    }
}

#[test]
fn there_is_no_sending_on_a_pair_that_the_device_does_not_have() {
    let lan = Lan::new(&TWO_SENDERS);
    let options = Options { tx_pair: 3, ..pairs(RingFormat::Split, 4) };
    let started: Result<Receiver, _> = lan.start_on(C, lan.device(C), options);
    assert_eq!(started.err(), Some(VirtioNetError::Pairs { pairs: 4, most: 3 }));
}

/// A frame on a slow path has a header and perhaps tags behind it, and is no longer than what arrived but for those.
#[test]
fn a_slow_path_takes_frames_that_are_longer_by_their_header() {
    let lan = Lan::new(&TWO_SENDERS);
    for (tx_pair, longer) in [(0, 0), (2, 24)] {
        let options = Options { tx_pair, ..pairs(RingFormat::Split, 3) };
        let mut c: Receiver = lan.start_on(C, lan.device(C), options).expect("a device");
        let longest = usize::from(c.net.mtu()) + 14 + longer;
        let sent = [longest, longest + 1].map(|len| {
            let mut bytes = frame(mac(0), mac(C), 1);
            bytes.resize(len, 1);
            c.net.tx_burst(&mut c.burst(&[bytes]), MAX_BURST).is_ok()
        });
        assert_eq!(sent, [true, false], "{tx_pair}");
    }
}

/// The mark of a frame that arrived is the pair that it arrived by, also if it lay in several buffers.
#[test]
fn a_frame_has_the_pair_that_it_arrived_by_as_its_mark() {
    for format in RingFormat::ALL {
        let lan = Lan::new(&TWO_SENDERS);
        let mut c: Receiver = lan.start_on(C, lan.device(C), pairs(format, 3)).expect("a device");
        let mut windows = [1, 2].map(|pair| window(&lan, pair));
        // The first burst has no spare buffers, and takes frames one by one.
        for _ in 0..2 {
            windows.iter_mut().zip(1..).for_each(|(window, mark)| assert_eq!(put(window, 3, mark), 3));
            let mut burst = c.pool.burst();
            assert_eq!(c.net.rx_burst(&mut burst, MAX_BURST), Ok(6));
            for frame in burst.frames() {
                assert_eq!(frame.head::<1>(20), Some([frame.mark() as u8]), "{format:?}");
            }
        }
    }
}

/// What is in the other queues stays there.
#[test]
fn frames_of_one_pair_can_be_received_alone() {
    for format in RingFormat::ALL {
        let lan = Lan::new(&TWO_SENDERS);
        let mut c: Receiver = lan.start_on(C, lan.device(C), pairs(format, 4)).expect("a device");
        let mut windows = [1, 2].map(|pair| window(&lan, pair));
        for _ in 0..100 {
            windows.iter_mut().zip(1..).for_each(|(window, mark)| assert_eq!(put(window, 5, mark), 5));
            let mut burst = c.pool.burst();
            for (pair, most, expected) in
                [(2, 3, 3), (0, 32, 0), (2, 32, 2), (1, 32, 5), (1, 32, 0), (3, 32, 0), (9, 32, 0)]
            {
                burst.clear();
                assert_eq!(c.net.rx_burst_from(pair, &mut burst, most), Ok(expected), "{format:?}, {pair}");
                let is_of_pair = |frame: &[u8]| u16::from(frame[20]) == pair;
                assert!(contents(&burst).iter().all(|frame| is_of_pair(frame)));
                assert!(burst.frames().all(|frame| frame.mark() == pair.into()));
            }
        }
        assert_eq!((c.net.rx_stats().packets, c.net.polls_without_buffer()), (1000, 0));
        let mut foreign = lan.start(0, options(format)).burst(&[]);
        assert_eq!(c.net.rx_burst_from(1, &mut foreign, 32), Err(sluice::RxError::ForeignPool));
    }
}

#[test]
fn no_queue_starves_another() {
    let lan = Lan::new(&TWO_SENDERS);
    let mut c: Receiver = lan.start_on(C, lan.device(C), pairs(RingFormat::default(), 3)).expect("a device");
    let mut windows = [1, 2].map(|pair| window(&lan, pair));
    let mut seen = [0; 3];
    for _ in 0..90 {
        // Both queues always have more than one call takes.
        for (mark, window) in (1..).zip(&mut windows) {
            put(window, MAX_BURST, mark);
        }
        let mut burst = c.pool.burst();
        assert_eq!(c.net.rx_burst(&mut burst, 8), Ok(8));
        contents(&burst).iter().for_each(|frame| seen[usize::from(frame[20])] += 1);
    }
    assert_eq!(seen[1] + seen[2], 90 * 8);
    assert!(seen[1].min(seen[2]) >= 90 * 8 / 3, "{seen:?}");
}

#[test]
fn a_queue_at_fault_does_not_stop_the_others_and_gets_nothing_more() {
    let lan = Lan::new(&TWO_SENDERS);
    let mut c: Receiver = lan.start_on(C, lan.device(C), pairs(RingFormat::Split, 3)).expect("a device");
    let mut second = window(&lan, 2);
    // The device uses more buffers than there are.
    let used = lan.queue(C, receiveq(1)).addresses.device.0;
    lan.rams[C as usize].write(used + 2, 1000u16).expect("inside");
    for _ in 0..20 {
        assert_eq!((put(&mut second, 4, 2), c.received().len()), (4, 4));
    }
    let fault = sluice::RxError::Device(sluice::DeviceFault::UsedIdx);
    assert_eq!(c.net.rx_burst(&mut c.pool.burst(), MAX_BURST), Err(fault));
    assert_eq!(c.net.fault(), Some(sluice::DeviceFault::UsedIdx));
    let mut alone = |pair| c.net.rx_burst_from(pair, &mut c.pool.burst(), MAX_BURST);
    assert_eq!((put(&mut second, 4, 2), alone(1), alone(2)), (4, Err(fault), Ok(4)));
    c.net.restart().expect("the same device");
    assert_eq!((c.net.fault(), c.net.pairs(), c.received().len()), (None, 3, 0));
}

#[test]
fn a_device_with_one_pair_is_used_with_one() {
    let lan = Lan::new(&["", ""]);
    let vm: Receiver = lan.start_on(0, lan.device(0), pairs(RingFormat::default(), 4)).expect("a device");
    assert_eq!((vm.net.pairs(), vm.net.features().contains(F::MQ)), (1, false));
}

#[test]
fn pairs_that_can_not_be_had_are_an_error_at_once() {
    let lan = Lan::new(&TWO_SENDERS);
    for wrong in [0, 5, u16::MAX] {
        let started = lan.start_on::<_, 4>(C, lan.device(C), pairs(RingFormat::default(), wrong)).err();
        assert_eq!(started, Some(VirtioNetError::Pairs { pairs: wrong, most: 4 }));
    }
    let many = Options { entries: 128, ..pairs(RingFormat::default(), 3) };
    let error = lan.start_on::<_, 4>(C, lan.device(C), many).err().expect("too few buffers");
    assert_eq!(error, VirtioNetError::Pool { free: BUFFERS, entries: 3 * 128 });
    assert_eq!(error.to_string(), "the pool has 256 free buffers; the receive queues alone take 384");
}

/// A host that does not answer the command can't have several pairs. All buffers come back.
#[test]
fn a_device_that_refuses_its_pairs_is_stopped() {
    let lan = Lan::new(&TWO_SENDERS);
    let transport = Refusing(lan.device(C));
    let error = lan.start_on::<_, 4>(C, transport, pairs(RingFormat::default(), 3)).err();
    assert!(matches!(error, Some(VirtioNetError::Control(_))), "{error:?}");
    assert!(lan.network.borrow().device(C).expect("there").queue(receiveq(0)).is_none(), "reset");
}

/// The registers of a device that forgets the transmit queue of pair 2.
struct Refusing(Device);

impl Registers for Refusing {
    fn read(&mut self, register: u32) -> u32 {
        self.0.read(register)
    }

    fn write(&mut self, register: u32, value: u32) {
        if register == sluice_abi::mmio::reg::QUEUE_NOTIFY {
            self.0.write(sluice_abi::mmio::reg::QUEUE_SEL, transmitq(2).into());
            self.0.write(sluice_abi::mmio::reg::QUEUE_READY, 0);
        }
        self.0.write(register, value);
    }
}
