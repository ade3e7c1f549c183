//! Hostile rings of every format, one test per case: the peer is blamed for the clause, another peer goes on, and nothing outside the
//! peer's region is written (the memory checks its poison when it is dropped).

#[allow(dead_code, reason = "the other tests need the rest")]
mod peer;

use peer::{Memory, read};
use sluice_abi::call::{Clause, Code, Packet, Status};
use sluice_abi::directory::{self, PeerState, Queue, Region};
use sluice_abi::net::{F, HDR_LEN, Hdr, HdrF, gso};
use sluice_abi::virtq::{Desc, QueueAddresses, avail, used};
use sluice_abi::{Gpa, map, packed};
use sluice_inside::{Dequeue, DeviceQueue, Regions, Window, transmit};
use sluice_memory::Words;
use zerocopy::IntoBytes;

const GPA: u64 = 0x4000_0000;
const LEN: u64 = 0x2_0000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const BUFFERS: u64 = 0x8000;
const SIZE: u16 = 8;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const PLENTY: (u64, u32, u16) = (GPA + BUFFERS, 1600, WRITE);

const SPLIT: F = F::empty();
const PACKED: F = F::RING_PACKED;
const FORMATS: [F; 4] = [SPLIT, F::IN_ORDER, PACKED, F::RING_PACKED.union(F::IN_ORDER)];

/// A peer's memory and queue, written without any care.
struct Ring {
    memory: Memory,
    features: F,
}

impl Ring {
    fn new(features: F) -> Self {
        Self { memory: Memory::new(&[LEN]), features: features | F::VERSION_1 }
    }

    fn is_packed(&self) -> bool {
        self.features.contains(F::RING_PACKED)
    }

    fn write<T: sluice_memory::Plain>(&self, at: u64, value: T) {
        self.memory.run(0).write(at, value).expect("inside");
    }

    fn bytes(&self, at: u64, len: u64) -> Vec<u8> {
        read(self.memory.run(0), at, len)
    }

    /// Writes a descriptor at `at`; `link` is where a split one goes on, or what a packed one is called.
    fn desc(&self, at: u64, (addr, len, flags): (u64, u32, u16), link: u16) {
        if self.is_packed() {
            self.write(at, packed::Desc { addr: Gpa(addr), len, id: link, flags });
        } else {
            self.write(at, Desc { addr: Gpa(addr), len, flags, next: link });
        }
    }

    /// The first chain: these pieces, each with `NEXT` but the last.
    fn give(&self, pieces: &[(u64, u32, u16)]) {
        for (index, &(addr, len, flags)) in (0u16..).zip(pieces) {
            let more = if usize::from(index) + 1 < pieces.len() { NEXT } else { 0 };
            let lap = if self.is_packed() { packed::DescF::AVAIL.bits() } else { 0 };
            self.desc(16 * u64::from(index), (addr, len, flags | more | lap), index + 1);
        }
        if !self.is_packed() {
            self.write(DRIVER + avail::RING, 0u16);
            self.write(DRIVER + avail::IDX, 1u16);
        }
    }

    /// An indirect table of these pieces.
    fn table(&self, pieces: &[(u64, u32, u16)]) {
        for (index, &(addr, len, flags)) in (0u16..).zip(pieces) {
            let more = if usize::from(index) + 1 < pieces.len() && !self.is_packed() { NEXT } else { 0 };
            self.desc(TABLE + 16 * u64::from(index), (addr, len, flags | more), index + 1);
        }
    }

    fn queue(&self) -> Queue {
        let at = |offset| Gpa(GPA + offset);
        let addresses = QueueAddresses { desc: at(0), driver: at(DRIVER), device: at(DEVICE) };
        Queue { addresses, features: self.features.bits(), size: SIZE, ..Default::default() }
    }

    fn device(&self) -> (DeviceQueue, Regions) {
        let regions = Regions::from_slices(&[(Gpa(GPA), self.memory.run(0))]).expect("one region");
        (DeviceQueue::new(&self.queue(), &regions).expect("a lawful queue"), regions)
    }

    #[allow(unsafe_code, reason = "vouches for the ring's memory")]
    fn attach(&self, window: &mut Window, place: u16) {
        let mut entry = directory::Peer {
            state: PeerState::Ready as u32,
            mtu: 1500,
            region_count: 1,
            queue_count: 1,
            ..Default::default()
        };
        entry.regions[0] = Region { gpa: Gpa(GPA), len: LEN, slot_offset: 0 };
        entry.queues[0] = self.queue();
        // SAFETY: the memory is never freed, is as long as the entry says, and only slices lead into it.
        assert_eq!(unsafe { window.attach_peer(place, &entry, self.memory.run(0).as_ptr()) }, Ok(()));
    }

    /// What the driver sees as used: `used.idx`, or whether the first slot is.
    fn used(&self) -> u16 {
        if self.is_packed() {
            let desc: packed::Desc = self.memory.run(0).read(0).expect("inside");
            u16::from(desc.flags & 0x8080 == 0x8080)
        } else {
            self.memory.run(0).read(DEVICE + used::IDX).expect("inside")
        }
    }
}

/// A window with `ring` at place 0 and a lawful one at place 1, after a call for packets of 100 bytes to 1, 0 and 0.
fn call(ring: &Ring) -> (Window, Status, Vec<usize>, u16) {
    let other = Ring::new(ring.features);
    other.give(&[PLENTY]);
    let (packets, request) = (Memory::new(&[0x1000]), Memory::new(&[4096]));
    let mut window = Window::new();
    ring.attach(&mut window, 0);
    other.attach(&mut window, 1);
    window.set_packets(packets.run(0));
    for (at, peer) in [1, 0, 0].into_iter().enumerate() {
        request.run(0).write(8 * at as u64, Packet { offset: 0, len: 100, peer }).expect("inside");
    }
    let outcome = transmit(&mut window, request.run(0), 3, Words);
    let accepted = (0..3).filter(|&at| outcome.accepted.contains(at)).collect();
    (window, outcome.status, accepted, other.used())
}

/// `lie` makes a ring of each of these formats break `clause`.
#[track_caller]
fn blames_in(formats: &[F], more: F, clause: Clause, lie: impl Fn(&Ring)) {
    for &features in formats {
        let ring = Ring::new(features | more);
        lie(&ring);
        let (mut window, status, accepted, other) = call(&ring);
        assert_eq!((status, accepted), (Status::peer_fault(clause, 0), vec![0]), "{features:?}");
        assert_eq!([0, 1].map(|place| window.is_quarantined(place)), [true, false]);
        assert_eq!((ring.used(), other), (0, 1), "{features:?}");
        let request = Memory::new(&[4096]);
        request.run(0).write(0, Packet { offset: 0, len: 100, peer: 0 }).expect("inside");
        let again = transmit(&mut window, request.run(0), 1, Words);
        assert_eq!(again.status, Status::of_peer(Code::PeerNotReady, 0));
    }
}

#[track_caller]
fn blames(clause: Clause, pieces: &[(u64, u32, u16)]) {
    blames_in(&FORMATS, F::empty(), clause, |ring| ring.give(pieces));
}

/// The same, where the pieces lie in a table, whose descriptor has these flags and this length.
#[track_caller]
fn blames_table(clause: Clause, pieces: &[(u64, u32, u16)], desc: (u64, u32, u16)) {
    blames_in(&FORMATS, F::INDIRECT_DESC, clause, |ring| {
        ring.table(pieces);
        ring.give(&[desc]);
    });
}

#[track_caller]
fn blames_frame(clause: Clause, features: F, hdr: Hdr, pieces: &[(u64, u32, u16)]) {
    for format in FORMATS {
        let ring = Ring::new(format | features);
        ring.memory.run(0).copy_from_slice(BUFFERS, hdr.as_bytes()).expect("inside");
        ring.give(pieces);
        let (mut queue, regions) = ring.device();
        let before = ring.bytes(0, LEN);
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Err(clause), "{format:?}");
        queue.publish();
        assert!(ring.bytes(0, LEN) == before, "something was written");
    }
}

const SENT: (u64, u32, u16) = (GPA + BUFFERS, 12 + 60, 0);

#[test]
fn in_every_format_an_address_outside_is_blamed() {
    let end = GPA + LEN;
    let window = [map::STATE, map::STACK, map::LIST, map::CODE, map::peer_base(1)].map(|offset| map::SLOT_VA + offset);
    for addr in window.into_iter().chain([0, GPA - 1600, GPA - 1, end - 1500, end, u64::MAX, u64::MAX - 1599]) {
        blames(Clause::Region, &[(addr, 1600, WRITE)]);
        blames(Clause::Region, &[(GPA + BUFFERS, 20, WRITE), (addr, 1600, WRITE)]);
        blames_table(Clause::Region, &[(addr, 1600, WRITE)], (GPA + TABLE, 16, INDIRECT));
        blames_frame(Clause::Region, F::empty(), Hdr::default(), &[(GPA + BUFFERS, 12, 0), (addr, 1600, 0)]);
    }
    blames(Clause::Region, &[(end - 50, u32::MAX, WRITE)]);
}

#[test]
fn in_every_format_a_buffer_for_the_other_direction_is_blamed() {
    blames(Clause::NotWritable, &[(GPA + BUFFERS, 1600, 0)]);
    blames(Clause::NotWritable, &[(GPA + BUFFERS, 20, WRITE), (GPA + BUFFERS + 20, 1600, 0)]);
    blames_table(Clause::NotWritable, &[(GPA + BUFFERS, 1600, 0)], (GPA + TABLE, 16, INDIRECT));
    blames_frame(Clause::NotReadable, F::empty(), Hdr::default(), &[(SENT.0, SENT.1, WRITE)]);
    blames_frame(Clause::NotReadable, F::empty(), Hdr::default(), &[SENT, (GPA + BUFFERS, 100, WRITE)]);
}

#[test]
fn in_every_format_a_chain_too_short_is_blamed() {
    for len in [0, 1, 11, 12, 13, 12 + 99] {
        blames(Clause::TooShort, &[(GPA + BUFFERS, len, WRITE)]);
        blames(Clause::TooShort, &[(GPA + BUFFERS, 0, WRITE), (GPA + BUFFERS, len, WRITE)]);
    }
    for len in [0, 1, 11, 12] {
        blames_frame(Clause::TooShort, F::empty(), Hdr::default(), &[(GPA + BUFFERS, len, 0)]);
    }
}

#[test]
fn a_merged_buffer_shorter_than_a_header_is_blamed() {
    for len in [0, 1, 11] {
        blames_in(&FORMATS, F::MRG_RXBUF, Clause::TooShort, |ring| ring.give(&[(GPA + BUFFERS, len, WRITE)]));
    }
}

#[test]
fn merged_buffers_that_do_not_suffice_are_waited_for() {
    for features in FORMATS {
        let ring = Ring::new(features | F::MRG_RXBUF);
        ring.give(&[(GPA + BUFFERS, 40, WRITE)]);
        let (window, status, accepted, _) = call(&ring);
        assert_eq!((status, accepted, window.is_quarantined(0)), (Status::FULL, vec![0], false));
        assert_eq!(ring.used(), 0, "half a frame is shown");
    }
}

#[test]
fn a_packed_chain_over_all_slots_is_blamed() {
    blames_in(&FORMATS[2..], F::empty(), Clause::ChainLength, |ring| {
        ring.give(&[(GPA + BUFFERS, 5, WRITE | NEXT); SIZE as usize]);
    });
}

#[test]
fn a_packed_chain_into_a_slot_that_is_not_available_is_blamed() {
    blames_in(&FORMATS[2..], F::empty(), Clause::NotAvailable, |ring| ring.give(&[(GPA + BUFFERS, 5, WRITE | NEXT)]));
    // Enough for the frame, but how many slots the chain has is not known.
    blames_in(&FORMATS[2..], F::empty(), Clause::NotAvailable, |ring| {
        ring.give(&[(GPA + BUFFERS, 1600, WRITE | NEXT)]);
    });
}

#[test]
fn a_packed_chain_across_the_wrap_is_followed_with_the_flags_of_the_next_lap() {
    for last_lap_too in [true, false] {
        let ring = Ring::new(PACKED);
        let last = SIZE - 1;
        // The device is at the last slot of its first lap.
        let regions = ring.device().1;
        let base = u32::from(last) | 1 << 15;
        let mut queue = DeviceQueue::resume(&ring.queue(), &regions, base).expect("lawful");
        ring.desc(16 * u64::from(last), (GPA + BUFFERS, 20, WRITE | NEXT | 0x80), 5);
        ring.desc(0, (GPA + BUFFERS + 20, 1600, WRITE | if last_lap_too { 0x8000 } else { 0x80 }), 6);
        let frame = Memory::new(&[100]);
        let done = queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words);
        assert_eq!(done.err(), (!last_lap_too).then_some(Clause::NotAvailable));
        queue.publish();
        let used: packed::Desc = ring.memory.run(0).read(16 * u64::from(last)).expect("inside");
        assert_eq!((used.flags & 0x8080 == 0x8080, used.id), (last_lap_too, if last_lap_too { 6 } else { 5 }));
    }
}

#[test]
fn a_descriptor_of_another_lap_is_not_used() {
    for flags in [0, 0x8000, 0x8080] {
        let ring = Ring::new(PACKED);
        ring.desc(0, (GPA + BUFFERS, 1600, WRITE | flags), 0);
        let before = ring.bytes(0, LEN);
        let (window, status, accepted, _) = call(&ring);
        assert_eq!((status, accepted, window.is_quarantined(0)), (Status::FULL, vec![0], false));
        assert!(ring.bytes(0, LEN) == before);
    }
}

#[test]
fn a_packed_id_is_the_drivers_own_and_comes_back_as_it_is() {
    for id in [0, SIZE, 0x7fff, u16::MAX] {
        let ring = Ring::new(PACKED);
        ring.desc(0, (GPA + BUFFERS, 1600, WRITE | 0x80), id);
        assert_eq!(call(&ring).2, [0, 1]);
        let desc: packed::Desc = ring.memory.run(0).read(0).expect("inside");
        assert_eq!((desc.id, desc.len), (id, 112));
    }
}

#[test]
fn a_used_descriptor_is_not_written_again() {
    let ring = Ring::new(PACKED);
    ring.give(&[PLENTY]);
    let (mut queue, regions) = ring.device();
    let frame = Memory::new(&[100]);
    assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
    queue.publish();
    ring.write(0, packed::Desc { addr: Gpa(1), len: 2, id: 3, flags: 4 });
    for _ in 0..3 {
        queue.publish();
        queue.rewind();
        assert_eq!(queue.available(), Ok(0));
    }
    assert_eq!(ring.memory.run(0).read(0), Ok(packed::Desc { addr: Gpa(1), len: 2, id: 3, flags: 4 }));
}

#[test]
fn an_indirect_table_that_was_not_negotiated_is_blamed() {
    for flags in [INDIRECT, INDIRECT | WRITE, INDIRECT | WRITE | NEXT] {
        blames(Clause::NotNegotiated, &[(GPA + TABLE, 16, flags)]);
        blames_frame(Clause::NotNegotiated, F::empty(), Hdr::default(), &[(GPA + TABLE, 16, flags)]);
    }
}

#[test]
fn an_indirect_table_within_a_table_is_blamed() {
    blames_table(Clause::Indirect, &[(GPA + TABLE, 16, INDIRECT)], (GPA + TABLE, 16, INDIRECT));
    blames_table(
        Clause::Indirect,
        &[(GPA + BUFFERS, 5, WRITE), (GPA + TABLE, 16, INDIRECT)],
        (GPA + TABLE, 32, INDIRECT),
    );
}

#[test]
fn an_indirect_table_of_a_length_that_none_has_is_blamed() {
    for len in [0, 1, 15, 17, 24] {
        blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE, len, INDIRECT));
    }
    for len in [16 * 65, 16 * 0x1000, u32::MAX - 15] {
        blames_table(Clause::ChainLength, &[PLENTY], (GPA + TABLE, len, INDIRECT));
    }
}

#[test]
fn an_indirect_table_outside_the_regions_or_not_aligned_is_blamed() {
    for addr in [0, GPA - 16, GPA + LEN, GPA + LEN - 8, u64::MAX - 15] {
        blames_table(Clause::Region, &[PLENTY], (addr, 16, INDIRECT));
    }
    for off in [1, 4, 7] {
        blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE + off, 16, INDIRECT));
    }
}

#[test]
fn an_indirect_descriptor_with_next_is_blamed() {
    blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE, 16, INDIRECT | NEXT));
}

#[test]
fn an_indirect_table_that_loops_or_leads_out_of_itself_is_blamed() {
    for next in [0, 1] {
        blames_in(&FORMATS[..2], F::INDIRECT_DESC, Clause::ChainLength, |ring| {
            ring.desc(TABLE, (GPA + BUFFERS, 1, WRITE | NEXT), next);
            ring.desc(TABLE + 16, (GPA + BUFFERS, 1, WRITE | NEXT), 0);
            ring.give(&[(GPA + TABLE, 32, INDIRECT)]);
        });
    }
    blames_in(&FORMATS[..2], F::INDIRECT_DESC, Clause::DescIndex, |ring| {
        ring.desc(TABLE, (GPA + BUFFERS, 1, WRITE | NEXT), 1);
        ring.give(&[(GPA + TABLE, 16, INDIRECT)]);
    });
}

#[test]
fn the_write_flag_of_an_indirect_descriptor_is_ignored() {
    for features in FORMATS {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + TABLE, 16, INDIRECT | WRITE)]);
        assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1));
    }
}

#[test]
fn direct_descriptors_may_precede_an_indirect_one() {
    for features in FORMATS {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + BUFFERS, 5, WRITE), (GPA + BUFFERS + 5, 20, WRITE), (GPA + TABLE, 16, INDIRECT)]);
        assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1));
    }
}

#[test]
fn no_descriptor_of_a_split_table_is_written() {
    for features in &FORMATS[..2] {
        let ring = Ring::new(*features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + BUFFERS, 5, WRITE), (GPA + TABLE, 16, INDIRECT)]);
        let before = [ring.bytes(0, 128), ring.bytes(DRIVER, 0x100), ring.bytes(TABLE, 0x100)];
        assert_eq!(call(&ring).2, [0, 1]);
        assert!(before == [ring.bytes(0, 128), ring.bytes(DRIVER, 0x100), ring.bytes(TABLE, 0x100)]);
    }
}

#[test]
fn what_the_driver_sends_is_not_written() {
    for features in FORMATS {
        let ring = Ring::new(features);
        ring.give(&[(GPA + BUFFERS, 12, 0), (GPA + BUFFERS + 100, 60, 0)]);
        let before = ring.bytes(BUFFERS, LEN - BUFFERS);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: Hdr::default(), len: 60 }));
        queue.publish();
        assert_eq!(ring.used(), 1);
        assert!(ring.bytes(BUFFERS, LEN - BUFFERS) == before);
    }
}

#[test]
fn in_every_format_a_descriptor_that_changes_during_the_call_is_checked_as_it_is_used() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let lap = if ring.is_packed() { 0x80 } else { 0 };
        // The first frame is written over the second descriptor.
        ring.desc(0, (GPA + 16 - u64::from(HDR_LEN), 1600, WRITE | lap), 0);
        ring.desc(16, (GPA + BUFFERS, 1600, WRITE | lap), 0);
        ring.write(DRIVER + avail::RING, 0u16);
        ring.write(DRIVER + avail::RING + 2, 1u16);
        ring.write(DRIVER + avail::IDX, if ring.is_packed() { 0u16 } else { 2 });
        let (packets, request) = (Memory::new(&[0x1000]), Memory::new(&[4096]));
        let other = Ring::new(features);
        other.desc(0, (GPA - 1, 1600, WRITE | lap), 0);
        packets.run(0).copy_from_slice(0, &other.bytes(0, 16)).expect("inside");
        let mut window = Window::new();
        ring.attach(&mut window, 0);
        window.set_packets(packets.run(0));
        for at in 0..2 {
            request.run(0).write(8 * at, Packet { offset: 0, len: 16, peer: 0 }).expect("inside");
        }
        let outcome = transmit(&mut window, request.run(0), 2, Words);
        assert_eq!((outcome.status, outcome.accepted.count()), (Status::peer_fault(Clause::Region, 0), 1));
    }
}

#[test]
fn a_checksum_beyond_the_frame_is_blamed() {
    let hdr =
        |csum_start, csum_offset| Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start, csum_offset, ..Hdr::default() };
    for (start, offset) in [(60, 0), (59, 0), (0, 59), (40, 19), (u16::MAX, 1), (u16::MAX, u16::MAX), (0, u16::MAX)] {
        blames_frame(Clause::Header, F::CSUM, hdr(start, offset), &[SENT]);
    }
    blames_frame(Clause::Header, F::empty(), hdr(34, 16), &[SENT]);
}

#[test]
fn segmentation_fields_that_contradict_each_other_are_blamed() {
    let flags = HdrF::NEEDS_CSUM.bits();
    let tcp = Hdr {
        flags,
        gso_type: gso::TCPV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 0,
    };
    let offloads = F::CSUM | F::HOST_TSO4;
    for hdr in [
        Hdr { gso_size: 0, ..tcp },
        Hdr { flags: 0, ..tcp },
        Hdr { gso_type: gso::TCPV6, ..tcp },
        Hdr { gso_type: gso::UDP, ..tcp },
        Hdr { gso_type: gso::ECN, ..tcp },
        Hdr { gso_type: gso::TCPV4 | gso::ECN, ..tcp },
        Hdr { gso_type: 2, ..tcp },
    ] {
        blames_frame(Clause::Header, offloads, hdr, &[SENT]);
    }
    blames_frame(Clause::Header, F::CSUM, tcp, &[SENT]);
}

#[test]
fn forged_num_buffers_of_a_sent_frame_mean_nothing() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let hdr = Hdr { num_buffers: 0xfffe, ..Hdr::default() };
        ring.memory.run(0).copy_from_slice(BUFFERS, hdr.as_bytes()).expect("inside");
        ring.give(&[SENT]);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr, len: 60 }));
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Empty));
    }
}

#[test]
fn flags_mean_nothing_with_an_event_index_and_the_event_nothing_without() {
    for event_idx in [false, true] {
        for flags in [0u16, 1] {
            for event in [0u16, 7] {
                let ring = Ring::new(if event_idx { F::EVENT_IDX } else { SPLIT });
                ring.give(&[PLENTY]);
                ring.write(DRIVER + avail::FLAGS, flags);
                ring.write(DRIVER + avail::used_event(SIZE), event);
                let (mut queue, regions) = ring.device();
                let frame = Memory::new(&[100]);
                assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
                queue.publish();
                assert_eq!(queue.needs_notification(), if event_idx { event == 0 } else { flags == 0 });
            }
        }
    }
}

#[test]
fn a_base_that_no_queue_has_is_refused() {
    for (features, bases) in [(SPLIT, [0x1_0000, u32::MAX, 1 << 31]), (PACKED, [8, 0x7fff, 0x0001_0002])] {
        let ring = Ring::new(features);
        let regions = ring.device().1;
        for base in bases {
            assert_eq!(DeviceQueue::resume(&ring.queue(), &regions, base).err(), Some(Clause::Layout), "{base:#x}");
        }
    }
}

#[test]
fn a_ring_that_is_reset_or_resized_under_us_is_used_as_it_was_and_no_further() {
    for features in FORMATS {
        let ring = Ring::new(features);
        ring.give(&[PLENTY]);
        let (mut queue, regions) = ring.device();
        let frame = Memory::new(&[100]);
        assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
        // All areas are zero, as if somebody had begun anew.
        ring.memory.run(0).copy_from_slice(0, &[0; TABLE as usize]).expect("inside");
        queue.publish();
        assert!(queue.available().is_ok_and(|available| available == 0) || queue.available() == Err(Clause::AvailIdx));
    }
}

/// VIRTIO 5.1.6.2.2 "Device Requirements: Packet Transmission", statement 1.
#[test]
fn a_header_flag_that_is_not_known_is_ignored() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let hdr = Hdr { flags: 0x80, ..Hdr::default() };
        ring.memory.run(0).copy_from_slice(BUFFERS, hdr.as_bytes()).expect("inside");
        ring.give(&[SENT]);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        let done = queue.dequeue(&regions, room.run(0), Words);
        assert!(matches!(done, Ok(Dequeue::Frame { len: 60, .. })), "{done:?}");
    }
}

/// `avail.idx` is read anew by each call, and the second time it is too far.
#[test]
fn what_is_written_between_two_calls_is_checked_anew() {
    for features in &FORMATS[..2] {
        let ring = Ring::new(*features);
        ring.give(&[PLENTY]);
        let (mut queue, regions) = ring.device();
        assert_eq!(queue.available(), Ok(1));
        ring.write(DRIVER + avail::IDX, SIZE + 1);
        let frame = Memory::new(&[100]);
        let done = queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words);
        assert_eq!((done.err(), queue.available()), (Some(Clause::AvailIdx), Err(Clause::AvailIdx)));
        queue.publish();
        assert_eq!(ring.used(), 0);
    }
}
