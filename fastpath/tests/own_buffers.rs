//! A program with buffers of its own, as DPDK has mbufs: they are posted with a token, sent by offset, and never
//! copied.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{
    Accepted, Arrived, Hdr, HdrF, MAX_BURST, Offloads, Options, Outcome, Packet, PeerIdx, PeerSlice, PostError,
    ReceiveQueue, RingFormat, RxError, Status,
};
use sluice_abi::call::Code;
use sluice_abi::directory::PeerState;
use sluice_driver::DeviceFault;
use sluice_test_memory::zeroed;
use std::collections::VecDeque;
use world::{World, frame};

/// Lengths of a pretended mbuf, at odd places: 200 bytes of other data, and 12 more for the header.
const MBUF: u32 = 2500;
const DATA: u32 = 200 + 12;
const ENTRIES: u16 = 64;
const PEER: PeerIdx = PeerIdx(0);

/// A pool of pretended mbufs.
struct Mbufs {
    memory: PeerSlice<'static>,
    base: u32,
    free: VecDeque<u32>,
}

impl Mbufs {
    fn new(memory: PeerSlice<'static>, base: u32, count: u32) -> Self {
        Self { memory, base, free: (0..count).collect() }
    }

    /// Returns the offset of the frame of mbuf `index` in packet memory.
    fn data(&self, index: u32) -> u32 {
        self.base + index * MBUF + DATA
    }

    fn write(&self, index: u32, bytes: &[u8]) -> Packet {
        self.memory.copy_from_slice(self.data(index).into(), bytes).expect("inside");
        Packet::new(self.data(index), bytes.len() as u16, PEER)
    }

    fn read(&self, offset: u32, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.memory.copy_to_slice(offset.into(), &mut bytes).expect("inside");
        bytes
    }
}

fn receiver(world: &World, format: RingFormat, offloads: Offloads) -> (ReceiveQueue, Mbufs) {
    let (queue, buffers) = world.packets(0).split_at(ReceiveQueue::MEMORY_LEN).expect("inside");
    let options = Options { entries: ENTRIES, offloads, ..format.into() };
    let rx = ReceiveQueue::start(&mut world.device(0), queue, buffers, 2000, options).expect("a device");
    (rx, Mbufs::new(world.packets(0).memory, ReceiveQueue::MEMORY_LEN, 100))
}

/// Posts free mbufs until the queue is full.
fn post(rx: &mut ReceiveQueue, mbufs: &mut Mbufs) {
    while rx.room() > 0
        && let Some(index) = mbufs.free.pop_front()
    {
        rx.post(mbufs.data(index) - 12, 12 + 2000, index).expect("room");
    }
    rx.publish();
}

#[test]
fn frames_go_from_ones_own_buffers_into_ones_own_buffers() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let (mut rx, mut into) = receiver(&world, format, Offloads::CSUM);
        post(&mut rx, &mut into);
        let packets = zeroed(2 << 20);
        let (gate, from) = (world.gate(packets), Mbufs::new(packets, 1, 800));
        let csum =
            Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 6, num_buffers: 1, ..Hdr::default() };
        for round in 0..20 {
            let number = |at: usize| round * 30 + at;
            let mut burst: Vec<_> =
                (0..30).map(|at| from.write(at as u32, &frame(number(at), 60 + 40 * at as u16))).collect();
            let at = u64::from(burst[7].offset) - 12;
            packets.copy_from_slice(at, &[1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]).expect("inside");
            burst[7] = burst[7].with_hdr();
            let whole = Outcome { status: Status::OK, accepted: Accepted([(1 << 30) - 1, 0, 0, 0]) };
            assert_eq!(gate.transmit(&burst), whole);
            for at in 0..30 {
                let Ok(Arrived::Frame { token, offset, len, hdr }) = rx.take() else { panic!("frame {at} is there") };
                assert_eq!(
                    (offset, into.read(offset, len)),
                    (into.data(token), frame(number(at), 60 + 40 * at as u16))
                );
                assert_eq!(hdr, if at == 7 { csum } else { Hdr { num_buffers: 1, ..Hdr::default() } });
                into.free.push_back(token);
            }
            assert_eq!(rx.take(), Ok(Arrived::Nothing));
            post(&mut rx, &mut into);
            assert_eq!((rx.room(), into.free.len()), (0, 100 - usize::from(ENTRIES)));
        }
    }
}

#[test]
fn what_is_refused_is_told_packet_by_packet() {
    let world = World::new(1500);
    let (mut rx, mut into) = receiver(&world, RingFormat::Split, Offloads::empty());
    (0..3).for_each(|index| rx.post(into.data(index) - 12, 2012, index).expect("room"));
    rx.publish();
    into.free.drain(..3);
    let packets = zeroed(2 << 20);
    let (gate, from) = (world.gate(packets), Mbufs::new(packets, 0, 800));
    let burst =
        [(0, 60), (1, 1515), (2, 61), (3, 62), (4, 63)].map(|(at, len)| from.write(at, &frame(at as usize, len)));
    let Outcome { status, accepted } = gate.transmit(&burst);
    assert_eq!((status, accepted), (Status::of_peer(Code::TooLong, PEER).naming(1), Accepted([0b1101, 0, 0, 0])));
    assert_eq!(gate.peer_state(PEER), PeerState::Ready);
    let outside = Packet { offset: (2 << 20) - 59, ..burst[0] };
    assert_eq!(gate.transmit(&[outside]).status, Status::FULL);
    for token in 0..3 {
        assert!(matches!(rx.take(), Ok(Arrived::Frame { token: taken, .. }) if taken == token));
    }
    post(&mut rx, &mut into);
    assert_eq!(gate.transmit(&[outside]), Outcome::nothing(Status::new(Code::BadRequest).naming(0)));
    let nothing = Outcome::nothing(Status::new(Code::BadRequest));
    assert_eq!(gate.transmit(&vec![burst[0]; MAX_BURST + 1]), nothing);
    assert_eq!(gate.transmit(&vec![burst[0]; 10_000]), nothing, "more than a request block holds");
}

#[test]
fn a_buffer_that_can_not_be_posted_is_the_callers_still() {
    let world = World::new(1500);
    let (mut rx, mut mbufs) = receiver(&world, RingFormat::default(), Offloads::empty());
    let least = 12 + 14 + 1500;
    assert_eq!((rx.least(), rx.started().mtu), (least, 1500));
    assert_eq!(rx.post(8192, least - 1, 0), Err(PostError::TooShort { len: least - 1, least }));
    let (begin, end) = (ReceiveQueue::MEMORY_LEN, 2 << 20);
    for offset in [0, begin - 1, end - least + 1, end, u32::MAX] {
        assert_eq!(rx.post(offset, least, 0), Err(PostError::Outside { offset, len: least }));
    }
    assert_eq!(rx.post(begin, u32::MAX, 0), Err(PostError::Outside { offset: begin, len: u32::MAX }));
    assert_eq!((rx.post(begin, least, 0), rx.post(end - least, least, 1)), (Ok(()), Ok(())));
    post(&mut rx, &mut mbufs);
    assert_eq!(rx.post(begin, least, 0), Err(PostError::Full { entries: ENTRIES }));
}

#[test]
fn a_device_that_broke_the_protocol_gives_nothing_back() {
    let world = World::new(1500);
    let (mut rx, mut mbufs) = receiver(&world, RingFormat::Split, Offloads::empty());
    post(&mut rx, &mut mbufs);
    world.ram(0).write(world.queue(0).device.0 + 2, ENTRIES + 1).expect("inside");
    let fault = Err(RxError::Device(DeviceFault::UsedIdx));
    assert_eq!((rx.take(), rx.take(), rx.fault()), (fault, fault, Some(DeviceFault::UsedIdx)));
    assert_eq!(rx.post(8192, 2012, 5), Err(PostError::Full { entries: ENTRIES }));
}
