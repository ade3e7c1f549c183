//! Extended page tables. See: SDM volume 3, "The Extended Page Table Mechanism (EPT)".

use super::instruction;
use crate::platform::frames::OutOfFrames;
use crate::platform::hierarchy::{Format, Hierarchy};
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
/// No virtualization exception, ever (rule G11).
const SUPPRESS_VE: u64 = 1 << 63;
/// An entry maps something if any use is allowed; the use of a page is restricted by its leaf alone.
const FORMAT: Format = Format { present: Access::all().bits(), link: Access::all().bits(), nothing: SUPPRESS_VE };

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
    tables: Hierarchy,
}

impl View {
    /// A view of nothing.
    pub fn new() -> Result<Self, OutOfFrames> {
        Table::alloc().map(|root| Self { tables: Hierarchy { root, format: FORMAT } })
    }

    /// The pointer that makes a processor use this view.
    pub const fn pointer(self) -> EptPointer {
        EptPointer(self.tables.root.hpa().0 | EptPointer::ARMED as u64)
    }

    /// A list entry for this view that is invalid until its low byte is changed.
    pub const fn at_rest(self) -> EptPointer {
        EptPointer(self.tables.root.hpa().0 | EptPointer::AT_REST as u64)
    }

    /// Maps `len` bytes at `gpa` to `hpa`, both page-aligned, in large pages where both allow and no small page was ever mapped there.
    ///
    /// What was mapped there before must be flushed.
    pub fn map(self, gpa: Gpa, hpa: Hpa, len: u64, access: Access) -> Result<Flush, OutOfFrames> {
        let leaf = access.bits() | WRITE_BACK | IGNORE_PAT | SUPPRESS_VE;
        self.tables.map(gpa.0, hpa, len, leaf).map(|()| Flush(()))
    }

    /// Takes away what is mapped of the `len` bytes at `gpa`, page-aligned. A large page that is not wholly among them becomes small ones.
    pub fn unmap(self, gpa: Gpa, len: u64) -> Result<Flush, OutOfFrames> {
        self.tables.unmap(gpa.0, len).map(|()| Flush(()))
    }
}
