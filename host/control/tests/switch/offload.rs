//! Checksums and segments: left to the receiver where it agreed, and else done by the switch.

use super::*;
use sluice_abi::net::{HdrF, gso};

const ALL: F = F::CSUM
    .union(F::HOST_TSO4)
    .union(F::HOST_TSO6)
    .union(F::HOST_ECN)
    .union(F::GUEST_CSUM)
    .union(F::GUEST_TSO4)
    .union(F::GUEST_TSO6)
    .union(F::GUEST_ECN)
    .union(F::MRG_RXBUF);

/// The sum of 16-bit words, folded; a whole checksum makes it 0xffff. See: RFC 1071.
fn folded(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}

/// A TCP segment from a to b over IPv4 or IPv6, behind `tags` VLAN tags, with `payload` bytes, and its header: the sum
/// of the pseudo header is where the checksum goes.
pub fn tcp(ipv6: bool, tags: usize, payload: usize, gso_size: u16, flags: u8) -> (Hdr, Vec<u8>) {
    let mut frame = [mac(1), mac(0)].concat();
    (0..tags).for_each(|tag| frame.extend([0x81, 0, 0, tag as u8]));
    let len = (20 + payload) as u16;
    let addresses: Vec<u8> = (1..=if ipv6 { 32 } else { 8 }).collect();
    if ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([6, 64]);
    } else {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + len).to_be_bytes());
        frame.extend([0xff, 0xff, 0x40, 0, 64, 6, 0, 0]);
    }
    frame.extend(&addresses);
    let start = frame.len();
    if !ipv6 {
        let sum = !folded(&[&frame[start - 20..]]);
        frame[start - 10..start - 8].copy_from_slice(&sum.to_be_bytes());
    }
    frame.extend([0, 80, 0, 81, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9, 0x50, flags, 1, 0]);
    frame.extend(folded(&[&addresses, &[0, 6], &len.to_be_bytes()]).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload).map(|at| (at % 251) as u8));
    let gso_type = match (gso_size, ipv6) {
        (0, _) => gso::NONE,
        (_, false) => gso::TCPV4,
        (_, true) => gso::TCPV6,
    };
    let hdr = Hdr {
        flags: HdrF::NEEDS_CSUM.bits(),
        gso_type,
        hdr_len: start as u16 + 20,
        gso_size,
        csum_start: start as u16,
        csum_offset: 16,
        num_buffers: 0,
    };
    (hdr, frame)
}

/// Checks the headers of a segment that asks for nothing, and returns sequence number, flags, identification and
/// payload.
pub fn check(frame: &[u8], ipv6: bool, tags: usize) -> (u32, u8, u16, Vec<u8>) {
    let ip = 14 + 4 * tags;
    let (tcp, addresses, id) = if ipv6 { (ip + 40, ip + 8..ip + 40, 0) } else { (ip + 20, ip + 12..ip + 20, ip + 4) };
    let len = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if ipv6 {
        assert_eq!(usize::from(len(ip + 4)), frame.len() - ip - 40);
    } else {
        assert_eq!(usize::from(len(ip + 2)), frame.len() - ip);
        assert_eq!(folded(&[&frame[ip..tcp]]), 0xffff, "IPv4 checksum");
    }
    let tcp_len = (frame.len() - tcp) as u16;
    assert_eq!(folded(&[&frame[addresses], &[0, 6], &tcp_len.to_be_bytes(), &frame[tcp..]]), 0xffff, "TCP checksum");
    let sequence = u32::from_be_bytes(frame[tcp + 4..tcp + 8].try_into().expect("4"));
    (sequence, frame[tcp + 13], if ipv6 { 0 } else { len(id) }, frame[tcp + 20..].to_vec())
}

#[test]
fn a_checksum_is_left_to_who_agreed_to_complete_it_and_completed_for_others() {
    for ipv6 in [false, true] {
        let (hdr, frame) = tcp(ipv6, 1, 100, 0, 0x10);
        let world = World::new(&["lan = [\"b\"]", ""]);
        let (mut a, mut b) = (world.start(0, ALL, 1), world.start(1, ALL, 1));
        // What only a device may say to a driver is not passed on.
        a.send_on(0, &Hdr { flags: hdr.flags | HdrF::DATA_VALID.bits(), ..hdr }, &frame);
        assert_eq!(b.arrivals(), [(Hdr { num_buffers: 1, ..hdr }, frame.clone())]);
        let mut b = world.start(1, F::VERSION_1, 1);
        a.send_on(0, &hdr, &frame);
        let arrivals = b.arrivals();
        assert_eq!(arrivals[0].0, Hdr { num_buffers: 1, ..Hdr::default() });
        assert_eq!((arrivals.len(), check(&arrivals[0].1, ipv6, 1).3.len()), (1, 100));
        a.send_on(0, &Hdr { flags: HdrF::DATA_VALID.bits(), ..Hdr::default() }, &frame);
        assert_eq!(b.arrivals(), [(Hdr { num_buffers: 1, ..Hdr::default() }, frame)]);
    }
}

/// A datagram of UDP with a checksum of 0 would count as one without. See: RFC 768.
#[test]
fn a_checksum_is_never_completed_to_none() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, ALL, 1), world.start(1, F::VERSION_1, 1));
    for (words, complete) in
        [([0xffffu16, 0], 0xffffu16), ([0xfffe, 0], 1), ([0, 0], 0xffff), ([0xffff, 0xffff], 0xfffe)]
    {
        let mut frame = frame(mac(1), mac(0), 0);
        frame[40..44].copy_from_slice(words.map(u16::to_be_bytes).as_flattened());
        // The carry of the carry counts, too.
        frame[45] = u8::from(words[1] != 0);
        let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 6, ..Hdr::default() };
        a.send_on(0, &hdr, &frame);
        assert_eq!(b.received()[0][40..42], complete.to_be_bytes());
    }
}

#[test]
fn segments_are_left_to_who_agreed_to_them_and_cut_for_others() {
    const FLAGS: u8 = 0x80 | 0x10 | 0x08 | 0x01;
    for (ipv6, tags, payload) in [(false, 0, 10_000), (true, 0, 10_001), (false, 2, 1460), (true, 1, 1), (false, 0, 0)]
    {
        let (hdr, frame) = tcp(ipv6, tags, payload, 1400, FLAGS);
        let world = World::new(&["lan = [\"b\"]", ""]);
        let (mut a, mut b) = (world.start(0, ALL, 1), world.start(1, ALL, 1));
        a.send_on(0, &hdr, &frame);
        let arrivals = b.arrivals();
        let num_buffers = arrivals[0].0.num_buffers;
        assert_eq!(arrivals, [(Hdr { num_buffers, ..hdr }, frame.clone())]);
        // One that completes checksums, but takes no long segments, and one that takes those of the other kind.
        let other = if ipv6 { F::GUEST_TSO4 } else { F::GUEST_TSO6 };
        for features in [F::VERSION_1, F::GUEST_CSUM, F::GUEST_CSUM | other] {
            let mut b = world.start(1, features, 1);
            a.send_on(0, &hdr, &frame);
            let segments: Vec<_> = b.received().iter().map(|frame| check(frame, ipv6, tags)).collect();
            let count = payload.div_ceil(1400).max(1);
            assert_eq!(segments.len(), count);
            for (index, (sequence, flags, id, part)) in segments.iter().enumerate() {
                assert_eq!(*sequence, 0xffff_ff00u32.wrapping_add(1400 * index as u32));
                let cleared = if index == 0 { 0 } else { 0x80 } | if index + 1 == count { 0 } else { 9 };
                assert_eq!(*flags, FLAGS & !cleared, "{index}");
                assert_eq!(*id, if ipv6 { 0 } else { 0xffffu16.wrapping_add(index as u16) });
                assert!(part.len() <= 1400);
            }
            let whole: Vec<u8> = segments.into_iter().flat_map(|segment| segment.3).collect();
            assert_eq!(whole, frame[frame.len() - payload..]);
        }
    }
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, ALL, 1), world.start(1, ALL, 1));
    let (hdr, frame) = tcp(false, 0, 64_000, 1448, 0x10);
    a.send_on(0, &hdr, &frame);
    assert_eq!(b.received(), [frame]);
}

/// What is made of a frame for one receiver is not what the next one gets.
#[test]
fn each_receiver_gets_the_frame_in_its_own_form() {
    let world = World::new(&["lan = [\"b\", \"c\", \"d\"]", "", "", ""]);
    let mut a = world.start(0, ALL, 1);
    let [mut b, mut c, mut d] = [(1, F::VERSION_1), (2, ALL), (3, F::VERSION_1)].map(|(vm, it)| world.start(vm, it, 1));
    let (hdr, mut frame) = tcp(false, 0, 40_000, 1448, 0x10);
    frame[..6].fill(0xff);
    a.send_on(0, &hdr, &frame);
    assert_eq!(c.received(), [frame.clone()]);
    for made in [b.received(), d.received()] {
        assert_eq!(made.len(), 28);
        let payload: Vec<_> = made.iter().flat_map(|segment| check(segment, false, 0).3).collect();
        assert!(payload == frame[54..]);
    }
}

#[test]
fn headers_that_do_not_allow_segments_are_dropped_and_counted() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (mut a, mut b) = (world.start(0, ALL, 1), world.start(1, F::VERSION_1, 1));
    let (hdr, frame) = tcp(false, 0, 3000, 1000, 0x10);
    let changed = |at: usize, byte: u8| {
        let mut frame = frame.clone();
        frame[at] = byte;
        (hdr, frame)
    };
    let (hdr6, frame6) = tcp(true, 0, 3000, 1000, 0x10);
    let changed6 = |at: usize, byte: u8| (hdr6, [&frame6[..at], &[byte], &frame6[at + 1..]].concat());
    // 16 bytes of IPv4, and TCP behind them.
    let (_, mut short) = changed(14, 0x44);
    short[30 + 12] = 0xf0;
    let cases = [
        (Hdr { csum_start: 30, ..hdr }, short),
        // TCP within the header of IPv6.
        (Hdr { csum_start: 40, ..hdr6 }, changed6(40 + 12, 0xf0).1),
        changed(12, 0x09),
        changed(14, 0x46),
        changed(14, 0x44),
        changed(14, 0x65),
        changed(23, 17),
        changed(46, 0x40),
        (hdr, frame[..34 + 19].to_vec()),
        ({ hdr }, { [&frame[..46], &[0xf0][..], &frame[47..60]].concat() }),
        (Hdr { csum_start: 33, ..hdr }, frame.clone()),
        (Hdr { csum_start: 0, ..hdr }, frame.clone()),
        (Hdr { csum_offset: 6, ..hdr }, frame.clone()),
        (Hdr { gso_size: 1, ..hdr }, frame.clone()),
        (Hdr { gso_type: gso::TCPV6, ..hdr }, frame.clone()),
        (Hdr { gso_type: gso::TCPV4, ..hdr6 }, frame6.clone()),
        changed6(13, 0xde),
        changed6(14, 0x40),
        changed6(54 + 12, 0x40),
        (Hdr { csum_start: 53, ..hdr6 }, frame6.clone()),
        (Hdr { csum_offset: 6, ..hdr6 }, frame6.clone()),
    ];
    let count = cases.len() as u64;
    for (hdr, frame) in cases {
        a.send_on(0, &hdr, &frame);
        assert_eq!(b.received(), Vec::<Vec<u8>>::new(), "{hdr:?} {:?}", &frame[..frame.len().min(60)]);
    }
    assert_eq!(world.counters(0).malformed, count);
    a.send_on(0, &hdr, &frame);
    assert_eq!(b.received().len(), 3, "and the next one passes");
}
