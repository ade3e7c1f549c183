//! The driver side against two device sides: this project's in every format, and split rings of rust-vmm's
//! `virtio-queue`.

use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue as QueueEntry;
use sluice_abi::net::{F, HDR_LEN, Hdr, HdrF};
use sluice_driver::{Arrival, ArrivedFrame, DriverQueue, Part, Receiver, Sender};
use sluice_inside::{Dequeue, DeviceQueue, Enqueue, Regions};
use sluice_memory::{PeerSlice, Words};
use sluice_test_memory::{read, zeroed};
use std::collections::VecDeque;
use zerocopy::IntoBytes;

const N: usize = 64;
const LEN: u64 = 1 << 20;
const RING: u64 = 0x1000;
const BUFFERS: u64 = 0x8_0000;
const STRIDE: u64 = 4096;

/// Returns a queue of this project in `memory`.
fn driver(memory: PeerSlice<'static>, size: u16, features: F) -> DriverQueue<N> {
    let len = DriverQueue::<N>::MEMORY_LEN + DriverQueue::<N>::TABLES_LEN;
    DriverQueue::new(Gpa(RING), memory.sub(RING, len).unwrap(), size, features).unwrap()
}

/// Returns the features of format `format` of four, with these options.
fn features(format: usize, [merge, event_idx, indirect]: [bool; 3]) -> F {
    let format = [F::empty(), F::IN_ORDER, F::RING_PACKED, F::RING_PACKED | F::IN_ORDER][format];
    let mut features = F::VERSION_1 | F::CSUM | F::GUEST_CSUM | format;
    features.set(F::MRG_RXBUF, merge);
    features.set(F::EVENT_IDX, event_idx);
    features.set(F::INDIRECT_DESC, indirect);
    features
}

fn frame(number: usize, len: u32) -> Vec<u8> {
    (0..len as usize).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Returns a header, with an offload in each third one.
fn hdr(number: usize) -> Hdr {
    match number % 3 {
        0 => Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 4, csum_offset: 2, num_buffers: 1, ..Hdr::default() },
        _ => Hdr { num_buffers: 1, ..Hdr::default() },
    }
}

/// Returns this project's device side of `queue`.
fn device(memory: PeerSlice<'static>, queue: &DriverQueue<N>, features: F) -> (DeviceQueue, Regions) {
    let regions = Regions::from_slices(&[(Gpa(0), memory)]).unwrap();
    let entry = QueueEntry {
        addresses: queue.addresses(),
        features: features.bits(),
        size: queue.size(),
        ..Default::default()
    };
    (DeviceQueue::new(&entry, &regions).unwrap(), regions)
}

/// A receive queue with buffers of `buffer` bytes: the driver, and the frames that it expects.
struct Receive {
    memory: PeerSlice<'static>,
    queue: DriverQueue<N>,
    receiver: Receiver,
    free: Vec<u32>,
    buffer: u32,
    expected: VecDeque<Vec<u8>>,
}

impl Receive {
    fn new(size: u16, features: F, buffer: u32) -> Self {
        let memory = zeroed(LEN);
        let queue = driver(memory, size, features);
        let free = (0..N as u32).collect();
        Self { memory, queue, receiver: Receiver::new(features), free, buffer, expected: VecDeque::new() }
    }

    fn give(&mut self) {
        while let Some(&token) = self.free.last()
            && self.queue.give(Gpa(BUFFERS + u64::from(token) * STRIDE), self.buffer, token)
        {
            self.free.pop();
        }
        self.queue.publish();
    }

    fn take(&mut self) {
        let memory = self.memory;
        loop {
            let mut parts = [Part::default(); N];
            let buffer = |token: u32| memory.sub(BUFFERS + u64::from(token) * STRIDE, STRIDE).ok();
            match self.receiver.take(&mut self.queue, buffer, &mut parts).expect("no fault") {
                Arrival::Nothing => return,
                Arrival::Frame(ArrivedFrame { parts: count, .. }) => {
                    let place = |part: &Part| BUFFERS + u64::from(part.token) * STRIDE + u64::from(part.start);
                    let got: Vec<u8> =
                        parts[..count].iter().flat_map(|part| read(memory, place(part), part.len.into())).collect();
                    assert_eq!(Some(got), self.expected.pop_front());
                    self.free.extend(parts[..count].iter().map(|part| part.token));
                }
                Arrival::Dropped(_) => panic!("nothing is to be dropped"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 64 },
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn frames_of_our_own_device_side_arrive(
        bursts in vec(vec(8u32..3000, 1..40), 1..if cfg!(miri) { 3 } else { 10 }),
        format in 0..4usize,
        options: [bool; 3],
        odd in 33..=64u16,
    ) {
        let features = features(format, options);
        let size = if features.contains(F::RING_PACKED) { odd } else { 64 };
        let buffer = if features.contains(F::MRG_RXBUF) { 400 } else { 3012 };
        let mut receive = Receive::new(size, features, buffer);
        let (mut device, regions) = device(receive.memory, &receive.queue, features);
        for burst in &bursts {
            receive.give();
            for (number, &len) in burst.iter().enumerate() {
                let mut source = frame(number, len);
                let source_slice = PeerSlice::from_mut(&mut source);
                match device.enqueue(&regions, &hdr(number), source_slice, buffer - HDR_LEN, Words).expect("no fault") {
                    Enqueue::Filled => receive.expected.push_back(frame(number, len)),
                    Enqueue::Full => break,
                    other => panic!("{other:?}"),
                }
            }
            device.publish();
            assert!(!device.needs_notification() || features.contains(F::EVENT_IDX), "a poller asks for none");
            receive.take();
            assert!(receive.expected.is_empty());
            assert_eq!(receive.queue.fault(), None);
        }
    }

    #[test]
    fn our_own_device_side_takes_what_is_sent(
        frames in vec((vec(1u32..900, 1..6), any::<bool>()), 1..if cfg!(miri) { 8 } else { 200 }),
        format in 0..4usize,
        options: [bool; 3],
        odd in 33..=64u16,
    ) {
        let features = features(format, options);
        let size = if features.contains(F::RING_PACKED) { odd } else { 64 };
        let memory = zeroed(LEN);
        let mut queue = driver(memory, size, features);
        let (mut device, regions) = device(memory, &queue, features);
        device.ask_for_notifications(true);
        for (number, (pieces, separate)) in frames.iter().enumerate() {
            let place = BUFFERS + (number % N) as u64 * STRIDE;
            let len: u32 = pieces.iter().sum();
            let sent = frame(number, len);
            let hdr = if len < 8 { Hdr::default() } else { hdr(number) };
            let header = Sender::new(features, 1500).header(hdr, len).unwrap();
            memory.copy_from_slice(place, header.as_bytes()).unwrap();
            memory.copy_from_slice(place + u64::from(HDR_LEN), &sent).unwrap();
            // The header has a descriptor of its own, or shares one with the first piece.
            let mut chain = vec![(Gpa(place), HDR_LEN)];
            let mut at = place + u64::from(HDR_LEN);
            for (index, &piece) in pieces.iter().enumerate() {
                match chain.last_mut() {
                    Some((_, len)) if index == 0 && !separate => *len += piece,
                    _ => chain.push((Gpa(at), piece)),
                }
                at += u64::from(piece);
            }
            assert!(queue.send(&chain, number as u32));
            queue.publish();
            assert!(queue.needs_notification(), "it was asked for");
            let mut target = vec![0; 8192];
            let into = PeerSlice::from_mut(&mut target);
            let Dequeue::Frame { hdr, len: got } = device.dequeue(&regions, into, Words).expect("no fault") else {
                panic!("no frame")
            };
            assert_eq!(hdr, header);
            device.publish();
            device.ask_for_notifications(true);
            assert_eq!(read(into, 0, got.into()), sent);
            assert_eq!(queue.ready(), Ok(1));
            assert_eq!(queue.take().map(|received| (received.token, received.len)), Ok((number as u32, 0)));
        }
        assert_eq!(queue.room(), usize::from(size));
    }
}

#[cfg(not(miri))]
mod oracle {
    use super::*;
    use sluice_test_memory::shared;
    use virtio_queue::{Queue, QueueOwnedT, QueueT};
    use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

    /// Returns memory as rust-vmm's crates and as ours see it.
    fn memory() -> (GuestMemoryMmap, PeerSlice<'static>) {
        let (memory, file) = shared(LEN);
        let range = (GuestAddress(0), LEN as usize, Some(FileOffset::new(file, 0)));
        (GuestMemoryMmap::from_ranges_with_files([range]).unwrap(), memory)
    }

    /// Returns the device side of `queue` by `virtio-queue`.
    fn oracle(mmap: &GuestMemoryMmap, queue: &DriverQueue<N>, event_idx: bool) -> Queue {
        let mut device = Queue::new(N as u16).unwrap();
        let at = queue.addresses();
        device.set_size(queue.size());
        device.try_set_desc_table_address(GuestAddress(at.desc.0)).unwrap();
        device.try_set_avail_ring_address(GuestAddress(at.driver.0)).unwrap();
        device.try_set_used_ring_address(GuestAddress(at.device.0)).unwrap();
        device.set_event_idx(event_idx);
        device.set_ready(true);
        assert!(device.is_valid(mmap));
        device
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        /// Buffers and chains are used in any order, with notifications of both sides.
        #[test]
        fn virtio_queue_sees_what_we_give_and_we_take_what_it_uses(
            rounds in vec(vec((1usize..5, 0usize..3, any::<usize>()), 1..20), 1..30),
            in_order: bool,
            event_idx: bool,
            indirect: bool,
        ) {
            let features = features(usize::from(in_order), [false, event_idx, indirect]);
            let (mmap, memory) = memory();
            let mut queue = driver(memory, 64, features);
            let mut device = oracle(&mmap, &queue, event_idx);
            let (mut token, mut given, mut held) = (0u32, VecDeque::new(), Vec::new());
            for round in &rounds {
                for &(readable, writable, _) in round {
                    let start = BUFFERS + u64::from(token) % 64 * 4096;
                    let piece = |at: usize, len: u32| (Gpa(start + at as u64 * 16), len);
                    let read: Vec<_> = (0..readable).map(|at| piece(at, 8)).collect();
                    let write: Vec<_> = (0..writable).map(|at| piece(8 + at, 16)).collect();
                    if !queue.request(&read, &write, token) {
                        break;
                    }
                    let marked = |pieces: &[(Gpa, u32)], write| -> Vec<_> {
                        pieces.iter().map(|&(at, len)| (at.0, len, write)).collect()
                    };
                    let all = [marked(&read, false), marked(&write, true)].concat();
                    given.push_back((token, all));
                    token += 1;
                }
                queue.publish();
                while let Some(chain) = device.iter(&mmap).unwrap().next() {
                    let head = chain.head_index();
                    let seen: Vec<_> = chain.map(|desc| (desc.addr().0, desc.len(), desc.is_write_only())).collect();
                    let (token, all) = given.pop_front().expect("not more than were given");
                    assert_eq!(seen, all);
                    held.push((token, head, all));
                }
                assert!(given.is_empty());
                let mut used = VecDeque::new();
                for &(.., place) in round {
                    if held.is_empty() {
                        break;
                    }
                    let (token, head, all) = held.remove(if in_order { 0 } else { place % held.len() });
                    let len: u32 = all.iter().filter(|&&(.., write)| write).map(|&(_, len, _)| len).sum();
                    mmap.write_obj(0x55u8, GuestAddress(all[0].0)).unwrap();
                    device.add_used(&mmap, head, len).unwrap();
                    used.push_back((token, len));
                }
                // Without the index, `virtio-queue` never reads the flag.
                assert!(!event_idx || !device.needs_notification(&mmap).unwrap(), "a poller asks for none");
                while let Ok(ready @ 1..) = queue.ready() {
                    for _ in 0..ready {
                        let received = queue.take().expect("no fault");
                        assert_eq!(used.pop_front(), Some((received.token, received.len)));
                    }
                }
                assert_eq!((used.len(), queue.fault()), (0, None));
            }
        }
    }

    #[test]
    fn virtio_queue_and_we_agree_on_who_is_to_be_told() {
        for event_idx in [false, true] {
            let features = features(0, [false, event_idx, false]);
            let (mmap, memory) = memory();
            let mut queue = driver(memory, 64, features);
            let mut device = oracle(&mmap, &queue, event_idx);
            for round in 0..3 {
                device.enable_notification(&mmap).unwrap();
                assert!(queue.give(Gpa(BUFFERS), 64, round));
                queue.publish();
                assert!(queue.needs_notification());
                device.disable_notification(&mmap).unwrap();
                assert!(queue.give(Gpa(BUFFERS), 64, round));
                queue.publish();
                assert!(!queue.needs_notification());
                queue.suppress_interrupts(false);
                for _ in 0..2 {
                    let head = device.iter(&mmap).unwrap().next().unwrap().head_index();
                    device.add_used(&mmap, head, 60).unwrap();
                }
                assert!(device.needs_notification(&mmap).unwrap());
                queue.suppress_interrupts(true);
                while queue.is_ready() == Ok(true) {
                    queue.take().unwrap();
                }
            }
        }
    }
}
