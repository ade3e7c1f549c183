//! A page of the VM's own at the gate's address. Home's page tables are the VM's, so the VM may map one.
#![allow(unsafe_code, reason = "page tables, and code that is data")]

use super::control;
use super::leap::GATE;
use core::arch::asm;
use core::cell::UnsafeCell;
use sluice_abi::map;

const PRESENT_WRITE_USER: u64 = 0b111;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE: u64 = 2 << 20;
const INT3: u8 = 0xcc;
const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];

/// A page, as words: a table or code. The page is mapped one to one, so its address is its guest-physical address.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u64; 512]>);

// SAFETY: there is one CPU without interrupts, and all accesses are the raw ones below.
unsafe impl Sync for Page {}

impl Page {
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; 512]))
    }

    /// Returns the page's guest-physical address.
    pub fn gpa(&self) -> u64 {
        self.0.get().addr() as u64
    }

    pub fn set(&self, index: usize, word: u64) {
        // SAFETY: the address is inside the page, which nobody makes references to; `index` is checked.
        unsafe { (*self.0.get().cast::<[UnsafeCell<u64>; 512]>())[index].get().write_volatile(word) };
    }

    pub fn get(&self, index: usize) -> u64 {
        // SAFETY: as in `set`.
        unsafe { (*self.0.get().cast::<[UnsafeCell<u64>; 512]>())[index].get().read_volatile() }
    }

    fn set_byte(&self, index: usize, byte: u8) {
        // SAFETY: as in `set`.
        unsafe { (*self.0.get().cast::<[UnsafeCell<u8>; 4096]>())[index].get().write_volatile(byte) };
    }

    pub fn fill(&self, byte: u8) {
        (0..512).for_each(|index| self.set(index, u64::from_ne_bytes([byte; 8])));
    }
}

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
    let entry = word(root + 8 * map::SLOT_PML4_INDEX as u64);
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
    set_word(entry & ADDRESS, middle.gpa() | PRESENT_WRITE_USER);
    set_word(root + 8 * map::SLOT_PML4_INDEX as u64, entry | PRESENT_WRITE_USER);
    set_word(root + 8 * (map::SLOT_PML4_INDEX as u64 - 1), upper.gpa() | PRESENT_WRITE_USER);
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
        set_word(place, word(place) | PRESENT_WRITE_USER);
        if shift == 12 || word(place) & LARGE != 0 {
            break;
        }
        (table, shift) = (word(place) & ADDRESS, shift - 9);
    }
    set_cr3(cr3());
}

/// Puts `code` at the last bytes below 4 GiB, for every ring, and returns its address.
pub fn end_of_4_gib(code: &[u8]) -> u64 {
    const END: u64 = 1 << 32;
    put(0, code);
    let upper = word(cr3() & ADDRESS) & ADDRESS;
    let middle = word(upper + 8 * 3) & ADDRESS;
    set_word(middle + 8 * 511, ALIAS.below[2].gpa() | PRESENT_WRITE_USER);
    open(END - map::PAGE);
    END - code.len() as u64
}

/// Puts `code` at the last bytes of the lower half of canonical addresses, for every ring, and returns its address.
pub fn end_of_lower_half(code: &[u8]) -> u64 {
    const END: u64 = 1 << 47;
    put(0, code);
    set_word((cr3() & ADDRESS) + 8 * 255, ALIAS.below[0].gpa() | PRESENT_WRITE_USER);
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
    control::allow_global();
    set_cr3(cr3());
}

/// Returns CR3.
pub fn cr3() -> u64 {
    let value;
    // SAFETY: this is ring 0, and only reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads CR3. `root` has to map this image as the tables before did.
pub fn set_cr3(root: u64) {
    // SAFETY: this is ring 0, and the code that runs and the memory that it uses stay where they are.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Returns a word of a boot table.
pub fn word(gpa: u64) -> u64 {
    // SAFETY: RAM below the image is mapped one to one and holds the boot tables, to which nobody has references.
    unsafe { (gpa as *const u64).read_volatile() }
}

/// Changes a word of a boot table.
pub fn set_word(gpa: u64, value: u64) {
    // SAFETY: as in `word`.
    unsafe { (gpa as *mut u64).write_volatile(value) };
}
