//! Hostile rings of every format, one test per case: the peer is blamed for the clause, another peer goes on, and
//! nothing outside the peer's region is written (the memory checks its poison when it is dropped).

mod descriptors;
mod header;
mod indirect;
mod lifecycle;
mod merge;
mod slots;

#[allow(dead_code, unused_imports, reason = "the other tests need the rest")]
#[path = "../peer/mod.rs"]
mod peer;

use peer::{Memory, read};
use sluice_abi::call::{Clause, Code, Packet, Status};
use sluice_abi::directory::{PeerState, Queue, Region};
use sluice_abi::net::{F, Hdr};
use sluice_abi::virtq::{Desc, QueueAddresses, avail, used};
use sluice_abi::{Gpa, PeerIdx, directory, packed};
use sluice_inside::{Dequeue, DeviceQueue, Regions, Slot, Window, transmit};
use sluice_memory::Words;
use std::cell::Cell;
use zerocopy::IntoBytes;

const GPA: u64 = 0x4000_0000;
const LEN: u64 = 0x2_0000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const BUFFERS: u64 = 0x8000;
const SIZE: u16 = 8;
/// Bytes of packet memory.
const PACKETS_LEN: u64 = 0x4000;
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
    size: u16,
    /// Times that the driver began.
    starts: Cell<u32>,
}

impl Ring {
    fn new(features: F) -> Self {
        Self { memory: Memory::new(&[LEN]), features: features | F::VERSION_1, size: SIZE, starts: Cell::new(0) }
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

    /// Chains of one descriptor each, from the start of the ring on, `count` in all.
    fn give_each(&self, count: u16) {
        for index in 0..count {
            let lap = if self.is_packed() { packed::DescF::AVAIL.bits() } else { 0 };
            let at = GPA + BUFFERS + 2048 * u64::from(index);
            self.desc(16 * u64::from(index), (at, 1600, WRITE | lap), index);
            if !self.is_packed() {
                self.write(DRIVER + avail::RING + 2 * u64::from(index), index);
                self.write(DRIVER + avail::IDX, index + 1);
            }
        }
    }

    /// All areas are zero, as a driver makes them when it begins anew.
    fn clear(&self) {
        self.memory.run(0).copy_from_slice(0, &[0; BUFFERS as usize]).expect("inside");
        self.starts.set(self.starts.get() + 1);
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
        Queue {
            addresses,
            features: self.features.bits(),
            size: self.size,
            start: self.starts.get(),
            ..Default::default()
        }
    }

    fn device(&self) -> (DeviceQueue, Regions) {
        let regions = Regions::from_slices(&[(Gpa(GPA), self.memory.run(0))]).expect("one region");
        (DeviceQueue::new(&self.queue(), &regions).expect("a lawful queue"), regions)
    }

    fn attach(&self, window: &mut Window, index: PeerIdx) {
        let mut entry = directory::Peer {
            state: PeerState::Ready as u32,
            mtu: 1500,
            region_count: 1,
            queue_count: 1,
            ..Default::default()
        };
        entry.regions[0] = Region { gpa: Gpa(GPA), len: LEN, slot_offset: 0 };
        entry.queues[0] = self.queue();
        assert_eq!(window.attach_peer(index, &entry, Slot::of(self.memory.run(0))), Ok(()));
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
    call_for(ring, 100)
}

/// The same for packets of `len` bytes.
fn call_for(ring: &Ring, len: u16) -> (Window, Status, Vec<usize>, u16) {
    let other = Ring::new(ring.features);
    other.give(&[PLENTY]);
    let mut window = attached(&[ring, &other]);
    let (status, accepted) = transmit_all(&mut window, &[1, 0, 0].map(|peer| Packet::new(0, len, PeerIdx(peer))));
    (window, status, accepted, other.used())
}

/// A window with packet memory and these rings, by place.
fn attached(rings: &[&Ring]) -> Window {
    let mut window = Window::new();
    (0..).zip(rings).for_each(|(place, ring)| ring.attach(&mut window, PeerIdx(place)));
    window.set_packets(Memory::new(&[PACKETS_LEN]).run(0));
    window
}

/// A call for a packet of 100 bytes to each of `peers`, which are indices: its status, and which were accepted.
fn send(window: &mut Window, peers: &[u8]) -> (Status, Vec<usize>) {
    transmit_all(window, &Vec::from_iter(peers.iter().map(|&peer| Packet::new(0, 100, PeerIdx(peer)))))
}

fn transmit_all(window: &mut Window, packets: &[Packet]) -> (Status, Vec<usize>) {
    let request = Memory::new(&[4096]);
    for (at, &packet) in (0..).zip(packets) {
        request.run(0).write(8 * at, packet).expect("inside");
    }
    let outcome = transmit(window, request.run(0), packets.len() as u64, Words);
    let whole = outcome.status == Status::OK;
    let about_one =
        matches!(outcome.status.code(), Code::PeerFault | Code::PeerNotReady | Code::BadRequest | Code::TooLong);
    let refused = outcome.status.packet().map(|named| !whole && !outcome.accepted.contains(named.into()));
    assert_eq!(refused, about_one.then_some(true), "{:?}", outcome.status);
    (
        Status(outcome.status.0 & u64::from(u32::MAX)),
        (0..packets.len()).filter(|&at| whole || outcome.accepted.contains(at)).collect(),
    )
}

/// `lie` makes a ring of each of these formats break `clause`. With frames of 64 bytes, for which the window has a loop
/// of its own, and others.
#[track_caller]
fn blames_in(formats: &[F], more: F, clause: Clause, lie: impl Fn(&Ring)) {
    for len in [64, 100] {
        blames_frames_of(len, formats, more, clause, &lie);
    }
}

#[track_caller]
fn blames_frames_of(len: u16, formats: &[F], more: F, clause: Clause, lie: impl Fn(&Ring)) {
    for &features in formats {
        let ring = Ring::new(features | more);
        lie(&ring);
        let (mut window, status, accepted, other) = call_for(&ring, len);
        assert_eq!((status, accepted), (Status::peer_fault(clause, PeerIdx(0)), vec![0]), "{features:?}");
        assert_eq!([0, 1].map(|place| window.is_quarantined(PeerIdx(place))), [true, false]);
        assert_eq!((ring.used(), other), (0, 1), "{features:?}");
        assert_eq!(send(&mut window, &[0]).0, Status::of_peer(Code::PeerNotReady, PeerIdx(0)));
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

/// In each format, a frame that is sent with the header `sent` arrives with `hdr`, and nothing else does.
#[track_caller]
fn passes_frame(features: F, sent: Hdr, hdr: Hdr) {
    for format in FORMATS {
        let ring = Ring::new(format | features);
        ring.memory.run(0).copy_from_slice(BUFFERS, sent.as_bytes()).expect("inside");
        ring.give(&[SENT]);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr, len: 60 }), "{format:?}");
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Empty), "{format:?}");
    }
}
