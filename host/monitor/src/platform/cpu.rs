//! The registers and ports of the processor that executes: whatever needs an instruction of its own, ring 0 or both.
//!
//! Each function is safe for every caller: none can change which memory is mapped where, or make a device write to
//! memory. In ring 3, where unit tests run, those that need ring 0 are an exception (#GP) and no more.
#![allow(unsafe_code, reason = "privileged instructions")]

use crate::platform::table::Table;
use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use sluice_abi::Hpa;
use x86_64::instructions::tables::{sgdt, sidt};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::segmentation::{CS, SS, Segment};

/// State of this processor that a VM exit must restore. See: SDM volume 3, "Host-State Area".
pub struct HostState {
    /// Code segment selector.
    pub code: u16,
    /// Data segment selector.
    pub data: u16,
    /// Selector of the task-state segment.
    pub task: u16,
    /// Base of the task-state segment.
    pub task_base: u64,
    /// Base of the GDT.
    pub gdt: u64,
    /// Base of the IDT.
    pub idt: u64,
    /// Control register CR0.
    pub cr0: u64,
    /// Control register CR4.
    pub cr4: u64,
}

/// Returns the state of this processor.
pub fn state() -> HostState {
    let task: u16;
    // SAFETY: STR reads the task register and changes nothing.
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

/// Returns the base in the 16-byte descriptor of `task`. See: SDM volume 3, "TSS Descriptor in 64-bit mode".
fn task_base(gdt: u64, task: u16) -> u64 {
    let at = (gdt + u64::from(task & !7)) as *const u64;
    // SAFETY: LTR accepted this selector, so both words of its descriptor are in the GDT.
    let (low, high) = unsafe { (at.read_unaligned(), at.add(1).read_unaligned()) };
    (low >> 16 & 0xff_ffff) | (low >> 32 & 0xff00_0000) | high << 32
}

/// Returns the time-stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: the instruction reads a counter and changes nothing.
    unsafe { _rdtsc() }
}

/// The state components that XCR0 switches on, for monitor and guests alike, as (EAX, EDX): x87, SSE, AVX. XSETBV by a
/// guest exits. See: SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
pub const XCR0: (u32, u32) = (0b111, 0);

/// Sets the bits of CR0 and CR4 that VMX operation requires, switches XSAVE on, and clears the bits that VMX operation
/// forbids. `cr0` and `cr4` are (must be 1, may be 1). The bits on which the monitor's own code depends stay set in any
/// case.
pub fn set_control_registers(cr0: (u64, u64), cr4: (u64, u64)) {
    const KEPT0: Cr0Flags = Cr0Flags::PAGING.union(Cr0Flags::PROTECTED_MODE_ENABLE).union(Cr0Flags::WRITE_PROTECT);
    const KEPT4: Cr4Flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION;
    let new0 = (Cr0::read_raw() | cr0.0 | Cr0Flags::NUMERIC_ERROR.bits()) & (cr0.1 | KEPT0.bits());
    let wanted4 = Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE;
    let new4 = (Cr4::read_raw() | cr4.0 | wanted4.bits()) & (cr4.1 | KEPT4.bits());
    // SAFETY: paging, protection and long mode stay on; the other bits add instructions and exceptions.
    unsafe {
        Cr0::write_raw(new0 & !(Cr0Flags::TASK_SWITCHED | Cr0Flags::EMULATE_COPROCESSOR).bits());
        Cr4::write_raw(new4);
        asm!("xsetbv", in("ecx") 0, in("eax") XCR0.0, in("edx") XCR0.1, options(nomem, nostack, preserves_flags));
    }
}

/// Returns entry 0 of the top-level table in force, which maps all physical memory one to one.
pub fn identity_entry() -> u64 {
    let table = Cr3::read().0.start_address().as_u64() as *const u64;
    // SAFETY: the table in force lies in memory that is mapped one to one; its entry 0 is never written again.
    unsafe { table.read_volatile() }
}

/// Puts the page tables below `root` in force, and drops what the processor holds of those before. A root that does not
/// map physical memory as the tables in force do is left alone.
pub fn load_page_tables(root: Table) {
    if root.get(0) == identity_entry() {
        let Hpa(root) = root.hpa();
        // SAFETY: the monitor and its memory stay mapped as they are. What else the tables map is reached by slices
        // alone.
        unsafe { asm!("mov cr3, {0}", in(reg) root, options(nostack, preserves_flags)) };
    }
}

/// A model-specific register that the monitor writes. None of them changes which memory the monitor's own code finds
/// where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OwnMsr {
    /// IA32_FEATURE_CONTROL: whether VMXON is legal.
    FeatureControl = 0x3a,
    /// IA32_TSX_CTRL: whether transactions begin.
    TsxControl = 0x122,
    /// IA32_KERNEL_GS_BASE: only guests execute SWAPGS.
    KernelGsBase = 0xc000_0102,
}

/// Reads MSR `msr`. One that does not exist is an exception, which the handler reports.
pub fn read_msr(msr: u32) -> u64 {
    // SAFETY: RDMSR does not change memory.
    unsafe { Msr::new(msr).read() }
}

/// Writes `value` to `msr`.
pub fn write_msr(msr: OwnMsr, value: u64) {
    // SAFETY: OwnMsr has no register on which Rust's memory depends.
    unsafe { Msr::new(msr as u32).write(value) };
}

/// Returns DR6, the debug status of the guest that is served.
pub fn debug_status() -> u64 {
    let value;
    // SAFETY: reads a register; DR7's bit 13, which would make that an exception, is clear after an exit.
    unsafe { asm!("mov {}, dr6", out(reg) value, options(nomem, nostack)) };
    value
}

/// Sets DR6, the debug status of the guest that is served.
pub fn set_debug_status(value: u64) {
    // SAFETY: the processor only reports in this register, and the monitor does not use it.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack)) };
}

/// Sets CR2, the page-fault address of the guest that is served.
pub fn set_page_fault_address(address: u64) {
    // SAFETY: the register is the guest's until the monitor itself has a page fault, which ends the monitor.
    unsafe { asm!("mov cr2, {}", in(reg) address, options(nomem, nostack)) };
}

/// A port that the monitor uses. No value at any of them makes a device write to memory.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum Port {
    /// Masks of the first 8259.
    FirstInterruptMask = 0x21,
    /// Masks of the second 8259.
    SecondInterruptMask = 0xa1,
    /// Count of channel 2 of the timer chip (8254), which drives only the speaker.
    TimerCount = 0x42,
    /// Mode of the timer chip.
    TimerMode = 0x43,
    /// Gate of channel 2 and of the speaker (bits 1:0), and the channel's output (bit 5).
    TimerGate = 0x61,
    /// Bochs: prints each byte. Read, it answers with its own number.
    DebugConsole = 0xe9,
    /// QEMU, `-device isa-debug-exit,iobase=0xf4`: ends with twice the value plus one.
    QemuExit = 0xf4,
    /// Bochs with its debugger: `D` is a break. See: Bochs user manual, "Port 0x8900".
    BochsControl = 0x8900,
}

impl Port {
    /// Reads a byte.
    pub fn read(self) -> u8 {
        // SAFETY: reading one of these ports does not reach memory.
        unsafe { x86_64::instructions::port::Port::new(self as u16).read() }
    }

    /// Writes `value`.
    pub fn write(self, value: u8) {
        // SAFETY: writing one of these ports does not reach memory.
        unsafe { x86_64::instructions::port::Port::new(self as u16).write(value) };
    }
}

/// Returns the first serial port, if there is one.
#[cfg(target_os = "none")]
pub fn serial_port() -> Option<uart_16550::Uart16550<uart_16550::backend::PioBackend>> {
    const COM1: u16 = 0x3f8;
    // SAFETY: no value at a port of a 16550 reaches memory.
    unsafe { uart_16550::Uart16550::new_port(COM1) }.ok()
}
