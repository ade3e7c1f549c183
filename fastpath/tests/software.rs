//! Offloads done in software, compared with a receiver that knows the formats.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{BufferLen, Burst, FrameError, Hdr, HdrF, MAX_BURST, Mempool, PeerIdx, gso};
use sluice_abi::Gpa;
use sluice_test_memory::zeroed;
use world::{contents, frame, pool};

fn long() -> &'static Mempool<'static> {
    pool(Gpa(0), zeroed(16 << 20), BufferLen::KiB64, 200)
}

/// Returns the ones' complement sum, word by word with the carry added at once: not as the sources do.
fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0u16, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// Returns the pseudo header of TCP's checksum.
fn pseudo(ip: &[u8], len: usize) -> Vec<u8> {
    let v6 = ip[0] >> 4 == 6;
    let mut bytes = if v6 { ip[8..40].to_vec() } else { ip[12..20].to_vec() };
    bytes.extend([(len as u32).to_be_bytes(), 6u32.to_be_bytes()].concat());
    bytes
}

/// Returns a TCP frame with `tags` VLAN tags and `payload` bytes that is still to be cut: its flags are CWR,
/// ACK, PSH, FIN.
fn tcp(v6: bool, tags: usize, payload: usize) -> (Vec<u8>, Hdr) {
    let mut frame = vec![2; 12];
    (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 7]));
    let ip = frame.len() + 2;
    let total = 32 + payload;
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, (total >> 8) as u8, total as u8, 6, 64]);
        frame.extend((0..32).map(|byte| byte * 3));
    } else {
        let len = 24 + total;
        frame.extend([
            8,
            0,
            0x46,
            0,
            (len >> 8) as u8,
            len as u8,
            0xff,
            0xfe,
            0x40,
            0,
            64,
            6,
            0,
            0,
            10,
            0,
            0,
            1,
            10,
            0,
            0,
            2,
        ]);
        frame.extend([1, 1, 1, 0]);
    }
    let start = frame.len();
    frame.extend([0, 80, 1, 187, 0xff, 0xff, 0xff, 0, 9, 9, 9, 9, 0x80, 0x99, 1, 0, 0, 0, 0, 0]);
    frame.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame.extend((0..payload).map(|at| (at * 7 + at / 256) as u8));
    let partial = sum(&pseudo(&frame[ip..], total)).to_be_bytes();
    frame[start + 16..start + 18].copy_from_slice(&partial);
    let gso_type = if v6 { gso::TCPV6 } else { gso::TCPV4 };
    let hdr = Hdr {
        flags: HdrF::NEEDS_CSUM.bits(),
        gso_type,
        hdr_len: start as u16 + 32,
        gso_size: 1448,
        csum_start: start as u16,
        csum_offset: 16,
        num_buffers: 1,
    };
    (frame, hdr)
}

fn push(burst: &mut Burst<'_>, (bytes, hdr): &(Vec<u8>, Hdr)) {
    let mut frame = burst.push_bytes(bytes).expect("room");
    frame.set_offloads(*hdr).expect("fits");
    frame.set_mark(77);
    frame.set_peer(PeerIdx(5));
}

/// The header fields of a segment, all of whose checksums are right, and its payload.
#[track_caller]
fn parse(frame: &[u8], tags: usize) -> ([u32; 3], Vec<u8>) {
    let ip = &frame[14 + 4 * tags..];
    let v6 = ip[0] >> 4 == 6;
    let (header, id) = if v6 { (40, 0) } else { (24, u16::from_be_bytes([ip[4], ip[5]])) };
    let len =
        usize::from(if v6 { u16::from_be_bytes([ip[4], ip[5]]) + 40 } else { u16::from_be_bytes([ip[2], ip[3]]) });
    assert_eq!(len, ip.len());
    assert!(v6 || sum(&ip[..header]) == 0xffff, "checksum of IPv4");
    let tcp = &ip[header..];
    assert_eq!(sum(&[pseudo(ip, tcp.len()), tcp.to_vec()].concat()), 0xffff, "checksum of TCP");
    let sequence = u32::from_be_bytes(tcp[4..8].try_into().expect("four"));
    ([id.into(), sequence, tcp[13].into()], tcp[32..].to_vec())
}

#[test]
fn segments_together_are_the_frame_that_was_cut() {
    for (v6, tags) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 2)] {
        for payload in [1, 1447, 1448, 1449, 2 * 1448, 64_000] {
            let (pool, original) = (long(), tcp(v6, tags, payload));
            let (mut burst, mut into) = (pool.burst(), pool.burst());
            push(&mut burst, &original);
            let count = payload.div_ceil(1448);
            assert_eq!(burst.frame_mut(0).expect("there").segment(&mut into), Ok(count));
            let (mut id, mut at) = (0xfffeu16, 0);
            for (number, frame) in contents(&into).iter().enumerate() {
                let (fields, bytes) = parse(frame, tags);
                let first = if number == 0 { 0x80 } else { 0 };
                let last = if number + 1 == count { 9 } else { 0 };
                let sequence = 0xffff_ff00u32.wrapping_add(at as u32);
                assert_eq!(fields, [if v6 { 0 } else { id.into() }, sequence, 0x10 | first | last]);
                assert!(bytes == (at..at + bytes.len()).map(|at| (at * 7 + at / 256) as u8).collect::<Vec<_>>());
                (id, at) = (id.wrapping_add(1), at + bytes.len());
            }
            assert_eq!(at, payload);
            assert!(
                into.frames()
                    .all(|frame| frame.offloads().is_none() && frame.mark() == 77 && frame.peer() == PeerIdx(5))
            );
            assert_eq!(contents(&burst), [original.0]);
        }
    }
}

#[test]
fn a_checksum_is_completed_once() {
    for (v6, payload) in [(false, 1), (false, 1000), (true, 999), (true, 64_000)] {
        let (pool, (bytes, hdr)) = (long(), tcp(v6, 0, payload));
        let mut burst = pool.burst();
        push(&mut burst, &(bytes, Hdr { gso_type: gso::NONE, gso_size: 0, ..hdr }));
        for _ in 0..2 {
            let mut frame = burst.frame_mut(0).expect("there");
            assert_eq!((frame.complete_checksum(), frame.offloads()), (Ok(()), None));
            let frame = contents(&burst).remove(0);
            let tcp = &frame[hdr.csum_start.into()..];
            assert_eq!(sum(&[pseudo(&frame[14..], tcp.len()), tcp.to_vec()].concat()), 0xffff);
        }
    }
}

/// A UDP datagram with a checksum of 0 would count as one without a checksum. See: RFC 768, RFC 8200 section 8.1.
#[test]
fn a_checksum_is_never_completed_to_none() {
    let (pool, at) = (long(), 34 + 6);
    let mut bytes = frame(0, 60);
    bytes[34..].fill(0);
    for (partial, complete) in [(0xffffu16, 0xffffu16), (0xfffe, 1), (0, 0xffff)] {
        bytes[at..at + 2].copy_from_slice(&partial.to_be_bytes());
        let mut burst = pool.burst();
        let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 6, ..Hdr::default() };
        push(&mut burst, &(bytes.clone(), hdr));
        assert_eq!(burst.frame_mut(0).expect("there").complete_checksum(), Ok(()));
        assert_eq!(contents(&burst)[0][at..at + 2], complete.to_be_bytes());
    }
}

#[test]
fn what_can_not_be_cut_stays_and_adds_nothing() {
    let pool = long();
    let (good, hdr) = tcp(false, 0, 3000);
    let mut burst = pool.burst();
    let broken = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let tcp_at = usize::from(hdr.csum_start);
    let (six, hdr_six) = tcp(true, 0, 3000);
    // Hop-by-hop options come before TCP, and UDP is not TCP.
    let next = |header: u8| [&six[..20], &[header], &six[21..]].concat();
    for (bytes, hdr) in [
        (good.clone(), Hdr { gso_type: gso::NONE, ..hdr }),
        (good.clone(), Hdr { gso_type: gso::TCPV6, ..hdr }),
        (good.clone(), Hdr { gso_type: gso::UDP, ..hdr }),
        (good.clone(), Hdr { csum_start: hdr.csum_start - 4, ..hdr }),
        (good.clone(), Hdr { csum_offset: 6, ..hdr }),
        (broken(14, 0x45), hdr),
        (broken(14, 0x4f), hdr),
        (broken(14, 0x66), hdr),
        (broken(12, 9), hdr),
        (broken(14 + 9, 17), hdr),
        (broken(14, 0x44), Hdr { csum_start: 30, ..hdr }),
        (next(0), hdr_six),
        (next(17), hdr_six),
        (six.clone(), Hdr { csum_start: hdr_six.csum_start + 8, ..hdr_six }),
        (broken(tcp_at + 12, 0x40), hdr),
        (good[..tcp_at + 32].to_vec(), hdr),
        (good[..tcp_at + 18].to_vec(), hdr),
    ] {
        push(&mut burst, &(bytes, hdr));
        let len = burst.bytes() as u32;
        let mut into = pool.burst();
        let cut = burst.frame_mut(0).expect("there").segment(&mut into);
        assert_eq!((cut, into.len()), (Err(FrameError::Offloads { hdr, len }), 0));
        burst.clear();
    }
    push(&mut burst, &(good.clone(), hdr));
    let mut frame = burst.frame_mut(0).expect("there");
    assert_eq!(frame.complete_checksum(), Err(FrameError::Offloads { hdr, len: good.len() as u32 }));
    push(&mut burst, &(good.clone(), Hdr { gso_size: 1, ..hdr }));
    let mut into = self::pool(Gpa(0), zeroed(2 << 20), BufferLen::KiB2, MAX_BURST + 9).burst();
    assert_eq!((burst.frame_mut(1).expect("there").segment(&mut into), into.len()), (Err(FrameError::BurstFull), 0));
    let frame = burst.frame_mut(0).expect("there");
    let mut into = self::pool(Gpa(0), zeroed(4096), BufferLen::KiB2, 2).burst();
    into.push(60).expect("room");
    assert_eq!((frame.segment(&mut into), into.len()), (Err(FrameError::PoolEmpty), 1));
}
