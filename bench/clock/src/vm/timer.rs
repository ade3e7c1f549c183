//! The timer of the VM, and its interrupt. See: `sluice_abi::lapic`.
//!
//! One CPU: the handler and what it interrupts never run at once, so relaxed atomics are enough.

use super::cpu::{LocalApic, VECTOR, disable, enable, install, write};
use crate::{Expiries, Ticker};
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sluice_abi::call::CPUID_BASE;
use sluice_abi::lapic::{CPUID_TIMER, MASKED, MODE_TSC_DEADLINE};
use sluice_vnf::clock;

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
    install();
    PERIOD.store(ticker.period, Relaxed);
    write(LocalApic::Timer, MODE_TSC_DEADLINE | VECTOR);
    arm(clock::now() + ticker.period);
    enable();
    Some(Running { expiries: &EXPIRIES })
}

impl Running {
    /// Stops it.
    pub fn stop(self) -> &'static Expiries {
        disable();
        write(LocalApic::Timer, MASKED);
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
        write(LocalApic::Deadline, 0);
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
    write(LocalApic::Deadline, due);
}

/// The timer has expired; the handler was entered at `now`.
pub extern "sysv64" fn expired(now: u64) {
    let due = DUE.load(Relaxed);
    EXPIRIES.note(now.saturating_sub(due));
    arm(EXPIRIES.next(due, clock::now(), PERIOD.load(Relaxed)));
    write(LocalApic::EndOfInterrupt, 0);
}
