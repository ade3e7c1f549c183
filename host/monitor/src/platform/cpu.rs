//! The state of the processor that the monitor itself runs in.
#![allow(unsafe_code, reason = "control registers, the time-stamp counter")]

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::segmentation::{CS, SS, Segment};

/// What a VM exit must restore. See: SDM volume 3, "Host-State Area".
pub struct HostState {
    /// Code segment selector.
    pub code: u16,
    /// Data segment selector.
    pub data: u16,
    /// Task register.
    pub task: u16,
    /// Base of the task-state segment.
    pub task_base: u64,
    /// Base of the GDT.
    pub gdt: u64,
    /// Base of the IDT.
    pub idt: u64,
    /// CR0
    pub cr0: u64,
    /// CR4
    pub cr4: u64,
}

/// This processor's state.
pub fn state() -> HostState {
    let task: u16;
    // SAFETY: STR reads the task register and nothing else.
    unsafe { asm!("str {0:x}", out(reg) task, options(nomem, nostack)) };
    let gdt = sgdt().base.as_u64();
    HostState {
        code: CS::get_reg().0,
        data: SS::get_reg().0,
        task,
        task_base: task_base(gdt, task),
        gdt,
        idt: sidt().base.as_u64(),
        cr0: Cr0::read_raw(),
        cr4: Cr4::read_raw(),
    }
}

/// The base in the 16-byte descriptor of `task`. See: SDM volume 3, "TSS Descriptor in 64-bit mode".
fn task_base(gdt: u64, task: u16) -> u64 {
    let at = (gdt + u64::from(task & !7)) as *const u64;
    // SAFETY: LTR accepted this selector, so both words of its descriptor are in the GDT.
    let (low, high) = unsafe { (at.read_unaligned(), at.add(1).read_unaligned()) };
    (low >> 16 & 0xff_ffff) | (low >> 32 & 0xff00_0000) | high << 32
}

/// The time-stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { _rdtsc() }
}

/// State that is switched on in XCR0, for monitor and guests alike, as (EAX, EDX): x87, SSE, AVX. A guest's XSETBV exits.
/// See: SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
pub const XCR0: (u32, u32) = (0b111, 0);

/// Sets the bits that VMX operation insists on, XSAVE, and nothing that it forbids.
/// `cr0` and `cr4` are (must be 1, may be 1).
pub fn set_control_registers(cr0: (u64, u64), cr4: (u64, u64)) {
    let new0 = (Cr0::read_raw() | cr0.0 | Cr0Flags::NUMERIC_ERROR.bits()) & cr0.1;
    let wanted4 = Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE;
    let new4 = (Cr4::read_raw() | cr4.0 | wanted4.bits()) & cr4.1;
    // SAFETY: paging, protection and long mode stay on (they are among the bits that VMX insists on); the rest only adds
    // instructions.
    unsafe {
        Cr0::write_raw(new0 & !(Cr0Flags::TASK_SWITCHED | Cr0Flags::EMULATE_COPROCESSOR).bits());
        Cr4::write_raw(new4);
        asm!("xsetbv", in("ecx") 0, in("eax") XCR0.0, in("edx") XCR0.1, options(nomem, nostack, preserves_flags));
    }
}
