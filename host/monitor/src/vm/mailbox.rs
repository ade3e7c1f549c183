//! How processors ask one another: "look at the directory again before your VM goes on".
//!
//! A processor that takes something away (a receiver resets its device, a VM ends) must not go on while a sender that can reach it may be in a
//! window (rule G13). It sets `refresh`, calls the sender's processor by NMI, and waits until that VM is out of the window. One that is
//! found in there finishes its call, but its window is held: the next call exits where it would open it.
//!
//! An NMI takes the sender's time, so it is the receiver who is made to wait for it: what is only news is not called for at once (`news.rs`), who was
//! never told of a device does not lose it, and where the sender does not come the next NMI comes later and later.

use crate::platform::smp;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use crossbeam_utils::CachePadded;

/// VMs that one monitor runs.
pub const MAX_VMS: usize = sluice_control::MAX_VMS;

/// Spins between the first two calls by NMI; from then on it doubles. A call may be lost in the monitor itself, so it is repeated.
const PATIENCE: usize = 2_000;

struct Mailbox {
    refresh: AtomicBool,
    /// Set while the VM may be executing, or stands in the window.
    busy: AtomicBool,
    /// VMs that it may have in its window or memory, by bits.
    reaches: [AtomicU64; Reach::WORDS],
    /// The interrupt line of the VM's device is high.
    line: AtomicBool,
    /// The VM would take that interrupt.
    listens: AtomicBool,
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

    /// Whether the VM executes on a processor other than `own_cpu`, and has not looked since it was asked.
    fn is_called_for(&self, own_cpu: usize) -> bool {
        self.cpu.load(SeqCst) != own_cpu && self.busy.load(SeqCst) && self.refresh.load(SeqCst)
    }
}

/// A set of VMs, by bits of their ids.
#[derive(Clone, Copy)]
pub struct Reach([u64; Self::WORDS]);

impl Reach {
    const WORDS: usize = MAX_VMS.div_ceil(64);
    /// All of them.
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

/// Each VM's processor writes its mailbox at every entry, so each has cache lines of its own.
static MAILBOXES: [CachePadded<Mailbox>; MAX_VMS] = [const { CachePadded::new(Mailbox::new()) }; MAX_VMS];

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

/// Calls VM `vm` once, if it executes and has not looked yet; whether that was so.
pub fn call(vm: u32, own_cpu: usize) -> bool {
    let called = of(vm).is_called_for(own_cpu);
    if called {
        smp::send_nmi(of(vm).cpu.load(SeqCst));
    }
    called
}

/// Says which VMs VM `vm` may have in its window or memory from now on: before it looks at its directory, any.
pub fn set_reach(vm: u32, peers: Reach) {
    of(vm).reaches.iter().zip(peers.0).for_each(|(to, word)| to.store(word, SeqCst));
}

/// Whether VM `vm` may have VM `peer` in its window or memory.
pub fn reaches(vm: u32, peer: u32) -> bool {
    let word = of(vm).reaches.get(peer as usize / 64);
    word.is_some_and(|word| word.load(SeqCst) >> (peer % 64) & 1 == 1)
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

/// Says whether the interrupt line of VM `vm`'s device is high. If it is, and the VM executes elsewhere and would take the interrupt, its processor
/// is called once.
pub fn set_line(vm: u32, high: bool, own_cpu: usize) {
    let mailbox = of(vm);
    mailbox.line.store(high, SeqCst);
    let cpu = mailbox.cpu.load(SeqCst);
    if high && mailbox.listens.load(SeqCst) && mailbox.busy.load(SeqCst) && cpu != own_cpu {
        smp::send_nmi(cpu);
    }
}

/// Whether the interrupt line of VM `vm`'s device is high.
pub fn line(vm: u32) -> bool {
    of(vm).line.load(SeqCst)
}

/// Says whether VM `vm` would take an interrupt of its device.
pub fn listen(vm: u32, listens: bool) {
    of(vm).listens.store(listens, SeqCst);
}
