//! The VMCS of a VM: the controls, the host state, and the guest state in which a VM starts.

use super::control::{Entry, Exit, Pin, Primary, Secondary, VM_FUNCTION_EPTP_SWITCHING};
use super::ept::EptPointer;
use super::field::{Field, HostField};
use super::instruction::{self, VmFail, write, write_host};
use super::{features, tsx};
use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use crate::platform::{cpu, msr};
use core::fmt;
use sluice_abi::{Gpa, Hpa};
use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};

/// Bits of CR0 that the guest can't change (rule G6).
pub const CR0_OWNED: u64 = Cr0Flags::PAGING.bits()
    | Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::WRITE_PROTECT.bits()
    | Cr0Flags::CACHE_DISABLE.bits()
    | Cr0Flags::NOT_WRITE_THROUGH.bits()
    | Cr0Flags::NUMERIC_ERROR.bits()
    | Cr0Flags::ALIGNMENT_MASK.bits();

/// Bits of CR4 that the guest may change (rule G6): TSD, DE, PGE, PCE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE. MCE is not
/// among them: without it a machine check shuts the processor down instead of raising #MC, which exits (rule G14).
pub const CR4_GUEST: u64 = Cr4Flags::TIMESTAMP_DISABLE.bits()
    | Cr4Flags::DEBUGGING_EXTENSIONS.bits()
    | Cr4Flags::PAGE_GLOBAL.bits()
    | Cr4Flags::PERFORMANCE_MONITOR_COUNTER.bits()
    | Cr4Flags::OSFXSR.bits()
    | Cr4Flags::OSXMMEXCPT_ENABLE.bits()
    | Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION.bits()
    | Cr4Flags::FSGSBASE.bits();

/// #DB, #AC and #MC exit: #DB and #MC by rule G14, #AC since a guest can have it raised without end.
const EXCEPTIONS: u64 = 1 << 1 | 1 << 17 | 1 << 18;

const CODE_64: u64 = 0xa09b;
const DATA: u64 = 0xc093;
const TSS_BUSY: u64 = 0x8b;
const UNUSABLE: u64 = 1 << 16;
const PAT: u32 = 0x277;
const EFER: u32 = 0xc000_0080;

/// Turns VMX operation on and transactions off on this processor, whose CPUID reports `leaf`.
pub fn enable(leaf: tsx::Leaf7) -> Result<(), EnableError> {
    if !tsx::switch_off(leaf) {
        return Err(EnableError::Transactions);
    }
    features::unlock();
    cpu::set_control_registers(features::cr0_fixed(), features::cr4_fixed());
    let region = Table::alloc()?;
    region.set(0, features::revision());
    Ok(instruction::vmxon(region.hpa())?)
}

/// Why VMX operation could not be turned on.
#[derive(Clone, Copy, Debug)]
pub enum EnableError {
    /// No memory for the VMXON region.
    OutOfFrames,
    /// The processor refused.
    Refused(VmFail),
    /// The processor's transactions can't be switched off.
    Transactions,
}

impl fmt::Display for EnableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFrames => write!(f, "no memory left"),
            Self::Refused(VmFail(instruction)) => write!(f, "the processor refuses {instruction}"),
            Self::Transactions => write!(f, "it lacks {}", features::NO_TRANSACTIONS),
        }
    }
}

impl From<OutOfFrames> for EnableError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl From<VmFail> for EnableError {
    fn from(fail: VmFail) -> Self {
        Self::Refused(fail)
    }
}

/// The values in which the VMCSs of VMs differ.
pub struct Setup {
    /// VPID, which is not 0 (rule G11).
    pub vpid: u16,
    /// The home view.
    pub home: EptPointer,
    /// The EPTP list, if the VM may use VMFUNC.
    pub eptp_list: Option<Hpa>,
    /// One MSR bitmap page for all VMs.
    pub msr_bitmap: Hpa,
    /// CR3 of the monitor while it serves this VM.
    pub host_cr3: Hpa,
    /// First instruction.
    pub entry: u64,
    /// First stack pointer.
    pub stack: u64,
    /// First page tables.
    pub cr3: Gpa,
}

/// Makes `vmcs` the VMCS of a VM that has not run yet, and current on this processor.
pub fn init(vmcs: Table, setup: &Setup) -> Result<(), VmFail> {
    instruction::vmclear(vmcs.hpa())?;
    vmcs.set(0, features::revision());
    instruction::vmptrld(vmcs.hpa())?;
    write_controls(setup);
    write_host_state(setup.host_cr3);
    write_guest_state(setup);
    Ok(())
}

fn write_controls(setup: &Setup) {
    let pin = Pin::EXTERNAL_INTERRUPT_EXITING | Pin::NMI_EXITING | Pin::PREEMPTION_TIMER;
    let primary = Primary::all() - Primary::INTERRUPT_WINDOW_EXITING;
    let mut secondary =
        Secondary::EPT | Secondary::DESCRIPTOR_TABLE_EXITING | Secondary::VPID | Secondary::WBINVD_EXITING;
    if let Some(list) = setup.eptp_list {
        secondary |= Secondary::VM_FUNCTIONS;
        write(Field::VmFunctionControls, VM_FUNCTION_EPTP_SWITCHING);
        write(Field::EptpList, list.0);
    }
    write(Field::PinBasedControls, features::controls(0x48d, pin.bits()));
    write(Field::PrimaryControls, features::controls(0x48e, primary.bits()));
    write(Field::SecondaryControls, features::controls(0x48b, secondary.bits()));
    write(Field::ExitControls, features::controls(0x48f, Exit::all().bits()));
    write(Field::EntryControls, features::controls(0x490, Entry::all().bits()));
    write(Field::ExceptionBitmap, EXCEPTIONS);
    write(Field::MsrBitmaps, setup.msr_bitmap.0);
    write(Field::EptPointer, setup.home.0);
    write(Field::Vpid, u64::from(setup.vpid));
    write(Field::Cr0Mask, CR0_OWNED);
    write(Field::Cr4Mask, !CR4_GUEST);
    write(Field::Cr3TargetCount, 0);
}

/// Writes the host state, which is this processor's own. A VM stays on one processor, so it is written once.
fn write_host_state(cr3: Hpa) {
    let host = cpu::state();
    let selectors = [
        (HostField::CsSelector, host.code),
        (HostField::SsSelector, host.data),
        (HostField::DsSelector, host.data),
        (HostField::EsSelector, host.data),
        (HostField::FsSelector, 0),
        (HostField::GsSelector, 0),
        (HostField::TrSelector, host.task),
    ];
    for (field, selector) in selectors {
        write_host(field, u64::from(selector & !7));
    }
    write_host(HostField::Cr0, host.cr0);
    write_host(HostField::Cr3, cr3.0);
    write_host(HostField::Cr4, host.cr4);
    write_host(HostField::TrBase, host.task_base);
    write_host(HostField::GdtrBase, host.gdt);
    write_host(HostField::IdtrBase, host.idt);
    write_host(HostField::FsBase, 0);
    write_host(HostField::GsBase, 0);
    write_host(HostField::Pat, msr::read(PAT));
    write_host(HostField::Efer, msr::read(EFER));
    for field in [HostField::SysenterCs, HostField::SysenterEsp, HostField::SysenterEip] {
        write_host(field, 0);
    }
}

fn write_guest_state(setup: &Setup) {
    write_guest_segments();
    let cr0 = Cr0Flags::PAGING
        | Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::MONITOR_COPROCESSOR;
    let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE;
    let efer = EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE | EferFlags::NO_EXECUTE_ENABLE;
    write(Field::GuestCr0, cr0.bits() | features::cr0_fixed().0);
    write(Field::Cr0Shadow, cr0.bits());
    write(Field::GuestCr4, cr4.bits() | features::cr4_fixed().0);
    write(Field::Cr4Shadow, cr4.bits());
    write(Field::GuestEfer, efer.bits());
    write(Field::GuestCr3, setup.cr3.0);
    write(Field::GuestPat, 0x0007_0406_0007_0406);
    write(Field::GuestDr7, 0x400);
    write(Field::GuestRip, setup.entry);
    write(Field::GuestRsp, setup.stack);
    write(Field::GuestRflags, 2);
    write(Field::VmcsLinkPointer, u64::MAX);
    let zero = [
        Field::EntryInterruption,
        Field::EntryErrorCode,
        Field::EntryInstructionLength,
        Field::GuestDebugctl,
        Field::GuestInterruptibility,
        Field::GuestActivity,
        Field::GuestPendingDebug,
        Field::GuestSysenterCs,
        Field::GuestSysenterEsp,
        Field::GuestSysenterEip,
    ];
    for field in zero {
        write(field, 0);
    }
}

/// Writes flat segments for 64-bit mode. GDTR and IDTR are empty until the guest loads its own.
fn write_guest_segments() {
    let segments = [
        (Field::GuestCsSelector, Field::GuestCsLimit, Field::GuestCsRights, Field::GuestCsBase, 8, CODE_64),
        (Field::GuestSsSelector, Field::GuestSsLimit, Field::GuestSsRights, Field::GuestSsBase, 16, DATA),
        (Field::GuestDsSelector, Field::GuestDsLimit, Field::GuestDsRights, Field::GuestDsBase, 16, DATA),
        (Field::GuestEsSelector, Field::GuestEsLimit, Field::GuestEsRights, Field::GuestEsBase, 16, DATA),
        (Field::GuestFsSelector, Field::GuestFsLimit, Field::GuestFsRights, Field::GuestFsBase, 0, UNUSABLE),
        (Field::GuestGsSelector, Field::GuestGsLimit, Field::GuestGsRights, Field::GuestGsBase, 0, UNUSABLE),
        (Field::GuestLdtrSelector, Field::GuestLdtrLimit, Field::GuestLdtrRights, Field::GuestLdtrBase, 0, UNUSABLE),
    ];
    for (selector, limit, rights, base, value, bits) in segments {
        write(selector, value);
        write(limit, 0xffff_ffff);
        write(rights, bits);
        write(base, 0);
    }
    write(Field::GuestTrSelector, 24);
    write(Field::GuestTrLimit, 0x67);
    write(Field::GuestTrRights, TSS_BUSY);
    for field in
        [Field::GuestTrBase, Field::GuestGdtrBase, Field::GuestGdtrLimit, Field::GuestIdtrBase, Field::GuestIdtrLimit]
    {
        write(field, 0);
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
