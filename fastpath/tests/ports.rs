//! The whole way of a frame, in one process: burst, port, gate `Direct`, ring, port, burst.
#![allow(unsafe_code, reason = "stands in for the host, which makes the memory")]

use proptest::collection::vec;
use proptest::prelude::*;
use sluice::{
    Access, Burst, Gate, MAX_BURST, Mempool, PacketMemory, PeerPort, PeerSlice, Port, RX_SIZE, RingFormat, Scatter,
    TxError, VirtioNet,
};
use sluice_abi::Gpa;
use sluice_abi::directory::{Directory, GateKind};
use sluice_control::{Manifest, Network};
use sluice_driver::Registers as DeviceRegisters;
use zerocopy::IntoBytes;

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

/// A gate to the receivers, a pool of the sender's, and the receivers.
fn machines(buffers: usize, format: RingFormat) -> (Gate, &'static Mempool<'static>, Vec<Receiver>) {
    let mut network = network();
    let slot = memory(RECEIVERS as u64 * RAM);
    let part = |index: usize| slot.sub(index as u64 * RAM, RAM).expect("inside");
    let receivers: Vec<_> =
        (0..RECEIVERS).map(|index| Receiver::start(&mut network, index as u32 + 1, part(index), format)).collect();
    let mut directory = Directory { gate: GateKind::Direct as u32, ..network.directory(0) };
    for (index, peer) in directory.peers.iter_mut().take(RECEIVERS).enumerate() {
        peer.regions[0].slot_offset = index as u64 * RAM;
    }
    let page = memory(4096);
    page.copy_from_slice(0, directory.as_bytes()).expect("a page");
    let packets = memory(2 * MIB);
    let access = Access { directory: page, request: memory(4096), packets, slot: slot.as_ptr() };
    // SAFETY: the slot is all receivers' RAM, where the directory says; memory here is reached through slices alone.
    let gate = unsafe { Gate::discover(access) }.expect("a gate");
    let free = Box::leak(vec![0; buffers].into_boxed_slice());
    let pool = Box::leak(Box::new(Mempool::new(PacketMemory::new(Gpa(0), packets).expect("small"), free)));
    (gate, pool, receivers)
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
        let mut port = PeerPort::new(&gate, 0);
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
        let mut port = PeerPort::new(&gate, 0);
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
        let mut port = PeerPort::new(&gate, 0);
        let mut burst = pool.burst();
        [64, 64, 1519, 64].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        for count in 1..4 {
            assert_eq!(port.tx_burst(&mut burst), Err(TxError::TooLong { peer: 0, index: 0 }));
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
            burst.set_peer(number, u16::from(number % 3 == 0));
        }
        assert_eq!(Scatter::new(&gate).tx_burst(&mut burst), Ok(9));
        assert_eq!(receivers[1].take(), [0, 3, 6].map(|number| frame(number, 100)));
        assert_eq!(receivers[0].take(), [1, 2, 4, 5, 7, 8].map(|number| frame(number, 100)));
        // A port of one peer does not care whom the frames named before.
        push(&mut burst, 0, 64);
        burst.set_peer(0, 1);
        assert_eq!(PeerPort::new(&gate, 0).tx_burst(&mut burst), Ok(1));
        assert_eq!((receivers[0].take().len(), receivers[1].take().len()), (1, 0));
        let no_peer = PeerPort::new(&gate, 7).tx_burst(&mut {
            push(&mut burst, 0, 64);
            burst
        });
        assert_eq!(no_peer, Err(TxError::PeerNotReady { peer: 7, index: 0 }));
    }
}

#[test]
fn every_buffer_is_in_the_pool_or_in_one_burst() {
    let (gate, pool, _receivers) = machines(8, RingFormat::default());
    let mut port = PeerPort::new(&gate, 0);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bursts of any size with frames of any length, and a receiver that looks now and then.
    #[test]
    fn nothing_is_lost_doubled_or_torn(calls in vec((vec(1u16..1515, 1..100), any::<bool>()), 1..20), format in 0..3usize) {
        let (gate, pool, mut receivers) = machines(MAX_BURST, RingFormat::ALL[format]);
        let mut port = PeerPort::new(&gate, 0);
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
