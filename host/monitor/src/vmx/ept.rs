//! Extended page tables. See: SDM volume 3, "The Extended Page Table Mechanism (EPT)".

use super::instruction;
use crate::platform::hierarchy::{Format, Hierarchy};
use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use bitflags::bitflags;
use sluice_abi::{Gpa, Hpa};

bitflags! {
    /// Accesses that a view allows to a page.
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
/// The processor ignores the guest's PAT (rule G5).
const IGNORE_PAT: u64 = 1 << 6;
/// An EPT violation is a VM exit, never a virtualization exception (rule G11).
const SUPPRESS_VE: u64 = 1 << 63;
/// An entry maps something if it allows any access; only the leaf restricts the accesses to a page.
const FORMAT: Format = Format { present: Access::all().bits(), link: Access::all().bits(), nothing: SUPPRESS_VE };

/// The value of the EPTP field and of an entry of the EPTP list. See: SDM volume 3, table "Format of
/// Extended-Page-Table Pointer".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EptPointer(pub u64);

impl EptPointer {
    /// Low byte of a valid pointer: write-back, four levels, accessed and dirty flags off (rule G5).
    pub const ARMED: u8 = 0x1e;
    /// Low byte of a pointer at rest: walk length 0 is invalid (rule G3).
    pub const AT_REST: u8 = 0x06;
    /// A bit beyond any physical address, set in a list entry that no store of the gate may make valid (rule G3).
    pub const DISABLED: u64 = 1 << 63;
}

/// Mappings that a processor may still hold although the tables no longer contain them (rule G11).
///
/// Emulators flush more than they must, so they never show a missing flush. This type makes the compiler show it.
#[must_use = "a processor may still use the old mapping: flush it or say why not"]
pub struct Flush(());

impl Flush {
    /// Drops every mapping that this processor derived from `view`.
    pub fn invept(self, view: View) {
        instruction::invept(view.pointer().0);
    }

    /// Drops nothing: no processor has used the tables yet.
    pub fn not_yet_used(self) {}
}

/// A view: an EPT hierarchy of four levels.
#[derive(Clone, Copy, Debug)]
pub struct View {
    tables: Hierarchy,
}

impl View {
    /// Returns a view that maps nothing.
    pub fn new() -> Result<Self, OutOfFrames> {
        Table::alloc().map(|root| Self { tables: Hierarchy { root, format: FORMAT } })
    }

    /// Returns the pointer that makes a processor use this view.
    pub const fn pointer(self) -> EptPointer {
        EptPointer(self.tables.root.hpa().0 | EptPointer::ARMED as u64)
    }

    /// Returns a list entry for this view that is invalid until its low byte is changed.
    pub const fn at_rest(self) -> EptPointer {
        EptPointer(self.tables.root.hpa().0 | EptPointer::AT_REST as u64)
    }

    /// Maps `len` bytes at `gpa` to `hpa`, both page-aligned. Large pages are used where both addresses are aligned for
    /// one and no small page was ever mapped there. Older mappings must be flushed.
    pub fn map(self, gpa: Gpa, hpa: Hpa, len: u64, access: Access) -> Result<Flush, OutOfFrames> {
        let leaf = access.bits() | WRITE_BACK | IGNORE_PAT | SUPPRESS_VE;
        self.tables.map(gpa.0, hpa, len, leaf).map(|()| Flush(()))
    }

    /// Unmaps the `len` bytes at `gpa`, page-aligned, as far as they are mapped. A large page that lies only partly
    /// among them is split into small pages.
    pub fn unmap(self, gpa: Gpa, len: u64) -> Result<Flush, OutOfFrames> {
        self.tables.unmap(gpa.0, len).map(|()| Flush(()))
    }
}
