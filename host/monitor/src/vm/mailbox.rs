//! How processors ask one another: "look at the directory again before your VM goes on".
//!
//! A processor that takes something away (a receiver resets its device, a VM ends) must not go on while a sender may be in a
//! window (rule G13). It sets `refresh`, calls the sender's processor by NMI, and waits until that VM is out of the window. One that is
//! found in there finishes its call, but its window is held: the next call exits where it would open it.

use crate::platform::smp;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// VMs that one monitor runs.
pub const MAX_VMS: usize = 4;

/// Spins between two calls by NMI. A call may be lost in the monitor itself, so it is repeated.
const PATIENCE: usize = 2_000;

struct Mailbox {
    refresh: AtomicBool,
    /// Set while the VM may be executing, or stands in the window.
    busy: AtomicBool,
    cpu: AtomicUsize,
}

static MAILBOXES: [Mailbox; MAX_VMS] =
    [const { Mailbox { refresh: AtomicBool::new(false), busy: AtomicBool::new(false), cpu: AtomicUsize::new(0) } };
        MAX_VMS];

fn of(vm: u32) -> &'static Mailbox {
    &MAILBOXES[vm as usize % MAX_VMS]
}

/// Says which processor runs VM `vm`.
pub fn assign(vm: u32, cpu: usize) {
    of(vm).cpu.store(cpu, SeqCst);
}

/// Asks VM `vm` to look at its directory before it executes again.
pub fn ask(vm: u32) {
    of(vm).refresh.store(true, SeqCst);
}

/// Waits until VM `vm` has looked, or at least is about to, or stands in home.
pub fn wait(vm: u32, own_cpu: usize) {
    let mailbox = of(vm);
    let cpu = mailbox.cpu.load(SeqCst);
    let mut spins = 0;
    while cpu != own_cpu && mailbox.busy.load(SeqCst) && mailbox.refresh.load(SeqCst) {
        if spins % PATIENCE == 0 {
            smp::send_nmi(cpu);
        }
        spins += 1;
        core::hint::spin_loop();
    }
}

/// The VM is about to execute. Returns whether it must look at its directory first, which only one that is not in the window
/// (`outside`) can: from there it goes on, and stays busy.
pub fn begin(vm: u32, outside: bool) -> bool {
    of(vm).busy.store(true, SeqCst);
    outside && of(vm).refresh.swap(false, SeqCst)
}

/// Whether VM `vm` has been asked, and has not looked yet.
pub fn is_asked(vm: u32) -> bool {
    of(vm).refresh.load(SeqCst)
}

/// The VM is not in the window, and will look before it goes on.
pub fn outside(vm: u32) {
    of(vm).busy.store(false, SeqCst);
}

/// Which processor runs VM `vm`.
pub fn cpu(vm: u32) -> usize {
    of(vm).cpu.load(SeqCst)
}
