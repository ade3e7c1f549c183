//! From a guest's linear addresses to its memory, by the guest's own tables, with the rights that the processor would look at.
//!
//! Nothing is written before all of an access is allowed. SMEP, SMAP, protection keys and five levels are off, and write protection is on: the
//! bits are the host's (rule G6).

use super::fault::Fault;
use super::ram::Ram;
use super::state;
use crate::platform::hierarchy::{ADDRESS, LARGE};
use crate::vmx::field::Field;
use crate::vmx::instruction::read as field;
use crate::vmx::vmcs::{CR0_OWNED, CR4_GUEST};
use core::arch::x86_64::__cpuid;
use core::ops::Range;
use sluice_abi::Gpa;
use sluice_memory::SharedMemory;
use spin::LazyLock;
use x86_64::registers::control::{Cr0Flags, Cr4Flags};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;
const PAGE: u64 = 4096;

const _: () = assert!(CR0_OWNED & Cr0Flags::WRITE_PROTECT.bits() != 0);
const _: () = assert!(
    CR4_GUEST
        & (Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION
            .union(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION)
            .union(Cr4Flags::PROTECTION_KEY_USER)
            .union(Cr4Flags::L5_PAGING)
            .bits())
        == 0
);

/// What is done to memory, and whether in a program's name (ring 3). What the processor does of its own accord, as reading a descriptor, it does as
/// a kernel. See: SDM volume 3, "Access Rights".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read { user: bool },
    /// Store.
    Write { user: bool },
    /// Instruction fetch.
    Fetch { user: bool },
}

impl Access {
    /// A load by the instruction that exited.
    pub fn read() -> Self {
        Self::Read { user: state::ring() == 3 }
    }

    /// A store by it.
    pub fn write() -> Self {
        Self::Write { user: state::ring() == 3 }
    }

    /// Its own fetch.
    pub fn fetch() -> Self {
        Self::Fetch { user: state::ring() == 3 }
    }

    /// Bits of the error code of a page fault. See: SDM volume 3, figure "Page-Fault Error Code".
    const fn error(self) -> u32 {
        match self {
            Self::Read { user } => (user as u32) << 2,
            Self::Write { user } => (user as u32) << 2 | 1 << 1,
            Self::Fetch { user } => (user as u32) << 2 | 1 << 4,
        }
    }

    /// Whether an entry, as all on the way to it and itself allow it, lets the access pass.
    const fn passes(self, rights: u64) -> bool {
        let (Self::Read { user } | Self::Write { user } | Self::Fetch { user }) = self;
        let kind = match self {
            Self::Read { .. } => true,
            Self::Write { .. } => rights & WRITABLE != 0,
            Self::Fetch { .. } => rights & NO_EXECUTE == 0,
        };
        kind && (!user || rights & USER != 0)
    }
}

/// A run of linear addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub at: u64,
    /// Bytes, at most a page.
    pub len: usize,
    /// Where addresses wrap: all ones in 64-bit mode, else 32 of them.
    pub mask: u64,
}

impl Span {
    /// What the processor reads of its own accord: `len` bytes at the linear address `at`.
    pub const fn system(at: u64, len: usize) -> Self {
        Self { at, len, mask: u64::MAX }
    }

    /// Its parts, none over the end of a page: where each starts, and which bytes of the span it has.
    fn parts(self) -> impl Iterator<Item = (u64, Range<usize>)> {
        let first = self.len.min((PAGE - self.at % PAGE) as usize);
        let second = self.at.wrapping_add(first as u64) & self.mask;
        [(self.at, 0..first), (second, first..self.len)].into_iter().filter(|(_, range)| !range.is_empty())
    }
}

/// The entries on the way to an address, as many as there are, and where it is.
struct Path {
    entries: [(Gpa, u64); 4],
    levels: usize,
    to: Gpa,
}

/// Follows the tables to `at`. See: SDM volume 3, "4-Level Paging and 5-Level Paging".
///
/// Tables or memory outside RAM are #GP: nothing there is memory, and no processor has a fault for it.
fn walk(ram: &Ram, at: u64, access: Access) -> Result<Path, Fault> {
    const ALL: u64 = WRITABLE | USER;
    let mut path = Path { entries: [(Gpa(0), 0); 4], levels: 0, to: Gpa(0) };
    let (mut table, mut rights) = (field(Field::GuestCr3) & ADDRESS, ALL);
    for level in (0..4).rev() {
        let (shift, place) = (12 + 9 * level, Gpa(table + (at >> (12 + 9 * level) & 511) * 8));
        let word: u64 = ram.slice(place, 8).and_then(|word| word.read(0)).map_err(|_| Fault::PROTECTION)?;
        if word & PRESENT == 0 {
            return Err(Fault::page(access.error(), at));
        }
        let leaf = level == 0 || word & LARGE != 0;
        if word & reserved(level, leaf) != 0 {
            return Err(Fault::page(access.error() | 1 | 1 << 3, at));
        }
        path.entries[path.levels] = (place, word);
        path.levels += 1;
        rights = rights & word & ALL | (rights | word) & NO_EXECUTE;
        if leaf {
            let inside = (1 << shift) - 1;
            path.to = Gpa(word & ADDRESS & !inside | at & inside);
            break;
        }
        table = word & ADDRESS;
    }
    if access.passes(rights) { Ok(path) } else { Err(Fault::page(access.error() | 1, at)) }
}

/// Bits that must be clear in an entry. See: SDM volume 3, figure "Formats of CR3 and Paging-Structure Entries with 4-Level Paging and 5-Level
/// Paging".
fn reserved(level: u32, leaf: bool) -> u64 {
    let Entries { beyond, gigabyte } = *ENTRIES;
    let alignment = ((1 << (12 + 9 * level)) - 1) & !0x1fff;
    match (level, leaf) {
        (3, true) => LARGE,
        (2, true) if !gigabyte => LARGE,
        (1 | 2, true) => beyond | alignment,
        _ => beyond,
    }
}

/// What this processor's entries may have.
struct Entries {
    /// Address bits that no physical address has.
    beyond: u64,
    /// Entries that map 1 GiB.
    gigabyte: bool,
}

/// Asked once: CPUID takes longer than a walk. See: SDM volume 2, "CPUID—CPU Identification".
static ENTRIES: LazyLock<Entries> = LazyLock::new(|| Entries {
    beyond: ADDRESS & !((1 << (__cpuid(0x8000_0008).eax & 0xff)) - 1),
    gigabyte: __cpuid(0x8000_0001).edx >> 26 & 1 == 1,
});

impl Path {
    /// Sets the flags that the access sets. See: SDM volume 3, "Accessed and Dirty Flags".
    fn mark(&self, ram: &Ram, access: Access) {
        for (index, &(place, word)) in self.entries[..self.levels].iter().enumerate() {
            let dirty = index + 1 == self.levels && matches!(access, Access::Write { .. });
            let marked = word | ACCESSED | if dirty { DIRTY } else { 0 };
            if marked != word {
                // It was read from there.
                let _ = ram.slice(place, 8).and_then(|entry| entry.write(0, marked));
            }
        }
    }
}

/// Calls `each` for all parts of `span`, once all of them may be accessed. Each table is read once: what the guest changes meanwhile does not count.
fn access(ram: &Ram, span: Span, access: Access, mut each: impl FnMut(Gpa, Range<usize>)) -> Result<(), Fault> {
    let mut paths = [const { None }; 2];
    for (path, (at, range)) in paths.iter_mut().zip(span.parts()) {
        let found = walk(ram, at, access)?;
        ram.slice(found.to, range.len() as u64).map_err(|_| Fault::PROTECTION)?;
        *path = Some((found, range));
    }
    for (path, range) in paths.into_iter().flatten() {
        path.mark(ram, access);
        each(path.to, range);
    }
    Ok(())
}

/// Copies the bytes of `span` into `bytes`, which has as many.
pub fn load(ram: &Ram, span: Span, kind: Access, bytes: &mut [u8]) -> Result<(), Fault> {
    access(ram, span, kind, |from, range| {
        // Its bounds were checked.
        let _ = ram.slice(from, range.len() as u64).and_then(|from| from.copy_to_slice(0, &mut bytes[range]));
    })
}

/// Copies `bytes` to `span`, which has as many: all of them or, with a fault, none.
pub fn store(ram: &Ram, span: Span, kind: Access, bytes: &[u8]) -> Result<(), Fault> {
    access(ram, span, kind, |to, range| {
        // Its bounds were checked.
        let _ = ram.slice(to, range.len() as u64).and_then(|to| to.copy_from_slice(0, &bytes[range]));
    })
}

#[cfg(all(test, not(target_os = "none")))]
pub mod tests;
