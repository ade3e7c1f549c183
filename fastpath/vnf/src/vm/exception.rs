//! Exceptions: each one is the end, but one that says what happened. The one interrupt is of `sleep`.
//!
//! The tables lie in the image, far from the sluice slot: the host refuses to register a VM whose tables could be reached
//! through a window (rule G14). There is no way to return and no second stack: a broken stack ends in a triple fault, which the
//! host reports.
#![allow(unsafe_code, reason = "descriptor tables and what the processor enters")]

use super::{console, host, sleep};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// Exit code after an exception.
const EXIT_CODE: u64 = 102;
/// Exceptions that the architecture defines. See: SDM volume 3, table "Protected-Mode Exceptions and Interrupts".
const VECTORS: usize = 32;
/// Theirs, and the gate of the device's interrupt.
const GATES: usize = VECTORS + 1;
const _: () = assert!(sleep::VECTOR == VECTORS);
/// Bytes of one stub.
const STUB_LEN: usize = 16;
/// Selector of [`GDT`]'s code segment.
const CODE_SELECTOR: u16 = 8;

/// Null, and 64-bit code and data of ring 0. The host starts an image with the selectors of both; IRET loads that of the stack anew. See: SDM volume 3,
/// "Segment Descriptors".
static GDT: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; GATES]>);

// SAFETY: the one CPU writes it once in `install`, before it tells the processor about it; afterwards nobody writes.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; GATES]));

/// What LGDT and LIDT take. See: SDM volume 3, figure "Pseudo-Descriptor Formats".
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    fn to<T>(table: *const T) -> Self {
        Self { limit: size_of::<T>() as u16 - 1, base: table.addr() as u64 }
    }
}

/// What the stubs leave on the stack.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

// One stub for each vector, STUB_LEN bytes apart: error code (0 where the processor pushes none), vector, on to the handler.
global_asm!(
    ".balign 16",
    "sluice_exception_stubs:",
    ".irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".balign 16",
    ".if \\vector != 8 && (\\vector < 10 || \\vector > 14) && \\vector != 17 && \\vector != 21 && \\vector != 29 && \\vector != 30",
    "push 0",
    ".endif",
    "push \\vector",
    "jmp {common}",
    ".endr",
    common = sym common,
);

unsafe extern "C" {
    static sluice_exception_stubs: [u8; VECTORS * STUB_LEN];
}

#[unsafe(naked)]
extern "sysv64" fn common() -> ! {
    core::arch::naked_asm!("cld", "mov rdi, rsp", "and rsp, -16", "call {report}", "ud2", report = sym report)
}

extern "sysv64" fn report(frame: &Frame) -> ! {
    console::print_last(format_args!(
        "exception {} ({}), error code {:#x}, at RIP {:#x}, RSP {:#x}, CR2 {:#x}\n",
        frame.vector,
        name(frame.vector),
        frame.error,
        frame.rip,
        frame.rsp,
        cr2()
    ));
    host::exit(EXIT_CODE)
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        3 => "breakpoint",
        6 => "invalid opcode",
        8 => "double fault",
        13 => "general protection",
        14 => "page fault",
        18 => "machine check",
        _ => "see SDM volume 3, table 6-1",
    }
}

fn cr2() -> u64 {
    let address;
    // SAFETY: ring 0; reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// An interrupt gate to the stub of `vector`, or to the handler of the device's interrupt. See: SDM volume 3, figure "64-Bit IDT Gate Descriptors".
fn gate(vector: usize) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00 << 32;
    let stub = (&raw const sluice_exception_stubs).addr() + vector * STUB_LEN;
    let to = if vector < VECTORS { stub } else { sleep::told as *const () as usize } as u64;
    let low = to & 0xffff | u64::from(CODE_SELECTOR) << 16 | PRESENT_INTERRUPT_GATE | (to >> 16 & 0xffff) << 48;
    [low, to >> 32]
}

/// Makes exceptions print and end the VM.
pub fn install() {
    // SAFETY: called once, first of all, on the one CPU; nobody else refers to the table yet.
    unsafe { *IDT.0.get() = core::array::from_fn(gate) };
    let (gdt, idt) = (Pointer::to(&raw const GDT), Pointer::to(IDT.0.get()));
    // SAFETY: both tables are static. CS keeps its cached descriptor, which equals the one the gates select.
    unsafe {
        asm!("lgdt [{}]", "lidt [{}]", in(reg) &raw const gdt, in(reg) &raw const idt, options(nostack, preserves_flags))
    };
}
