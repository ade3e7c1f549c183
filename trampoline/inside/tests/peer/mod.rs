//! A sender and its peers in ordinary memory: the driver sides that the window code meets, honest or not.

use sluice_abi::call::{Clause, MAX_BURST, Outcome, Packet, Status};
use sluice_abi::directory::{self, PeerState, Region};
use sluice_abi::map::PAGE;
use sluice_abi::net;
use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_inside::{Window, transmit};
use sluice_memory::{PeerSlice, Words};
use std::alloc::{Layout, alloc_zeroed};
use std::collections::VecDeque;

/// Start of a peer's first region, in the peer's own guest-physical space.
pub const GPA: u64 = 0x8000_0000;
/// Bytes of a peer's first region.
pub const RAM_LEN: u64 = 256 * 1024;
/// Start of the second region: right behind the first, but elsewhere in the slot.
pub const SECOND_GPA: u64 = GPA + RAM_LEN;
/// Bytes of a peer's second region.
pub const SECOND_LEN: u64 = 64 * 1024;
/// Bytes of packet memory.
pub const PACKETS_LEN: u64 = 128 * 1024;
/// Largest payload of a frame to a peer, bytes.
pub const MTU: u16 = 1500;
/// What an honest driver gives for one frame, bytes.
pub const BUFFER_LEN: u32 = 2048;
/// Where the descriptor table is in the first region.
pub const TABLE: u64 = 0x1000;
/// Where the available ring is in the first region.
pub const DRIVER: u64 = 0x2000;
/// Where the used ring is in the first region.
pub const DEVICE: u64 = 0x3000;
/// Where the buffers are in the first region.
pub const BUFFERS: u64 = 0x8000;
/// Bytes of the header before each frame.
pub const HDR_LEN: u32 = net::HDR_LEN;
/// The header: one buffer, nothing to be done.
pub const HEADER: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// How far behind a peer's own areas and buffers its twin has them.
const TWIN: u64 = 0x2_0000;
const POISON: u8 = 0xA5;
const STALE: u8 = 0xEE;

/// Runs of bytes with a page of poison before and after each. Never freed, as slices of it have no end; dropping this checks
/// the poison.
#[derive(Clone)]
pub struct Memory {
    all: PeerSlice<'static>,
    runs: Vec<(u64, u64)>,
}

impl Memory {
    /// Zeroed runs of `lens` bytes.
    #[allow(unsafe_code, reason = "makes shared memory out of ordinary memory")]
    pub fn new(lens: &[u64]) -> Self {
        let mut len = PAGE;
        let mut runs = Vec::new();
        for run in lens {
            runs.push((len, *run));
            len += run.next_multiple_of(PAGE) + PAGE;
        }
        let layout = Layout::from_size_align(len as usize, PAGE as usize).expect("a few runs of a few pages");
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        assert!(!base.is_null());
        // SAFETY: just allocated, never freed, and reached through this slice and its parts only.
        let all = unsafe { PeerSlice::from_raw(base, len) };
        let memory = Self { all, runs };
        for (start, end) in memory.gaps() {
            all.copy_from_slice(start, &vec![POISON; (end - start) as usize]).expect("inside");
        }
        memory
    }

    /// The run at place `index`.
    pub fn run(&self, index: usize) -> PeerSlice<'static> {
        let (offset, len) = self.runs[index];
        self.all.sub(offset, len).expect("inside")
    }

    /// The bytes of no run, from and to.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let starts = [0].into_iter().chain(self.runs.iter().map(|(offset, len)| offset + len));
        let ends = self.runs.iter().map(|(offset, _)| *offset).chain([self.all.len()]);
        starts.zip(ends).collect()
    }

    /// Panics if anything was written outside the runs.
    pub fn check(&self) {
        for (start, end) in self.gaps() {
            let bytes = read(self.all, start, end - start);
            assert!(bytes == vec![POISON; bytes.len()], "bytes {start:#x} to {end:#x} were written");
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

/// The `len` bytes of `memory` at `offset`.
pub fn read(memory: PeerSlice<'_>, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory.copy_to_slice(offset, &mut bytes).expect("inside");
    bytes
}

/// Header and `payload`, as they arrive.
pub fn with_header(payload: &[u8]) -> Vec<u8> {
    [&HEADER, payload].concat()
}

/// A peer's memory and its driver, which fills the queue as well or as badly as a test wants it.
pub struct Peer {
    memory: Memory,
    /// Its directory entry. Slot offsets count from the start of its memory.
    pub entry: directory::Peer,
    given: RingIdx,
    taken: RingIdx,
    buffers: u64,
}

impl Peer {
    /// Two regions, and a queue of `size` entries in the first.
    pub fn new(size: u16) -> Self {
        let memory = Memory::new(&[RAM_LEN, SECOND_LEN]);
        let mut entry = directory::Peer {
            state: PeerState::Ready as u32,
            mtu: MTU,
            region_count: 2,
            queue_count: 1,
            ..Default::default()
        };
        for (index, gpa) in [GPA, SECOND_GPA].into_iter().enumerate() {
            let (slot_offset, len) = memory.runs[index];
            entry.regions[index] = Region { gpa: Gpa(gpa), len, slot_offset };
        }
        let addresses = QueueAddresses { desc: Gpa(GPA + TABLE), driver: Gpa(GPA + DRIVER), device: Gpa(GPA + DEVICE) };
        let features = (net::F::VERSION_1 | net::F::MTU | net::F::MAC | net::F::STATUS).bits();
        entry.queues[0] = directory::Queue { addresses, features, size, ..Default::default() };
        Self { memory, entry, given: RingIdx(0), taken: RingIdx(0), buffers: GPA + BUFFERS }
    }

    /// Another queue in the same memory.
    pub fn twin(&self) -> Self {
        let mut entry = self.entry;
        let addresses = &mut entry.queues[0].addresses;
        for area in [&mut addresses.desc, &mut addresses.driver, &mut addresses.device] {
            area.0 += TWIN;
        }
        let memory = self.memory.clone();
        Self { memory, entry, given: RingIdx(0), taken: RingIdx(0), buffers: self.buffers + TWIN }
    }

    /// Makes this peer reachable at `place`.
    #[allow(unsafe_code, reason = "vouches for the memory of this peer")]
    pub fn attach(&self, window: &mut Window, place: u16) -> Result<(), Clause> {
        // SAFETY: the regions are runs of memory that is never freed, at these offsets from its start, and only slices lead
        // into it. An entry that a test made wrong is refused before anything is read or written.
        unsafe { window.attach_peer(place, &self.entry, self.memory.all.as_ptr()) }
    }

    /// The driver starts the queue anew.
    pub fn restart(&mut self) {
        (self.given, self.taken) = (RingIdx(0), RingIdx(0));
        self.area(self.addresses().driver, avail::IDX, 0u16);
        self.area(self.addresses().device, used::IDX, 0u16);
    }

    /// The first region.
    pub fn ram(&self) -> PeerSlice<'static> {
        self.memory.run(0)
    }

    fn size(&self) -> u16 {
        self.entry.queues[0].size
    }

    fn addresses(&self) -> QueueAddresses {
        self.entry.queues[0].addresses
    }

    /// Writes `value` in the area that starts at `start`.
    fn area<T: sluice_memory::Plain>(&self, start: Gpa, offset: u64, value: T) {
        self.ram().write(start.0 - GPA + offset, value).expect("inside");
    }

    /// Memory and offset of `gpa`.
    fn locate(&self, gpa: u64) -> (PeerSlice<'static>, u64) {
        if gpa < SECOND_GPA { (self.memory.run(0), gpa - GPA) } else { (self.memory.run(1), gpa - SECOND_GPA) }
    }

    /// Where the ordinary buffer of descriptor `index` is.
    pub fn buffer(&self, index: u16) -> u64 {
        self.buffers + u64::from(index) * u64::from(BUFFER_LEN)
    }

    /// Writes descriptor `index`.
    pub fn describe(&self, index: u16, (addr, len): (u64, u32), flags: DescF, next: u16) {
        self.write_desc(index, Desc { addr: Gpa(addr), len, flags: flags.bits(), next });
    }

    /// Writes descriptor `index`.
    pub fn write_desc(&self, index: u16, desc: Desc) {
        self.area(self.addresses().desc, 16 * u64::from(index), desc);
    }

    fn read_desc(&self, index: u16) -> Desc {
        self.ram().read(self.addresses().desc.0 - GPA + 16 * u64::from(index)).expect("inside")
    }

    /// Writes entry `index` modulo the size of the available ring.
    pub fn set_avail(&self, index: u16, head: u16) {
        self.area(self.addresses().driver, avail::RING + 2 * u64::from(index % self.size()), head);
    }

    /// Writes `avail.idx`.
    pub fn set_avail_idx(&self, index: u16) {
        self.area(self.addresses().driver, avail::IDX, index);
    }

    /// Makes the chain at `head` available.
    pub fn offer(&mut self, head: u16) {
        self.set_avail(self.given.0, head);
        self.given = self.given.advance(1);
        self.set_avail_idx(self.given.0);
    }

    /// Descriptor that the next ordinary buffer has: not its place in the available ring.
    fn next_head(&self) -> u16 {
        self.size() - 1 - self.given.0 % self.size()
    }

    /// Makes one buffer with `flags` available.
    pub fn give_buffer(&mut self, buffer: (u64, u32), flags: DescF) {
        let head = self.next_head();
        self.describe(head, buffer, flags, 0);
        self.offer(head);
    }

    /// Makes `count` ordinary buffers available.
    pub fn give(&mut self, count: u16) {
        for _ in 0..count {
            let at = self.buffer(self.next_head());
            let (memory, offset) = self.locate(at);
            memory.copy_from_slice(offset, &[STALE; BUFFER_LEN as usize]).expect("inside");
            self.give_buffer((at, BUFFER_LEN), DescF::WRITE);
        }
    }

    /// Makes a chain of `pieces` available, from descriptor 0 on; where the last one leads and whether it does is `flags` and
    /// `next`.
    pub fn give_chain(&mut self, pieces: &[(u64, u32)], flags: DescF, next: u16) {
        for (index, &piece) in (0u16..).zip(pieces) {
            let last = usize::from(index) + 1 == pieces.len();
            self.describe(
                index,
                piece,
                if last { flags } else { DescF::WRITE | DescF::NEXT },
                if last { next } else { index + 1 },
            );
        }
        self.offer(0);
    }

    /// Entries that are given and not yet used.
    pub fn outstanding(&self) -> u16 {
        self.given.ahead_of(RingIdx(self.used_idx()))
    }

    /// Looks at no used buffer so far.
    pub fn skip(&mut self) {
        self.taken = RingIdx(self.used_idx());
    }

    /// `used.idx`
    pub fn used_idx(&self) -> u16 {
        self.ram().read(self.addresses().device.0 - GPA + used::IDX).expect("inside")
    }

    /// The next used buffer: descriptor, length, and that many bytes of the chain.
    pub fn take(&mut self) -> Option<(UsedElem, Vec<u8>)> {
        if self.used_idx() == self.taken.0 {
            return None;
        }
        let at = self.addresses().device.0 - GPA + used::RING + 8 * u64::from(self.taken.0 % self.size());
        let elem: UsedElem = self.ram().read(at).expect("inside");
        self.taken = self.taken.advance(1);
        Some((elem, self.read_chain(elem)))
    }

    fn read_chain(&self, elem: UsedElem) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut next = elem.id as u16;
        while bytes.len() < elem.len as usize {
            let desc = self.read_desc(next);
            let (memory, offset) = self.locate(desc.addr.0);
            bytes.extend(read(memory, offset, u64::from(desc.len).min(u64::from(elem.len) - bytes.len() as u64)));
            next = desc.next;
        }
        bytes
    }

    /// Panics if the ordinary buffer of descriptor `index` was written at `from` or after.
    pub fn check_stale(&self, index: u16, from: u64) {
        let (memory, offset) = self.locate(self.buffer(index));
        let rest = read(memory, offset + from, u64::from(BUFFER_LEN) - from);
        assert!(rest.iter().all(|&byte| byte == STALE), "written behind the frame");
    }
}

/// A window, what it sends from, and whom it sends to.
pub struct Sender {
    /// The window.
    pub window: Window,
    /// Its peers, by place.
    pub peers: Vec<Peer>,
    packets: Memory,
    request: Memory,
    /// Frames that [`Sender::send`] made so far.
    frames: u64,
    /// Accepted and not yet seen to arrive, by peer.
    due: Vec<VecDeque<Vec<u8>>>,
}

/// What became of the packets of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The call's status.
    pub status: Status,
    /// Places of the packets that were accepted.
    pub accepted: Vec<usize>,
}

impl Sender {
    /// A sender to `count` peers, each with a queue of `size` entries.
    pub fn new(count: u16, size: u16) -> Self {
        let mut window = Window::new();
        let peers: Vec<_> = (0..count).map(|_| Peer::new(size)).collect();
        for (place, peer) in (0..).zip(&peers) {
            assert_eq!(peer.attach(&mut window, place), Ok(()));
        }
        let packets = Memory::new(&[PACKETS_LEN]);
        let pattern = Vec::from_iter(0..=250).repeat(PACKETS_LEN as usize / 251 + 1);
        packets.run(0).copy_from_slice(0, &pattern[..PACKETS_LEN as usize]).expect("inside");
        window.set_packets(packets.run(0));
        let due = peers.iter().map(|_| VecDeque::new()).collect();
        Self { window, peers, packets, request: Memory::new(&[PAGE]), frames: 0, due }
    }

    /// The packet memory.
    pub fn packets(&self) -> PeerSlice<'static> {
        self.packets.run(0)
    }

    /// The request block.
    pub fn request(&self) -> PeerSlice<'static> {
        self.request.run(0)
    }

    /// One call for `packets`.
    pub fn transmit(&mut self, packets: &[Packet]) -> Burst {
        for (place, packet) in (0..).zip(packets) {
            self.request().write(8 * place, *packet).expect("no more than fit");
        }
        self.call(packets.len() as u64)
    }

    /// One call for the first `count` packets of the request block.
    pub fn call(&mut self, count: u64) -> Burst {
        let request = self.request();
        let packets = usize::try_from(count).map_or(0, |count| count.min(MAX_BURST));
        Burst::of(transmit(&mut self.window, request, count, Words), packets)
    }

    /// One call for a packet of `len` bytes at `offset` to peer 0.
    pub fn transmit_one(&mut self, offset: u64, len: u16) -> Burst {
        let burst = self.transmit(&[Packet { offset: offset as u32, len, peer: 0 }]);
        if burst.accepted == [0] {
            let sent = read(self.packets(), offset, u64::from(len));
            self.due[0].push_back(sent);
        }
        burst
    }

    /// One call for new frames, one to each of `places`. What is accepted is due.
    pub fn send(&mut self, places: &[u16]) -> Burst {
        let first = self.frames;
        self.frames += places.len() as u64;
        let frames: Vec<_> = (first..self.frames).map(frame).collect();
        let mut packets = Vec::new();
        for (index, &peer) in places.iter().enumerate() {
            let offset = index as u64 * u64::from(BUFFER_LEN);
            self.packets().copy_from_slice(offset, &frames[index]).expect("no more than fit");
            packets.push(Packet { offset: offset as u32, len: frames[index].len() as u16, peer });
        }
        let burst = self.transmit(&packets);
        for &index in &burst.accepted {
            self.due[usize::from(places[index])].push_back(frames[index].clone());
        }
        burst
    }

    /// Panics unless what is due has arrived, in order, and nothing else.
    pub fn check(&mut self) {
        for (peer, due) in self.peers.iter_mut().zip(&mut self.due) {
            for payload in due.drain(..) {
                let (elem, bytes) = peer.take().expect("accepted, so published");
                assert_eq!(bytes, with_header(&payload));
                assert_eq!(elem.len as usize, bytes.len());
            }
            assert_eq!(peer.take(), None);
            peer.memory.check();
        }
        self.packets.check();
        self.request.check();
    }
}

impl Burst {
    /// What came of a call for `count` packets.
    pub fn of(Outcome { status, accepted }: Outcome, count: usize) -> Self {
        let accepted = (0..count).filter(|&index| status == Status::OK || accepted.contains(index)).collect();
        Self { status, accepted }
    }
}

/// Frame `number`: 60 to 259 bytes that no other frame has.
fn frame(number: u64) -> Vec<u8> {
    let len = 60 + number * 37 % 200;
    number.to_le_bytes().into_iter().chain((8..len).map(|at| (at * 7 + number) as u8)).collect()
}
