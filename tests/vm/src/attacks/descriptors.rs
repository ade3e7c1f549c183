//! Descriptor tables that make every exception a landing: a stub for each vector, which goes on in `leap.rs`.
//!
//! The processor takes the stack from the TSS, so that a landing works whatever RSP is, and may be raised from ring 3.
//! Only home's page tables reach the tables, so a landing is in home.
#![allow(unsafe_code, reason = "descriptor tables, and what the processor enters")]

use super::leap::{self, RAX, State};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// The selectors of [`Tables::gdt`].
pub const KERNEL_CODE: u64 = 8;
pub const KERNEL_DATA: u64 = 16;
pub const USER_CODE: u64 = 24 | 3;
pub const USER_DATA: u64 = 32 | 3;
/// The selector of code in compatibility mode, ring 3.
pub const USER_CODE_32: u64 = 40 | 3;
const TASK: u16 = 48;

const VECTORS: usize = 32;
const STUB_LEN: usize = 16;
const STACK_LEN: usize = 4096;

#[repr(C, align(16))]
struct Tables {
    stack: [u8; STACK_LEN],
    idt: [[u64; 2]; VECTORS],
    gdt: [u64; 8],
    /// See: SDM volume 3, figure "64-Bit TSS Format".
    task: [u32; 26],
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: there is one CPU, without interrupts. Only `install` and `load_task` touch the tables, and the processor in
// between.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    stack: [0; STACK_LEN],
    idt: [[0; 2]; VECTORS],
    // The descriptors are null, code and data of ring 0, code and data of ring 3, 32-bit code of ring 3, a task. See:
    // SDM volume 3, "Segment Descriptors".
    gdt: [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0,
        0,
    ],
    task: [0; 26],
}));

/// The operand of LGDT and LIDT. See: SDM volume 3, figure "Pseudo-Descriptor Formats".
#[repr(C, packed)]
pub struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    /// Returns a pointer to a table of `len` bytes at `base`.
    pub const fn new(base: u64, len: usize) -> Self {
        Self { limit: len as u16 - 1, base }
    }
}

// There is one stub for each vector, STUB_LEN bytes apart: error code (0 where the processor pushes none), vector, jump
// to `landed`.
global_asm!(
    ".balign 16",
    "attack_landing_stubs:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    // The vectors with an error code are 8, 10 to 14, 17, 21, 29 and 30.
    ".if (0x60227d00 >> vector) & 1 == 0",
    "push 0",
    ".endif",
    "push vector",
    "jmp {landed}",
    ".set vector, vector + 1",
    ".endr",
    landed = sym leap::landed,
);

unsafe extern "C" {
    static attack_landing_stubs: [u8; VECTORS * STUB_LEN];
}

/// Makes every exception a landing.
pub fn install() {
    let at = TABLES.0.get();
    // SAFETY: nothing refers to the tables yet. The processor is told of them below.
    let tables = unsafe { &mut *at };
    tables.idt = core::array::from_fn(gate);
    let stack_top = tables.stack.as_ptr_range().end.addr() as u64;
    (tables.task[9], tables.task[10]) = (stack_top as u32, (stack_top >> 32) as u32);
    let task = tables.task.as_ptr().addr() as u64;
    (tables.gdt[6], tables.gdt[7]) = task_descriptor(task);
    let gdt = Pointer::new(tables.gdt.as_ptr().addr() as u64, size_of_val(&tables.gdt));
    let idt = Pointer::new(tables.idt.as_ptr().addr() as u64, size_of_val(&tables.idt));
    // SAFETY: the tables are static. CS and SS keep their cached descriptors, which equal those of the same selectors
    // here.
    unsafe {
        asm!(
            "lgdt [{0}]", "lidt [{1}]", "ltr {2:x}",
            in(reg) &raw const gdt, in(reg) &raw const idt, in(reg) TASK,
            options(nostack)
        );
    };
}

/// Returns a descriptor of a task. See: SDM volume 3, figure "Format of TSS and LDT Descriptors in 64-bit Mode".
fn task_descriptor(base: u64) -> (u64, u64) {
    const AVAILABLE_TSS: u64 = 0x89 << 40;
    (103 | (base & 0xff_ffff) << 16 | AVAILABLE_TSS | (base >> 24 & 0xff) << 56, base >> 32)
}

/// Executes LTR with a task at `base`, and returns the exception that ends it.
pub fn load_task(base: u64) -> u64 {
    const LTR_AX: [u8; 3] = [0x0f, 0x00, 0xd8];
    // SAFETY: the processor reads the descriptor only when LTR is executed, and nobody else does in between.
    let entries = unsafe { &mut (&mut (*TABLES.0.get()).gdt)[6..] };
    let before = [entries[0], entries[1]];
    (entries[0], entries[1]) = task_descriptor(base);
    let mut state = State::at(0);
    state.general[RAX] = TASK.into();
    let vector = super::snippet::execute(&LTR_AX, &state);
    entries.copy_from_slice(&before);
    vector
}

/// Returns an interrupt gate to the stub of `vector`, for any ring, on the first of the task's own stacks.
/// See: SDM volume 3, figure "64-Bit IDT Gate Descriptors".
fn gate(vector: usize) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0xee01 << 32;
    let stub = (&raw const attack_landing_stubs).addr() as u64 + (vector * STUB_LEN) as u64;
    let low = stub & 0xffff | KERNEL_CODE << 16 | PRESENT_INTERRUPT_GATE | (stub >> 16 & 0xffff) << 48;
    [low, stub >> 32]
}
