//! What a VM may register for its gate: packet memory and request block once, page tables as often as it likes.

use super::bases;
use super::ram::Ram;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use sluice_abi::{Gpa, Hpa, map};

const LARGE_PAGE: u64 = 2 << 20;

/// What the window shows of a VM's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Packet memory.
    pub packets: Gpa,
    /// Its bytes.
    pub len: u64,
    /// Request block, one page.
    pub request: Gpa,
}

/// Where that is, and the CR3 that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Packet memory.
    pub packets: Hpa,
    /// Request block.
    pub request: Hpa,
    /// CR3 in force.
    pub cr3: u64,
}

/// Looks at what the VM with RAM `ram`, whose VMCS is current, asks to be `shown`; `before` is what it registered earlier. `None`: it is refused.
pub fn check(ram: &Ram, before: Option<Shown>, shown: Shown) -> Option<Places> {
    let Shown { packets, len, request } = shown;
    let aligned =
        packets.0.is_multiple_of(LARGE_PAGE) && len.is_multiple_of(LARGE_PAGE) && request.0.is_multiple_of(map::PAGE);
    let sized = len > 0 && len <= map::PACKETS_LEN;
    let same = before.is_none_or(|before| before == shown);
    let cr3 = read(Field::GuestCr3);
    let tables = ram.host(Gpa(cr3 & !0xfff), map::PAGE).is_some() && !bases::any_reaches_slot();
    let places = Places { packets: ram.host(packets, len)?, request: ram.host(request, map::PAGE)?, cr3 };
    (aligned && sized && same && tables).then_some(places)
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;
    use crate::vmx::instruction::write;

    const RAM: Ram = Ram { hpa: Hpa(4 << 30), len: 8 << 20 };
    const SHOWN: Shown = Shown { packets: Gpa(2 << 20), len: 4 << 20, request: Gpa(0x5000) };
    const CR3: u64 = 0x1018;

    /// Page tables, and bases of GDT, IDT and TSS.
    fn in_force(cr3: u64, bases: [u64; 3]) {
        let fields = [Field::GuestGdtrBase, Field::GuestIdtrBase, Field::GuestTrBase];
        write(Field::GuestCr3, cr3);
        fields.into_iter().zip(bases).for_each(|(field, base)| write(field, base));
    }

    #[test]
    fn memory_of_the_vms_own_is_shown_where_it_is() {
        in_force(CR3, [0x2000, 0x3000, 0x4000]);
        let places = Places { packets: Hpa(RAM.hpa.0 + (2 << 20)), request: Hpa(RAM.hpa.0 + 0x5000), cr3: CR3 };
        assert_eq!(check(&RAM, None, SHOWN), Some(places));
        assert_eq!(check(&RAM, Some(SHOWN), SHOWN), Some(places), "again");
    }

    /// The window would keep the memory of the first, which nobody looks after any more.
    #[test]
    fn other_memory_is_refused_once_there_is_some() {
        in_force(CR3, [0; 3]);
        let Shown { packets, len, request } = SHOWN;
        let others = [
            Shown { packets: Gpa(4 << 20), len: 2 << 20, ..SHOWN },
            Shown { packets: Gpa(0), ..SHOWN },
            Shown { len: 2 << 20, ..SHOWN },
            Shown { request: Gpa(0x6000), ..SHOWN },
        ];
        for other in others {
            assert!(check(&RAM, None, other).is_some(), "{other:?}");
            assert_eq!(check(&RAM, Some(SHOWN), other), None, "{other:?}");
        }
        assert!(check(&RAM, Some(SHOWN), Shown { packets, len, request }).is_some());
    }

    #[test]
    fn memory_that_is_not_the_vms_or_not_aligned_is_refused() {
        in_force(CR3, [0; 3]);
        for bad in [
            Shown { packets: Gpa(1 << 20), ..SHOWN },
            Shown { packets: Gpa((2 << 20) + 1), ..SHOWN },
            Shown { packets: Gpa(6 << 20), ..SHOWN },
            Shown { packets: Gpa(0u64.wrapping_sub(2 << 20)), ..SHOWN },
            Shown { len: 0, ..SHOWN },
            Shown { len: 3 << 20, ..SHOWN },
            Shown { len: 0u64.wrapping_sub(2 << 20), ..SHOWN },
            Shown { request: Gpa(0x5008), ..SHOWN },
            Shown { request: Gpa(RAM.len), ..SHOWN },
            Shown { request: Gpa(!0xfff), ..SHOWN },
        ] {
            assert_eq!(check(&RAM, None, bad), None, "{bad:?}");
        }
        let large = Ram { len: 2 * map::PACKETS_LEN, ..RAM };
        assert_eq!(check(&large, None, Shown { packets: Gpa(0), len: map::PACKETS_LEN + (2 << 20), ..SHOWN }), None);
        in_force(RAM.len | 0x18, [0; 3]);
        assert_eq!(check(&RAM, None, SHOWN), None, "page tables outside of its RAM");
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
                assert_eq!(check(&RAM, None, SHOWN), None, "table {table} at {base:#x}");
                assert_eq!(check(&RAM, Some(SHOWN), SHOWN), None, "again: table {table} at {base:#x}");
            }
        }
        in_force(CR3, [map::SLOT_VA - 0x1_0001, map::SLOT_VA + (1 << 39), 0]);
        assert!(check(&RAM, None, SHOWN).is_some());
    }
}
