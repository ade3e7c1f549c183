//! A page of the VM's own at the gate's address. Home's page tables are the VM's, so the VM may map one.

use super::cpu::{cr3, peek, poke, set_cr3, set_cr4};
use super::leap::GATE;
use super::page::Page;
use sluice_abi::map;
use x86_64::registers::control::{Cr4, Cr4Flags};

const PRESENT_WRITE_USER: u64 = 0b111;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE: u64 = 2 << 20;
/// A word of INT3.
pub const INT3: u64 = u64::from_ne_bytes([0xcc; 8]);
const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];

/// Tables for the slot's first GiB and for the memory just below the slot, and two pages: below the gate's address, and
/// at it.
struct Alias {
    slot: [Page; 2],
    below: [Page; 3],
    code: [Page; 2],
}

static ALIAS: Alias =
    Alias { slot: [const { Page::new() }; 2], below: [const { Page::new() }; 3], code: [const { Page::new() }; 2] };

/// Maps the alias into the tables in force, for every ring.
pub fn install() {
    let root = cr3() & ADDRESS;
    let entry = peek(root + 8 * map::SLOT_PML4_INDEX as u64);
    let [middle, last] = &ALIAS.slot;
    for index in 0..512 {
        middle.set(index, (map::SLOT_GPA + index as u64 * LARGE_PAGE) | PRESENT_WRITE_USER | LARGE);
        last.set(index, (map::SLOT_GPA + index as u64 * map::PAGE) | PRESENT_WRITE_USER);
    }
    middle.set(0, last.gpa() | PRESENT_WRITE_USER);
    last.set(0, ALIAS.code[1].gpa() | PRESENT_WRITE_USER);
    let [upper, middle_below, last_below] = &ALIAS.below;
    upper.set(511, middle_below.gpa() | PRESENT_WRITE_USER);
    middle_below.set(511, last_below.gpa() | PRESENT_WRITE_USER);
    last_below.set(511, ALIAS.code[0].gpa() | PRESENT_WRITE_USER);
    poke(entry & ADDRESS, middle.gpa() | PRESENT_WRITE_USER);
    poke(root + 8 * map::SLOT_PML4_INDEX as u64, entry | PRESENT_WRITE_USER);
    poke(root + 8 * (map::SLOT_PML4_INDEX as u64 - 1), upper.gpa() | PRESENT_WRITE_USER);
    set_cr3(root);
    ALIAS.code.iter().for_each(|page| page.fill(INT3));
}

/// Puts a VMFUNC where the byte behind it is byte `offset` of the gate page, and INT3 everywhere else. Returns the
/// VMFUNC's address.
pub fn vmfunc_before(offset: u16) -> u64 {
    ALIAS.code.iter().for_each(|page| page.fill(INT3));
    put(offset, &VMFUNC)
}

/// Puts `bytes` right before byte `offset` of the page, and returns the address of the first.
pub fn put(offset: u16, bytes: &[u8]) -> u64 {
    let start = 4096 + usize::from(offset) - bytes.len();
    for (at, byte) in (start..).zip(bytes) {
        ALIAS.code[at / 4096].set_byte(at % 4096, *byte);
    }
    GATE + u64::from(offset) - bytes.len() as u64
}

/// Puts `code`, then INT3, at the start of the page, and returns its address.
pub fn alone(code: &[u8]) -> u64 {
    ALIAS.code[1].fill(INT3);
    put(code.len() as u16, code)
}

/// Does the same at an address below 4 GiB, that of the page itself, for every ring.
pub fn below_4_gib(code: &[u8]) -> u64 {
    alone(code);
    open(ALIAS.code[1].gpa());
    ALIAS.code[1].gpa()
}

/// Opens the page at `at` to every ring.
pub fn open(at: u64) {
    let (mut table, mut shift) = (cr3() & ADDRESS, 39);
    loop {
        let place = table + 8 * (at >> shift & 511);
        poke(place, peek(place) | PRESENT_WRITE_USER);
        if shift == 12 || peek(place) & LARGE != 0 {
            break;
        }
        (table, shift) = (peek(place) & ADDRESS, shift - 9);
    }
    set_cr3(cr3());
}

/// Puts `code` at the last bytes below 4 GiB, for every ring, and returns its address.
pub fn end_of_4_gib(code: &[u8]) -> u64 {
    const END: u64 = 1 << 32;
    put(0, code);
    let upper = peek(cr3() & ADDRESS) & ADDRESS;
    let middle = peek(upper + 8 * 3) & ADDRESS;
    poke(middle + 8 * 511, ALIAS.below[2].gpa() | PRESENT_WRITE_USER);
    open(END - map::PAGE);
    END - code.len() as u64
}

/// Puts `code` at the last bytes of the lower half of canonical addresses, for every ring, and returns its address.
pub fn end_of_lower_half(code: &[u8]) -> u64 {
    const END: u64 = 1 << 47;
    put(0, code);
    poke((cr3() & ADDRESS) + 8 * 255, ALIAS.below[0].gpa() | PRESENT_WRITE_USER);
    set_cr3(cr3());
    END - code.len() as u64
}

/// Maps page `index` of the slot to `gpa` with the rights `bits`, and returns its address.
pub fn map(index: u64, gpa: u64, bits: u64) -> u64 {
    ALIAS.slot[1].set(index as usize, gpa | bits);
    set_cr3(cr3());
    map::SLOT_VA + index * map::PAGE
}

/// Makes the entries that map the alias global, so that they stay in the TLB when CR3 changes.
pub fn make_global() {
    const GLOBAL: u64 = 1 << 8;
    ALIAS.slot[1].set(0, ALIAS.code[1].gpa() | PRESENT_WRITE_USER | GLOBAL);
    set_cr4(Cr4::read_raw() | Cr4Flags::PAGE_GLOBAL.bits());
    set_cr3(cr3());
}
