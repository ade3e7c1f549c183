//! GDT, TSS and IDT of a processor. An exception in the monitor is a fault of the monitor: the handler reports it and
//! stops.
#![allow(unsafe_code, reason = "loads descriptor tables")]

use crate::platform::cpu::Port;
use crate::platform::verdict;
use alloc::boxed::Box;
use core::arch::global_asm;
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::Cr2;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

// One entry for each vector, 16 bytes apart. All push an error code (0 where the processor pushes none) and the vector,
// except the NMI's: processors call one another out of a guest by it, and its handler has nothing to do.
global_asm!(
    ".balign 16",
    "exception_entries:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    ".if vector == 2",
    "iretq",
    ".else",
    // Vectors with an error code: 8, 10 to 14, 17, 21, 29, 30.
    ".if (0x60227d00 >> vector) & 1 == 0",
    "push 0",
    ".endif",
    "push vector",
    "jmp exception_common",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    "exception_common:",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {exception}",
    "ud2",
    exception = sym exception,
);

unsafe extern "C" {
    static exception_entries: [[u8; 16]; 32];
}

#[repr(C)]
struct InterruptFrame {
    vector: u64,
    error: u64,
    rip: u64,
}

extern "sysv64" fn exception(frame: &InterruptFrame) -> ! {
    verdict::finish_faulted(format_args!(
        "exception {} in the monitor, error code {:#x}, RIP {:#x}, CR2 {:#x}",
        frame.vector,
        frame.error,
        frame.rip,
        Cr2::read_raw()
    ));
}

/// Gives this processor tables of its own, for as long as it runs.
pub fn init() {
    let tss: &'static TaskStateSegment = Box::leak(Box::new(TaskStateSegment::new()));
    let gdt = Box::leak(Box::new(GlobalDescriptorTable::new()));
    let (code, data) = (gdt.append(Descriptor::kernel_code_segment()), gdt.append(Descriptor::kernel_data_segment()));
    let task = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    // SAFETY: the selectors are those of the table just loaded.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        load_tss(task);
    }
    Box::leak(Box::new(idt())).load();
}

/// Ends an NMI that came as a VM exit: NMIs are blocked until an IRET. See: SDM volume 3, "Handling Multiple NMIs".
pub fn end_nmi() {
    // SAFETY: the entry of vector 2 is a plain IRETQ.
    unsafe { core::arch::asm!("int 2") };
}

fn idt() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    let entry = |vector: usize| VirtAddr::new((&raw const exception_entries) as u64 + 16 * vector as u64);
    macro_rules! set {
        ($($name:ident = $vector:literal),*) => { $(
            // SAFETY: the entry never returns, so it need not save registers, or is a plain IRETQ.
            unsafe { idt.$name.set_handler_addr(entry($vector)) };
        )* };
    }
    set!(divide_error = 0, debug = 1, non_maskable_interrupt = 2, breakpoint = 3, overflow = 4);
    set!(bound_range_exceeded = 5, invalid_opcode = 6, device_not_available = 7, double_fault = 8);
    set!(invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12, general_protection_fault = 13);
    set!(page_fault = 14, x87_floating_point = 16, alignment_check = 17, machine_check = 18, simd_floating_point = 19);
    idt
}

/// Masks both 8259s: the monitor polls, and no legacy interrupt is meant for a guest.
pub fn mask_legacy_interrupts() {
    [Port::FirstInterruptMask, Port::SecondInterruptMask].into_iter().for_each(|port| port.write(0xff));
}
