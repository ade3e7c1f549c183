//! The other processors. See: SDM volume 3, "Multiple-Processor (MP) Initialization".
//!
//! Start-up goes to all of them at once and counts who comes; no ACPI table has to be believed.
#![allow(unsafe_code, reason = "local APIC registers, start-up page, per-processor stacks")]

use crate::platform::{cpu, descriptors, msr};
use core::arch::global_asm;
use core::hint::spin_loop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use crossbeam_utils::CachePadded;
use raw_cpuid::CpuId;
use volatile::VolatilePtr;
use x86_64::instructions::port::Port;

/// Processors that the monitor uses.
pub const MAX_CPUS: usize = 8;
/// Start-up page, in conventional memory that no firmware keeps: below the loader's own, above the BIOS data area.
const AP_PAGE: u64 = 0x8000;

global_asm!(
    ".set AP_PAGE, {AP_PAGE}",
    ".set AP_MAX, {AP_MAX}",
    ".set AP_STACK_SHIFT, {AP_STACK_SHIFT}",
    include_str!("ap.S"),
    AP_PAGE = const AP_PAGE,
    AP_MAX = const MAX_CPUS,
    AP_STACK_SHIFT = const 16,
);

unsafe extern "C" {
    static ap_start: u8;
    static ap_end: u8;
}

/// Work for a processor: the address of a `fn(usize)`, 0 while there is none. Each processor polls a cache line of its own.
static WORK: [CachePadded<AtomicUsize>; MAX_CPUS] = [const { CachePadded::new(AtomicUsize::new(0)) }; MAX_CPUS];
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

/// Starts every other processor; returns once no more come.
pub fn start() {
    APIC_IDS[0].store(own_apic_id(), SeqCst);
    // SAFETY: AP_PAGE is conventional memory, one to one, used by nobody; the code between the labels is position-aware.
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

/// Processors that came.
pub fn cpu_count() -> usize {
    ONLINE.load(SeqCst).min(MAX_CPUS)
}

/// The number of the processor that asks.
pub fn current() -> usize {
    let own = own_apic_id();
    (0..cpu_count()).find(|&cpu| APIC_IDS[cpu].load(SeqCst) == own).unwrap_or(0)
}

/// Gives processor `cpu`, not this one, something to do.
pub fn run_on(cpu: usize, work: fn(usize)) {
    WORK[cpu].store(work as usize, SeqCst);
}

/// Interrupts processor `cpu` whatever it does: a guest exits.
pub fn send_nmi(cpu: usize) {
    send(APIC_IDS[cpu].load(SeqCst), ASSERT | NMI);
}

#[unsafe(no_mangle)]
extern "sysv64" fn ap_main(ticket: usize) -> ! {
    descriptors::init();
    APIC_IDS[ticket].store(own_apic_id(), SeqCst);
    ONLINE.fetch_add(1, SeqCst);
    loop {
        let work = WORK[ticket].swap(0, SeqCst);
        if work != 0 {
            // SAFETY: run_on stored a fn(usize).
            let work: fn(usize) = unsafe { core::mem::transmute(work) };
            work(ticket);
        }
        spin_loop();
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
        msr::write(X2APIC_ICR, u64::from(apic_id) << 32 | u64::from(command));
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
    // SAFETY: the local APIC's page is mapped one to one, and each processor has its own behind that address.
    unsafe { VolatilePtr::new(at) }
}

/// Waits by the timer chip's second channel, which runs at 1.193182 MHz on every PC; and not longer than 100 M ticks, should
/// there be none.
fn delay_us(us: u64) {
    let mut left = us * 1_193_182 / 1_000_000;
    let (mut gate, mut mode, mut data) = (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    let give_up = cpu::ticks() + 100_000_000;
    while left > 0 {
        let count = left.min(0xffff);
        // SAFETY: the timer's own ports; channel 2 drives only the speaker, which is kept off.
        unsafe {
            let quiet = gate.read() & !0b10;
            gate.write(quiet & !1);
            mode.write(0b1011_0000);
            data.write(count as u8);
            data.write((count >> 8) as u8);
            gate.write(quiet | 1);
            while gate.read() & 0x20 == 0 && cpu::ticks() < give_up {
                spin_loop();
            }
        }
        left -= count;
    }
}
