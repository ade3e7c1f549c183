//! A11, A12, A19: modes and features that the gate was not made for. The host owns every bit that leads to one.

use super::crossing;
use super::leap::{self, State};
use super::snippet::{self, REFUSED};
use super::{Error, arm};
use sluice_vnf::{Vnf, println};
use x86_64::registers::control::{Cr0, Cr4};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("modes", |machine, _| change(machine))];

/// The bits of CR0: PE, NE, WP, AM, NW, CD, PG.
const CR0: [u32; 7] = [0, 5, 16, 18, 29, 30, 31];
/// The bits of CR4: PAE, MCE, LA57, VMXE, PCIDE, OSXSAVE, SMEP, SMAP, PKE, CET, PKS, UINTR, LASS, LAM for supervisor
/// pointers, FRED.
const CR4: [u32; 15] = [5, 6, 12, 13, 17, 18, 20, 21, 22, 23, 24, 25, 27, 28, 32];
/// The MSRs: EFER, STAR, LSTAR, PAT, DEBUGCTL, PEBS_ENABLE, PERF_GLOBAL_CTRL, MISC_ENABLE, DS_AREA, RTIT_OUTPUT_BASE,
/// RTIT_CTL, S_CET, PKRS, XSS, XAPIC base, x2APIC ICR, KERNEL_GS_BASE.
const MSRS: [u32; 17] = [
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0x277,
    0x1d9,
    0x3f1,
    0x38f,
    0x1a0,
    0x600,
    0x560,
    0x570,
    0x6a2,
    0x6e1,
    0xda0,
    0x1b,
    0x830,
    0xc000_0102,
];

/// Changes every bit, writes every MSR, makes XCR0 smaller, and prints how many of each were refused. Then makes a
/// call.
fn change(machine: &mut Vnf) -> Result<(), Error> {
    const MOV_CR0_RAX: [u8; 3] = [0x0f, 0x22, 0xc0];
    const MOV_CR4_RAX: [u8; 3] = [0x0f, 0x22, 0xe0];
    const WRMSR: [u8; 2] = [0x0f, 0x30];
    const XSETBV: [u8; 3] = [0x0f, 0x01, 0xd1];
    arm(machine)?;
    let refused = |code: &[u8], rax: u64, rcx: u32| {
        let mut state = State::at(0);
        (state.general[leap::RAX], state.general[leap::RCX]) = (rax, rcx.into());
        snippet::execute(code, &state) == REFUSED
    };
    let count = CR0.iter().filter(|&&bit| refused(&MOV_CR0_RAX, Cr0::read_raw() ^ 1 << bit, 0)).count();
    println!("cr0: {count} of {} refused", CR0.len());
    let count = CR4.iter().filter(|&&bit| refused(&MOV_CR4_RAX, Cr4::read_raw() ^ 1 << bit, 0)).count();
    println!("cr4: {count} of {} refused", CR4.len());
    let count = MSRS.iter().filter(|&&msr| refused(&WRMSR, 0, msr)).count();
    println!("msr: {count} of {} refused", MSRS.len());
    println!("xcr0: {}", if refused(&XSETBV, 1, 0) { "refused" } else { "changed" });
    println!("call after that: {}", crossing::checked(crossing::proper(0))?.end());
    Ok(())
}
