//! Extended page tables. See: SDM volume 3, "The Extended Page Table Mechanism (EPT)".

use super::instruction;
use crate::platform::frames::OutOfFrames;
use crate::platform::table::Table;
use bitflags::bitflags;
use sluice_abi::{Gpa, Hpa};

bitflags! {
    /// What a view may do with a page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u64 {
        /// Loads.
        const READ = 1 << 0;
        /// Stores.
        const WRITE = 1 << 1;
        /// Instruction fetches.
        const EXECUTE = 1 << 2;
    }
}

impl Access {
    /// Loads and stores.
    pub const READ_WRITE: Self = Self::READ.union(Self::WRITE);
}

/// Write-back, bits 5:3 of a leaf.
const WRITE_BACK: u64 = 6 << 3;
/// The guest's PAT doesn't count (rule G5).
const IGNORE_PAT: u64 = 1 << 6;
/// The entry maps a large page.
const LARGE: u64 = 1 << 7;
/// No virtualization exception, ever (rule G11).
const SUPPRESS_VE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bytes of a large page.
pub const LARGE_PAGE: u64 = 2 << 20;

/// What the EPTP field and a list entry hold. See: SDM volume 3, table "Format of Extended-Page-Table Pointer".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EptPointer(pub u64);

impl EptPointer {
    /// Low byte of a valid pointer: write-back, four levels, accessed and dirty flags off (rule G5).
    pub const ARMED: u8 = 0x1e;
    /// Low byte of a pointer at rest: walk length 0 is invalid (rule G3).
    pub const AT_REST: u8 = 0x06;
    /// Set in a list entry that no store of the gate's may make valid (rule G3): beyond any physical address.
    pub const DISABLED: u64 = 1 << 63;
}

/// Mappings that a processor may still hold although the tables no longer have them (rule G11).
///
/// Emulators flush more than they must and so never show a missing flush: the type does instead.
#[must_use = "a processor may still use the old mapping: flush it or say why not"]
pub struct Flush(());

impl Flush {
    /// Drops every mapping derived from `view` on this processor.
    pub fn invept(self, view: View) {
        instruction::invept(view.pointer().0);
    }

    /// For tables that no processor has used yet.
    pub fn not_yet_used(self) {}
}

/// One view: an EPT hierarchy of four levels.
#[derive(Clone, Copy, Debug)]
pub struct View {
    root: Table,
}

impl View {
    /// A view of nothing.
    pub fn new() -> Result<Self, OutOfFrames> {
        Table::alloc().map(|root| Self { root })
    }

    /// The pointer that makes a processor use this view.
    pub const fn pointer(self) -> EptPointer {
        EptPointer(self.root.hpa().0 | EptPointer::ARMED as u64)
    }

    /// A list entry for this view that is invalid until its low byte is changed.
    pub const fn at_rest(self) -> EptPointer {
        EptPointer(self.root.hpa().0 | EptPointer::AT_REST as u64)
    }

    /// Maps `len` bytes at `gpa` to `hpa`, both page-aligned, in large pages where both allow and no small page was ever mapped there.
    ///
    /// What was mapped there before must be flushed.
    pub fn map(self, gpa: Gpa, hpa: Hpa, len: u64, access: Access) -> Result<Flush, OutOfFrames> {
        let leaf = access.bits() | WRITE_BACK | IGNORE_PAT | SUPPRESS_VE;
        let mut done = 0;
        while done < len {
            let (at, to) = (gpa.0 + done, hpa.0 + done);
            let whole = at % LARGE_PAGE == 0 && to % LARGE_PAGE == 0 && len - done >= LARGE_PAGE;
            if whole && !is_link(self.large(at)?) {
                self.table(at, 2)?.set(index(at, 1), to | leaf | LARGE);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), to | leaf);
                done += 4096;
            }
        }
        Ok(Flush(()))
    }

    /// Takes away what is mapped of the `len` bytes at `gpa`, page-aligned. A large page that is not wholly among them becomes small ones.
    pub fn unmap(self, gpa: Gpa, len: u64) -> Result<Flush, OutOfFrames> {
        let mut done = 0;
        while done < len {
            let at = gpa.0 + done;
            let word = self.large(at)?;
            let whole = at.is_multiple_of(LARGE_PAGE) && len - done >= LARGE_PAGE;
            if word & Access::all().bits() == 0 {
                done += LARGE_PAGE - at % LARGE_PAGE;
            } else if word & LARGE != 0 && whole {
                self.table(at, 2)?.set(index(at, 1), SUPPRESS_VE);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), SUPPRESS_VE);
                done += 4096;
            }
        }
        Ok(Flush(()))
    }

    /// The word for the large page at `gpa`.
    fn large(self, gpa: u64) -> Result<u64, OutOfFrames> {
        Ok(self.table(gpa, 2)?.get(index(gpa, 1)))
    }

    /// The table of level `level` (1: leaves of 4 KiB, 2: leaves of 2 MiB) on the way to `gpa`, made where it is missing. A large page in the way
    /// becomes small ones. A table stays for ever, so what all tables of a view take is bounded by the addresses that are ever mapped, however
    /// often they are.
    fn table(self, gpa: u64, level: u32) -> Result<Table, OutOfFrames> {
        let mut table = self.root;
        for above in (level..4).rev() {
            let word = table.get(index(gpa, above));
            table = if is_link(word) {
                Table::at(Hpa(word & ADDRESS))
            } else {
                let below = Table::alloc()?;
                if word & LARGE != 0 {
                    (0..Table::WORDS).for_each(|place| below.set(place, (word & !LARGE) + place as u64 * 4096));
                }
                table.set(index(gpa, above), below.hpa().0 | Access::all().bits());
                below
            };
        }
        Ok(table)
    }
}

/// Whether an entry leads to a table.
const fn is_link(word: u64) -> bool {
    word & Access::all().bits() != 0 && word & LARGE == 0
}

/// Which word of a table at `level` (0: leaves of 4 KiB) covers `address`.
pub const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level) & 511) as usize
}
