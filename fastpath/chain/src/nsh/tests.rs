use super::*;
use crate::testing::{chained, with};
use std::vec::Vec;

/// Flags, TTL 63 and 6 words.
const FIRST: u16 = 63 << 6 | 6;
const INNER: [u8; 60] = [0x5a; 60];

fn read(frame: &[u8]) -> Result<Nsh, Cause> {
    with(frame, |frame| Nsh::read(frame)).0
}

/// The header of RFC 8300, figure 2 to 4, field by field.
#[test]
fn every_field_is_where_the_rfc_has_it() {
    let frame = chained(1 << 13 | 1 << 12 | 17 << 6 | 6, [0xf1, 3], 0xab_cdef, 0x42, &[7; 16], &INNER);
    let nsh = read(&frame).unwrap();
    assert_eq!((nsh.ttl(), nsh.len(), nsh.md_type(), nsh.next()), (17, 24, 1, 3));
    assert_eq!((nsh.path().bits(), nsh.index(), nsh.is_oam()), (0xab_cdef, 0x42, true));
    assert!(!read(&chained(FIRST, [1, 3], 1, 255, &[0; 16], &INNER)).unwrap().is_oam());
    let spi = Spi::new(0x1234, 0x56, Direction::Return);
    assert_eq!((spi.bits(), spi.direction()), (0x92_3456, Direction::Return));
    assert_eq!(Spi::new(0x1234, 0x56, Direction::Forward).bits(), 0x12_3456);
}

#[test]
fn what_the_rfc_does_not_allow_is_named() {
    let md1 = |first, kinds| chained(first, kinds, 1, 255, &[0; 16], &INNER);
    for (frame, cause) in [
        (md1(1 << 14 | FIRST, [1, 3]), Cause::Version),
        (md1(2 << 14 | FIRST, [1, 3]), Cause::Version),
        (md1(63 << 6 | 5, [1, 3]), Cause::Length),
        (md1(63 << 6 | 7, [1, 3]), Cause::Length),
        (md1(63 << 6 | 1, [2, 3]), Cause::Length),
        (md1(63 << 6, [2, 3]), Cause::Length),
        (md1(63 << 6 | 63, [2, 3]), Cause::Length),
        (md1(FIRST, [0, 3]), Cause::MdType),
        (md1(FIRST, [3, 3]), Cause::MdType),
        (md1(FIRST, [15, 3]), Cause::MdType),
        (chained(FIRST, [1, 3], 1, 255, &[0; 16], &[]), Cause::Length),
        (INNER.to_vec(), Cause::NoHeader),
        (md1(FIRST, [1, 3])[..21].to_vec(), Cause::NoHeader),
    ] {
        assert_eq!(read(&frame), Err(cause), "{frame:02x?}");
    }
    assert!(read(&chained(63 << 6 | 2, [2, 3], 1, 255, &[], &INNER)).is_ok());
    assert!(read(&chained(63 << 6 | 6, [1, 3], 1, 255, &[0; 16], &[1])).is_ok());
}

/// See: RFC 8300, 2.2: an incoming 0 becomes 63, and a packet is not forwarded with 0.
#[test]
fn the_time_to_live_ends_at_0_and_begins_with_0() {
    let ttl = |ttl: u16| read(&chained(ttl << 6 | 6, [1, 3], 1, 9, &[0; 16], &INNER)).unwrap().forwarded();
    let after = [0, 1, 2, 63].map(|before| ttl(before).map(Nsh::ttl));
    assert_eq!(after, [Ok(63), Err(Cause::Ttl), Ok(1), Ok(62)]);
    let nsh = read(&chained(1 << 13 | 9 << 6 | 6, [0xf1, 3], 7, 9, &[0; 16], &INNER)).unwrap();
    let forwarded = nsh.forwarded().unwrap();
    assert_eq!(nsh.0 ^ forwarded.0, 1 << 54, "9 becomes 8, and nothing else");
}

#[test]
fn a_header_is_pushed_and_popped() {
    let inner: Vec<u8> = (0..60).collect();
    let nsh = Nsh::new(Spi::new(5, 2, Direction::Forward));
    let (pushed, frame) = with(&inner, |frame| nsh.push(frame, &[0xc; 16]));
    assert_eq!(pushed, Ok(()));
    let addresses: Vec<u8> = (0..12).collect();
    let expected = chained(FIRST, [1, 3], 0x00_0502, 255, &[0xc; 16], &inner);
    assert_eq!((&frame[..12], &frame[12..]), (&addresses[..], &expected[12..]));
    let (popped, frame) = with(&frame, |frame| Nsh::read(frame).and_then(|nsh| nsh.pop(frame)).is_ok());
    assert_eq!((popped, frame), (true, inner));
    assert_eq!(with(&[1; 13], |frame| nsh.push(frame, &[0; 16])).0, Err(Cause::NoHeader));
}

/// What a proxy takes off comes back byte for byte, whatever MD type and next protocol it has.
#[test]
fn what_is_taken_off_comes_back_as_it_was() {
    let long: Vec<u8> = (0..244).collect();
    for (first, kinds, context) in [
        (FIRST, [1, next::ETHERNET], &long[..16]),
        (FIRST | 1 << 13, [0xa1, next::ETHERNET], &long[..16]),
        (63 << 6 | 2, [2, next::ETHERNET], &[]),
        (5 << 6 | 28, [2, next::ETHERNET], &long[..104]),
        (FIRST, [1, next::IPV4], &long[..16]),
        (63 << 6 | 2, [2, next::IPV6], &[]),
        (63 << 6 | 63, [2, next::ETHERNET], &long[..]),
    ] {
        let frame = chained(first, kinds, 0x80_0101, 254, context, &INNER);
        let (result, whole) = with(&frame, |frame| -> Result<Vec<u8>, Cause> {
            let outer = Nsh::read(frame)?.pop(frame)?;
            let inner = crate::testing::bytes(**frame);
            outer.push(frame)?;
            Ok(inner)
        });
        let inner = result.unwrap();
        let types = [[0x5a, 0x5a], [0x08, 0x00], [0x86, 0xdd], [0x5a, 0x5a]];
        assert_eq!(inner[12..14], types[usize::from(kinds[1])], "{kinds:?}");
        assert_eq!(inner.len(), if kinds[1] == next::ETHERNET { 60 } else { 74 });
        assert_eq!(whole, frame);
    }
}

/// From the function a frame comes back in another buffer, which has the room of any received frame.
#[test]
fn a_header_that_is_longer_than_a_buffers_room_does_not_come_back() {
    for (next, longest) in [(next::ETHERNET, 100), (next::IPV4, 116)] {
        for (len, pushed) in [(longest, Ok(())), (longest + 4, Err(Cause::Room))] {
            let (first, context) = (63 << 6 | (len / 4), [9; 116]);
            let frame = chained(first, [2, next], 1, 255, &context[..usize::from(len) - 8], &INNER);
            let (outer, inner) = with(&frame, |frame| Nsh::read(frame).and_then(|nsh| nsh.pop(frame)).unwrap());
            let (result, whole) = with(&inner, |frame| outer.push(frame));
            assert_eq!((result, whole), (pushed, if pushed.is_ok() { frame } else { inner }), "{len}");
        }
    }
}

#[test]
fn a_packet_that_is_neither_ethernet_nor_ip_stays_in_its_header() {
    for next in [0, 4, 5, 0xfe] {
        let frame = chained(FIRST, [1, next], 1, 255, &[0; 16], &INNER);
        let (popped, after) = with(&frame, |frame| Nsh::read(frame).and_then(|nsh| nsh.pop(frame)).map(drop));
        assert_eq!((popped, after), (Err(Cause::Protocol), frame));
    }
    let short = chained(FIRST, [1, 3], 1, 255, &[0; 16], &[1; 13]);
    assert_eq!(with(&short, |frame| Nsh::read(frame).and_then(|nsh| nsh.pop(frame)).map(drop)).0, Err(Cause::Length));
}
