//! From a guest's linear addresses to its memory, by the guest's own tables, with the access rights of the processor.
//!
//! Nothing is written before all of an access is allowed. SMEP, SMAP, protection keys and five levels are off, and
//! write protection is on: the host owns these bits (rule G6).

use super::fault::Fault;
use crate::platform::hierarchy::bits::{ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};
use crate::platform::hierarchy::{ADDRESS, LARGE, index};
use crate::vm::ram::Ram;
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::read as field;
use crate::vmx::vmcs::{CR0_OWNED, CR4_GUEST};
use core::arch::x86_64::__cpuid;
use core::ops::Range;
use sluice_abi::Gpa;
use sluice_memory::SharedMemory;
use spin::LazyLock;
use x86_64::registers::control::{Cr0Flags, Cr4Flags};

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

/// An access to memory, and whether it is made for a program (ring 3). Accesses of the processor itself, such as to
/// descriptors, are made as for a kernel. See: SDM volume 3, "Access Rights".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryAccess {
    /// A load.
    Read { user: bool },
    /// A store.
    Write { user: bool },
    /// An instruction fetch.
    Fetch { user: bool },
}

impl MemoryAccess {
    /// Returns a load by the instruction that exited.
    pub fn read() -> Self {
        Self::Read { user: guest::ring() == 3 }
    }

    /// Returns a store by the instruction that exited.
    pub fn write() -> Self {
        Self::Write { user: guest::ring() == 3 }
    }

    /// Returns the fetch of the instruction that exited.
    pub fn fetch() -> Self {
        Self::Fetch { user: guest::ring() == 3 }
    }

    /// Returns the bits of the access in the error code of a page fault. See: SDM volume 3, figure "Page-Fault Error
    /// Code".
    const fn error(self) -> u32 {
        match self {
            Self::Read { user } => (user as u32) << 2,
            Self::Write { user } => (user as u32) << 2 | 1 << 1,
            Self::Fetch { user } => (user as u32) << 2 | 1 << 4,
        }
    }

    /// Returns whether the access is allowed by `rights`, the combined rights of all entries on the path.
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

/// A range of linear addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first address.
    pub at: u64,
    /// Length in bytes, at most a page.
    pub len: usize,
    /// The bits of an address that count: all in 64-bit mode, else the low 32.
    pub mask: u64,
}

impl Span {
    /// Returns the `len` bytes at the linear address `at`, which the processor itself accesses.
    pub const fn system(at: u64, len: usize) -> Self {
        Self { at, len, mask: u64::MAX }
    }

    /// Returns the parts of the span, none of which crosses the end of a page: the first address of each, and its
    /// bytes.
    fn parts(self) -> impl Iterator<Item = (u64, Range<usize>)> {
        let first = self.len.min((PAGE - self.at % PAGE) as usize);
        let second = self.at.wrapping_add(first as u64) & self.mask;
        [(self.at, 0..first), (second, first..self.len)].into_iter().filter(|(_, range)| !range.is_empty())
    }
}

/// The table entries on the path to an address, and the guest-physical address.
struct Path {
    entries: [(Gpa, u64); 4],
    levels: usize,
    to: Gpa,
}

/// Follows the tables to `at`. See: SDM volume 3, "4-Level Paging and 5-Level Paging".
///
/// Tables or memory outside RAM raise #GP: no processor has an exception for memory that does not exist.
fn walk(ram: &Ram, at: u64, access: MemoryAccess) -> Result<Path, Fault> {
    const ALL: u64 = WRITABLE | USER;
    let mut path = Path { entries: [(Gpa(0), 0); 4], levels: 0, to: Gpa(0) };
    let (mut table, mut rights) = (field(Field::GuestCr3) & ADDRESS, ALL);
    for level in (0..4).rev() {
        let (shift, place) = (12 + 9 * level, Gpa(table + index(at, level) as u64 * 8));
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

/// Returns the bits that must be clear in an entry.
/// See: SDM volume 3, figure "Formats of CR3 and Paging-Structure Entries with 4-Level Paging and 5-Level Paging".
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

/// The properties of this processor's table entries.
struct Entries {
    /// Bits of the address field beyond the largest physical address.
    beyond: u64,
    /// Whether entries can map 1 GiB.
    gigabyte: bool,
}

/// The properties are read once: CPUID takes longer than a walk. See: SDM volume 2, "CPUID—CPU Identification".
static ENTRIES: LazyLock<Entries> = LazyLock::new(|| Entries {
    beyond: ADDRESS & !((1 << (__cpuid(0x8000_0008).eax & 0xff)) - 1),
    gigabyte: __cpuid(0x8000_0001).edx >> 26 & 1 == 1,
});

impl Path {
    /// Sets the accessed and dirty flags. See: SDM volume 3, "Accessed and Dirty Flags".
    fn mark(&self, ram: &Ram, access: MemoryAccess) {
        for (index, &(place, word)) in self.entries[..self.levels].iter().enumerate() {
            let dirty = index + 1 == self.levels && matches!(access, MemoryAccess::Write { .. });
            let marked = word | ACCESSED | if dirty { DIRTY } else { 0 };
            if marked != word {
                // The entry was read from there, so it is in RAM.
                let _ = ram.slice(place, 8).and_then(|entry| entry.write(0, marked));
            }
        }
    }
}

/// Calls `each` for all parts of `span` after all of them were found accessible. Each table is read once, so a change
/// by the guest meanwhile has no effect.
fn access(ram: &Ram, span: Span, access: MemoryAccess, mut each: impl FnMut(Gpa, Range<usize>)) -> Result<(), Fault> {
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

/// Copies the bytes of `span` into `bytes`, which is as long.
pub fn load(ram: &Ram, span: Span, kind: MemoryAccess, bytes: &mut [u8]) -> Result<(), Fault> {
    access(ram, span, kind, |from, range| {
        // The bounds were checked.
        let _ = ram.slice(from, range.len() as u64).and_then(|from| from.copy_to_slice(0, &mut bytes[range]));
    })
}

/// Copies `bytes` to `span`, which is as long. On a fault nothing is written.
pub fn store(ram: &Ram, span: Span, kind: MemoryAccess, bytes: &[u8]) -> Result<(), Fault> {
    access(ram, span, kind, |to, range| {
        // The bounds were checked.
        let _ = ram.slice(to, range.len() as u64).and_then(|to| to.copy_from_slice(0, &bytes[range]));
    })
}

#[cfg(all(test, not(target_os = "none")))]
pub mod tests;
