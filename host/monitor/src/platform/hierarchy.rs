//! Hierarchies of four levels of tables. Page tables and EPT have the same shape and differ in a few bits of an entry.
//! See: SDM volume 3, "4-Level Paging and 5-Level Paging" and "EPT Translation Mechanism".

use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use sluice_abi::Hpa;
use sluice_abi::map::PAGE;

/// Bits of a page-table entry. See: SDM volume 3, figure "Formats of CR3 and Paging-Structure Entries with 4-Level
/// Paging and 5-Level Paging".
pub mod bits {
    /// P: the entry maps a page or links to a table.
    pub const PRESENT: u64 = 1;
    /// R/W: stores are allowed.
    pub const WRITABLE: u64 = 1 << 1;
    /// U/S: ring 3 has access.
    pub const USER: u64 = 1 << 2;
    /// A: the processor used the entry.
    pub const ACCESSED: u64 = 1 << 5;
    /// D: the processor stored to the page.
    pub const DIRTY: u64 = 1 << 6;
    /// XD: instruction fetches are not allowed.
    pub const NO_EXECUTE: u64 = 1 << 63;
}

/// Length of a large page in bytes.
pub const LARGE_PAGE: u64 = 2 << 20;
/// The bit of an entry that maps a large page.
pub const LARGE: u64 = 1 << 7;
/// The bits of an entry that hold an address.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The bits of an entry in which the kinds of hierarchies differ.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// An entry with none of these bits maps nothing.
    pub present: u64,
    /// The bits, beside the address, of an entry that leads to a table.
    pub link: u64,
    /// An entry that maps nothing.
    pub nothing: u64,
}

impl Format {
    /// Whether `entry` leads to a table.
    const fn is_link(self, entry: u64) -> bool {
        entry & self.present != 0 && entry & LARGE == 0
    }
}

/// A hierarchy of tables.
#[derive(Clone, Copy, Debug)]
pub struct Hierarchy {
    /// The top-level table.
    pub root: Table,
    /// The format of all entries.
    pub format: Format,
}

impl Hierarchy {
    /// Maps `len` bytes at `address` to `hpa`, all page-aligned, by entries with the bits `leaf`. Large pages are used
    /// where both addresses are aligned for one and no small page was ever mapped there.
    pub fn map(self, address: u64, hpa: Hpa, len: u64, leaf: u64) -> Result<(), OutOfFrames> {
        let mut done = 0;
        while done < len {
            let (at, to) = (address + done, hpa.0 + done);
            let whole = at % LARGE_PAGE == 0 && to % LARGE_PAGE == 0 && len - done >= LARGE_PAGE;
            if whole && !self.format.is_link(self.large(at)?) {
                self.table(at, 2)?.set(index(at, 1), to | leaf | LARGE);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), to | leaf);
                done += PAGE;
            }
        }
        Ok(())
    }

    /// Unmaps the `len` bytes at `address`, page-aligned, as far as they are mapped. A large page that lies only partly
    /// among them is split into small pages.
    pub fn unmap(self, address: u64, len: u64) -> Result<(), OutOfFrames> {
        let mut done = 0;
        while done < len {
            let at = address + done;
            let entry = self.large(at)?;
            let whole = at.is_multiple_of(LARGE_PAGE) && len - done >= LARGE_PAGE;
            if entry & self.format.present == 0 {
                done += LARGE_PAGE - at % LARGE_PAGE;
            } else if entry & LARGE != 0 && whole {
                self.table(at, 2)?.set(index(at, 1), self.format.nothing);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), self.format.nothing);
                done += PAGE;
            }
        }
        Ok(())
    }

    /// Returns the entry for the large page at `address`.
    fn large(self, address: u64) -> Result<u64, OutOfFrames> {
        Ok(self.table(address, 2)?.get(index(address, 1)))
    }

    /// Returns the table of level `level` (1: leaves of 4 KiB, 2: leaves of 2 MiB) on the path to `address`. A missing
    /// table is allocated, and a large page on the path is split into small ones. Tables are never freed, so their
    /// number is bounded by the addresses that are ever mapped, however often that happens.
    fn table(self, address: u64, level: u32) -> Result<Table, OutOfFrames> {
        let mut table = self.root;
        for above in (level..4).rev() {
            let entry = table.get(index(address, above));
            table = if self.format.is_link(entry) {
                Table::at(Hpa(entry & ADDRESS))
            } else {
                let below = Table::alloc()?;
                if entry & LARGE != 0 {
                    (0..Table::WORDS).for_each(|place| below.set(place, (entry & !LARGE) + place as u64 * PAGE));
                }
                table.set(index(address, above), below.hpa().0 | self.format.link);
                below
            };
        }
        Ok(table)
    }
}

/// Returns which entry of a table at `level` (0: leaves of 4 KiB) covers `address`.
pub const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level) & 511) as usize
}
