//! The controls that a VM's rules rest on, by their numbers in the SDM: what no VM can send shows on no emulator.

use super::*;
use crate::vmx::instruction::read;

const SETUP: Setup = Setup {
    vpid: 3,
    home: EptPointer(0x1_101e),
    eptp_list: Some(Hpa(0x2000)),
    msr_bitmap: Hpa(0x3000),
    host_cr3: Hpa(0),
    entry: 0,
    stack: 0,
    cr3: Gpa(0),
};

/// The controls of a VM on a processor that can do all, and insists on nothing.
fn controls() {
    write_controls(&SETUP);
}

/// Fails unless `field` has the bits `on`, and none of `off`.
#[track_caller]
fn has(field: Field, on: &[u32], off: &[u32]) {
    let value = read(field);
    let is_on = |&&bit: &&u32| value >> bit & 1 == 1;
    assert_eq!((on.iter().find(|it| !is_on(it)), off.iter().find(is_on)), (None, None), "{value:#x}");
}

/// External interrupts, NMIs, #DB, #AC and #MC exit; nothing is delivered past the monitor (rule G14).
/// See: SDM volume 3, "Pin-Based VM-Execution Controls", "Exception Bitmap".
#[test]
fn events_exit() {
    controls();
    const POSTED_INTERRUPTS: u32 = 7;
    has(Field::PinBasedControls, &[0, 3, 6], &[POSTED_INTERRUPTS]);
    has(Field::ExceptionBitmap, &[1, 17, 18], &[]);
}

/// EPT, tables that exit, VPID, and VM functions; no #VE, no unrestricted guest, no virtual APIC (rules G11, G14).
/// See: SDM volume 3, "Secondary Processor-Based VM-Execution Controls".
#[test]
fn translations_carry_the_number_of_the_vm() {
    controls();
    has(Field::PrimaryControls, &[31], &[]);
    has(Field::SecondaryControls, &[1, 2, 5, 13], &[0, 7, 8, 9, 18]);
    assert_eq!(
        [Field::Vpid, Field::EptPointer, Field::EptpList, Field::VmFunctionControls].map(read),
        [3, 0x1_101e, 0x2000, 1]
    );
}

/// A VM that starts again finds nothing to be injected, and nothing pending or held back, of the life before: that life
/// may have ended with an entry that was refused, which leaves all of it (attack A24). See: SDM volume 3, "VM-Entry
/// Failures During or After Loading Guest State".
#[test]
fn a_life_begins_with_nothing_pending() {
    let left = [
        Field::EntryInterruption,
        Field::EntryErrorCode,
        Field::EntryInstructionLength,
        Field::GuestInterruptibility,
        Field::GuestPendingDebug,
        Field::GuestActivity,
    ];
    left.into_iter().for_each(|field| write(field, 0x8000_0b0d));
    write_guest_state(&SETUP);
    assert_eq!(left.map(read), [0; 6]);
}

/// HLT, RDPMC, CR8, WBINVD, ports, MSRs by the bitmap, and the bits of CR0 and CR4 that lead to other modes (rule G6).
/// See: SDM volume 3, "Primary Processor-Based VM-Execution Controls", "Guest/Host Masks and Read Shadows for CR0 and
/// CR4".
#[test]
fn modes_are_the_hosts() {
    controls();
    has(Field::PrimaryControls, &[7, 10, 11, 19, 20, 24, 28, 29], &[]);
    has(Field::SecondaryControls, &[6], &[]);
    assert_eq!(read(Field::MsrBitmaps), 0x3000);
    has(Field::Cr0Mask, &[0, 5, 16, 18, 29, 30, 31], &[]);
    has(Field::Cr4Mask, &[5, 6, 12, 13, 14, 17, 18, 20, 21, 22, 23, 24, 25, 27, 28, 32], &[]);
    // DR7, DEBUGCTL, PAT and EFER are each side's own.
    has(Field::ExitControls, &[2, 18, 19, 20, 21], &[]);
    has(Field::EntryControls, &[2, 14, 15], &[]);
}

/// Whichever processor it is: each runs this for itself (attack A28).
#[test]
fn a_processor_with_transactions_does_not_turn_vmx_on() {
    let leaf = tsx::Leaf7 { ebx: 1 << 11, edx: 0 };
    assert!(matches!(enable(leaf), Err(EnableError::Transactions)));
}
