//! Basic exit reasons. See: SDM volume 3, appendix "VMX Basic Exit Reasons".
#![allow(missing_docs, reason = "the names are the SDM's own")]
pub const EXCEPTION_OR_NMI: u16 = 0;
pub const EXTERNAL_INTERRUPT: u16 = 1;
pub const TRIPLE_FAULT: u16 = 2;
pub const INIT: u16 = 3;
pub const SIPI: u16 = 4;
pub const INTERRUPT_WINDOW: u16 = 7;
pub const CPUID: u16 = 10;
pub const HLT: u16 = 12;
pub const INVD: u16 = 13;
pub const RDPMC: u16 = 15;
pub const VMCALL: u16 = 18;
pub const VMX_FIRST: u16 = 19;
pub const VMX_LAST: u16 = 27;
pub const CONTROL_REGISTER: u16 = 28;
pub const IO: u16 = 30;
pub const RDMSR: u16 = 31;
pub const WRMSR: u16 = 32;
pub const MWAIT: u16 = 36;
pub const MONITOR: u16 = 39;
pub const MACHINE_CHECK_AT_ENTRY: u16 = 41;
pub const GDTR_IDTR: u16 = 46;
pub const LDTR_TR: u16 = 47;
pub const EPT_VIOLATION: u16 = 48;
pub const INVEPT: u16 = 50;
pub const PREEMPTION_TIMER: u16 = 52;
pub const INVVPID: u16 = 53;
pub const WBINVD: u16 = 54;
pub const XSETBV: u16 = 55;
pub const VMFUNC: u16 = 59;

/// The reasons that a report names; the others appear by number.
pub const NAMES: [(u16, &str); 18] = [
    (EXCEPTION_OR_NMI, "exception_or_nmi"),
    (EXTERNAL_INTERRUPT, "external_interrupt"),
    (TRIPLE_FAULT, "triple_fault"),
    (INTERRUPT_WINDOW, "interrupt_window"),
    (CPUID, "cpuid"),
    (HLT, "hlt"),
    (VMCALL, "vmcall"),
    (CONTROL_REGISTER, "control_register"),
    (IO, "io"),
    (RDMSR, "rdmsr"),
    (WRMSR, "wrmsr"),
    (GDTR_IDTR, "gdtr_idtr"),
    (LDTR_TR, "ldtr_tr"),
    (EPT_VIOLATION, "ept_violation"),
    (PREEMPTION_TIMER, "preemption_timer"),
    (WBINVD, "wbinvd"),
    (XSETBV, "xsetbv"),
    (VMFUNC, "vmfunc"),
];
