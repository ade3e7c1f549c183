//! The device side, as [`DeviceQueue`] and in a window, while its driver writes random values to random places.

mod steps;

use crate::fill;
use arbitrary::Arbitrary;
use sluice_abi::call::{Packet, Status};
use sluice_abi::directory::{self, Queue, Region};
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::virtq::{self, Desc, DescF, QueueAddresses, avail};
use sluice_abi::{Gpa, call};
use sluice_abi::{PeerIdx, packed};
use sluice_inside::{Dequeue, DeviceQueue, DirtyLog, Enqueue, Regions, Slot, Window, transmit};
use sluice_memory::{PeerSlice, Words};
use sluice_test_memory::{Runs, guarded, read};
use std::cell::OnceCell;
use steps::{Addr, Len, Step};

/// The start of the first region in the driver's space. The second region follows it there, and lies elsewhere here.
const GPA: u64 = 0x8000_0000;
const RAM: u64 = 0x4000;
const SECOND: u64 = 0x2000;
const DRIVER: u64 = 0x800;
const DEVICE: u64 = 0xa00;
const TABLES: u64 = 0xd00;
const BUFFERS: u64 = 0x1000;
/// The number of entries of the longest ring: the areas have room for no more.
const MOST: u16 = 64;
/// The length of a page of the dirty log's bitmap, bytes: one bit for each page up to behind the second region.
const LOG: u64 = (GPA + RAM + SECOND) / 4096 / 8 + 16;
const FRAMES: u64 = 0x11000;
const SINK: u64 = 0x2000;
const OWED: u32 = 1514;

/// A ring, and the steps on it.
#[derive(Arbitrary, Debug)]
pub struct Input {
    features: u8,
    size: u8,
    base: Option<u32>,
    steps: Vec<Step>,
}

/// The memory that outlives a run, as it takes time to make.
struct Memory {
    /// The driver's two regions.
    slot: Runs,
    log: PeerSlice<'static>,
    frames: PeerSlice<'static>,
    sink: PeerSlice<'static>,
    request: PeerSlice<'static>,
}

thread_local! {
    static MEMORY: OnceCell<Memory> = const { OnceCell::new() };
}

impl Memory {
    fn new() -> Self {
        let [log, frames, sink, request] = [LOG, FRAMES, SINK, 4096].map(|len| guarded(&[len]).run(0));
        fill(frames, 0x5a);
        Self { slot: guarded(&[RAM, SECOND]), log, frames, sink, request }
    }

    fn ram(&self) -> PeerSlice<'static> {
        self.slot.run(0)
    }

    fn second(&self) -> PeerSlice<'static> {
        self.slot.run(1)
    }

    fn clear(&self) {
        fill(self.ram(), 0);
        fill(self.second(), 0);
    }
}

/// Runs a script.
pub fn run(input: &Input, packed: bool) {
    MEMORY.with(|memory| {
        let memory = memory.get_or_init(Memory::new);
        memory.clear();
        if let Some(mut case) = Case::new(memory, input, packed) {
            input.steps.iter().for_each(|step| case.step(step));
            case.check();
        }
    });
}

struct Case<'m> {
    memory: &'m Memory,
    entry: Queue,
    regions: Regions,
    queue: DeviceQueue,
    window: Window,
    /// Where an honest driver would go on: an index, or a slot and its lap.
    given: u16,
    wrap: bool,
    packed: bool,
}

fn features(bits: u8, packed: bool) -> F {
    let choice = [F::MRG_RXBUF, F::INDIRECT_DESC, F::EVENT_IDX, F::IN_ORDER, F::GUEST_CSUM | F::CSUM];
    let offloads = F::GUEST_TSO4 | F::HOST_TSO4 | F::GUEST_TSO6 | F::HOST_TSO6;
    let mut features = F::VERSION_1;
    features.set(F::RING_PACKED, packed);
    for (bit, feature) in choice.into_iter().chain([offloads]).enumerate() {
        features.set(feature, bits >> bit & 1 == 1);
    }
    features
}

impl<'m> Case<'m> {
    fn new(memory: &'m Memory, input: &Input, packed: bool) -> Option<Self> {
        let size = if packed { u16::from(input.size) % MOST + 1 } else { 1 << (input.size % 7) };
        let at = |offset| Gpa(GPA + offset);
        let addresses = QueueAddresses { desc: at(0), driver: at(DRIVER), device: at(DEVICE) };
        let features = features(input.features, packed).bits();
        let entry = Queue { addresses, features, size, ..Default::default() };
        let slices = [(Gpa(GPA), memory.ram()), (Gpa(GPA + RAM), memory.second())];
        let regions = Regions::from_slices(&slices).expect("two regions");
        let queue = match input.base {
            Some(base) => DeviceQueue::resume(&entry, &regions, base).ok()?,
            None => DeviceQueue::new(&entry, &regions).expect("a lawful queue"),
        };
        let base = queue.base();
        let (given, wrap) = if packed { (base as u16 & 0x7fff, base >> 15 & 1 == 1) } else { (base as u16, true) };
        let mut case = Self { memory, entry, regions, queue, window: Window::new(), given, wrap, packed };
        case.window.set_packets(memory.frames);
        case.attach();
        Some(case)
    }

    /// Makes the same queue reachable through the window, from its start.
    fn attach(&mut self) {
        let mut peer = directory::Peer { mtu: 1500, region_count: 2, queue_count: 1, ..Default::default() };
        for (index, gpa) in [GPA, GPA + RAM].into_iter().enumerate() {
            let (slot_offset, len) = self.memory.slot.extent(index);
            peer.regions[index] = Region { gpa: Gpa(gpa), len, slot_offset };
        }
        peer.queues[0] = self.entry;
        let slot = Slot::of(self.memory.slot.all());
        self.window.attach_peer(PeerIdx(0), &peer, slot).expect("a lawful queue");
    }

    fn ram(&self) -> PeerSlice<'static> {
        self.memory.ram()
    }

    fn desc(&self, offset: u64, at: Gpa, len: u32, (flags, last): (u16, u16)) {
        let written = if self.packed {
            self.ram().write(offset, packed::Desc { addr: at, len, id: last, flags })
        } else {
            self.ram().write(offset, Desc { addr: at, len, flags, next: last })
        };
        written.expect("inside");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue { .. } | Step::Plain { .. } => self.carry(step),
            Step::Dequeue { .. } | Step::Transmit { .. } => self.carry(step),
            Step::Publish => self.queue.publish(),
            Step::Rewind => self.queue.rewind(),
            Step::Notify { ask } => {
                self.queue.needs_notification();
                self.queue.ask_for_notifications(*ask);
            }
            Step::Resume => {
                self.queue.rewind();
                self.queue = DeviceQueue::resume(&self.entry, &self.regions, self.queue.base()).expect("where it was");
            }
            Step::Log { on } => {
                let log = on.then(|| DirtyLog::new(self.memory.log));
                assert!(self.queue.set_log(log, &self.regions));
            }
            _ => self.write(step),
        }
    }

    /// Makes a step of the driver.
    fn write(&mut self, step: &Step) {
        let size = self.entry.size;
        match *step {
            Step::Desc { index, addr, len, flags, next } => {
                self.desc(16 * u64::from(u16::from(index) % size), addr.get(), len.get(), (flags, next));
            }
            Step::Word { at, value } => self.ram().write(u64::from(at) % (RAM - 3), value).expect("inside"),
            Step::Avail { index, head } => {
                self.ram().write(DRIVER + avail::RING + 2 * u64::from(u16::from(index) % size), head).expect("inside");
            }
            Step::Idx { ahead } => {
                self.given = self.given.wrapping_add_signed(ahead.into());
                self.ram().write(DRIVER + avail::IDX, self.given).expect("inside");
            }
            Step::Events { at, value } => self.ram().write(DRIVER + u64::from(at), value).expect("inside"),
            Step::Offer { pieces, count, writable, indirect } => {
                let pieces = &pieces[..usize::from(count % 3 + 1)];
                self.offer(pieces, writable, indirect);
            }
            _ => {}
        }
    }

    fn offer(&mut self, pieces: &[(Addr, Len)], writable: bool, indirect: bool) {
        let write = if writable { DescF::WRITE.bits() } else { 0 };
        let count = pieces.len() as u16;
        let ring = 16 * u64::from(self.entry.size);
        let slot = self.given % self.entry.size;
        let start = if indirect { TABLES } else { 16 * u64::from(slot) };
        for (index, (addr, len)) in (0u16..).zip(pieces) {
            let more = if index + 1 < count { DescF::NEXT.bits() } else { 0 };
            let lap = if self.packed && !indirect { self.lap(slot + index) } else { 0 };
            let next = if self.packed { slot } else { (if indirect { 0 } else { slot } + index + 1) % self.entry.size };
            let at = start + 16 * u64::from(index);
            let at = if indirect { at } else { at % ring };
            self.desc(at, addr.get(), len.get(), (write | more | lap, next));
        }
        if indirect {
            let lap = if self.packed { self.lap(slot) } else { 0 };
            let flags = DescF::INDIRECT.bits() | lap;
            self.desc(16 * u64::from(slot), Gpa(GPA + TABLES), 16 * u32::from(count), (flags, slot));
        }
        self.show(slot, if indirect { 1 } else { count });
    }

    /// Returns the flags of the lap in which `slot`, or the slot that follows the last one, is made available.
    fn lap(&self, slot: u16) -> u16 {
        packed::DescF::available(self.wrap ^ (slot >= self.entry.size)).bits()
    }

    fn show(&mut self, head: u16, slots: u16) {
        if self.packed {
            let next = head + slots;
            self.given = next % self.entry.size;
            self.wrap ^= next >= self.entry.size;
        } else {
            self.ram().write(DRIVER + avail::RING + 2 * u64::from(head), head).expect("inside");
            self.given = self.given.wrapping_add(1);
            self.ram().write(DRIVER + avail::IDX, self.given).expect("inside");
        }
    }

    /// Makes a step that moves frames.
    fn carry(&mut self, step: &Step) {
        match *step {
            Step::Enqueue { len, hdr } => self.enqueue(len.get(), &header(hdr)),
            Step::Plain { len } => self.enqueue(len.get(), &Hdr { num_buffers: 1, ..Hdr::default() }),
            Step::Dequeue { room } => self.dequeue(room.get().into()),
            Step::Transmit { packets, count } => self.transmit(&packets, count),
            _ => {}
        }
    }

    fn enqueue(&mut self, len: u32, hdr: &Hdr) {
        let frame = self.memory.frames.sub(0, u64::from(len) % 0x1_0000).expect("inside");
        match self.queue.enqueue(&self.regions, hdr, frame, OWED, Words) {
            Ok(Enqueue::Filled) | Err(_) => {}
            // No part of the frame may be visible.
            Ok(_) => assert!(self.queue.available().is_ok() || !self.packed),
        }
    }

    fn dequeue(&mut self, room: u64) {
        let (sink, room) = (self.memory.sink, room % SINK);
        let behind = sink.sub(room, 1).expect("inside");
        behind.write(0, 0xc3u8).expect("inside");
        let done = self.queue.dequeue(&self.regions, sink.sub(0, room).expect("inside"), Words);
        assert_eq!(behind.read(0), Ok(0xc3u8), "written behind the room there was");
        if let Ok(Dequeue::Frame { hdr, len }) = done {
            assert!(u64::from(len) <= room && len > 0);
            assert!(hdr.fits(len, features_of(&self.entry).offloads_to_device()));
        }
    }

    fn transmit(&mut self, packets: &[(u32, u16, u8)], count: u8) {
        let request = self.memory.request;
        for (place, &(offset, len, peer)) in (0u64..).zip(packets) {
            // Most packets are for the peer that exists, and within packet memory.
            let offset = if peer & 1 == 0 { offset % FRAMES as u32 } else { offset };
            let len = if peer & 2 == 0 { len % 1600 } else { len };
            // One packet in eight has an unknown flag, or names a queue that does not exist.
            let others = if peer & 0x38 == 0x38 { 0x1e } else { 0 };
            let flags = if peer & 4 == 0 { others } else { others | call::HDR };
            request.write(8 * place, Packet { offset, len, peer: PeerIdx(peer >> 6), flags }).expect("inside");
        }
        let outcome = transmit(&mut self.window, request, u64::from(count % 5), Words);
        assert!(outcome.status == Status::OK || outcome.accepted.count() <= usize::from(count % 5));
        if self.window.is_quarantined(PeerIdx(0)) && count >= 128 {
            self.attach();
        }
    }

    /// Asserts that nobody wrote into the sender's own memory.
    fn check(&self) {
        if self.entry.size & 1 == 1 {
            assert!(read(self.memory.frames, 0, FRAMES).iter().all(|&byte| byte == 0x5a), "a frame was changed");
        }
    }
}

fn features_of(queue: &Queue) -> F {
    F::from_bits_truncate(queue.features)
}

fn header(bytes: [u8; HDR_LEN as usize]) -> Hdr {
    let [flags, gso_type, a, b, c, d, e, f, g, h, i, j] = bytes;
    let word = |low, high| u16::from_le_bytes([low, high]);
    Hdr {
        // Most bits have a meaning.
        flags: flags & 0x87,
        gso_type,
        hdr_len: word(a, b),
        gso_size: word(c, d),
        csum_start: word(e, f & 1),
        csum_offset: word(g, h & 1),
        num_buffers: word(i, j),
    }
}

const _: () = assert!(virtq::desc_table_len(MOST) <= DRIVER && DRIVER + avail::len(MOST) <= DEVICE);
