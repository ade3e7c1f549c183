//! The whole way of a frame, in one process: burst, port, gate `Direct`, ring, port, burst.
#![allow(unsafe_code, reason = "stands in for the host, which makes the memory")]

use proptest::collection::vec;
use proptest::prelude::*;
use sluice::{
    Access, Burst, Gate, MAX_BURST, Mempool, PacketMemory, PeerError, PeerIdx, PeerPort, PeerSlice, Port, RX_SIZE,
    RingFormat, Scatter, TxError, VirtioNet,
};
use sluice_abi::Gpa;
use sluice_abi::directory::{Directory, GateKind, MAX_PEERS, PeerState, word};
use sluice_abi::virtq::UsedElem;
use sluice_control::{Manifest, Network, publish};
use sluice_driver::Registers as DeviceRegisters;
use sluice_memory::{SharedWords, Table};

const MIB: u64 = 1 << 20;
/// Bytes of a receiver's RAM; the second half is its packet memory.
const RAM: u64 = 4 * MIB;
const RECEIVERS: usize = 2;

/// Zeroed memory that is never freed.
fn memory(len: u64) -> PeerSlice<'static> {
    let bytes = Box::leak(vec![0u128; len as usize / 16].into_boxed_slice());
    // SAFETY: never freed, and only slices lead into it from now on.
    unsafe { PeerSlice::from_raw(bytes.as_mut_ptr().cast(), len) }
}

/// The device registers of one VM.
struct Registers<'n>(&'n mut Network, u32);

impl DeviceRegisters for Registers<'_> {
    fn read(&mut self, register: u32) -> u32 {
        self.0.read(self.1, register)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.write(self.1, register, value);
    }
}

/// A receiver: its RAM, and what it received into.
struct Receiver {
    ram: PeerSlice<'static>,
    net: VirtioNet<'static>,
    pool: &'static Mempool<'static>,
}

/// VM 0 sends to VMs 1 and 2.
fn network() -> Network {
    let vm =
        |name, peers| format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\n{peers}\n");
    let text = [vm("a", "peers = [\"b\", \"c\"]"), vm("b", ""), vm("c", "")].concat();
    Network::new(&Manifest::parse(&text).expect("a manifest"))
}

impl Receiver {
    fn start(network: &mut Network, vm: u32, ram: PeerSlice<'static>, format: RingFormat) -> Self {
        let packets = PacketMemory::new(Gpa(RAM / 2), ram.sub(RAM / 2, RAM / 2).expect("inside")).expect("small");
        let (queue, buffers) = packets.split_at(VirtioNet::QUEUE_LEN).expect("inside");
        let pool = Box::leak(Box::new(Mempool::new(buffers, Box::leak(Box::new([0; 2 * RX_SIZE])))));
        let net = VirtioNet::start(&mut Registers(network, vm), queue, pool, format).expect("a device");
        Self { ram, net, pool }
    }

    /// Everything that arrived and was not yet taken.
    fn take(&mut self) -> Vec<Vec<u8>> {
        let mut burst = self.pool.burst();
        self.net.rx_burst(&mut burst);
        burst.frames().map(bytes).collect()
    }
}

fn bytes(frame: PeerSlice<'_>) -> Vec<u8> {
    let mut bytes = vec![0; frame.len() as usize];
    frame.copy_to_slice(0, &mut bytes).expect("inside");
    bytes
}

/// All there is, and the host's part of it.
struct Machines {
    network: Network,
    /// What the host writes the sender's directory on.
    page: Table<'static, u64>,
    gate: Gate,
    pool: &'static Mempool<'static>,
    receivers: Vec<Receiver>,
}

impl Machines {
    /// The sender's directory as it should be now.
    fn directory(&self) -> Directory {
        directory(&self.network)
    }

    /// The host tells the sender what has changed.
    fn tell(&self) {
        publish(&self.page, &self.directory());
    }

    /// VM `vm`'s driver starts anew, with rings that begin anew.
    fn start_again(&mut self, vm: u32) {
        self.network.write(vm, sluice_abi::mmio::reg::STATUS, 0);
        let receiver = &mut self.receivers[vm as usize - 1];
        *receiver = Receiver::start(&mut self.network, vm, receiver.ram, RingFormat::default());
    }
}

/// VM 0's directory, with its peers' RAM one behind the other.
fn directory(network: &Network) -> Directory {
    let mut directory = Directory { gate: GateKind::Direct as u32, ..network.directory(0) };
    for (index, peer) in directory.peers.iter_mut().take(RECEIVERS).enumerate() {
        peer.regions[0].slot_offset = index as u64 * RAM;
    }
    directory
}

/// A gate to the receivers, a pool of the sender's, and the receivers.
fn machines(buffers: usize, format: RingFormat) -> (Gate, &'static Mempool<'static>, Vec<Receiver>) {
    let Machines { gate, pool, receivers, .. } = with_host(buffers, format);
    (gate, pool, receivers)
}

fn with_host(buffers: usize, format: RingFormat) -> Machines {
    let mut network = network();
    let slot = memory(RECEIVERS as u64 * RAM);
    let part = |index: usize| slot.sub(index as u64 * RAM, RAM).expect("inside");
    let receivers: Vec<_> =
        (0..RECEIVERS).map(|index| Receiver::start(&mut network, index as u32 + 1, part(index), format)).collect();
    let memory_page = memory(4096);
    let page = memory_page.table(0, word::COUNT as u16).expect("a page");
    publish(&page, &directory(&network));
    let packets = memory(2 * MIB);
    let access = Access { directory: memory_page, request: memory(4096), packets, slot: slot.as_ptr() };
    // SAFETY: the slot is all receivers' RAM, where the directory says; memory here is reached through slices alone.
    let gate = unsafe { Gate::discover(access) }.expect("a gate");
    let free = Box::leak(vec![0; buffers].into_boxed_slice());
    let pool = Box::leak(Box::new(Mempool::new(PacketMemory::new(Gpa(0), packets).expect("small"), free)));
    Machines { network, page, gate, pool, receivers }
}

/// Frame `number`, of `len` bytes.
fn frame(number: usize, len: u16) -> Vec<u8> {
    (0..usize::from(len)).map(|at| (number * 31 + at * 7) as u8).collect()
}

#[track_caller]
fn push(burst: &mut Burst<'_>, number: usize, len: u16) {
    let to = burst.push(len).expect("room");
    to.copy_from_slice(0, &frame(number, len)).expect("as long as it is");
}

#[test]
fn frames_arrive_as_they_were_sent() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = machines(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let lens = [1, 14, 59, 60, 63, 64, 65, 127, 128, 1499, 1514];
        lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        assert_eq!(port.tx_burst(&mut burst), Ok(lens.len()));
        let expected: Vec<_> = lens.iter().enumerate().map(|(number, &len)| frame(number, len)).collect();
        assert_eq!((receivers[0].take(), receivers[1].take().len(), burst.len()), (expected, 0, 0));
        let sum = lens.iter().map(|&len| u64::from(len)).sum();
        let stats = (port.stats(), receivers[0].net.stats());
        assert_eq!((stats.0.tx_packets, stats.0.tx_bytes, stats.0.tx_partial), (lens.len() as u64, sum, 0));
        assert_eq!((stats.1.rx_packets, stats.1.rx_bytes, stats.1.rx_errors), (lens.len() as u64, sum, 0));
    }
}

#[test]
fn what_a_full_ring_refuses_stays_in_order() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = machines(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let mut sent = 0;
        for number in 0..300 {
            push(&mut burst, number, 64);
            if burst.len() == 200 {
                sent += port.tx_burst(&mut burst).expect("no error");
            }
        }
        sent += port.tx_burst(&mut burst).expect("no error");
        assert_eq!((sent, burst.len(), port.stats().tx_partial), (RX_SIZE, 300 - RX_SIZE, 1));
        assert_eq!(burst.bytes(), 64 * (300 - RX_SIZE as u64));
        assert_eq!(port.tx_burst(&mut burst), Ok(0));
        let mut arrived = receivers[0].take();
        assert_eq!(port.tx_burst(&mut burst), Ok(300 - RX_SIZE));
        arrived.extend(receivers[0].take());
        assert_eq!(arrived, (0..300).map(|number| frame(number, 64)).collect::<Vec<_>>());
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_alone() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = machines(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        [64, 64, 1519, 64].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        for count in 1..4 {
            assert_eq!(port.tx_burst(&mut burst), Err(TxError::TooLong { peer: PeerIdx(0), index: 0 }));
            let stats = port.stats();
            assert_eq!((burst.len(), stats.tx_packets, stats.tx_errors, stats.tx_too_long), (1, 3, count, count));
        }
        assert!(burst.remove(0));
        push(&mut burst, 4, 64);
        assert_eq!(port.tx_burst(&mut burst), Ok(1));
        assert_eq!(receivers[0].take(), [0, 1, 3, 4].map(|number| frame(number, 64)));
    }
}

#[test]
fn a_scattered_burst_reaches_each_peer_in_order() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = machines(MAX_BURST, format);
        let mut burst = pool.burst();
        for number in 0..9 {
            push(&mut burst, number, 100);
            burst.set_peer(number, PeerIdx((number % 3 == 0).into()));
        }
        assert_eq!(Scatter::new(&gate).tx_burst(&mut burst), Ok(9));
        assert_eq!(receivers[1].take(), [0, 3, 6].map(|number| frame(number, 100)));
        assert_eq!(receivers[0].take(), [1, 2, 4, 5, 7, 8].map(|number| frame(number, 100)));
        // A port of one peer does not care whom the frames named before.
        push(&mut burst, 0, 64);
        burst.set_peer(0, PeerIdx(1));
        assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst), Ok(1));
        assert_eq!((receivers[0].take().len(), receivers[1].take().len()), (1, 0));
        let no_peer = PeerPort::new(&gate, PeerIdx(7)).tx_burst(&mut {
            push(&mut burst, 0, 64);
            burst
        });
        assert_eq!(no_peer, Err(TxError::PeerNotReady { peer: PeerIdx(7), index: 0 }));
    }
}

#[test]
fn every_buffer_is_in_the_pool_or_in_one_burst() {
    let (gate, pool, _receivers) = machines(8, RingFormat::default());
    let mut port = PeerPort::new(&gate, PeerIdx(0));
    let (mut one, mut two) = (pool.burst(), pool.burst());
    (0..6).for_each(|number| push(&mut one, number, 64));
    assert_eq!((port.tx_burst(&mut one), pool.available()), (Ok(6), 2));
    (0..2).for_each(|number| push(&mut two, number, 64));
    assert!(two.push(64).is_none(), "the rest is with the other burst");
    (0..6).for_each(|number| push(&mut one, number, 64));
    one.drop_front(4);
    one.release();
    assert_eq!(pool.available(), 4);
    drop(one);
    assert_eq!(pool.available(), 6);
    drop(two);
    assert_eq!(pool.available(), pool.capacity());
}

/// A writer that lets the VM act after each of its stores.
struct Between<F>(Table<'static, u64>, F);

impl<F: Fn()> SharedWords for Between<F> {
    fn load(&self, index: usize) -> u64 {
        self.0.load(index)
    }

    fn store(&self, index: usize, word: u64) {
        self.0.store(index, word);
        (self.1)();
    }

    fn acquire() {
        Table::<u64>::acquire();
    }

    fn release() {
        Table::<u64>::release();
    }
}

/// Between any two of the host's writes a call of the VM's sends nothing; after the last it knows all: a restart and a revocation.
#[test]
fn a_call_between_two_writes_of_the_host_sends_nothing_and_misses_nothing() {
    let mut machines = with_host(MAX_BURST, RingFormat::default());
    for number in 0..20 {
        let revoked = number % 4 == 3;
        if revoked {
            machines.network.remove(1)
        } else {
            machines.start_again(1)
        }
        let (gate, calls) = (&machines.gate, std::cell::Cell::new(0));
        let port = std::cell::RefCell::new((PeerPort::new(gate, PeerIdx(0)), machines.pool.burst()));
        push(&mut port.borrow_mut().1, number, 64);
        let call = || {
            let (port, burst) = &mut *port.borrow_mut();
            port.tx_burst(burst)
        };
        let between = || {
            calls.set(calls.get() + 1);
            let odd = machines.page.load(word::SEQUENCE) % 2 == 1;
            if odd {
                assert_eq!(call(), Err(TxError::PeerNotReady { peer: PeerIdx(0), index: 0 }));
                assert_eq!((gate.peer(PeerIdx(0)), gate.find("b")), (Err(PeerError::Busy), Err(PeerError::Busy)));
            }
        };
        publish(&Between(machines.page, between), &machines.directory());
        assert!(calls.get() >= 3, "{} writes", calls.get());
        if revoked {
            assert_eq!(call(), Err(TxError::PeerNotReady { peer: PeerIdx(0), index: 0 }));
            assert_eq!(gate.peer_state(PeerIdx(0)), PeerState::Revoked);
            drop(port);
            machines.network.restart(1);
        } else {
            assert_eq!(call(), Ok(1));
            assert_eq!((gate.peer_state(PeerIdx(0)), gate.find("b")), (PeerState::Ready, Ok(PeerIdx(0))));
            drop(port);
            assert_eq!(machines.receivers[0].take(), [frame(number, 64)], "the ring that began anew");
        }
    }
}

#[test]
fn a_peer_that_was_taken_away_gets_nothing_and_the_others_go_on_where_they_were() {
    let mut machines = with_host(MAX_BURST, RingFormat::default());
    let mut burst = machines.pool.burst();
    for number in 0..6 {
        // Each change is of peer 0's entry alone: peer 1's queue goes on.
        if number % 2 == 0 {
            machines.network.remove(1)
        } else {
            machines.start_again(1)
        }
        machines.tell();
        let mut port = Scatter::new(&machines.gate);
        for peer in [1, 0, 1] {
            push(&mut burst, number, 64);
            burst.set_peer(burst.len() - 1, PeerIdx(peer));
        }
        if number % 2 == 0 {
            assert_eq!(port.tx_burst(&mut burst), Err(TxError::PeerNotReady { peer: PeerIdx(0), index: 0 }));
            assert_eq!((burst.len(), port.stats().tx_packets, port.stats().tx_bytes), (1, 2, 128));
            assert!(burst.remove(0));
            machines.network.restart(1);
        } else {
            assert_eq!(port.tx_burst(&mut burst), Ok(3));
            assert_eq!(machines.receivers[0].take(), [frame(number, 64)]);
        }
        assert_eq!(machines.receivers[1].take(), [frame(number, 64), frame(number, 64)]);
    }
}

/// The frame that an error names is the one that is wrong, wherever it is and whatever was delivered around it.
#[test]
fn only_the_frame_that_is_named_is_wrong() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = machines(MAX_BURST, format);
        let (mut port, mut burst) = (Scatter::new(&gate), pool.burst());
        // Peer 1's ring is full, so frames to it stay, too.
        (0..RX_SIZE).for_each(|number| push(&mut burst, number, 64));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst), Ok(RX_SIZE));
        receivers[1].take().clear();
        (0..RX_SIZE).for_each(|number| push(&mut burst, number, 64));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst), Ok(RX_SIZE));
        for (number, (len, peer)) in
            [(64, 1), (65, 0), (66, 1), (67, 0), (1519, 0), (69, 0), (70, 1)].into_iter().enumerate()
        {
            push(&mut burst, number, len);
            burst.set_peer(number, PeerIdx(peer));
        }
        assert_eq!(port.tx_burst(&mut burst), Err(TxError::TooLong { peer: PeerIdx(0), index: 2 }));
        assert_eq!((burst.len(), burst.bytes()), (4, 64 + 66 + 1519 + 70));
        assert_eq!((port.stats().tx_packets, port.stats().tx_bytes, port.stats().tx_errors), (3, 65 + 67 + 69, 1));
        assert!(burst.remove(2) && !burst.remove(3) && !burst.remove(usize::MAX));
        assert_eq!((burst.len(), burst.bytes()), (3, 64 + 66 + 70));
        assert_eq!(port.tx_burst(&mut burst), Ok(0), "peer 1's ring is still full");
        assert_eq!(receivers[0].take(), [frame(1, 65), frame(3, 67), frame(5, 69)]);
        receivers[1].take().clear();
        assert_eq!(port.tx_burst(&mut burst), Ok(3));
        assert_eq!(receivers[1].take(), [frame(0, 64), frame(2, 66), frame(6, 70)]);
    }
}

#[test]
fn an_index_that_no_directory_has_is_nobodys() {
    let (gate, pool, mut receivers) = machines(MAX_BURST, RingFormat::default());
    for peer in [MAX_PEERS as u8, MAX_PEERS as u8 + 1, 0x80, u8::MAX].map(PeerIdx) {
        let mut burst = pool.burst();
        push(&mut burst, 0, 64);
        burst.set_peer(0, peer);
        let nobody = Err(TxError::PeerNotReady { peer, index: 0 });
        assert_eq!(Scatter::new(&gate).tx_burst(&mut burst), nobody, "{peer}");
        assert_eq!(PeerPort::new(&gate, peer).tx_burst(&mut burst), nobody, "{peer}");
        push(&mut burst, 1, 64);
        assert_eq!(PeerPort::new(&gate, peer).tx_burst(&mut burst), nobody, "{peer}");
        assert_eq!(gate.peer_state(peer), PeerState::Absent);
        assert_eq!(gate.peer(peer), Err(PeerError::Unknown));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst), Ok(2));
        assert_eq!((receivers[0].take().len(), receivers[1].take().len()), (0, 2));
    }
}

#[test]
fn a_peer_is_found_by_its_whole_name() {
    let (gate, _, _) = machines(1, RingFormat::default());
    assert_eq!((gate.find("b"), gate.find("c")), (Ok(PeerIdx(0)), Ok(PeerIdx(1))));
    for nobody in ["", "a", "b\0", "\0", "bb", "b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
        assert_eq!(gate.find(nobody), Err(PeerError::Unknown), "{nobody:?}");
    }
    assert_eq!(gate.peer(PeerIdx(RECEIVERS as u8)), Err(PeerError::Unknown));
}

#[test]
fn the_bytes_of_a_burst_are_those_of_its_frames() {
    let (_, pool, _) = machines(8, RingFormat::default());
    let mut burst = pool.burst();
    (0..6).for_each(|number| push(&mut burst, number, 60 + number as u16));
    burst.drop_front(2);
    assert_eq!((burst.len(), burst.bytes()), (4, 62 + 63 + 64 + 65));
    assert!(burst.remove(1));
    assert_eq!((burst.len(), burst.bytes()), (3, 62 + 64 + 65));
    assert_eq!(burst.frames().map(bytes).collect::<Vec<_>>(), [frame(2, 62), frame(4, 64), frame(5, 65)]);
    burst.drop_front(9);
    assert_eq!((burst.len(), burst.bytes(), burst.remove(0)), (0, 0, false));
    // What was removed is a spare buffer of the burst's.
    assert_eq!(pool.available(), 2);
    burst.release();
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn frames_are_received_into_a_burst_of_the_ports_own_pool_only() {
    let (gate, pool, mut receivers) = machines(MAX_BURST, RingFormat::default());
    let mut burst = pool.burst();
    push(&mut burst, 0, 64);
    assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst), Ok(1));
    let mut foreign = pool.burst();
    assert_eq!((receivers[0].net.rx_burst(&mut foreign), foreign.len()), (0, 0));
    let mut others = receivers[1].pool.burst();
    assert_eq!((receivers[0].net.rx_burst(&mut others), others.len()), (0, 0));
    assert_eq!(receivers[0].take(), [frame(0, 64)], "it is still there");
}

/// A peer that writes into the ring by itself: what is shorter than a header is no frame.
#[test]
fn a_frame_that_is_dropped_gives_its_buffer_back() {
    let machines = with_host(1, RingFormat::Split);
    let queue = machines.network.directory(0).peers[0].queues[0];
    let Machines { mut receivers, .. } = machines;
    let Receiver { ram, net, pool } = &mut receivers[0];
    let before = pool.available();
    for number in 0..2 * RX_SIZE as u16 {
        let entry = u64::from(number % queue.size);
        let head: u16 = ram.read(queue.addresses.driver.0 + 4 + 2 * entry).expect("inside");
        let used = UsedElem { id: head.into(), len: 5 };
        ram.write(queue.addresses.device.0 + 4 + 8 * entry, used).expect("inside");
        ram.write(queue.addresses.device.0 + 2, number + 1).expect("inside");
        let mut burst = pool.burst();
        assert_eq!((net.rx_burst(&mut burst), net.fault()), (0, None));
    }
    assert_eq!((net.stats().rx_errors, net.stats().rx_no_mbuf), (2 * RX_SIZE as u64, 0));
    assert_eq!(pool.available(), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bursts of any size with frames of any length, and a receiver that looks now and then.
    #[test]
    fn nothing_is_lost_doubled_or_torn(calls in vec((vec(1u16..1515, 1..100), any::<bool>()), 1..20), format in 0..3usize) {
        let (gate, pool, mut receivers) = machines(MAX_BURST, RingFormat::ALL[format]);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let (mut sent, mut arrived) = (Vec::new(), Vec::new());
        for (lens, look) in calls {
            for len in lens {
                if burst.room() > 0 {
                    push(&mut burst, sent.len(), len);
                    sent.push(frame(sent.len(), len));
                }
            }
            prop_assert!(port.tx_burst(&mut burst).is_ok());
            if look {
                arrived.extend(receivers[0].take());
            }
        }
        while !burst.is_empty() || arrived.len() < sent.len() {
            arrived.extend(receivers[0].take());
            prop_assert!(port.tx_burst(&mut burst).is_ok());
        }
        prop_assert!(arrived == sent && receivers[0].take().is_empty());
        prop_assert!(receivers[1].ram.read::<u64>(0) == Ok(0));
    }
}
