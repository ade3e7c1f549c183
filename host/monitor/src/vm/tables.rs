//! The host's page tables for gate and window views (rule G5).
//!
//! A VMFUNC keeps CR3. In the gate and window views the guest-physical page that CR3 names is backed by a root of the
//! host's, whose one entry leads to tables at [`map::TABLES`] of the sluice slot. All of them are EPT-read-only, with
//! accessed and dirty bits set in advance, so the processor has nothing to write.

use crate::platform::hierarchy::bits::{ACCESSED, DIRTY, NO_EXECUTE, PRESENT, WRITABLE};
use crate::platform::hierarchy::{ADDRESS, LARGE, LARGE_PAGE, index};
use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use crate::vmx::ept::{Access, View};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::{Gpa, map};

/// Number of tables of one view without peers: one of the third level, and those for packet memory and small pages.
pub const FEW: usize = 16;
/// Number of further tables for each peer, whose 2 GiB may begin and end anywhere in a GiB.
pub const FOR_PEER: usize = 6;

const _: () = assert!((FEW + FOR_PEER * MAX_PEERS) as u64 * map::PAGE <= map::TABLES_LEN);

/// The access that the view's instructions have to a range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Instruction fetches.
    Code,
    /// Loads.
    Constant,
    /// Loads and stores.
    Data,
}

/// The page tables of one view.
pub struct SlotTables {
    root: Table,
    run: Table,
    len: usize,
    used: usize,
}

impl SlotTables {
    /// Returns `len` tables that map nothing yet, and makes them readable in `view`.
    pub fn new(view: View, len: usize) -> Result<Self, OutOfFrames> {
        let (root, run) = (Table::alloc()?, Table::alloc_run(len)?);
        root.set(map::SLOT_PML4_INDEX, link(0));
        view.map(Gpa(map::SLOT_GPA + map::TABLES), run.hpa(), len as u64 * map::PAGE, Access::READ)?.not_yet_used();
        Ok(Self { root, run, len, used: 1 })
    }

    /// Returns the top-level table, with which the view backs the page that CR3 names.
    pub fn root(&self) -> Table {
        self.root
    }

    /// Maps `len` bytes at slot offset `offset`, page-aligned, to the same offset of the slot's guest-physical range.
    pub fn map(&mut self, offset: u64, len: u64, usage: Use) -> Result<(), OutOfFrames> {
        let bits = PRESENT
            | ACCESSED
            | DIRTY
            | if usage == Use::Data { WRITABLE } else { 0 }
            | if usage == Use::Code { 0 } else { NO_EXECUTE };
        let mut at = offset;
        while at < offset + len {
            let gpa = map::SLOT_GPA + at;
            if at.is_multiple_of(LARGE_PAGE) && offset + len - at >= LARGE_PAGE {
                self.table(at, 1)?.set(index(at, 1), gpa | bits | LARGE);
                at += LARGE_PAGE;
            } else {
                self.table(at, 0)?.set(index(at, 0), gpa | bits);
                at += map::PAGE;
            }
        }
        Ok(())
    }

    /// Returns the table that holds the entries of `level` for `offset`. Missing tables are taken from the run.
    fn table(&mut self, offset: u64, level: u32) -> Result<Table, OutOfFrames> {
        let mut table = self.run;
        for above in (level + 1..3).rev() {
            let slot = index(offset, above);
            if table.get(slot) & PRESENT == 0 {
                if self.used == self.len {
                    return Err(OutOfFrames);
                }
                table.set(slot, link(self.used));
                self.used += 1;
            }
            let gpa = table.get(slot) & ADDRESS;
            table = self.run.nth(((gpa - map::SLOT_GPA - map::TABLES) / map::PAGE) as usize);
        }
        Ok(table)
    }
}

/// Returns an entry that links to table `number` of the run.
fn link(number: usize) -> u64 {
    (map::SLOT_GPA + map::TABLES + number as u64 * map::PAGE) | PRESENT | WRITABLE | ACCESSED
}
