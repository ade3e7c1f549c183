//! CPUID as a VM sees it: the processor's own answer, without the features that rule G6 forbids, and Sluice's leaves.

use crate::platform::cpu::XCR0;
use crate::vm::vm::{Next, Vm};
use crate::vmx::guest;
use crate::vmx::instruction::Xsave;
use crate::vmx::registers::Registers;
use core::arch::x86_64::__cpuid_count;
use sluice_abi::call::{CPUID_BASE, CPUID_SIGNATURE};
use sluice_abi::{directory, lapic};

/// Bits of leaf 1 ECX that are hidden: MONITOR, VMX, FMA, PCID, x2APIC, TSC deadline, F16C.
const LEAF1_ECX_HIDDEN: u32 = 1 << 3 | 1 << 5 | 1 << 12 | 1 << 17 | 1 << 21 | 1 << 24 | 1 << 29;
const HYPERVISOR: u32 = 1 << 31;
/// Bits of leaf 1 EDX that are hidden: APIC, debug store.
const LEAF1_EDX_HIDDEN: u32 = 1 << 9 | 1 << 21;
/// Bits of leaf 7 EBX that are shown: FSGSBASE, BMI1, BMI2, ERMS (so no SMEP, SMAP, TSX, INVPCID, MPX, PT, AVX2,
/// AVX-512).
const LEAF7_EBX_SHOWN: u32 = 1 << 0 | 1 << 3 | 1 << 8 | 1 << 9;
/// Bits of leaf 7 ECX that are shown: UMIP (so no PKU, LA57, CET, PKS).
const LEAF7_ECX_SHOWN: u32 = 1 << 2;
/// Bit of leaf 8000_0001 EDX that is hidden.
const RDTSCP: u32 = 1 << 27;

/// Emulates the CPUID that exited.
pub fn emulate(vm: &mut Vm) -> Next {
    let (leaf, subleaf) = (vm.registers.0[Registers::RAX] as u32, vm.registers.0[Registers::RCX] as u32);
    let [a, b, c, d] = answer(leaf, subleaf, vm.id);
    vm.registers.0[Registers::RAX] = u64::from(a);
    vm.registers.0[Registers::RBX] = u64::from(b);
    vm.registers.0[Registers::RCX] = u64::from(c);
    vm.registers.0[Registers::RDX] = u64::from(d);
    guest::skip();
    Next::Resume
}

fn answer(leaf: u32, subleaf: u32, vm_id: u32) -> [u32; 4] {
    let own = __cpuid_count(leaf, subleaf);
    let [a, b, c, d] = [own.eax, own.ebx, own.ecx, own.edx];
    match (leaf, subleaf) {
        (1, _) => [a, b, c & !LEAF1_ECX_HIDDEN | HYPERVISOR, d & !LEAF1_EDX_HIDDEN],
        (7, 0) => [0, b & LEAF7_EBX_SHOWN, c & LEAF7_ECX_SHOWN, 0],
        // The components of XCR0, where AVX state lies in an XSAVE area, and no further forms of XSAVE.
        (0xd, 0) => [XCR0.0, Xsave::LEN as u32, Xsave::LEN as u32, XCR0.1],
        (0xd, 2) => [a, b, 0, 0],
        (7 | 0xa | 0xd | 0xf | 0x10 | 0x12 | 0x14 | 0x19, _) => [0; 4],
        (0x8000_0001, _) => [a, b, c, d & !RDTSCP],
        (CPUID_BASE, _) => [CPUID_BASE + 1, CPUID_SIGNATURE[0], CPUID_SIGNATURE[1], CPUID_SIGNATURE[2]],
        (0x4000_0001, _) => [directory::VERSION, vm_id, lapic::CPUID_TIMER | lapic::CPUID_LINE, 0],
        (0x4000_0002..=0x4fff_ffff, _) => [0; 4],
        _ => [a, b, c, d],
    }
}
