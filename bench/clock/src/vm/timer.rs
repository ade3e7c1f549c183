//! The timer of the VM, and its interrupt. See: `sluice_abi::lapic`.
//!
//! One CPU: the handler and what it interrupts never run at once, so relaxed atomics are enough.
#![allow(unsafe_code, reason = "MSRs, the interrupt flag, and what the processor enters")]

use super::idt;
use crate::{Expiries, Ticker};
use core::arch::{asm, x86_64::__cpuid};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sluice_abi::call::CPUID_BASE;
use sluice_abi::lapic::{CPUID_TIMER, IA32_TSC_DEADLINE, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_TIMER};
use sluice_vnf::clock;

/// The interrupt's vector: the first that is neither an exception's nor the network device's.
pub const VECTOR: u64 = 33;

static EXPIRIES: Expiries = Expiries::new();
/// When the timer expires next; 0: it does not.
static DUE: AtomicU64 = AtomicU64::new(0);
static PERIOD: AtomicU64 = AtomicU64::new(0);

/// A timer that runs.
pub struct Running {
    /// The expiries so far.
    pub expiries: &'static Expiries,
}

/// Starts the timer and lets interrupts in; `None` if the host has none.
pub fn start(ticker: Ticker) -> Option<Running> {
    if __cpuid(CPUID_BASE + 1).ecx & CPUID_TIMER == 0 {
        return None;
    }
    idt::install(entry as *const () as usize);
    PERIOD.store(ticker.period, Relaxed);
    write(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | VECTOR);
    arm(clock::now() + ticker.period);
    enable();
    Some(Running { expiries: &EXPIRIES })
}

impl Running {
    /// Stops it.
    pub fn stop(self) -> &'static Expiries {
        disable();
        write(X2APIC_LVT_TIMER, MASKED);
        DUE.store(0, Relaxed);
        self.expiries
    }
}

/// Does `work`, which gives the processor to somebody else, while the timer, if it runs, rests: afterwards the timer
/// has as long to go as before.
pub fn rest(work: impl FnOnce()) {
    let mut due = DUE.load(Relaxed);
    if due == 0 {
        return work();
    }
    loop {
        write(IA32_TSC_DEADLINE, 0);
        // If it had expired before that, it is handled by now, and armed anew.
        disable();
        let handled = DUE.load(Relaxed) != due;
        due = DUE.load(Relaxed);
        if !handled {
            break;
        }
        enable();
    }
    let left = due.saturating_sub(clock::now());
    work();
    arm(clock::now() + left);
    enable();
}

/// Lets the timer of [`super::tick`], which runs, expire in `ticks`; whether this machine can.
pub fn expire_in(ticks: u64) -> bool {
    arm(clock::now() + ticks);
    true
}

fn arm(due: u64) {
    DUE.store(due, Relaxed);
    write(IA32_TSC_DEADLINE, due);
}

/// Has nothing to do until the timer expires.
pub fn halt() {
    // SAFETY: ring 0; the handler leaves all as it was.
    unsafe { asm!("hlt", options(nostack, preserves_flags)) };
}

fn enable() {
    // SAFETY: ring 0; the tables are in place since `idt::install`, and the handler leaves all as it was.
    unsafe { asm!("sti", options(nostack)) };
}

fn disable() {
    // SAFETY: ring 0.
    unsafe { asm!("cli", options(nostack)) };
}

fn write(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: ring 0; the host says that the register is there, and none of them moves memory.
    unsafe { asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
}

/// What the processor enters with the interrupt: reads the counter first of all, calls [`expired`], and leaves every
/// register as it was. What it runs uses no vector registers. In 64-bit mode the processor aligns the stack and pushes
/// five words, so behind nine more it is aligned.
#[unsafe(naked)]
extern "sysv64" fn entry() -> ! {
    core::arch::naked_asm!(
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

/// The timer has expired; the handler was entered at `now`.
extern "sysv64" fn expired(now: u64) {
    let due = DUE.load(Relaxed);
    EXPIRIES.note(now.saturating_sub(due));
    arm(EXPIRIES.next(due, clock::now(), PERIOD.load(Relaxed)));
    write(X2APIC_EOI, 0);
}
