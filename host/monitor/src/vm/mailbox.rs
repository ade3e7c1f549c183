//! How processors ask one another to read a directory again before its VM goes on.
//!
//! A processor that takes something away (a receiver resets its device, a VM ends) must not go on while a sender that
//! can reach the device may be in its window (rule G13). The processor sets `refresh` for the sender, calls the
//! sender's processor by NMI, and waits until the sender is out of its window. A sender that is found in the window
//! finishes its call, but its window is held: its next call exits instead of opening the window.
//!
//! An NMI takes the sender's time, so the number of NMIs is kept low: changes that take nothing away are not told at
//! once (`news.rs`), senders that never knew the device are not waited for, and the time between two NMIs to the same
//! sender doubles.

use crate::platform::smp;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use crossbeam_utils::CachePadded;

/// Largest number of VMs that one monitor runs.
pub const MAX_VMS: usize = sluice_control::MAX_VMS;

/// Spins between the first two NMIs of a wait. The number doubles from then on. An NMI may be lost in the monitor
/// itself, so it is repeated.
const PATIENCE: usize = 2_000;

struct Mailbox {
    /// The VM has to read its directory again.
    refresh: AtomicBool,
    /// The VM may be executing, or stands in the window.
    busy: AtomicBool,
    /// VMs that the VM may have in its window, or in memory that shows peers, by bits.
    reaches: [AtomicU64; Reach::WORDS],
    /// The interrupt line of the VM's device is high.
    line: AtomicBool,
    /// The VM would take an interrupt of its device.
    listens: AtomicBool,
    /// The processor that runs the VM.
    cpu: AtomicUsize,
}

impl Mailbox {
    const fn new() -> Self {
        Self {
            refresh: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            reaches: [const { AtomicU64::new(0) }; _],
            line: AtomicBool::new(false),
            listens: AtomicBool::new(false),
            cpu: AtomicUsize::new(0),
        }
    }

    /// Returns whether the VM executes on a processor other than `own_cpu`, and has not read its directory since it was
    /// asked.
    fn is_called_for(&self, own_cpu: usize) -> bool {
        self.cpu.load(SeqCst) != own_cpu && self.busy.load(SeqCst) && self.refresh.load(SeqCst)
    }
}

/// A set of VMs, by bits of their ids.
#[derive(Clone, Copy)]
pub struct Reach([u64; Self::WORDS]);

impl Reach {
    const WORDS: usize = MAX_VMS.div_ceil(64);
    /// The set of all VMs.
    pub const ALL: Self = Self([u64::MAX; _]);
}

impl FromIterator<u32> for Reach {
    fn from_iter<I: IntoIterator<Item = u32>>(vms: I) -> Self {
        let mut words = [0; _];
        for vm in vms {
            if let Some(word) = words.get_mut(vm as usize / 64) {
                *word |= 1 << (vm % 64);
            }
        }
        Self(words)
    }
}

/// The mailbox of each VM. Its processor writes it at every entry, so each has cache lines of its own.
static MAILBOXES: [CachePadded<Mailbox>; MAX_VMS] = [const { CachePadded::new(Mailbox::new()) }; MAX_VMS];

fn of(vm: u32) -> &'static Mailbox {
    &MAILBOXES[vm as usize % MAX_VMS]
}

/// Notes that processor `cpu` runs VM `vm`.
pub fn assign(vm: u32, cpu: usize) {
    of(vm).cpu.store(cpu, SeqCst);
}

/// Asks VM `vm` to read its directory before it executes again.
pub fn ask(vm: u32) {
    of(vm).refresh.store(true, SeqCst);
}

/// Waits until VM `vm` can no longer act on its old directory: it has read the new one, will do so before it executes,
/// or is outside the window.
pub fn wait(vm: u32, own_cpu: usize) {
    let (mut spins, mut patience) = (0usize, PATIENCE);
    while of(vm).is_called_for(own_cpu) {
        if spins == 0 {
            smp::send_nmi(of(vm).cpu.load(SeqCst));
        }
        spins += 1;
        if spins == patience {
            (spins, patience) = (0, patience.saturating_mul(2));
        }
        core::hint::spin_loop();
    }
}

/// Calls VM `vm` once by NMI if it executes and has not read its directory yet. Returns whether it was called.
pub fn call(vm: u32, own_cpu: usize) -> bool {
    let called = of(vm).is_called_for(own_cpu);
    if called {
        smp::send_nmi(of(vm).cpu.load(SeqCst));
    }
    called
}

/// Notes which VMs VM `vm` may have in its window from now on. Before it has read its directory, these are all.
pub fn set_reach(vm: u32, peers: Reach) {
    of(vm).reaches.iter().zip(peers.0).for_each(|(to, word)| to.store(word, SeqCst));
}

/// Returns whether VM `vm` may have VM `peer` in its window.
pub fn reaches(vm: u32, peer: u32) -> bool {
    let word = of(vm).reaches.get(peer as usize / 64);
    word.is_some_and(|word| word.load(SeqCst) >> (peer % 64) & 1 == 1)
}

/// Notes that VM `vm` is about to execute. Returns whether it must read its directory first, which it can only if it is
/// not in the window (`outside`). From the window it goes on, and stays busy.
pub fn begin(vm: u32, outside: bool) -> bool {
    of(vm).busy.store(true, SeqCst);
    outside && of(vm).refresh.swap(false, SeqCst)
}

/// Returns whether VM `vm` was asked and has not read its directory yet.
pub fn is_asked(vm: u32) -> bool {
    of(vm).refresh.load(SeqCst)
}

/// Notes that VM `vm` is not in the window, and will read its directory before it goes on.
pub fn outside(vm: u32) {
    of(vm).busy.store(false, SeqCst);
}

/// Returns the processor that runs VM `vm`.
pub fn cpu(vm: u32) -> usize {
    of(vm).cpu.load(SeqCst)
}

/// Sets the interrupt line of VM `vm`'s device. If it becomes high, and the VM executes on another processor and would
/// take the interrupt, that processor is called once.
pub fn set_line(vm: u32, high: bool, own_cpu: usize) {
    let mailbox = of(vm);
    mailbox.line.store(high, SeqCst);
    let cpu = mailbox.cpu.load(SeqCst);
    if high && mailbox.listens.load(SeqCst) && mailbox.busy.load(SeqCst) && cpu != own_cpu {
        smp::send_nmi(cpu);
    }
}

/// Returns whether the interrupt line of VM `vm`'s device is high.
pub fn line(vm: u32) -> bool {
    of(vm).line.load(SeqCst)
}

/// Notes whether VM `vm` would take an interrupt of its device.
pub fn listen(vm: u32, listens: bool) {
    of(vm).listens.store(listens, SeqCst);
}
