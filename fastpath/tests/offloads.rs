//! Checksums and segmentation that a sender leaves to its receiver, long frames, and frames in several buffers.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{
    BufferLen, FrameError, Gate, HEADROOM, Hdr, HdrF, MAX_BURST, Mempool, Offloads, Options, PeerIdx, PeerPort,
    Receive, RingFormat, Transmit, TxError, VirtioNet, VirtioNetError, gso,
};
use sluice_abi::net::F;
use sluice_abi::virtq::UsedElem;
use world::{Receiver, World, contents, frame, push};

const ENTRIES: u16 = 32;
const TSO: Offloads = Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6);
const PEER: PeerIdx = PeerIdx(0);

/// Header of a checksum to be completed, TCP over IPv4.
const CSUM: Hdr = Hdr {
    flags: HdrF::NEEDS_CSUM.bits(),
    gso_type: gso::NONE,
    hdr_len: 54,
    gso_size: 0,
    csum_start: 34,
    csum_offset: 16,
    num_buffers: 1,
};
const SEGMENTS: Hdr = Hdr { gso_type: gso::TCPV4, gso_size: 1448, ..CSUM };

fn start(world: &World, buffer: BufferLen, options: Options) -> Result<Receiver, VirtioNetError> {
    let pool = world.pool(0, buffer, 2 * usize::from(ENTRIES));
    let (queue, _) = world.packets(0).split_at(VirtioNet::QUEUE_LEN).expect("inside");
    VirtioNet::start(world.device(0), queue, pool, options).map(|net| Receiver { net, pool })
}

fn options(format: RingFormat, offloads: Offloads) -> Options {
    Options { entries: ENTRIES, offloads, ..format.into() }
}

/// Returns a sender and a receiver with buffers of this length.
fn pair(mtu: u16, buffer: BufferLen, options: Options) -> (Gate, &'static Mempool<'static>, Receiver) {
    let world = World::with_ram(mtu, 16);
    let receiver = start(&world, buffer, options).expect("a device");
    let (gate, pool) = world.sender_of(buffer, usize::from(ENTRIES));
    (gate, pool, receiver)
}

#[test]
fn a_frame_to_be_segmented_arrives_whole_with_its_header() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB64, options(format, TSO));
        assert_eq!(gate.offloads(PEER), Ok(TSO));
        let (mut port, mut burst) = (PeerPort::new(&gate, PEER), pool.burst());
        for (number, len, hdr) in [(0, 64, None), (1, 64_000, Some(SEGMENTS)), (2, 1514, Some(CSUM)), (3, 1514, None)] {
            push(&mut burst, number, len);
            if let Some(hdr) = hdr {
                let forged = Hdr { num_buffers: 9, flags: hdr.flags | 0xf8, ..hdr };
                let mut made = burst.frame_mut(number).expect("there");
                assert_eq!((made.set_offloads(forged), made.offloads()), (Ok(()), Some(hdr)));
            }
        }
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(4));
        let mut arrived = receiver.pool.burst();
        assert_eq!(receiver.net.rx_burst(&mut arrived, MAX_BURST), Ok(4));
        let expected = [(0, 64), (1, 64_000), (2, 1514), (3, 1514)].map(|(number, len)| frame(number, len));
        assert_eq!(contents(&arrived), expected, "{format:?}");
        assert!(arrived.frames().map(|frame| frame.offloads()).eq([None, Some(SEGMENTS), Some(CSUM), None]));
        assert_eq!(port.tx_stats().bytes, 64 + 64_000 + 2 * 1514);
        // The next frames have no header again, whatever their buffers hold.
        (0..4).for_each(|number| push(&mut burst, number, 64));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(4));
        arrived.clear();
        assert_eq!(receiver.net.rx_burst(&mut arrived, MAX_BURST), Ok(4));
        assert!(arrived.frames().all(|frame| frame.offloads().is_none() && frame.len() == 64));
    }
}

#[test]
fn a_peer_that_negotiated_neither_is_told_nothing_and_the_frame_is_named() {
    for (format, agreed) in
        RingFormat::ALL.into_iter().flat_map(|format| [(format, Offloads::empty()), (format, Offloads::CSUM)])
    {
        let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB64, options(format, agreed));
        assert_eq!(gate.offloads(PEER), Ok(agreed));
        let (mut port, mut burst) = (PeerPort::new(&gate, PEER), pool.burst());
        for (number, len) in [(0, 64), (1, 64_000), (2, 65)] {
            push(&mut burst, number, len);
        }
        burst.frame_mut(1).expect("there").set_offloads(SEGMENTS).expect("fits");
        let refused = TxError::OffloadNotNegotiated { peer: PEER, index: 0 };
        for count in 1..3 {
            assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(refused));
            let stats = port.tx_stats();
            assert_eq!((burst.len(), stats.packets, stats.not_negotiated, stats.bad_frame), (2, 1, count, 0));
        }
        assert_eq!(
            refused.to_string(),
            "frame 0 leaves to peer 0 a checksum or segmentation that the peer did not negotiate"
        );
        assert!(burst.remove(0));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(1));
        assert_eq!(receiver.take(), [frame(0, 64), frame(2, 65)]);
        push(&mut burst, 3, 66);
        burst.frame_mut(0).expect("there").set_offloads(CSUM).expect("fits");
        let sent = port.tx_burst(&mut burst, MAX_BURST);
        assert_eq!(sent, if agreed.is_empty() { Err(refused) } else { Ok(1) });
        // Without its offload any peer takes the frame.
        burst.retain(|frame| {
            frame.clear_offloads();
            true
        });
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(usize::from(agreed.is_empty())));
        assert_eq!(receiver.take(), [frame(3, 66)]);
    }
}

/// The header of a call that was refused is not sent by another burst.
#[test]
fn a_frame_that_lost_its_offloads_and_moved_goes_without_a_header() {
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB2, options(RingFormat::default(), Offloads::empty()));
    let mut port = PeerPort::new(&gate, PEER);
    for round in 0..3 {
        let (mut burst, mut other) = (pool.burst(), pool.burst());
        push(&mut burst, round, 64);
        burst.frame_mut(0).expect("there").set_offloads(CSUM).expect("fits");
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::OffloadNotNegotiated { peer: PEER, index: 0 }));
        burst.frame_mut(0).expect("there").clear_offloads();
        match round {
            0 => burst.move_to(0, &mut other).expect("room"),
            1 => burst.duplicate(0, &mut other).expect("room"),
            _ => assert_eq!(other.append(&mut burst, 1), Ok(1)),
        }
        assert_eq!((port.tx_burst(&mut other, MAX_BURST), receiver.take()), (Ok(1), vec![frame(round, 64)]));
    }
}

/// A frame without segmentation is no longer than the MTU, whatever its checksum is.
#[test]
fn only_a_frame_to_be_segmented_may_be_longer_than_the_mtu() {
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB64, options(RingFormat::default(), TSO));
    let (mut port, mut burst) = (PeerPort::new(&gate, PEER), pool.burst());
    push(&mut burst, 0, 1515);
    burst.frame_mut(0).expect("there").set_offloads(CSUM).expect("fits");
    assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { peer: PEER, index: 0 }));
    burst.frame_mut(0).expect("there").set_offloads(SEGMENTS).expect("fits");
    assert_eq!((port.tx_burst(&mut burst, MAX_BURST), receiver.take()), (Ok(1), vec![frame(0, 1515)]));
}

#[test]
fn that_a_checksum_was_valid_is_known_here_and_not_told() {
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB2, options(RingFormat::default(), Offloads::empty()));
    let mut burst = pool.burst();
    push(&mut burst, 0, 64);
    let valid = Hdr { flags: HdrF::DATA_VALID.bits(), num_buffers: 1, ..Hdr::default() };
    let mut made = burst.frame_mut(0).expect("there");
    made.set_offloads(valid).expect("fits");
    assert_eq!(made.offloads(), Some(valid));
    assert_eq!(PeerPort::new(&gate, PEER).tx_burst(&mut burst, MAX_BURST), Ok(1));
    assert_eq!(receiver.take(), [frame(0, 64)]);
    // A bit beside the offload is refused, too.
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB2, options(RingFormat::default(), Offloads::CSUM));
    let (mut burst, mut arrived) = (pool.burst(), receiver.pool.burst());
    push(&mut burst, 0, 64);
    let both = Hdr { flags: CSUM.flags | HdrF::DATA_VALID.bits(), ..CSUM };
    burst.frame_mut(0).expect("there").set_offloads(both).expect("fits");
    assert_eq!(PeerPort::new(&gate, PEER).tx_burst(&mut burst, MAX_BURST), Ok(1));
    assert_eq!(receiver.net.rx_burst(&mut arrived, MAX_BURST), Ok(1));
    assert_eq!(arrived.frame(0).map(|frame| frame.offloads()), Ok(Some(CSUM)));
}

/// The start of a checksum counts from the start of the frame.
#[test]
fn a_checksum_moves_with_the_start_of_its_frame_and_stays_inside() {
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB2, options(RingFormat::default(), Offloads::CSUM));
    let (mut burst, mut other) = (pool.burst(), pool.burst());
    push(&mut burst, 0, 100);
    let mut made = burst.frame_mut(0).expect("there");
    made.set_offloads(CSUM).expect("fits");
    let offloads = |csum_start, len| FrameError::Offloads { hdr: Hdr { csum_start, ..CSUM }, len };
    assert_eq!((made.truncate(51), made.truncate(52)), (Err(offloads(34, 51)), Ok(())));
    assert_eq!((made.trim_front(35), made.trim_front(34)), (Err(offloads(34, 52)), Ok(())));
    assert_eq!(made.offloads().map(|hdr| (hdr.csum_start, hdr.hdr_len)), Some((0, 20)));
    assert_eq!((made.append(48), made.prepend(38)), (Ok(()), Ok(())));
    let moved = Hdr { csum_start: 38, hdr_len: 58, ..CSUM };
    assert_eq!((made.offloads(), made.len()), (Some(moved), 104));
    assert_eq!(made.set_offloads(Hdr { csum_start: 87, ..CSUM }), Err(offloads(87, 104)));
    assert_eq!((burst.duplicate(0, &mut other), burst.move_to(0, &mut other)), (Ok(()), Ok(())));
    assert!(other.frames().all(|frame| frame.offloads() == Some(moved)));
    assert_eq!(PeerPort::new(&gate, PEER).tx_burst(&mut other, MAX_BURST), Ok(2));
    let mut arrived = receiver.pool.burst();
    assert_eq!(receiver.net.rx_burst(&mut arrived, MAX_BURST), Ok(2));
    assert!(arrived.frames().all(|frame| frame.offloads() == Some(moved) && frame.len() == 104));
}

#[test]
fn a_jumbo_frame_arrives_in_one_long_buffer() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receiver) = pair(9000, BufferLen::KiB16, options(format, Offloads::empty()));
        let (mut port, mut burst) = (PeerPort::new(&gate, PEER), pool.burst());
        let lens = [9014, 60, 9015, 9000];
        lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { peer: PEER, index: 0 }));
        assert_eq!((burst.len(), receiver.net.mtu()), (1, 9000));
        assert_eq!(receiver.take(), [0, 1, 3].map(|number| frame(number, lens[number])));
    }
}

#[test]
fn options_that_can_not_be_had_are_an_error_at_once() {
    let world = World::with_ram(1500, 16);
    let error = |buffer, options| start(&world, buffer, options).err();
    for entries in [0, 3, 48, 512, u16::MAX] {
        let options = Options { entries, ..Options::default() };
        let pool = world.pool(0, BufferLen::KiB2, 2048);
        let (queue, _) = world.packets(0).split_at(VirtioNet::QUEUE_LEN).expect("inside");
        let found = VirtioNet::start(world.device(0), queue, pool, options).err();
        assert_eq!(found, Some(VirtioNetError::Entries(entries)));
    }
    for buffer in BufferLen::ALL {
        let longest = buffer.longest_frame();
        let fits = buffer == BufferLen::KiB64;
        let expected = (!fits).then_some(VirtioNetError::Segments { longest });
        assert_eq!(error(buffer, options(RingFormat::default(), TSO)), expected);
        assert_eq!(error(buffer, options(RingFormat::default(), Offloads::CSUM)), None);
    }
}

/// A device that fills several buffers with one frame.
struct Merging<'w> {
    world: &'w World,
    used: u16,
}

impl Merging<'_> {
    /// Puts `pieces` into as many buffers, a header before the first.
    fn put(&mut self, pieces: &[&[u8]]) {
        let (ram, queue) = (self.world.ram(0), self.world.queue(0));
        for (at, piece) in pieces.iter().enumerate() {
            let entry = u64::from((self.used + at as u16) % ENTRIES);
            let head: u16 = ram.read(queue.driver.0 + 4 + 2 * entry).expect("inside");
            let buffer: u64 = ram.read(queue.desc.0 + 16 * u64::from(head)).expect("inside");
            let header = if at == 0 { 12 } else { 0 };
            if at == 0 {
                ram.copy_from_slice(buffer, &[0; 12]).expect("inside");
                ram.write(buffer + 10, pieces.len() as u16).expect("inside");
            }
            ram.copy_from_slice(buffer + header, piece).expect("inside");
            let used = UsedElem { id: head.into(), len: piece.len() as u32 + header as u32 };
            ram.write(queue.device.0 + 4 + 8 * entry, used).expect("inside");
        }
        self.used += pieces.len() as u16;
        ram.write(queue.device.0 + 2, self.used).expect("inside");
    }
}

#[test]
fn a_frame_in_several_buffers_is_put_together_or_dropped_and_counted() {
    let world = World::with_ram(1500, 16);
    let mergeable = Options { mergeable: true, ..options(RingFormat::Split, Offloads::empty()) };
    let Receiver { mut net, pool } = start(&world, BufferLen::KiB2, mergeable).expect("a device");
    assert!(net.features().contains(F::MRG_RXBUF));
    let (mut device, mut burst, free) = (Merging { world: &world, used: 0 }, pool.burst(), pool.available());
    let most = usize::from(BufferLen::KiB2.longest_frame());
    let whole = frame(1, most as u16);
    for _ in 0..20 {
        device.put(&[&whole[..100], &whole[100..101], &whole[101..]]);
        device.put(&[&whole, b"x"]);
        device.put(&[b"alone"]);
        device.put(&[b"", b""]);
        device.put(&[&whole[..most - 1], b"y"]);
        assert_eq!(net.rx_burst(&mut burst, MAX_BURST), Ok(3));
        let last = [&whole[..most - 1], b"y"].concat();
        assert_eq!(contents(&burst), [whole.clone(), b"alone".to_vec(), last]);
        assert!(burst.frames().all(|frame| frame.offloads().is_none()));
        burst.clear();
        burst.release();
        assert_eq!((net.rx_burst(&mut burst, MAX_BURST), pool.available()), (Ok(0), free));
    }
    let stats = net.rx_stats();
    assert_eq!((stats.packets, stats.too_long, stats.bad_frame, net.fault()), (60, 20, 20, None));
    assert_eq!(stats.bytes, 20 * (2 * most as u64 + 5));
}

#[test]
fn counters_have_names() {
    let (gate, pool, mut receiver) = pair(1500, BufferLen::KiB2, options(RingFormat::default(), Offloads::empty()));
    let (mut port, mut burst) = (PeerPort::new(&gate, PEER), pool.burst());
    [60, 61, 1515].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
    assert!(port.tx_burst(&mut burst, MAX_BURST).is_err());
    assert_eq!(receiver.take().len(), 2);
    let some = |stats: &mut dyn Iterator<Item = (&'static str, u64)>| {
        stats.filter(|&(_, count)| count > 0).collect::<Vec<_>>()
    };
    assert_eq!(some(&mut port.tx_stats().xstats()), [("tx_packets", 2), ("tx_bytes", 121), ("tx_too_long", 1)]);
    assert_eq!(some(&mut receiver.net.rx_stats().xstats()), [("rx_packets", 2), ("rx_bytes", 121)]);
    assert_eq!(u32::from(BufferLen::KiB2.longest_frame()), 2048 - HEADROOM);
}
