use super::*;
use sluice_abi::Gpa;
use sluice_abi::net::{HdrF, gso};
use sluice_abi::virtq::{UsedElem, used};
use sluice_test_memory::zeroed;
use std::vec::Vec;
use zerocopy::IntoBytes;

const N: usize = 8;
const BUFFER: u32 = 256;

/// A queue of 8 buffers that are all given, the buffers, and the number that came back.
struct Rig {
    queue: DriverQueue<N>,
    used: PeerSlice<'static>,
    buffers: PeerSlice<'static>,
    count: u16,
    receiver: Receiver,
    parts: [Part; N],
}

const PLAIN: Hdr =
    Hdr { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0, num_buffers: 1 };

impl Rig {
    fn new(features: F) -> Self {
        let ring = zeroed(DriverQueue::<N>::MEMORY_LEN);
        let mut queue = DriverQueue::new(Gpa(0), ring, N as u16, F::VERSION_1).unwrap();
        assert!((0..N as u32).all(|token| queue.give(Gpa(u64::from(token * BUFFER)), BUFFER, token)));
        queue.publish();
        let used = ring.sub(queue.addresses().device.0, used::len(N as u16)).unwrap();
        let buffers = zeroed(N as u64 * u64::from(BUFFER));
        Self { queue, used, buffers, count: 0, receiver: Receiver::new(features), parts: [Part::default(); N] }
    }

    /// Uses the buffer with token `token`, with `len` bytes, as the device. The driver sees that after `show`.
    fn finish(&mut self, token: u32, len: u32) {
        // Descriptors are handed out from the last to the first.
        let id = N as u32 - 1 - token;
        self.used.ring(used::RING, N as u16).unwrap().set(self.count, UsedElem { id, len });
        self.count += 1;
    }

    fn show(&mut self) {
        self.used.cell16(used::IDX).unwrap().store_release(self.count);
    }

    fn put_hdr(&self, token: u32, hdr: Hdr) {
        self.buffers.copy_from_slice(u64::from(token * BUFFER), hdr.as_bytes()).unwrap();
    }

    fn take(&mut self) -> Result<Arrival, DeviceFault> {
        let buffers = self.buffers;
        let buffer = |token: u32| buffers.sub(u64::from(token * BUFFER), BUFFER.into()).ok();
        self.receiver.take(&mut self.queue, buffer, &mut self.parts)
    }

    /// Delivers one frame of `len` bytes in one buffer, with `hdr`.
    fn one(features: F, hdr: Hdr, len: u32) -> Result<Arrival, DeviceFault> {
        let mut rig = Self::new(features);
        rig.put_hdr(0, hdr);
        rig.finish(0, HDR_LEN + len);
        rig.show();
        rig.take()
    }
}

const OFFLOADS: F = F::GUEST_CSUM.union(F::GUEST_TSO4).union(F::GUEST_TSO6).union(F::GUEST_ECN);
const MERGED: F = F::MRG_RXBUF;

#[test]
fn a_frame_in_one_buffer_arrives() {
    for features in [F::empty(), MERGED, OFFLOADS] {
        let mut rig = Rig::new(features);
        rig.put_hdr(0, PLAIN);
        rig.finish(0, HDR_LEN + 60);
        assert_eq!(rig.take(), Ok(Arrival::Nothing));
        rig.show();
        assert_eq!(rig.take(), Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 60 })));
        assert_eq!(rig.parts[0], Part { token: 0, start: HDR_LEN, len: 60 });
        assert_eq!(rig.take(), Ok(Arrival::Nothing));
    }
}

#[test]
fn a_frame_over_several_buffers_is_put_together() {
    let mut rig = Rig::new(MERGED);
    rig.put_hdr(2, Hdr { num_buffers: 3, ..PLAIN });
    rig.put_hdr(4, PLAIN);
    for (token, len) in [(2, 256), (0, 256), (1, 10), (4, HDR_LEN + 1)] {
        rig.finish(token, len);
    }
    rig.show();
    assert_eq!(
        rig.take(),
        Ok(Arrival::Frame(ArrivedFrame { hdr: Hdr { num_buffers: 3, ..PLAIN }, parts: 3, len: 244 + 256 + 10 }))
    );
    let parts: Vec<_> = rig.parts[..3].iter().map(|part| (part.token, part.start, part.len)).collect();
    assert_eq!(parts, [(2, HDR_LEN, 244), (0, 0, 256), (1, 0, 10)]);
    assert_eq!(rig.take(), Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 1 })));
}

#[test]
fn num_buffers_0_is_dropped_and_counted() {
    let mut rig = Rig::new(MERGED);
    rig.put_hdr(0, Hdr { num_buffers: 0, ..PLAIN });
    rig.put_hdr(1, PLAIN);
    rig.finish(0, HDR_LEN + 60);
    rig.finish(1, HDR_LEN + 61);
    rig.show();
    assert_eq!((rig.take(), rig.receiver.dropped()), (Ok(Arrival::Dropped(1)), 1));
    assert_eq!(rig.parts[0].token, 0);
    assert_eq!(
        rig.take(),
        Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 61 })),
        "the next one is unharmed"
    );
}

#[test]
fn num_buffers_beyond_what_was_used_is_a_fault() {
    for num_buffers in [3, 9, u16::MAX] {
        let mut rig = Rig::new(MERGED);
        rig.put_hdr(0, Hdr { num_buffers, ..PLAIN });
        rig.finish(0, 256);
        rig.finish(1, 256);
        rig.show();
        assert_eq!(rig.take(), Err(DeviceFault::NumBuffers));
        assert_eq!((rig.queue.ready(), rig.take()), (Err(DeviceFault::NumBuffers), Err(DeviceFault::NumBuffers)));
    }
}

#[test]
fn without_merged_buffers_num_buffers_means_nothing() {
    for num_buffers in [0, 1, 9] {
        let hdr = Hdr { num_buffers, ..PLAIN };
        assert_eq!(Rig::one(F::empty(), hdr, 60), Ok(Arrival::Frame(ArrivedFrame { hdr, parts: 1, len: 60 })));
    }
}

#[test]
fn a_checksum_outside_the_frame_is_dropped() {
    let hdr = |csum_start, csum_offset| Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start, csum_offset, ..PLAIN };
    assert!(matches!(Rig::one(OFFLOADS, hdr(34, 16), 60), Ok(Arrival::Frame(_))));
    for hdr in [hdr(34, 25), hdr(60, 0), hdr(u16::MAX, u16::MAX), hdr(0, 59)] {
        assert_eq!(Rig::one(OFFLOADS, hdr, 60), Ok(Arrival::Dropped(1)), "{hdr:?}");
    }
}

#[test]
fn segments_that_contradict_themselves_are_dropped() {
    let tcp =
        Hdr { flags: 1, gso_type: gso::TCPV4, hdr_len: 54, gso_size: 100, csum_start: 34, csum_offset: 16, ..PLAIN };
    assert!(matches!(Rig::one(OFFLOADS, tcp, 200), Ok(Arrival::Frame(_))));
    for hdr in [
        Hdr { gso_size: 0, ..tcp },
        Hdr { gso_type: 2, ..tcp },
        Hdr { gso_type: gso::UDP, ..tcp },
        Hdr { flags: 0, ..tcp },
    ] {
        assert_eq!(Rig::one(OFFLOADS, hdr, 200), Ok(Arrival::Dropped(1)), "{hdr:?}");
    }
}

#[test]
fn what_was_not_agreed_on_is_dropped() {
    let csum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let tcp = Hdr { gso_type: gso::TCPV4, hdr_len: 54, gso_size: 100, ..csum };
    assert_eq!(Rig::one(F::empty(), csum, 60), Ok(Arrival::Dropped(1)));
    assert_eq!(Rig::one(F::empty(), Hdr { flags: HdrF::DATA_VALID.bits(), ..PLAIN }, 60), Ok(Arrival::Dropped(1)));
    assert_eq!(Rig::one(F::GUEST_CSUM, tcp, 200), Ok(Arrival::Dropped(1)));
}

#[test]
fn less_than_a_header_or_nothing_behind_it_is_dropped() {
    let mut rig = Rig::new(F::empty());
    for (token, len) in [(0, 0), (1, HDR_LEN - 1), (2, HDR_LEN)] {
        rig.put_hdr(token, PLAIN);
        rig.finish(token, len);
    }
    rig.show();
    for dropped in 1..=3 {
        assert_eq!((rig.take(), rig.receiver.dropped()), (Ok(Arrival::Dropped(1)), dropped));
    }
}

/// The bytes behind the used length are old, and not a header.
#[test]
fn less_than_a_header_is_dropped_though_more_buffers_follow() {
    let mut rig = Rig::new(MERGED);
    rig.put_hdr(0, Hdr { num_buffers: 2, ..PLAIN });
    rig.put_hdr(1, PLAIN);
    rig.finish(0, HDR_LEN - 1);
    rig.finish(1, HDR_LEN + 60);
    rig.show();
    assert_eq!((rig.take(), rig.receiver.dropped()), (Ok(Arrival::Dropped(1)), 1));
    assert_eq!(rig.take(), Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 60 })));
}

#[test]
fn without_room_for_a_part_no_frame_is_taken() {
    let mut rig = Rig::new(MERGED);
    rig.put_hdr(0, PLAIN);
    rig.finish(0, HDR_LEN + 60);
    rig.show();
    let buffers = rig.buffers;
    let taken = rig.receiver.take(&mut rig.queue, |_| Some(buffers), &mut []);
    assert_eq!((taken, rig.receiver.dropped(), rig.queue.ready()), (Ok(Arrival::Nothing), 0, Ok(1)));
    assert_eq!(rig.take(), Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 60 })), "it is still there");
}

/// All buffers of the frame are taken, so that the next frame begins where it should.
#[test]
fn a_frame_of_more_parts_than_there_is_room_for_is_dropped_whole() {
    for (count, room) in (1..=4u16).flat_map(|count| (1..=4usize).map(move |room| (count, room))) {
        let mut rig = Rig::new(MERGED);
        rig.put_hdr(0, Hdr { num_buffers: count, ..PLAIN });
        (0..count).for_each(|token| rig.finish(token.into(), BUFFER));
        rig.put_hdr(count.into(), PLAIN);
        rig.finish(count.into(), HDR_LEN + 60);
        rig.show();
        let buffers = rig.buffers;
        let buffer = |token: u32| buffers.sub(u64::from(token * BUFFER), BUFFER.into()).ok();
        let taken = rig.receiver.take(&mut rig.queue, buffer, &mut rig.parts[..room]);
        let (fits, len) = (usize::from(count) <= room, u32::from(count) * BUFFER - HDR_LEN);
        let frame = ArrivedFrame { hdr: Hdr { num_buffers: count, ..PLAIN }, parts: count.into(), len };
        let expected = if fits { Arrival::Frame(frame) } else { Arrival::Dropped(room) };
        assert_eq!((taken, rig.receiver.dropped()), (Ok(expected), u64::from(!fits)), "{count} {room}");
        assert_eq!(rig.take(), Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 60 })));
    }
}

#[test]
fn a_fault_of_the_queue_comes_through() {
    let mut rig = Rig::new(MERGED);
    rig.finish(0, BUFFER + 1);
    rig.show();
    assert_eq!(rig.take(), Err(DeviceFault::UsedLen));
}

/// VIRTIO 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets", statement 1.
#[test]
fn a_header_flag_that_is_not_known_does_not_drop_the_frame() {
    let known = HdrF::NEEDS_CSUM | HdrF::DATA_VALID;
    for bit in (0..8).map(|bit| 1 << bit).filter(|bit| !known.contains(HdrF::from_bits_retain(*bit))) {
        for features in [F::empty(), OFFLOADS] {
            let arrival = Rig::one(features, Hdr { flags: bit, ..PLAIN }, 60);
            assert_eq!(arrival, Ok(Arrival::Frame(ArrivedFrame { hdr: PLAIN, parts: 1, len: 60 })), "{bit:#x}");
        }
    }
}

/// VIRTIO 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets", statement 3.
#[test]
fn a_header_length_that_is_wrong_does_not_drop_the_frame() {
    let csum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let tcp = Hdr { gso_type: gso::TCPV4, gso_size: 100, ..csum };
    for hdr_len in [0, 1, 54, 200, 201, u16::MAX] {
        for hdr in [PLAIN, csum, tcp].map(|hdr| Hdr { hdr_len, ..hdr }) {
            assert_eq!(Rig::one(OFFLOADS, hdr, 200), Ok(Arrival::Frame(ArrivedFrame { hdr, parts: 1, len: 200 })));
        }
    }
}

/// VIRTIO 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets", statement 2.
#[test]
fn checksum_fields_mean_nothing_without_the_flag() {
    for features in [F::empty(), OFFLOADS] {
        let hdr = Hdr { csum_start: u16::MAX, csum_offset: u16::MAX, ..PLAIN };
        assert_eq!(Rig::one(features, hdr, 60), Ok(Arrival::Frame(ArrivedFrame { hdr, parts: 1, len: 60 })));
    }
}
