//! What these measurements do in ring 0 beyond what `sluice_vnf` does for every VNF: one more gate in the interrupt
//! descriptor table, registers of the local APIC, the interrupt flag, a hypercall, and a call of the gate's stub.
//!
//! An image of this target runs nowhere but in a VM of a Sluice host, in ring 0, with one CPU and RAM mapped one to
//! one.
#![allow(unsafe_code, reason = "descriptor tables, what the processor enters, MSRs, a hypercall and the stub")]

use super::timer::expired;
use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use sluice_abi::call::{ExitCounts, Status};
use sluice_abi::directory::GateKind;
use sluice_abi::{Gpa, lapic, map};
use sluice_gate::{STUB_ENTRY, STUB_OUTSIDE, hypercall};
use sluice_vnf::clock::{Counter, counter};
use sluice_vnf::{Gate, TxError};
use x86_64::VirtAddr;
use x86_64::instructions::tables::{lidt, sidt};
use x86_64::structures::DescriptorTablePointer;
use zerocopy::{FromZeros, IntoBytes};

/// Gates that `sluice_vnf` has: of exceptions (SDM volume 3, table "Protected-Mode Exceptions and Interrupts"), and of
/// the network device's interrupt.
const VECTORS: usize = 33;
/// These, and the timer's.
const GATES: usize = VECTORS + 1;
/// The vector of the timer's interrupt: the first that is neither an exception's nor the network device's.
pub const VECTOR: u64 = VECTORS as u64;

/// Instructions between the two readings of the counter that are not the stub's, and the second reading.
const AROUND: u64 = 4;

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; GATES]>);

// SAFETY: the one CPU writes the table in `install`, before it tells the processor about it; afterwards nobody writes.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; GATES]));

/// A register of the local APIC. See: [`sluice_abi::lapic`].
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum LocalApic {
    Deadline = lapic::IA32_TSC_DEADLINE,
    Timer = lapic::X2APIC_LVT_TIMER,
    EndOfInterrupt = lapic::X2APIC_EOI,
}

/// Times windows: the proof that this VM's calls go through the gate `isolated`, and that the counter counts
/// instructions.
pub struct WindowTimer(());

/// Lets [`expired`] handle the timer's vector; all others go where they went before. Interrupts are off. Once per vnf.
pub fn install() {
    let old = sidt();
    let size = size_of::<[[u64; 2]; VECTORS]>();
    assert!(usize::from(old.limit) + 1 == size, "the table has other gates than that of sluice_vnf");
    // SAFETY: the processor uses VECTORS gates there, which nobody writes any more; RAM is mapped one to one. IDT has
    // more gates, so it is not yet in use. Interrupts are off and no exception returns, so nobody reads it while it is
    // written.
    unsafe {
        let table = &mut *IDT.0.get();
        let exceptions = &*old.base.as_ptr::<[[u64; 2]; VECTORS]>();
        table[..VECTORS].copy_from_slice(exceptions);
        table[VECTORS] = gate(entry as *const () as usize, exceptions[0]);
    }
    let base = VirtAddr::from_ptr(IDT.0.get());
    // SAFETY: the table is static, and each of its gates leads to a handler.
    unsafe { lidt(&DescriptorTablePointer { limit: size_of::<Idt>() as u16 - 1, base }) };
}

/// A gate to `entry` with selector and type of `like`, an interrupt gate. See: SDM volume 3, figure "64-Bit IDT Gate
/// Descriptors".
fn gate(entry: usize, like: [u64; 2]) -> [u64; 2] {
    const KEPT: u64 = 0x0000_ffff_ffff_0000;
    let to = entry as u64;
    [like[0] & KEPT | to & 0xffff | (to >> 16 & 0xffff) << 48, to >> 32]
}

/// What the processor enters with the interrupt: reads the counter first of all, calls [`expired`], and leaves every
/// register as it was. What it runs uses no vector registers. In 64-bit mode the processor aligns the stack and pushes
/// five words, so behind nine more it is aligned.
#[unsafe(naked)]
extern "sysv64" fn entry() -> ! {
    naked_asm!(
        "push rax",
        "push rdx",
        "rdtsc",
        "push rcx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "shl rdx, 32",
        "lea rdi, [rdx + rax]",
        "cld",
        "call {expired}",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rcx",
        "pop rdx",
        "pop rax",
        "iretq",
        expired = sym expired,
    )
}

/// Writes `value` to `register`. A register that the host does not have is an exception.
pub fn write(register: LocalApic, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: ring 0. Of these registers an interrupt comes at most, for which `install` made a gate.
    unsafe {
        asm!("wrmsr", in("ecx") register as u32, in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}

/// Lets interrupts in, after one more instruction.
pub fn enable() {
    // SAFETY: ring 0; each interrupt has a gate, and its handler leaves all as it was.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps interrupts out.
pub fn disable() {
    // SAFETY: ring 0.
    unsafe { asm!("cli", options(nostack)) };
}

/// Has nothing to do until an interrupt comes.
pub fn halt() {
    // SAFETY: ring 0; the handler leaves all as it was.
    unsafe { asm!("hlt", options(nostack, preserves_flags)) };
}

/// Returns the exits of this VM so far, the one of this call included.
pub fn exits() -> u64 {
    let mut counts = ExitCounts::new_zeroed();
    let at = Gpa(counts.as_mut_bytes().as_mut_ptr().addr() as u64);
    // SAFETY: a Sluice host, ring 0. RAM is mapped one to one; `counts` has room, and every bit pattern is valid. A
    // refused call leaves zeros; the host refuses none whose memory is RAM, as the stack is.
    unsafe { hypercall::exit_counts(at) };
    counts.total()
}

impl WindowTimer {
    /// Returns the timer, if there are windows that can be told from the rest of a call: those of the gate `isolated`,
    /// where each instruction is one tick.
    pub fn of(gate: &Gate) -> Option<Self> {
        (gate.kind() == GateKind::Isolated && counter() == Counter::Instructions).then_some(Self(()))
    }

    /// Sends the first `count` packets of the request block, which are those of the last call, once more, and returns
    /// for how long the window was open: instructions from the store that arms it to the one that disarms it, both
    /// included.
    pub fn open(&self, count: u16) -> Result<u64, TxError> {
        let stub = map::SLOT_VA + map::GATE + u64::from(STUB_ENTRY);
        let (status, ticks): (u64, u64);
        // SAFETY: a Sluice host with this gate, says the gate that `self` was made of; ring 0. The stub is an ordinary
        // function, which keeps RBX, RBP and R12 to R15.
        unsafe {
            asm!(
                "rdtsc",
                "mov r12d, eax",
                "call r13",
                "mov r13, rax",
                "rdtsc",
                "sub eax, r12d",
                inout("rdi") u64::from(count) => _,
                inout("r13") stub => status,
                out("r12") _,
                out("rax") ticks,
                clobber_abi("sysv64"),
            );
        }
        match Status(status) {
            Status::OK => Ok(ticks - AROUND - STUB_OUTSIDE),
            status => Err(TxError::Unknown(status)),
        }
    }
}
