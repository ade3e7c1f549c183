//! Registers that are in no VMCS: two VMs on one processor must not find each other's values.
#![allow(unsafe_code, reason = "debug registers, CR2, SWAPGS")]

use super::Error;
use super::vectors;
use core::arch::asm;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("leftovers", |machine, how| compare(machine, super::number(how)?))];

/// The number of turns that the VM gives away, so that the other VM has run meanwhile.
const TURNS: usize = 8;
const GS_BASE: u32 = 0xc000_0101;

/// The registers: breakpoint addresses, CR2, and the base that SWAPGS keeps.
type Words = [u64; 6];

/// Checks that no other VM has left a value, leaves `mark`, and finds it again.
fn compare(machine: &mut Vnf, mark: u64) -> Result<(), Error> {
    let found = read();
    let clean = vectors::read().as_flattened().iter().all(|&word| word == 0);
    let own: Words = core::array::from_fn(|index| mark << 8 | index as u64);
    write(own);
    vectors::mark(mark);
    (0..TURNS).for_each(|_| machine.yield_now());
    let kept = vectors::read().as_flattened().iter().all(|&word| word == mark) && read() == own;
    println!("leftovers: {found:x?}, vectors clean {clean}, kept {kept}");
    if found == [0; 6] && clean && kept { Ok(()) } else { Err(Error::Harmed(found.len())) }
}

fn read() -> Words {
    let (a, b, c, d, page_fault): (u64, u64, u64, u64, u64);
    let (low, high): (u32, u32);
    // SAFETY: this is ring 0. SWAPGS comes twice, and this image uses no GS.
    unsafe {
        asm!(
            "mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", "mov {}, cr2",
            out(reg) a, out(reg) b, out(reg) c, out(reg) d, out(reg) page_fault,
            options(nomem, nostack)
        );
        asm!("swapgs", "rdmsr", "swapgs", in("ecx") GS_BASE, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    [a, b, c, d, page_fault, u64::from(high) << 32 | u64::from(low)]
}

fn write([a, b, c, d, page_fault, gs]: Words) {
    // SAFETY: this is ring 0, and DR7 has no breakpoint; the rest is as in `read`.
    unsafe {
        asm!(
            "mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov cr2, {}",
            in(reg) a, in(reg) b, in(reg) c, in(reg) d, in(reg) page_fault,
            options(nomem, nostack)
        );
        asm!(
            "swapgs", "wrmsr", "swapgs",
            in("ecx") GS_BASE, in("eax") gs as u32, in("edx") (gs >> 32) as u32,
            options(nomem, nostack)
        );
    }
}
