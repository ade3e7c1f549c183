//! The features that the processor must have, checked before anything depends on them. Each missing feature is named.

use super::tsx;
use crate::platform::cpu::OwnMsr;
use crate::platform::msr;
use alloc::vec::Vec;
use core::fmt;
use raw_cpuid::CpuId;

const FEATURE_CONTROL: u32 = OwnMsr::FeatureControl as u32;
const VMX_BASIC: u32 = 0x480;
const PINBASED_CTLS: u32 = 0x481;
const PROCBASED_CTLS: u32 = 0x482;
const PROCBASED_CTLS2: u32 = 0x48b;
const EPT_VPID_CAP: u32 = 0x48c;
const VMFUNC: u32 = 0x491;

/// A capability bit and its name. See: SDM volume 3, appendix "VMX Capability Reporting Facility".
struct Required {
    msr: u32,
    bit: u32,
    name: &'static str,
}

const REQUIRED: [Required; 15] = [
    Required { msr: PINBASED_CTLS, bit: 32 + 3, name: "NMI exiting" },
    Required { msr: PINBASED_CTLS, bit: 32 + 6, name: "VMX-preemption timer" },
    Required { msr: PROCBASED_CTLS, bit: 32 + 28, name: "MSR bitmaps" },
    Required { msr: VMX_BASIC, bit: 55, name: "true VMX controls" },
    Required { msr: PROCBASED_CTLS2, bit: 32 + 1, name: "EPT" },
    Required { msr: PROCBASED_CTLS2, bit: 32 + 2, name: "descriptor-table exiting" },
    Required { msr: PROCBASED_CTLS2, bit: 32 + 5, name: "VPID" },
    Required { msr: PROCBASED_CTLS2, bit: 32 + 13, name: "VM functions" },
    Required { msr: EPT_VPID_CAP, bit: 0, name: "EPT execute-only pages" },
    Required { msr: EPT_VPID_CAP, bit: 6, name: "EPT walk length 4" },
    Required { msr: EPT_VPID_CAP, bit: 14, name: "EPT write-back tables" },
    Required { msr: EPT_VPID_CAP, bit: 16, name: "EPT 2 MiB pages" },
    Required { msr: EPT_VPID_CAP, bit: 25, name: "INVEPT of one context" },
    Required { msr: EPT_VPID_CAP, bit: 41, name: "INVVPID of one context" },
    Required { msr: VMFUNC, bit: 0, name: "VMFUNC EPTP switching" },
];

/// The feature that a processor lacks whose transactions stay on (attack A28).
pub const NO_TRANSACTIONS: &str = "IA32_TSX_CTRL, to switch its transactions (RTM, HLE) off";

/// The features that this processor lacks.
#[derive(Default)]
pub struct Missing(Vec<&'static str>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this processor lacks: {}", self.0.join(", "))
    }
}

/// Checks all features that the monitor needs.
pub fn check() -> Result<(), Missing> {
    let mut missing = Missing::default();
    let has = CpuId::new().get_feature_info().is_some_and(|info| info.has_vmx());
    if !has {
        missing.0.push("VMX");
        return Err(missing);
    }
    // The window moves frames through vector registers.
    if !CpuId::new().get_feature_info().is_some_and(|info| info.has_avx() && info.has_xsave()) {
        missing.0.push("AVX");
    }
    // Bit 0: locked; bit 2: VMX outside SMX. See: SDM volume 3, "Enabling and Entering VMX Operation".
    if msr::read(FEATURE_CONTROL) & 0b101 == 0b001 {
        missing.0.push("VMX (switched off in firmware)");
    }
    // Each other processor is checked when VMX is turned on there.
    if !tsx::switch_off(tsx::Leaf7::own()) {
        missing.0.push(NO_TRANSACTIONS);
    }
    for required in &REQUIRED {
        // IA32_VMX_VMFUNC exists only on processors with VM functions.
        let readable = required.msr != VMFUNC || msr::read(PROCBASED_CTLS2) >> (32 + 13) & 1 == 1;
        if !readable || msr::read(required.msr) >> required.bit & 1 == 0 {
            missing.0.push(required.name);
        }
    }
    if missing.0.is_empty() { Ok(()) } else { Err(missing) }
}

/// Makes VMXON legal, unless firmware locked the register.
pub fn unlock() {
    if msr::read(FEATURE_CONTROL) & 1 == 0 {
        msr::write(OwnMsr::FeatureControl, msr::read(FEATURE_CONTROL) | 0b101);
    }
}

/// Returns the bits that CR0 must have set and those that it may have set in VMX operation.
/// See: SDM volume 3, appendix "VMX-Fixed Bits in CR0".
pub fn cr0_fixed() -> (u64, u64) {
    (msr::read(0x486), msr::read(0x487))
}

/// Returns the bits that CR4 must have set and those that it may have set in VMX operation.
/// See: SDM volume 3, appendix "VMX-Fixed Bits in CR4".
pub fn cr4_fixed() -> (u64, u64) {
    (msr::read(0x488), msr::read(0x489))
}

/// Returns the revision identifier, the first word of a VMXON region and of a VMCS.
pub fn revision() -> u64 {
    msr::read(VMX_BASIC) & 0x7fff_ffff
}

/// Returns the controls `wanted`, with the bits that the processor requires and without those that it lacks.
/// `capability` is one of the TRUE control MSRs (or that of the secondary controls).
pub fn controls(capability: u32, wanted: u32) -> u64 {
    let (must, may) = (msr::read(capability) as u32, (msr::read(capability) >> 32) as u32);
    u64::from((wanted | must) & may)
}
