//! Offsets that a segment allows, and those that it doesn't (attacks A23, A24).

use super::*;
use crate::vmx::instruction::write;

const READ: MemoryAccess = MemoryAccess::Read { user: true };
const WRITE: MemoryAccess = MemoryAccess::Write { user: true };
const DATA: u64 = 0xc0f3;
const READ_ONLY: u64 = 0xc0f1;
const DOWN: u64 = 0xc0f7;
const CODE: u64 = 0xc0fb;
const EXECUTE_ONLY: u64 = 0xc0f9;
const DS: Segment = Segment(3);
const FS: Segment = Segment(4);

/// DS with these rights, in compatibility mode.
fn bounded(rights: u64, base: u64, limit: u64) {
    write(Field::GuestCsRights, 0xc0fb);
    write(Field::GuestDsRights, rights);
    write(Field::GuestDsBase, base);
    write(Field::GuestDsLimit, limit);
}

/// Whether `len` bytes at `offset` of DS may be written.
fn fits(offset: u64, len: usize) -> bool {
    DS.span(offset, len, WRITE).inspect_err(|fault| assert_eq!(*fault, Fault::PROTECTION)).is_ok()
}

#[test]
fn a_limit_holds() {
    bounded(DATA, 0, 0xfff);
    assert_eq!(
        [(0, 6), (0xffa, 6), (0xffb, 6), (0x1000, 1), (0xffff_fffe, 6)].map(|(at, len)| fits(at, len)),
        [true, true, false, false, false]
    );
    bounded(DOWN, 0, 0xfff);
    assert_eq!(
        [(0, 6), (0xfff, 1), (0x1000, 6), (0xffff_fffa, 6), (0xffff_fffb, 6)].map(|(at, len)| fits(at, len)),
        [false, false, true, true, false]
    );
    bounded(DOWN & !(1 << 14), 0, 0xfff);
    assert_eq!([(0xfffa, 6), (0xfffb, 6)].map(|(at, len)| fits(at, len)), [true, false]);
    bounded(DATA, 0, 0xffff_ffff);
    assert_eq!([(0xffff_fffa, 6), (0xffff_fffb, 6)].map(|(at, len)| fits(at, len)), [true, false], "no offset wraps");
}

#[test]
fn a_segment_is_for_what_its_type_says() {
    for (rights, read, write) in [
        (DATA, true, true),
        (READ_ONLY, true, false),
        (CODE, true, false),
        (EXECUTE_ONLY, false, false),
        (1 << 16 | DATA, false, false),
    ] {
        bounded(rights, 0, 0xffff_ffff);
        assert_eq!([READ, WRITE].map(|access| DS.span(0, 1, access).is_ok()), [read, write], "{rights:#x}");
    }
}

/// Base and offset are added modulo 2^32, and so is each byte behind.
#[test]
fn linear_addresses_wrap_at_32_bits_in_compatibility_mode() {
    bounded(DATA, 0xffff_f000, 0xffff_ffff);
    assert_eq!(DS.span(0x1ffc, 6, WRITE), Ok(Span { at: 0xffc, len: 6, mask: 0xffff_ffff }));
    assert_eq!(DS.span(0xffc, 6, WRITE), Ok(Span { at: 0xffff_fffc, len: 6, mask: 0xffff_ffff }));
}

/// #SS for the stack, #GP for the others; only FS and GS have a base.
#[test]
fn an_address_is_canonical_in_64_bit_mode() {
    const LAST: u64 = 0x7fff_ffff_ffff;
    write(Field::GuestCsRights, 0xa0fb);
    write(Field::GuestDsBase, 0x1000);
    write(Field::GuestDsRights, 1 << 16);
    write(Field::GuestFsBase, 0xffff_8000_0000_0000);
    let at = |segment: Segment, offset, len| segment.span(offset, len, WRITE).map(|span| span.at);
    assert_eq!(at(DS, 0x10, 10), Ok(0x10));
    assert_eq!(at(FS, 0x10, 10), Ok(0xffff_8000_0000_0010));
    assert_eq!(at(DS, LAST - 9, 10), Ok(LAST - 9));
    for offset in [LAST - 8, LAST + 1, 1 << 63, 0xffff_7fff_ffff_ffff] {
        assert_eq!(at(DS, offset, 10), Err(Fault::PROTECTION), "{offset:#x}");
        assert_eq!(at(Segment::STACK, offset, 10), Err(Fault::STACK), "{offset:#x}");
    }
    assert_eq!(at(FS, u64::MAX, 1), Err(Fault::PROTECTION));
}

#[test]
fn there_are_six_segments() {
    assert_eq!([0, 5, 6, 7].map(|number| Segment::new(number).is_some()), [true, true, false, false]);
}
