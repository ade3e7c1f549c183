//! A directory of 64 peers, of which 60 come and go as fast as a host can write it, while a sender sends to all of
//! them: host, sender and another reader are threads that share memory and nothing else.

#[allow(dead_code, reason = "other tests need the rest")]
mod world;

use sluice::{BufferLen, Burst, Gate, PeerError, PeerIdx, PeerSlice, Scatter, Transmit, TxError};
use sluice_abi::Gpa;
use sluice_abi::directory::{GateKind, Header, MAX_PEERS, Peer, PeerState, Queue, Region, word};
use sluice_abi::map::DIRECTORY_LEN;
use sluice_abi::net::{F, HDR_LEN};
use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem, avail, used};
use sluice_control::{Directory, publish};
use sluice_memory::Table;
use sluice_test_memory::zeroed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use world::pool;

/// Number of changes that the host makes.
const CHANGES: usize = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
/// Number of peers that stay. The others come and go.
const STAY: [usize; 4] = [0, 21, 42, 63];
/// Number of entries of a ring.
const SIZE: u16 = 8;
/// Memory of one start of a driver, in bytes: descriptors, rings and buffers. No start has the memory of another.
const AREA: u64 = 4096;
const AVAIL: u64 = 128;
const USED: u64 = 192;
const BUFFERS: u64 = 512;
const BUFFER_LEN: u32 = 256;
/// Number of starts of one driver for which there is memory, and the length of all that memory.
const STARTS: u64 = 256;
const RAM: u64 = STARTS * AREA;
/// Length of a frame in bytes: the receiver, and a number.
const LEN: usize = 64;

/// Returns the entry of peer `index` after `number` changes: ready if the number is odd. All of it follows from the
/// two, so an entry that mixes two is found.
fn entry(index: usize, number: u32) -> Peer {
    let gpa = Gpa(u64::from(number) << 20);
    let [.., a, b, c, d] = number.to_be_bytes();
    let mut peer = Peer { vm_id: number, mac: [2, index as u8, a, b, c, d], mtu: 1500, ..Peer::default() };
    if number % 2 == 1 {
        let at = |offset| Gpa(gpa.0 + offset);
        peer.state = PeerState::Ready as u32;
        (peer.region_count, peer.queue_count) = (1, 1);
        peer.regions[0] = Region { gpa, len: AREA, slot_offset: index as u64 * RAM + area(number) };
        let addresses = QueueAddresses { desc: at(0), driver: at(AVAIL), device: at(USED) };
        let features = F::VERSION_1.bits();
        peer.queues[0] = Queue { addresses, features, size: SIZE, start: number, ..Queue::default() };
    }
    peer
}

/// Returns the offset in RAM of the area of the driver that starts with change `number`.
fn area(number: u32) -> u64 {
    u64::from(number / 2) * AREA
}

/// Starts the driver of the peer with RAM `ram`, with change `number`: all of its buffers are available.
fn start(ram: PeerSlice<'_>, number: u32) {
    let at = area(number);
    let gpa = u64::from(number) << 20;
    for index in 0..SIZE {
        let addr = Gpa(gpa + BUFFERS + u64::from(index) * u64::from(BUFFER_LEN));
        let desc = Desc { addr, len: BUFFER_LEN, flags: DescF::WRITE.bits(), next: 0 };
        ram.write(at + 16 * u64::from(index), desc).expect("inside");
        ram.write(at + AVAIL + avail::RING + 2 * u64::from(index), index).expect("inside");
    }
    ram.write(at + AVAIL + avail::IDX, SIZE).expect("inside");
}

/// Returns the used entries of the queue that started with change `number`, from `from` on: numbers of frames to
/// `index`, in order.
fn delivered(ram: PeerSlice<'_>, index: usize, number: u32, from: u16) -> Vec<u64> {
    let at = area(number);
    let used_idx: u16 = ram.read(at + USED + used::IDX).expect("inside");
    let frame = |entry: u16| {
        let slot = entry % SIZE;
        let elem: UsedElem = ram.read(at + USED + used::RING + 8 * u64::from(slot)).expect("inside");
        assert_eq!((elem.id as u16, elem.len), (slot, HDR_LEN + LEN as u32));
        let frame = at + BUFFERS + u64::from(slot) * u64::from(BUFFER_LEN) + u64::from(HDR_LEN);
        let [to, number]: [u64; 2] = [0, 8].map(|word| ram.read(frame + word).expect("inside"));
        assert_eq!(to, index as u64, "a frame to another peer");
        number
    };
    (0..used_idx.wrapping_sub(from)).map(|entry| frame(from.wrapping_add(entry))).collect()
}

/// The memory that all threads share.
#[derive(Clone, Copy)]
struct Shared {
    directory: PeerSlice<'static>,
    slot: PeerSlice<'static>,
}

impl Shared {
    fn new() -> Self {
        Self { directory: zeroed(DIRECTORY_LEN), slot: zeroed(MAX_PEERS as u64 * RAM) }
    }

    fn gate(self, packets: PeerSlice<'static>) -> Gate {
        world::gate(world::access(self.directory, self.slot, packets))
    }

    /// Returns the words of the directory.
    fn words(self) -> Table<'static, u64> {
        self.directory.table(0, word::COUNT as u16).expect("a directory")
    }

    fn ram(self, index: usize) -> PeerSlice<'static> {
        self.slot.sub(index as u64 * RAM, RAM).expect("inside")
    }
}

/// Runs the host: peers come and go, one a change.
fn host(shared: Shared, mut directory: Directory) -> [u32; MAX_PEERS] {
    let words = shared.words();
    let mut numbers = [0; MAX_PEERS];
    let going: Vec<_> = (0..MAX_PEERS).filter(|index| !STAY.contains(index)).collect();
    for change in 0..CHANGES {
        // The order is mixed, and each peer changes as often as the others.
        let index = going[change * 7 % going.len()];
        numbers[index] += 1;
        if numbers[index] % 2 == 1 {
            start(shared.ram(index), numbers[index]);
        }
        directory.peers[index] = entry(index, numbers[index]);
        publish(&words, &directory);
    }
    numbers
}

/// Reads entries until the host is done, each of which is whole. Returns their number.
fn read_entries(shared: Shared, done: &AtomicBool) -> u64 {
    let gate = shared.gate(zeroed(4096));
    let mut read = 0;
    while !done.load(Ordering::Relaxed) {
        for index in PeerIdx::all() {
            match gate.peer(index) {
                Ok(peer) => {
                    // The state is read a moment later.
                    let (sequence, state) = (peer.sequence, peer.state);
                    let whole = Peer { sequence, state, ..entry(index.get(), peer.vm_id) };
                    assert!(peer == whole, "an entry was torn: {peer:?}");
                    read += 1;
                }
                Err(error) => assert_eq!(error, PeerError::Busy),
            }
        }
    }
    read
}

/// The work of a sender.
#[derive(Default)]
struct Sent {
    /// The numbers of the frames that were accepted, by peer, in order.
    accepted: HashMap<usize, Vec<u64>>,
    /// Number of frames to peers that stay that arrived.
    arrived: HashMap<usize, Vec<u64>>,
    calls: u64,
    not_ready: u64,
}

/// Sends to all 64 until the host is done. After each call, the drivers that stay take the frames and give the
/// buffers back.
fn send(shared: Shared, done: &AtomicBool) -> Sent {
    let packets = zeroed(2 << 20);
    let (gate, pool) = (shared.gate(packets), pool(Gpa(0), packets, BufferLen::KiB2, 64));
    let (mut port, mut burst, mut sent, mut number) = (Scatter::new(&gate), pool.burst(), Sent::default(), 0);
    let mut taken = [0u16; MAX_PEERS];
    while !done.load(Ordering::Relaxed) {
        let mut offered = Vec::new();
        for place in 0..8 {
            let index =
                if place % 2 == 0 { STAY[number as usize % STAY.len()] } else { number as usize * 11 % MAX_PEERS };
            push(&mut burst, index, number);
            offered.push((index, number));
            number += 1;
        }
        match port.tx_burst(&mut burst, usize::MAX) {
            Ok(_) => {}
            Err(TxError::PeerNotReady { .. }) => sent.not_ready += 1,
            Err(error) => panic!("no entry that the host made has that: {error}"),
        }
        sent.calls += 1;
        let left: Vec<_> = burst.frames().map(|frame| u64::from_le_bytes(frame.head(8).expect("inside"))).collect();
        for (index, number) in offered.into_iter().filter(|(_, number)| !left.contains(number)) {
            sent.accepted.entry(index).or_default().push(number);
        }
        burst.clear();
        for index in STAY {
            let frames = delivered(shared.ram(index), index, 1, taken[index]);
            taken[index] = taken[index].wrapping_add(frames.len() as u16);
            sent.arrived.entry(index).or_default().extend(frames);
            let given = taken[index].wrapping_add(SIZE);
            shared.ram(index).write(area(1) + AVAIL + avail::IDX, given).expect("inside");
        }
    }
    sent
}

fn push(burst: &mut Burst<'_>, index: usize, number: u64) {
    let mut frame = [0; LEN];
    frame[..8].copy_from_slice(&(index as u64).to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    burst.push_bytes(&frame).expect("room").set_peer(PeerIdx(index as u8));
}

#[test]
fn peers_come_and_go_while_others_send_and_no_torn_entry_is_used() {
    let shared = Shared::new();
    let header = Header { gate: GateKind::Direct as u32, ..Header::default() };
    let mut directory = Directory { header, peers: (0..MAX_PEERS).map(|index| entry(index, 0)).collect() };
    for index in STAY {
        start(shared.ram(index), 1);
        directory.peers[index] = entry(index, 1);
    }
    publish(&shared.words(), &directory);
    let done: &'static AtomicBool = Box::leak(Box::default());
    let sender = thread::spawn(move || send(shared, done));
    let reader = thread::spawn(move || read_entries(shared, done));
    let began = Instant::now();
    let numbers = host(shared, directory);
    let rate = CHANGES as f64 / began.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let (sent, read) = (sender.join().expect("no torn entry"), reader.join().expect("no torn entry"));
    let mut frames = 0;
    for (index, &number) in numbers.iter().enumerate() {
        let accepted = sent.accepted.get(&index).cloned().unwrap_or_default();
        let arrived = match sent.arrived.get(&index) {
            Some(arrived) => arrived.clone(),
            None => {
                let starts = (1..=number).step_by(2);
                starts.flat_map(|number| delivered(shared.ram(index), index, number, 0)).collect()
            }
        };
        assert_eq!(arrived, accepted, "peer {index}: what was accepted is what arrived");
        frames += accepted.len();
    }
    assert!(numbers.iter().sum::<u32>() as usize == CHANGES && read > 0);
    assert!(STAY.iter().all(|index| sent.accepted.contains_key(index)), "who stays is sent to");
    println!(
        "{CHANGES} changes at {rate:.0} a second; {frames} frames delivered in {} calls, \
         of which {} found a peer that was not ready or a host that \
         was writing; {read} entries read",
        sent.calls, sent.not_ready
    );
}
