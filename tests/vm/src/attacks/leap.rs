//! Leaps: into any address with any registers, and back by the next exception in home.
//!
//! # Why a leap is safe to call
//! Where it goes is an attack's to choose, and this VM's host has to survive it. The code there is the host's gate, or
//! a few bytes of a [`Page`], which refer to nothing of this image. Its stack and what the attack's registers point to
//! are pages as well, or lie in the slot. An exception that finds no landing ends the VM in the handlers of
//! `sluice_vnf`.
#![allow(unsafe_code, reason = "IRETQ, and what it comes back by")]

use super::descriptors::{KERNEL_CODE, KERNEL_DATA};
use super::page::Page;
use core::arch::{global_asm, naked_asm};
use core::fmt;
use core::sync::atomic::AtomicU64;
use sluice_abi::call::Status;
use sluice_abi::map;
use sluice_gate::STUB_ABORT;
use x86_64::registers::rflags::RFlags;

/// The indices of registers in [`State::general`] and [`Landing::general`].
pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RBX: usize = 3;
pub const RDI: usize = 7;

/// The first address of the gate page, in every view.
pub const GATE: u64 = map::SLOT_VA + map::GATE;
/// The address in home at which the gate's closing VMFUNC comes out.
pub const RETURN: u64 = GATE + sluice_gate::RETURN as u64;
/// The address at which the monitor resumes an aborted call.
pub const ABORT: u64 = GATE + STUB_ABORT as u64;

/// The bits of RFLAGS: the one that is always set, and those that matter to a gate.
pub const FLAGS: u64 = 1 << 1;
pub const ZF: u64 = RFlags::ZERO_FLAG.bits();
pub const TF: u64 = RFlags::TRAP_FLAG.bits();
pub const IF: u64 = RFlags::INTERRUPT_FLAG.bits();
pub const DF: u64 = RFlags::DIRECTION_FLAG.bits();
pub const NT: u64 = RFlags::NESTED_TASK.bits();
pub const RF: u64 = RFlags::RESUME_FLAG.bits();
pub const AC: u64 = RFlags::ALIGNMENT_CHECK.bits();

/// The registers to leap with. The last five words are those that IRETQ takes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct State {
    /// The general registers by number. That of RSP is ignored.
    pub general: [u64; 16],
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl State {
    /// Returns a state in ring 0, with a stack of this image's and 0 in the other registers.
    pub fn at(rip: u64) -> Self {
        Self { general: [0; 16], rip, cs: KERNEL_CODE, rflags: FLAGS, rsp: SCRATCH.end(), ss: KERNEL_DATA }
    }
}

/// Where a leap ended, with which registers.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Landing {
    /// The general registers by number. That of RSP is 0.
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
    /// The call came back through the gate, with RDX as status.
    Returned(Status),
    /// An exception ended the leap elsewhere in home.
    Exception(u64),
}

impl Landing {
    /// Returns how the leap ended, if the page at [`GATE`] is full of INT3 but for a VMFUNC, which may overlap the
    /// landing place.
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

/// The stack of the code that is leapt into, unless the state brings its own.
static SCRATCH: Page = Page::new();

/// RSP and landing of the leap under way.
static KEPT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Goes on with `state`, until an exception brings the processor back: to a landing of
/// [`descriptors::install`](super::descriptors::install), which the caller has called.
pub fn leap(state: &State) -> Landing {
    let mut landing = Landing::default();
    // SAFETY: `away` and `landed` together keep the registers that an ordinary function keeps, and write `landing`.
    // What runs in between is as this file's start has it.
    unsafe { away(state, &raw mut landing) };
    landing
}

#[unsafe(naked)]
unsafe extern "sysv64" fn away(state: *const State, landing: *mut Landing) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {kept}], rsp",
        "mov [rip + {kept} + 8], rsi",
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
        kept = sym KEPT,
    )
}

/// Entered by the stubs, with vector, error code and what the processor pushed on the landing stack.
#[unsafe(naked)]
unsafe extern "sysv64" fn landed() {
    naked_asm!(
        "push rax",
        "mov rax, [rip + {kept} + 8]",
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
        "mov rsp, [rip + {kept}]",
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
        kept = sym KEPT,
        data = const KERNEL_DATA,
    )
}

/// The number of vectors with a stub: all exceptions.
pub const VECTORS: usize = 32;
const STUB_LEN: usize = 16;

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
    landed = sym landed,
);

unsafe extern "C" {
    static attack_landing_stubs: [u8; VECTORS * STUB_LEN];
}

/// Returns the address of the stub that makes exception `vector` a landing.
pub fn stub(vector: usize) -> u64 {
    ((&raw const attack_landing_stubs).addr() + vector * STUB_LEN) as u64
}
