//! The monitor's own page tables: physical memory one to one, plus the sluice slot of the VM that is being served.
#![allow(unsafe_code, reason = "CR3")]

use crate::platform::frames::OutOfFrames;
use crate::platform::hierarchy::{Format, Hierarchy};
use crate::platform::table::Table;
use core::arch::asm;
use sluice_abi::{Hpa, map};
use x86_64::registers::control::Cr3;

/// Present; present and writable; nothing.
const FORMAT: Format = Format { present: 1, link: 0b11, nothing: 0 };
const NO_EXECUTE: u64 = 1 << 63;

/// Top-level table for one VM. Entry 0 is every processor's, entry 128 this VM's slot.
pub struct HostSpace {
    tables: Hierarchy,
}

impl HostSpace {
    /// A space with nothing in the slot.
    pub fn new() -> Result<Self, OutOfFrames> {
        let root = Table::alloc()?;
        let own = Table::at(Hpa(Cr3::read().0.start_address().as_u64()));
        root.set(0, own.get(0));
        Ok(Self { tables: Hierarchy { root, format: FORMAT } })
    }

    /// What CR3 must hold.
    pub fn root(&self) -> Hpa {
        self.tables.root.hpa()
    }

    /// Makes this the processor's space, as it is now. An exit loads CR3 as well, but where the guest has a VPID it need not drop what the
    /// processor holds of another space, or of this one as it was. See: SDM volume 3, "Operations that Invalidate Cached Mappings".
    pub fn load(&self) {
        // SAFETY: entry 0 maps all of the monitor as every space of it does; the slot is reached by PeerSlices of the VM that is served.
        unsafe { asm!("mov cr3, {0}", in(reg) self.tables.root.hpa().0, options(nostack, preserves_flags)) };
    }

    /// Maps `len` bytes at slot offset `offset` to `hpa`, page-aligned, for loads and stores. What the processor holds of the space as it was
    /// goes with the next [`HostSpace::load`].
    pub fn map(&mut self, offset: u64, hpa: Hpa, len: u64) -> Result<(), OutOfFrames> {
        self.tables.map(map::SLOT_VA + offset, hpa, len, FORMAT.link | NO_EXECUTE)
    }

    /// Takes away what is mapped of the `len` bytes at slot offset `offset`, page-aligned.
    pub fn unmap(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        self.tables.unmap(map::SLOT_VA + offset, len)
    }
}
