//! The other processors. See: SDM volume 3, "Multiple-Processor (MP) Initialization".
//!
//! Start-up goes to all of them at once, and each that starts counts itself; no ACPI table has to be trusted.
#![allow(unsafe_code, reason = "local APIC registers and the start-up page")]

use crate::platform::cpu::{self, Port};
use crate::platform::{descriptors, msr};
use core::arch::global_asm;
use core::hint::spin_loop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use crossbeam_utils::CachePadded;
use raw_cpuid::CpuId;
use spin::Once;
use volatile::VolatilePtr;
use x86_64::instructions::hlt;
use x86_64::registers::model_specific::Msr;

/// Largest number of processors that the monitor uses.
pub const MAX_CPUS: usize = 8;
/// The start-up page, in conventional memory: above the BIOS data area, below the memory that boot loaders use.
const AP_PAGE: u64 = 0x8000;

global_asm!(
    ".set AP_PAGE, {AP_PAGE}",
    ".set AP_MAX, {AP_MAX}",
    ".set AP_STACK_SHIFT, {AP_STACK_SHIFT}",
    include_str!("ap.S"),
    AP_PAGE = const AP_PAGE,
    AP_MAX = const MAX_CPUS,
    AP_STACK_SHIFT = const 16,
    AP_MAIN = sym ap_main,
);

unsafe extern "C" {
    static ap_start: u8;
    static ap_end: u8;
}

/// Work for a processor, which is called with the processor's number.
type Work = CachePadded<Once<fn(usize)>>;

/// The work of each processor. Each polls a cache line of its own.
static WORK: [Work; MAX_CPUS] = [const { CachePadded::new(Once::new()) }; MAX_CPUS];
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static ONLINE: AtomicUsize = AtomicUsize::new(1);

const APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
const X2APIC_ICR: u32 = 0x830;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const DELIVERY_PENDING: u32 = 1 << 12;
const ALL_BUT_SELF: u32 = 3 << 18;
const ASSERT: u32 = 1 << 14;
const NMI: u32 = 4 << 8;
const INIT: u32 = 5 << 8;
const START_UP: u32 = 6 << 8;

/// Starts every other processor. Returns once no more of them start.
pub fn start() {
    APIC_IDS[0].store(own_apic_id(), SeqCst);
    // SAFETY: AP_PAGE is conventional memory that nobody uses, mapped one to one; the code between the labels is made
    // for it.
    unsafe {
        let from = &raw const ap_start;
        let len = (&raw const ap_end as usize) - from as usize;
        core::ptr::copy_nonoverlapping(from, AP_PAGE as *mut u8, len);
    }
    send(0, ALL_BUT_SELF | ASSERT | INIT);
    delay_us(10_000);
    for _ in 0..2 {
        send(0, ALL_BUT_SELF | ASSERT | START_UP | (AP_PAGE >> 12) as u32);
        delay_us(200);
    }
    delay_us(20_000);
}

/// Returns how many processors run.
pub fn cpu_count() -> usize {
    ONLINE.load(SeqCst).min(MAX_CPUS)
}

/// Returns the number of this processor.
pub fn current() -> usize {
    let own = own_apic_id();
    (0..cpu_count()).find(|&cpu| APIC_IDS[cpu].load(SeqCst) == own).unwrap_or(0)
}

/// Has processor `cpu`, which is another, call `work` with its number. Only the first call for a processor counts.
pub fn run_on(cpu: usize, work: fn(usize)) {
    WORK[cpu].call_once(|| work);
}

/// Sends an NMI to processor `cpu`: a guest that runs there exits.
pub fn send_nmi(cpu: usize) {
    send(APIC_IDS[cpu].load(SeqCst), ASSERT | NMI);
}

/// Called by ap.S on each other processor with its number.
extern "sysv64" fn ap_main(ticket: usize) -> ! {
    descriptors::init();
    APIC_IDS[ticket].store(own_apic_id(), SeqCst);
    ONLINE.fetch_add(1, SeqCst);
    WORK[ticket].wait()(ticket);
    loop {
        hlt();
    }
}

fn own_apic_id() -> u32 {
    let id = CpuId::new();
    if msr::read(APIC_BASE) & X2APIC_ENABLED != 0 {
        return id
            .get_extended_topology_info()
            .and_then(|mut levels| levels.next())
            .map_or(0, |level| level.x2apic_id());
    }
    id.get_feature_info().map_or(0, |info| u32::from(info.initial_local_apic_id()))
}

fn send(apic_id: u32, command: u32) {
    let base = msr::read(APIC_BASE);
    if base & X2APIC_ENABLED != 0 {
        // SAFETY: only this file sends commands: NMIs, which no processor minds, and a start at AP_PAGE.
        unsafe { Msr::new(X2APIC_ICR).write(u64::from(apic_id) << 32 | u64::from(command)) };
        return;
    }
    let (high, low) = (register(base, ICR_HIGH), register(base, ICR_LOW));
    high.write(apic_id << 24);
    low.write(command);
    while low.read() & DELIVERY_PENDING != 0 {
        spin_loop();
    }
}

/// Returns the 32-bit register at byte `offset` of the local APIC whose page the MSR value `base` names.
fn register(base: u64, offset: u64) -> VolatilePtr<'static, u32> {
    let at = NonNull::new(((base & 0x000f_ffff_ffff_f000) + offset) as *mut u32).unwrap_or(NonNull::dangling());
    // SAFETY: the page of the local APIC is mapped one to one, and each processor finds its own there.
    unsafe { VolatilePtr::new(at) }
}

/// Waits for `us` microseconds by channel 2 of the timer chip, which runs at 1.193182 MHz on every PC, but for no
/// longer than
/// 100 M ticks at a time: there may be no such chip.
fn delay_us(us: u64) {
    let mut left = us * 1_193_182 / 1_000_000;
    let give_up = cpu::ticks() + 100_000_000;
    while left > 0 {
        let count = left.min(0xffff);
        let quiet = Port::TimerGate.read() & !0b10;
        Port::TimerGate.write(quiet & !1);
        Port::TimerMode.write(0b1011_0000);
        Port::TimerCount.write(count as u8);
        Port::TimerCount.write((count >> 8) as u8);
        Port::TimerGate.write(quiet | 1);
        while Port::TimerGate.read() & 0x20 == 0 && cpu::ticks() < give_up {
            spin_loop();
        }
        left -= count;
    }
}
