//! Execution controls. See: SDM volume 3, "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control
//! Fields".

use bitflags::bitflags;

bitflags! {
    /// Pin-based VM-execution controls.
    #[derive(Clone, Copy)]
    pub struct Pin: u32 {
        /// External interrupts exit (rule G14).
        const EXTERNAL_INTERRUPT_EXITING = 1 << 0;
        /// NMIs exit (rule G14).
        const NMI_EXITING = 1 << 3;
        /// The preemption timer counts and exits at 0 (rule G10).
        const PREEMPTION_TIMER = 1 << 6;
    }
}

bitflags! {
    /// Primary processor-based VM-execution controls.
    #[derive(Clone, Copy)]
    pub struct Primary: u32 {
        /// The guest exits as soon as it can take an interrupt.
        const INTERRUPT_WINDOW_EXITING = 1 << 2;
        /// HLT exits: the guest gives the processor away.
        const HLT_EXITING = 1 << 7;
        /// MWAIT exits.
        const MWAIT_EXITING = 1 << 10;
        /// RDPMC exits.
        const RDPMC_EXITING = 1 << 11;
        /// MOV to CR8, which would set the host's task priority, exits.
        const CR8_LOAD_EXITING = 1 << 19;
        /// MOV from CR8 exits.
        const CR8_STORE_EXITING = 1 << 20;
        /// Every port access exits.
        const UNCONDITIONAL_IO_EXITING = 1 << 24;
        /// RDMSR and WRMSR exit as the bitmaps say.
        const USE_MSR_BITMAPS = 1 << 28;
        /// MONITOR exits.
        const MONITOR_EXITING = 1 << 29;
        /// The secondary controls are in force.
        const SECONDARY = 1 << 31;
    }
}

bitflags! {
    /// Secondary processor-based VM-execution controls.
    #[derive(Clone, Copy)]
    pub struct Secondary: u32 {
        /// Guest-physical addresses are translated by EPT.
        const EPT = 1 << 1;
        /// LGDT, LIDT, LLDT, LTR and their stores exit (rule G14).
        const DESCRIPTOR_TABLE_EXITING = 1 << 2;
        /// TLB entries carry the VM's number (rule G11).
        const VPID = 1 << 5;
        /// WBINVD exits.
        const WBINVD_EXITING = 1 << 6;
        /// VMFUNC exists.
        const VM_FUNCTIONS = 1 << 13;
    }
}

bitflags! {
    /// VM-exit controls.
    #[derive(Clone, Copy)]
    pub struct Exit: u32 {
        /// DR7 and IA32_DEBUGCTL are saved.
        const SAVE_DEBUG_CONTROLS = 1 << 2;
        /// The host is 64-bit.
        const HOST_64_BIT = 1 << 9;
        /// IA32_PAT is saved.
        const SAVE_PAT = 1 << 18;
        /// IA32_PAT is loaded.
        const LOAD_PAT = 1 << 19;
        /// IA32_EFER is saved.
        const SAVE_EFER = 1 << 20;
        /// IA32_EFER is loaded.
        const LOAD_EFER = 1 << 21;
    }
}

bitflags! {
    /// VM-entry controls.
    #[derive(Clone, Copy)]
    pub struct Entry: u32 {
        /// DR7 and IA32_DEBUGCTL are loaded.
        const LOAD_DEBUG_CONTROLS = 1 << 2;
        /// The guest is in IA-32e mode.
        const GUEST_64_BIT = 1 << 9;
        /// IA32_PAT is loaded.
        const LOAD_PAT = 1 << 14;
        /// IA32_EFER is loaded.
        const LOAD_EFER = 1 << 15;
    }
}

/// VM-function control: EPTP switching, leaf 0. See: SDM volume 3, "VM-Function Controls".
pub const VM_FUNCTION_EPTP_SWITCHING: u64 = 1;
