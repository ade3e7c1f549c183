//! Ring 0: how the processor enters an image, and what an image does there that only a host can answer for.
//!
//! [`start`] makes the [`Host`], once. Having it is the proof of what every call below needs: a Sluice host beneath,
//! and ring 0.
//!
//! The descriptor tables lie in the image, far from the sluice slot: the host refuses to register a VM whose tables
//! could be reached through a window (rule G14). Exceptions do not return, and have no stack of their own: a broken
//! stack ends in a triple fault, which the host reports.
#![allow(unsafe_code, reason = "descriptor tables, what the processor enters, MSRs and hypercalls")]

use super::memory::Memory;
use super::{Vnf, exception, run};
use core::arch::{asm, global_asm, naked_asm};
use core::fmt::Display;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use sluice_abi::call::Status;
use sluice_abi::{Gpa, lapic};
use sluice_gate::hypercall;
use sluice_memory::PeerSlice;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::GlobalDescriptorTable;

/// Exceptions that the architecture defines. See: SDM volume 3, table "Protected-Mode Exceptions and Interrupts".
const EXCEPTIONS: usize = 32;
/// The exceptions with an error code, by bit: 8, 10 to 14, 17, 21, 29 and 30.
const WITH_ERROR_CODE: u32 = 0x6022_7d00;
/// Vector of the device's interrupt: the first behind the exceptions.
pub const DEVICE_VECTOR: usize = EXCEPTIONS;
/// Bytes of one stub.
const STUB_LEN: usize = 16;
/// Selector of [`GDT`]'s code segment.
const CODE_SELECTOR: u16 = 8;

/// Null, and 64-bit code and data of ring 0. The host starts an image with the selectors of both; IRET loads that of
/// the stack anew. See: SDM volume 3, "Segment Descriptors".
static GDT: GlobalDescriptorTable<3> =
    GlobalDescriptorTable::from_raw_entries(&[0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff]);

/// The gates of the exceptions and of the device's interrupt. [`load_tables`] writes them before the processor knows of
/// them.
static mut IDT: [[u64; 2]; EXCEPTIONS + 1] = [[0; 2]; _];

/// [`start`] made a [`Host`].
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// The device's interrupt came, and is in service.
static IS_IN_SERVICE: AtomicBool = AtomicBool::new(false);

/// The proof that this program runs in ring 0 of a VM of a Sluice host, with RAM mapped one to one.
#[derive(Clone, Copy)]
pub struct Host(());

/// A register of the local APIC that the host emulates. See: [`sluice_abi::lapic`].
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum LocalApic {
    Deadline = lapic::IA32_TSC_DEADLINE,
    Timer = lapic::X2APIC_LVT_TIMER,
    Line = lapic::X2APIC_LVT_LINT0,
    EndOfInterrupt = lapic::X2APIC_EOI,
}

/// Runs `main` in the VM whose boot information is at `boot`. The exit code of the VM is 1 if `main` fails, and 0
/// otherwise.
///
/// # Safety
/// Only the function `_start` of [`crate::main!`] calls this, once, with what the monitor put into RDI, on the image's
/// own stack.
#[doc(hidden)]
pub unsafe fn start<E: Display>(boot: u64, main: impl FnOnce(&mut Vnf) -> Result<(), E>) -> ! {
    IS_STARTED.store(true, Relaxed);
    let host = Host(());
    // SAFETY: nothing else refers to the tables, as this function is called once; the VM has one CPU.
    unsafe { load_tables() };
    // SAFETY: the contract above; the stack is the image's own, so free RAM is nobody's.
    let memory = unsafe { Memory::new(Gpa(boot)) };
    run(&mut Vnf { host, memory }, main)
}

/// Makes `$main`, a `fn(&mut Vnf) -> Result<(), impl Display>`, what the program runs.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[allow(unsafe_code, reason = "the first instruction of the image, and what the monitor promised it")]
        const _: () = {
            /// The monitor enters here, with the boot information's address in RDI; the stack is the image's own (the
            /// linker script of `sluice-build`).
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "sysv64" fn _start() -> ! {
        core::arch::naked_asm!("lea rsp, [rip + __stack_top]", "call {run}", "ud2", run = sym run_image)
            }

            extern "sysv64" fn run_image(boot: u64) -> ! {
                // SAFETY: called once, by `_start`.
                unsafe { $crate::start(boot, $main) }
            }
        };
    };
}

impl Host {
    /// Returns the host, once [`start`] has found it.
    pub fn found() -> Option<Self> {
        IS_STARTED.load(Relaxed).then_some(Self(()))
    }

    /// Writes `text`, at most a page, to the console.
    pub fn console(self, text: &[AtomicU8]) -> Status {
        // SAFETY: `self` is the proof. RAM is mapped one to one, so the address is the GPA; the host only reads.
        unsafe { hypercall::console(Gpa(text.as_ptr().addr() as u64), text.len() as u64) }
    }

    /// Ends the VM with exit code `code`.
    pub fn exit(self, code: u64) -> ! {
        // SAFETY: `self` is the proof.
        unsafe { hypercall::exit(code) }
    }

    /// Gives the CPU away until it is this VM's turn again. The call can't fail.
    pub fn yield_now(self) {
        // SAFETY: `self` is the proof.
        unsafe { hypercall::yield_now() };
    }

    /// Registers the page `request` as the request block.
    pub fn register(self, request: PeerSlice<'static>) -> Status {
        // SAFETY: `self` is the proof; shared memory is the host's to read.
        unsafe { hypercall::register(address(request)) }
    }

    /// Adds `memory` to packet memory, at `offset` bytes of that.
    pub fn add_run(self, memory: PeerSlice<'static>, offset: u64) -> Status {
        let run = sluice_abi::run::Run { gpa: address(memory), len: memory.len(), offset };
        // SAFETY: `self` is the proof; shared memory is the host's, and the peers', to read and write.
        unsafe { hypercall::add_run(run) }
    }

    /// Removes the run of `len` bytes at `offset` of packet memory.
    pub fn remove_run(self, offset: u64, len: u64) -> Status {
        // SAFETY: `self` is the proof. Nothing is lent any more.
        unsafe { hypercall::remove_run(offset, len) }
    }

    /// Writes `value` to `register`. A register that the host does not have is an exception.
    pub fn write(self, register: LocalApic, value: u64) {
        let (low, high) = (value as u32, (value >> 32) as u32);
        // SAFETY: `self` is the proof of ring 0. Of these registers an interrupt comes at most, which has a gate.
        unsafe {
            asm!("wrmsr", in("ecx") register as u32, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        }
    }
}

/// Returns the guest-physical address of `memory`: RAM is mapped one to one.
fn address(memory: PeerSlice<'static>) -> Gpa {
    Gpa(memory.as_ptr().addr() as u64)
}

/// Returns whether the device's interrupt is in service, and forgets it.
pub fn take_interrupt() -> bool {
    // The handler interrupts this thread as a signal handler would.
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    IS_IN_SERVICE.swap(false, Relaxed)
}

// One stub for each exception, STUB_LEN bytes apart: error code (0 where the processor pushes none), vector, on to the
// report.
global_asm!(
    ".balign 16",
    "sluice_exception_stubs:",
    ".irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".balign 16",
    ".if ({with_error_code} >> \\vector) & 1 == 0",
    "push 0",
    ".endif",
    "push \\vector",
    "jmp {enter_report}",
    ".endr",
    with_error_code = const WITH_ERROR_CODE,
    enter_report = sym enter_report,
);

unsafe extern "C" {
    static sluice_exception_stubs: [u8; EXCEPTIONS * STUB_LEN];
}

#[unsafe(naked)]
extern "sysv64" fn enter_report() -> ! {
    naked_asm!("cld", "mov rdi, rsp", "and rsp, -16", "call {report}", "ud2", report = sym exception::report)
}

/// The handler of the device's interrupt. The next interrupt waits until this one is acknowledged and ended.
#[unsafe(naked)]
extern "sysv64" fn device_interrupt() -> ! {
    naked_asm!("mov byte ptr [rip + {in_service}], 1", "iretq", in_service = sym IS_IN_SERVICE)
}

/// Returns an interrupt gate to the stub of `vector`, or to the handler of the device's interrupt. See: SDM volume 3,
/// figure "64-Bit IDT Gate Descriptors".
fn gate(vector: usize) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00 << 32;
    let stub = (&raw const sluice_exception_stubs).addr() + vector * STUB_LEN;
    let to = if vector == DEVICE_VECTOR { device_interrupt as *const () as usize } else { stub } as u64;
    let low = to & 0xffff | u64::from(CODE_SELECTOR) << 16 | PRESENT_INTERRUPT_GATE | (to >> 16 & 0xffff) << 48;
    [low, to >> 32]
}

/// Makes the processor enter the handlers above.
///
/// # Safety
/// The VM has one CPU, and this is called once.
unsafe fn load_tables() {
    GDT.load();
    let base = VirtAddr::from_ptr(&raw const IDT);
    let pointer = DescriptorTablePointer { limit: size_of_val(&[[0u64; 2]; EXCEPTIONS + 1]) as u16 - 1, base };
    // SAFETY: the contract above: nobody else refers to the table, which is static and whole before the processor is
    // told about it. CS keeps its cached descriptor, which equals the one that the gates select.
    unsafe {
        (&raw mut IDT).write(core::array::from_fn(gate));
        lidt(&pointer);
    }
}
