//! What a vCPU may register for its gate: request block and page tables, any number of times. Packet memory belongs to
//! the VM: see `sluice_control::Runs`.

use crate::vm::bases;
use crate::vm::ram::Ram;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use sluice_abi::{Gpa, Hpa, map};

/// What is in force after a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Host-physical address of the request block.
    pub request: Hpa,
    /// Value of CR3.
    pub cr3: u64,
}

/// Checks the request block at `request` and the page tables of the vCPU whose VMCS is current, of the VM with RAM
/// `ram`. The error says why they are refused.
pub fn check(ram: &Ram, request: Gpa) -> Result<Registered, &'static str> {
    let cr3 = read(Field::GuestCr3);
    let place = ram.host(request, map::PAGE).filter(|_| request.0.is_multiple_of(map::PAGE));
    let request = place.ok_or("the request block is no page of its RAM")?;
    if ram.host(Gpa(cr3 & !0xfff), map::PAGE).is_none() {
        return Err("CR3 names no page of its RAM");
    }
    if bases::any_reaches_slot() {
        return Err("GDT, IDT or TSS reach into the sluice slot");
    }
    Ok(Registered { request, cr3 })
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;
    use crate::vmx::instruction::write;

    const RAM: Ram = Ram { hpa: Hpa(4 << 30), len: 8 << 20 };
    const REQUEST: Gpa = Gpa(0x5000);
    const CR3: u64 = 0x1018;

    /// Sets CR3, and the bases of GDT, IDT and TSS.
    fn in_force(cr3: u64, bases: [u64; 3]) {
        let fields = [Field::GuestGdtrBase, Field::GuestIdtrBase, Field::GuestTrBase];
        write(Field::GuestCr3, cr3);
        fields.into_iter().zip(bases).for_each(|(field, base)| write(field, base));
    }

    #[test]
    fn a_page_of_the_vms_own_is_shown_where_it_is() {
        in_force(CR3, [0x2000, 0x3000, 0x4000]);
        assert_eq!(check(&RAM, REQUEST), Ok(Registered { request: Hpa(RAM.hpa.0 + 0x5000), cr3: CR3 }));
        let last = RAM.len - map::PAGE;
        assert_eq!(check(&RAM, Gpa(last)).map(|new| new.request), Ok(Hpa(RAM.hpa.0 + last)));
    }

    #[test]
    fn memory_that_is_not_the_vms_or_not_aligned_is_refused() {
        in_force(CR3, [0; 3]);
        for bad in [Gpa(0x5008), Gpa(RAM.len), Gpa(!0xfff), Gpa(u64::MAX)] {
            assert!(check(&RAM, bad).is_err_and(|why| why.starts_with("the request block")), "{bad:?}");
        }
        in_force(RAM.len | 0x18, [0; 3]);
        assert!(check(&RAM, REQUEST).is_err_and(|why| why.starts_with("CR3")), "page tables outside of its RAM");
    }

    /// An IDT or TSS in the slot, or one that ends there (rule G14).
    #[test]
    fn tables_that_reach_into_the_slot_are_refused() {
        let reaching = [map::SLOT_VA, map::SLOT_VA - 0xffff, map::SLOT_VA + map::PACKETS, map::SLOT_VA + (1 << 39) - 1];
        for base in reaching {
            for table in 0..3 {
                let mut bases = [0x2000; 3];
                bases[table] = base;
                in_force(CR3, bases);
                assert!(check(&RAM, REQUEST).is_err_and(|why| why.starts_with("GDT")), "table {table} at {base:#x}");
            }
        }
        in_force(CR3, [map::SLOT_VA - 0x1_0001, map::SLOT_VA + (1 << 39), 0]);
        assert!(check(&RAM, REQUEST).is_ok());
    }
}
