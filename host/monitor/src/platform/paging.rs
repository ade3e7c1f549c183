//! The monitor's own page tables: physical memory one to one, plus the sluice slot of the VM that is being served.

use crate::platform::cpu;
use crate::platform::hierarchy::bits::{NO_EXECUTE, PRESENT, WRITABLE};
use crate::platform::hierarchy::{Format, Hierarchy};
use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use sluice_abi::{Hpa, map};

/// Page tables: a link leaves all restrictions to the leaf.
const FORMAT: Format = Format { present: PRESENT, link: PRESENT | WRITABLE, nothing: 0 };

/// The monitor's page tables while it serves one VM. Entry 0 of the top-level table is the same in all of them; entry
/// [`map::SLOT_PML4_INDEX`] maps this VM's slot.
pub struct HostSpace {
    tables: Hierarchy,
}

impl HostSpace {
    /// Returns a space with an empty slot.
    pub fn new() -> Result<Self, OutOfFrames> {
        let root = Table::alloc()?;
        root.set(0, cpu::identity_entry());
        Ok(Self { tables: Hierarchy { root, format: FORMAT } })
    }

    /// Returns the value of CR3 that puts the space in force.
    pub fn root(&self) -> Hpa {
        self.tables.root.hpa()
    }

    /// Puts the space, as it is now, in force on this processor. An exit loads CR3 as well, but where the guest has a
    /// VPID it need not drop what the processor holds of another space, or of an earlier state of this one.
    /// See: SDM volume 3, "Operations that Invalidate Cached Mappings".
    pub fn load(&self) {
        cpu::load_page_tables(self.tables.root);
    }

    /// Maps `len` bytes at slot offset `offset` to `hpa`, page-aligned, for loads and stores. The processor drops older
    /// mappings at the next [`HostSpace::load`].
    pub fn map(&mut self, offset: u64, hpa: Hpa, len: u64) -> Result<(), OutOfFrames> {
        self.tables.map(map::SLOT_VA + offset, hpa, len, FORMAT.link | NO_EXECUTE)
    }

    /// Unmaps the `len` bytes at slot offset `offset`, page-aligned, as far as they are mapped.
    pub fn unmap(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        self.tables.unmap(map::SLOT_VA + offset, len)
    }
}
