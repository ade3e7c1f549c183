//! Registers that are in no VMCS: two VMs on one processor must not find each other's values.

use super::Error;
use super::cpu::{self, vectors};
use sluice_vnf::{Vnf, println};
use x86_64::registers::control::Cr2;
use x86_64::registers::debug::{DebugAddressRegister, Dr0, Dr1, Dr2, Dr3};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("leftovers", |machine, how| compare(machine, super::number(how)?))];

/// The number of turns that the VM gives away, so that the other VM has run meanwhile.
const TURNS: usize = 8;

/// The registers: breakpoint addresses, CR2, and the base that SWAPGS keeps.
type Words = [u64; 6];

/// Checks that no other VM has left a value, leaves `mark`, and finds it again.
fn compare(machine: &mut Vnf, mark: u64) -> Result<(), Error> {
    let found = read();
    let clean = vectors().as_flattened().iter().all(|&word| word == 0);
    let own: Words = core::array::from_fn(|index| mark << 8 | index as u64);
    write(own);
    cpu::fill_vectors(mark);
    (0..TURNS).for_each(|_| machine.yield_now());
    let kept = vectors().as_flattened().iter().all(|&word| word == mark) && read() == own;
    println!("leftovers: {found:x?}, vectors clean {clean}, kept {kept}");
    if found == [0; 6] && clean && kept { Ok(()) } else { Err(Error::Harmed(found.len())) }
}

fn read() -> Words {
    [Dr0::read(), Dr1::read(), Dr2::read(), Dr3::read(), Cr2::read_raw(), cpu::kept_gs_base()]
}

/// Leaves values in the registers. DR7 has no breakpoint.
fn write([a, b, c, d, page_fault, gs]: Words) {
    Dr0::write(a);
    Dr1::write(b);
    Dr2::write(c);
    Dr3::write(d);
    cpu::set_cr2(page_fault);
    cpu::set_kept_gs_base(gs);
}
