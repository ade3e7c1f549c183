//! The monitor's own page tables: physical memory one to one, plus the sluice slot of the VM that is being served.
#![allow(unsafe_code, reason = "CR3")]

use crate::platform::frames::OutOfFrames;
use crate::platform::table::Table;
use crate::vmx::ept::index;
use core::arch::asm;
use sluice_abi::{Hpa, map};
use x86_64::registers::control::Cr3;

const PRESENT_WRITE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE: u64 = 2 << 20;

/// Top-level table for one VM. Entry 0 is every processor's, entry 128 this VM's slot.
pub struct HostSpace {
    root: Table,
}

impl HostSpace {
    /// A space with nothing in the slot.
    pub fn new() -> Result<Self, OutOfFrames> {
        let root = Table::alloc()?;
        let own = Table::at(Hpa(Cr3::read().0.start_address().as_u64()));
        root.set(0, own.get(0));
        Ok(Self { root })
    }

    /// What CR3 must hold.
    pub fn root(&self) -> Hpa {
        self.root.hpa()
    }

    /// Makes this the processor's space, as it is now. An exit loads CR3 as well, but where the guest has a VPID it need not drop what the
    /// processor holds of another space, or of this one as it was. See: SDM volume 3, "Operations that Invalidate Cached Mappings".
    pub fn load(&self) {
        // SAFETY: entry 0 maps all of the monitor as every space of it does; the slot is reached by PeerSlices of the VM that is served.
        unsafe { asm!("mov cr3, {0}", in(reg) self.root.hpa().0, options(nostack, preserves_flags)) };
    }

    /// Maps `len` bytes at slot offset `offset` to `hpa`, page-aligned, for loads and stores. What the processor holds of the space as it was
    /// goes with the next [`HostSpace::load`].
    pub fn map(&mut self, offset: u64, hpa: Hpa, len: u64) -> Result<(), OutOfFrames> {
        let mut done = 0;
        while done < len {
            let (at, to) = (map::SLOT_VA + offset + done, hpa.0 + done);
            let whole = at % LARGE_PAGE == 0 && to % LARGE_PAGE == 0 && len - done >= LARGE_PAGE;
            if whole && !is_link(self.large(at)?) {
                self.table(at, 2)?.set(index(at, 1), to | PRESENT_WRITE | LARGE | NO_EXECUTE);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), to | PRESENT_WRITE | NO_EXECUTE);
                done += 4096;
            }
        }
        Ok(())
    }

    /// Takes away what is mapped of the `len` bytes at slot offset `offset`, page-aligned.
    pub fn unmap(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        let mut done = 0;
        while done < len {
            let at = map::SLOT_VA + offset + done;
            let word = self.large(at)?;
            if word & 1 == 0 {
                done += LARGE_PAGE - at % LARGE_PAGE;
            } else if word & LARGE != 0 && at.is_multiple_of(LARGE_PAGE) && len - done >= LARGE_PAGE {
                self.table(at, 2)?.set(index(at, 1), 0);
                done += LARGE_PAGE;
            } else {
                self.table(at, 1)?.set(index(at, 0), 0);
                done += 4096;
            }
        }
        Ok(())
    }

    fn large(&self, at: u64) -> Result<u64, OutOfFrames> {
        Ok(self.table(at, 2)?.get(index(at, 1)))
    }

    /// The table of `level`, as in `crate::vmx::ept`: made where it is missing, for small pages where there is a large one, and there for ever.
    fn table(&self, at: u64, level: u32) -> Result<Table, OutOfFrames> {
        let mut table = self.root;
        for above in (level..4).rev() {
            let word = table.get(index(at, above));
            table = if is_link(word) {
                Table::at(Hpa(word & ADDRESS))
            } else {
                let below = Table::alloc()?;
                if word & LARGE != 0 {
                    (0..Table::WORDS).for_each(|place| below.set(place, (word & !LARGE) + place as u64 * 4096));
                }
                table.set(index(at, above), below.hpa().0 | PRESENT_WRITE);
                below
            };
        }
        Ok(table)
    }
}

/// Whether an entry leads to a table.
const fn is_link(word: u64) -> bool {
    word & 1 != 0 && word & LARGE == 0
}
