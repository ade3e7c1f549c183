//! Leaping: into any place with any registers, and back by the next exception in home.
//!
//! The descriptor tables are this file's own: every vector has a stack of its own in the TSS, so that a landing works whatever RSP
//! is, and may be raised from ring 3. Only home's page tables reach them: who lands here is in home.
#![allow(unsafe_code, reason = "descriptor tables, IRETQ and what the processor enters")]

use core::arch::{asm, global_asm, naked_asm};
use core::cell::UnsafeCell;
use core::fmt;
use sluice_abi::call::Status;
use sluice_abi::map;
use sluice_gate::STUB_ABORT;

/// Selectors of [`Tables::gdt`].
pub const KERNEL_CODE: u64 = 8;
pub const KERNEL_DATA: u64 = 16;
pub const USER_CODE: u64 = 24 | 3;
pub const USER_DATA: u64 = 32 | 3;
/// Compatibility mode, ring 3.
pub const USER_CODE_32: u64 = 40 | 3;
const TASK: u16 = 48;

/// Numbers in [`State::general`] and [`Landing::general`].
pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RBX: usize = 3;
pub const RDI: usize = 7;

/// First address of the gate page, in every view.
pub const GATE: u64 = map::SLOT_VA + map::GATE;
/// Where the gate's closing VMFUNC comes out in home.
pub const RETURN: u64 = GATE + sluice_gate::RETURN as u64;
/// Where the monitor resumes an aborted call.
pub const ABORT: u64 = GATE + STUB_ABORT as u64;

/// RFLAGS: the bit that is always set, and those that matter to a gate.
pub const FLAGS: u64 = 1 << 1;
pub const ZF: u64 = 1 << 6;
pub const TF: u64 = 1 << 8;
pub const IF: u64 = 1 << 9;
pub const DF: u64 = 1 << 10;
pub const NT: u64 = 1 << 14;
pub const RF: u64 = 1 << 16;
pub const AC: u64 = 1 << 18;

/// What to leap with. The last five words are what IRETQ takes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct State {
    /// By number; that of RSP is not looked at.
    pub general: [u64; 16],
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl State {
    /// In ring 0, with a stack of this image's and nothing else in the registers.
    pub fn at(rip: u64) -> Self {
        Self { general: [0; 16], rip, cs: KERNEL_CODE, rflags: FLAGS, rsp: scratch_top(), ss: KERNEL_DATA }
    }
}

/// Where a leap ended, and with what.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Landing {
    /// By number; that of RSP is 0.
    pub general: [u64; 16],
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// How a leap into the gate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The monitor aborted the call.
    Aborted,
    /// Through the gate, with RDX as status.
    Returned(Status),
    /// By an exception elsewhere in home.
    Exception(u64),
}

impl Landing {
    /// How it ended, if the page at [`GATE`] is full of INT3 but for a VMFUNC, which may overlap the place that was landed at.
    pub fn end(&self) -> End {
        match (self.vector, self.rip) {
            (1 | 3 | 6, ABORT..=LAST_ABORT) if self.general[RAX] == 4 => End::Aborted,
            (3, INT3_AT_RETURN) => End::Returned(Status(self.general[RDX])),
            (vector, _) => End::Exception(vector),
        }
    }
}

const INT3_AT_RETURN: u64 = RETURN + 1;
const LAST_ABORT: u64 = ABORT + 3;

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => write!(f, "aborted"),
            Self::Returned(status) => write!(f, "returned {status:?}"),
            Self::Exception(vector) => write!(f, "exception {vector}"),
        }
    }
}

const VECTORS: usize = 32;
const STUB_LEN: usize = 16;
const STACK_LEN: usize = 4096;

#[repr(C, align(16))]
struct Tables {
    /// For what is landed from.
    scratch: [u8; STACK_LEN],
    /// For landings.
    stack: [u8; STACK_LEN],
    idt: [[u64; 2]; VECTORS],
    gdt: [u64; 8],
    /// See: SDM volume 3, figure "64-Bit TSS Format".
    task: [u32; 26],
    /// RSP and landing of the leap in hand.
    leap: [u64; 2],
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: one CPU, without interrupts: `install` and `leap` are the only ones that touch it, and the processor in between.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    scratch: [0; STACK_LEN],
    stack: [0; STACK_LEN],
    idt: [[0; 2]; VECTORS],
    // Null, code and data of ring 0, code and data of ring 3, 32-bit code of ring 3, a task. See: SDM volume 3, "Segment Descriptors".
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
    leap: [0; 2],
}));

/// What LGDT and LIDT take. See: SDM volume 3, figure "Pseudo-Descriptor Formats".
#[repr(C, packed)]
pub struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    /// To a table of `len` bytes at `base`.
    pub const fn new(base: u64, len: usize) -> Self {
        Self { limit: len as u16 - 1, base }
    }
}

// One stub for each vector, STUB_LEN bytes apart: error code (0 where the processor pushes none), vector, on to `landed`.
global_asm!(
    ".balign 16",
    "attack_landing_stubs:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    // Vectors with an error code: 8, 10 to 14, 17, 21, 29, 30.
    ".if (0x60227d00 >> vector) & 1 == 0",
    "push 0",
    ".endif",
    "push vector",
    "jmp {landed}",
    ".set vector, vector + 1",
    ".endr",
    landed = sym landed,
);

unsafe extern "C" {
    static attack_landing_stubs: [u8; VECTORS * STUB_LEN];
}

fn scratch_top() -> u64 {
    // SAFETY: an address within the static; nothing is read.
    let scratch = unsafe { &raw const (*TABLES.0.get()).scratch };
    (scratch.addr() + STACK_LEN) as u64
}

/// Makes every exception a landing.
pub fn install() {
    let at = TABLES.0.get();
    // SAFETY: nothing refers to the tables yet: the processor is told about them below.
    let tables = unsafe { &mut *at };
    tables.idt = core::array::from_fn(gate);
    let stack_top = tables.stack.as_ptr_range().end.addr() as u64;
    (tables.task[9], tables.task[10]) = (stack_top as u32, (stack_top >> 32) as u32);
    let task = tables.task.as_ptr().addr() as u64;
    (tables.gdt[6], tables.gdt[7]) = task_descriptor(task);
    let gdt = Pointer::new(tables.gdt.as_ptr().addr() as u64, size_of_val(&tables.gdt));
    let idt = Pointer::new(tables.idt.as_ptr().addr() as u64, size_of_val(&tables.idt));
    // SAFETY: the tables are static. CS and SS keep their cached descriptors, which equal those of the same selectors here.
    unsafe {
        asm!("lgdt [{0}]", "lidt [{1}]", "ltr {2:x}", in(reg) &raw const gdt, in(reg) &raw const idt, in(reg) TASK, options(nostack));
    };
}

/// See: SDM volume 3, figure "Format of TSS and LDT Descriptors in 64-bit Mode".
fn task_descriptor(base: u64) -> (u64, u64) {
    const AVAILABLE_TSS: u64 = 0x89 << 40;
    (103 | (base & 0xff_ffff) << 16 | AVAILABLE_TSS | (base >> 24 & 0xff) << 56, base >> 32)
}

/// LTR with a task at `base`: which exception comes of it.
pub fn load_task(base: u64) -> u64 {
    const LTR_AX: [u8; 3] = [0x0f, 0x00, 0xd8];
    // SAFETY: the processor looks at the descriptor only when LTR is executed, and in between nobody else does.
    let entries = unsafe { &mut (&mut (*TABLES.0.get()).gdt)[6..] };
    let before = [entries[0], entries[1]];
    (entries[0], entries[1]) = task_descriptor(base);
    let mut state = State::at(0);
    state.general[RAX] = TASK.into();
    let vector = crate::snippet::execute(&LTR_AX, &state);
    entries.copy_from_slice(&before);
    vector
}

/// An interrupt gate to the stub of `vector`, for any ring, on the first of the task's own stacks.
/// See: SDM volume 3, figure "64-Bit IDT Gate Descriptors".
fn gate(vector: usize) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0xee01 << 32;
    let stub = (&raw const attack_landing_stubs).addr() as u64 + (vector * STUB_LEN) as u64;
    let low = stub & 0xffff | KERNEL_CODE << 16 | PRESENT_INTERRUPT_GATE | (stub >> 16 & 0xffff) << 48;
    [low, stub >> 32]
}

/// Goes on with `state`, until an exception brings the processor back.
///
/// # Safety
/// [`install`] was called, and what runs meanwhile writes nothing that Rust refers to.
pub unsafe fn leap(state: &State) -> Landing {
    let mut landing = Landing::default();
    // SAFETY: the contract above; `away` and `landed` together keep what an ordinary function keeps.
    unsafe {
        let kept = &raw mut (*TABLES.0.get()).leap;
        away(state, &raw mut landing, kept);
    }
    landing
}

#[unsafe(naked)]
unsafe extern "sysv64" fn away(state: *const State, landing: *mut Landing, kept: *mut [u64; 2]) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdx], rsp",
        "mov [rdx + 8], rsi",
        "lea rsp, [rdi + 16 * 8]",
        "mov rax, [rdi]",
        "mov rcx, [rdi + 8]",
        "mov rdx, [rdi + 16]",
        "mov rbx, [rdi + 24]",
        "mov rbp, [rdi + 40]",
        "mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]",
        "mov r9, [rdi + 72]",
        "mov r10, [rdi + 80]",
        "mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]",
        "mov r13, [rdi + 104]",
        "mov r14, [rdi + 112]",
        "mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "iretq",
    )
}

/// Entered by the stubs, with vector, error code and what the processor pushed on the landing stack.
#[unsafe(naked)]
unsafe extern "sysv64" fn landed() {
    naked_asm!(
        "push rax",
        "mov rax, [rip + {tables} + {leap} + 8]",
        "mov [rax + 8], rcx",
        "mov [rax + 16], rdx",
        "mov [rax + 24], rbx",
        "mov [rax + 40], rbp",
        "mov [rax + 48], rsi",
        "mov [rax + 56], rdi",
        "mov [rax + 64], r8",
        "mov [rax + 72], r9",
        "mov [rax + 80], r10",
        "mov [rax + 88], r11",
        "mov [rax + 96], r12",
        "mov [rax + 104], r13",
        "mov [rax + 112], r14",
        "mov [rax + 120], r15",
        "pop qword ptr [rax]",
        "pop qword ptr [rax + 128]",
        "pop qword ptr [rax + 136]",
        "pop qword ptr [rax + 144]",
        "pop qword ptr [rax + 152]",
        "pop qword ptr [rax + 160]",
        "pop qword ptr [rax + 168]",
        "pop qword ptr [rax + 176]",
        "mov rsp, [rip + {tables} + {leap}]",
        "mov ecx, {data}",
        "mov ss, ecx",
        "push 2",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        tables = sym TABLES,
        leap = const core::mem::offset_of!(Tables, leap),
        data = const KERNEL_DATA,
    )
}
