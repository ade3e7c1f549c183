//! Segments of UDP, which no VM leaves to the device, and so no test with VMs has.

use super::*;

/// A datagram over IPv4 or IPv6 whose payload is to be cut into parts of `size` bytes, and its header.
fn datagram(is_ipv6: bool, payload: &[u8], size: u16) -> (Hdr, Vec<u8>) {
    let mut frame = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
    let len = 8 + payload.len() as u16;
    if is_ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([UDP, 64]);
        frame.extend(1..=32);
    } else {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + len).to_be_bytes());
        frame.extend([0xff, 0xff, 0x40, 0, 64, UDP, 0, 0]);
        frame.extend(1..=8);
    }
    let start = frame.len() as u16;
    frame.extend([0, 80, 0, 81]);
    frame.extend(len.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    let (flags, gso_type) = (HdrF::NEEDS_CSUM.bits(), gso::UDP_L4);
    (Hdr { flags, gso_type, gso_size: size, csum_start: start, csum_offset: 6, ..Hdr::default() }, frame)
}

fn cut(hdr: &Hdr, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    execute(&mut frame.to_vec(), hdr, |part| {
        parts.push(part.to_vec());
        Some(())
    })?;
    Some(parts)
}

#[test]
fn a_datagram_is_cut_into_datagrams_with_lengths_numbers_and_checksums_of_their_own() {
    let payload: Vec<u8> = (0..3_000).map(|at| (at % 251) as u8).collect();
    for is_ipv6 in [false, true] {
        let (hdr, frame) = datagram(is_ipv6, &payload, 1_400);
        let parts = cut(&hdr, &frame).expect("segments");
        let start = usize::from(hdr.csum_start);
        assert_eq!(parts.iter().map(|part| part.len() - start - 8).collect::<Vec<_>>(), [1_400, 1_400, 200]);
        assert_eq!(parts.iter().flat_map(|part| &part[start + 8..]).copied().collect::<Vec<_>>(), payload);
        for (index, part) in parts.iter().enumerate() {
            let len = (part.len() - start) as u16;
            assert_eq!(get16(part, start + 4), Some(len));
            let addresses = if is_ipv6 { 22..54 } else { 26..34 };
            let whole = sum(&part[addresses]) + u64::from(UDP) + u64::from(len);
            assert_eq!(checksum(&part[start..], whole), 0, "a sum with its checksum");
            if is_ipv6 {
                assert_eq!(get16(part, 18), Some(len));
            } else {
                let (id, total) = (0xffff_u16.wrapping_add(index as u16), len + 20);
                assert_eq!((get16(part, 16), get16(part, 18)), (Some(total), Some(id)));
                assert_eq!(checksum(&part[14..34], 0), 0);
            }
        }
    }
}

#[test]
fn a_datagram_whose_checksum_would_be_0_says_that_it_has_one() {
    let (hdr, frame) = datagram(false, &[0, 0], 2);
    let part = &cut(&hdr, &frame).expect("a segment")[0];
    let rest = get16(part, 40).expect("a checksum");
    let (hdr, frame) = datagram(false, &rest.to_be_bytes(), 2);
    assert_eq!(get16(&cut(&hdr, &frame).expect("a segment")[0], 40), Some(0xffff));
}

#[test]
fn headers_that_are_not_of_udp_are_not_cut() {
    let (hdr, frame) = datagram(false, &[7; 100], 50);
    assert!(cut(&hdr, &frame).is_some_and(|parts| parts.len() == 2));
    let wrong = [
        Hdr { csum_offset: 16, ..hdr },
        Hdr { csum_start: hdr.csum_start + 2, ..hdr },
        Hdr { gso_type: gso::UDP_L4 | gso::ECN, ..hdr },
        Hdr { gso_type: gso::UDP, ..hdr },
        Hdr { gso_type: gso::TCPV4, ..hdr },
        Hdr { gso_size: 0, ..hdr },
    ];
    wrong.iter().for_each(|hdr| assert_eq!(cut(hdr, &frame), None, "{hdr:?}"));
    assert_eq!(cut(&hdr, &frame[..41]), None, "a header that is cut off");
    let tcp = [&frame[..23], &[TCP], &frame[24..]].concat();
    assert_eq!(cut(&hdr, &tcp), None);
}
