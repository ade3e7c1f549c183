//! The gate's machine code: the pages of `gate.S`, and what a VM executes to call them or its host.
#![allow(unsafe_code, reason = "VMFUNC, VMCALL, calls to a page of the host's, and bytes that the assembler laid out")]

use core::arch::{asm, global_asm};
use sluice_abi::call::{Accepted, Outcome, Status};
use sluice_abi::map;

global_asm!(
    ".set LIST, {LIST}",
    ".set CONSTANT, {CONSTANT}",
    ".set CONSTANT_WORD, {CONSTANT_WORD}",
    ".set CODE, {CODE}",
    ".set STATE, {STATE}",
    ".set STACK, {STACK}",
    ".set STACK_LEN, {STACK_LEN}",
    include_str!("gate.S"),
    LIST = const map::LIST,
    CONSTANT = const map::CONSTANT,
    CONSTANT_WORD = const map::CONSTANT_WORD,
    CODE = const map::CODE,
    STATE = const map::STATE,
    STACK = const map::STACK,
    STACK_LEN = const map::STACK_LEN,
);

unsafe extern "C" {
    static sluice_stub_page: [u8; 4096];
    static sluice_gate_page: [u8; 4096];
    static sluice_window_page: [u8; 4096];
}

/// Offset in the gate page of its first instruction, behind the stub's VMFUNC. See: `gate.S`.
pub const OPEN: u16 = 0x103;
/// Offset in the stub page of the function that a VM calls. See: `gate.S`.
pub const STUB_ENTRY: u16 = OPEN - 21;
/// Offset in the stub page where the monitor resumes an aborted call: RSP as the caller's VMFUNC had it, RAX the
/// status, R8 to R11 what was accepted, everything else cleared. See: `gate.S`.
pub const STUB_ABORT: u16 = 0x200;
/// Number of instructions of a call of the stub that are executed before the window is armed (up to the first VMFUNC)
/// and after it is disarmed (from behind the disarming store to RET). See: `gate.S`.
pub const STUB_OUTSIDE: u64 = 10 + 13;
/// Offset in the window page of its first instruction. See: `gate.S`.
pub const ENTER: u16 = OPEN + 37;
/// Offset in the window page of what follows the instruction that puts RSP, the caller's until then, aside. See:
/// `gate.S`.
pub const STACK_SAVED: u16 = ENTER + 17;
/// Offset in the gate page of what follows the window: from here on the call has ended. See: `gate.S`.
pub const CLOSE: u16 = 0x1a8;
/// Offset in the stub page of what follows the gate's closing VMFUNC. See: `gate.S`.
pub const RETURN: u16 = CLOSE + 15;

/// The pages that lie at `SLOT_VA + GATE`, by view.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The page in home.
    pub stub: &'static [u8; 4096],
    /// The page in the gate view.
    pub gate: &'static [u8; 4096],
    /// The page in the window view.
    pub window: &'static [u8; 4096],
}

/// Returns the page images, for a host to copy.
pub fn pages() -> Pages {
    // SAFETY: gate.S fills each symbol's 4,096 bytes, in a read-only section.
    unsafe { Pages { stub: &sluice_stub_page, gate: &sluice_gate_page, window: &sluice_window_page } }
}

/// Sends the first `count` packets of the request block through the isolated gate.
///
/// # Safety
/// The VM runs under a Sluice host with the gate `Isolated`, at CPL 0, with the sluice slot mapped at [`map::SLOT_VA`].
#[inline(always)]
pub unsafe fn isolated(count: u64) -> Outcome {
    let stub = map::SLOT_VA + map::GATE + u64::from(STUB_ENTRY);
    let (status, a, b, c, d): (u64, u64, u64, u64, u64);
    // SAFETY: the stub is an ordinary function; the host promises its registers and that it touches no memory of ours
    // but the stack, the request block and packet memory.
    unsafe {
        asm!(
            "call {stub}",
            stub = in(reg) stub,
            inout("rdi") count => _,
            out("rax") status,
            out("r8") a, out("r9") b, out("r10") c, out("r11") d,
            clobber_abi("sysv64"),
        );
    }
    Outcome { status: Status(status), accepted: Accepted([a, b, c, d]) }
}

/// Runs `work` in the guarded view, where the peers' memory is mapped.
///
/// An interrupt handler that runs meanwhile sees the guarded view too: mask interrupts, or make sure that no handler
/// touches a peer.
///
/// # Safety
/// The VM runs under a Sluice host with the gate `Guarded`.
#[inline(always)]
pub unsafe fn guarded<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the guarded view is home plus the peers' memory: nothing of ours disappears or moves.
    unsafe { switch_view(1) };
    let result = work();
    // SAFETY: as above, back.
    unsafe { switch_view(0) };
    result
}

/// Switches to the view at `index` of the EPTP list. See: SDM volume 3, "EPTP Switching".
///
/// Section `.sluice.vmfunc`, which is not loaded, lists where these are: an audit of an image tells them from bytes
/// that only look so.
#[inline(always)]
unsafe fn switch_view(index: u32) {
    // SAFETY: the caller's contract. Not `nomem`: the peers' memory appears and disappears.
    unsafe {
        asm!(
            "2: vmfunc",
            ".pushsection .sluice.vmfunc",
            ".quad 2b",
            ".popsection",
            in("eax") 0,
            in("ecx") index,
            options(nostack, preserves_flags)
        )
    };
}

/// VMCALL: one function for each [`sluice_abi::call::Hypercall`].
pub mod hypercall {
    use super::{Accepted, Outcome, Status, asm};
    use sluice_abi::Gpa;
    use sluice_abi::call::Hypercall;
    use sluice_abi::run::Run;

    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0; memory that the call lets the host read or write is the VM's to give.
    #[inline(always)]
    unsafe fn call(number: Hypercall, a: u64, b: u64, c: u64) -> Outcome {
        let (status, w0, w1, w2, w3): (u64, u64, u64, u64, u64);
        // SAFETY: the caller's contract; the host changes no other register.
        unsafe {
            asm!(
                "vmcall",
                inout("rax") number as u64 => status,
                in("rdi") a, in("rsi") b, in("rdx") c,
                out("r8") w0, out("r9") w1, out("r10") w2, out("r11") w3,
                options(nostack),
            );
        }
        Outcome { status: Status(status), accepted: Accepted([w0, w1, w2, w3]) }
    }

    /// Ends the VM with exit code `code`.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0.
    pub unsafe fn exit(code: u64) -> ! {
        loop {
            // SAFETY: the caller's contract. It doesn't return; the loop tells the compiler so.
            unsafe { call(Hypercall::Exit, code, 0, 0) };
        }
    }

    /// Writes the `len` bytes of text at `text` to the console, at most one page.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0.
    pub unsafe fn console(text: Gpa, len: u64) -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::Console, text.0, len, 0) }.status
    }

    /// Gives the CPU away until it is this VM's turn again.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0.
    pub unsafe fn yield_now() -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::Yield, 0, 0, 0) }.status
    }

    /// Registers the request block for this vCPU, with the CR3 in force.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0. The window reads the page from now on.
    pub unsafe fn register(request: Gpa) -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::Register, request.0, 0, 0) }.status
    }

    /// Adds `run` to packet memory.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0. From now on this VM's window reads the run, and the windows of VMs
    /// that may send to this one write it.
    pub unsafe fn add_run(run: Run) -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::AddRun, run.gpa.0, run.len, run.offset) }.status
    }

    /// Removes the run of `len` bytes at `offset` of packet memory.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0.
    pub unsafe fn remove_run(offset: u64, len: u64) -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::RemoveRun, offset, len, 0) }.status
    }

    /// Sends the first `count` packets of the request block: the gate `Hypercall`.
    ///
    /// # Safety
    /// The VM runs under a Sluice host with that gate, at CPL 0.
    #[inline(always)]
    pub unsafe fn transmit(count: u64) -> Outcome {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::Transmit, count, 0, 0) }
    }

    /// Fills the [`sluice_abi::call::ExitCounts`] at `counts`.
    ///
    /// # Safety
    /// The VM runs under a Sluice host, at CPL 0. `counts` has room and may be overwritten.
    pub unsafe fn exit_counts(counts: Gpa) -> Status {
        // SAFETY: the caller's contract.
        unsafe { call(Hypercall::ExitCounts, counts.0, 0, 0) }.status
    }
}
