//! Descriptor tables that make every exception a landing: a stub for each vector, which goes on in `leap.rs`.
//!
//! The processor takes the stack from the TSS, so that a landing works whatever RSP is, and may be raised from ring 3.
//! Only home's page tables reach the tables, so a landing is in home.

use super::cpu;
use super::leap::{self, RAX, State, VECTORS};
use super::page::Page;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use x86_64::VirtAddr;
use x86_64::structures::DescriptorTablePointer;

/// The selectors of [`Tables::gdt`].
pub const KERNEL_CODE: u64 = 8;
pub const KERNEL_DATA: u64 = 16;
pub const USER_CODE: u64 = 24 | 3;
pub const USER_DATA: u64 = 32 | 3;
/// The selector of code in compatibility mode, ring 3.
pub const USER_CODE_32: u64 = 40 | 3;
const TASK: u16 = 48;

/// What the processor reads, and the stack that it takes for each landing.
struct Tables {
    stack: Page,
    idt: [[AtomicU64; 2]; VECTORS],
    gdt: Gdt,
    /// See: SDM volume 3, figure "64-Bit TSS Format".
    task: [AtomicU32; 26],
}

#[repr(C)]
struct Gdt {
    segments: [u64; 6],
    /// The descriptor of a task has two words.
    task: [AtomicU64; 2],
}

static TABLES: Tables = Tables {
    stack: Page::new(),
    idt: [const { [const { AtomicU64::new(0) }; 2] }; VECTORS],
    gdt: Gdt {
        // The descriptors are null, code and data of ring 0, code and data of ring 3, 32-bit code of ring 3. See: SDM
        // volume 3, "Segment Descriptors".
        segments: [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0x00cf_f300_0000_ffff,
            0x00cf_fb00_0000_ffff,
        ],
        task: [const { AtomicU64::new(0) }; 2],
    },
    task: [const { AtomicU32::new(0) }; 26],
};

/// Returns a pointer to a table of `len` bytes at `base`, as LGDT and LIDT take it.
pub fn pointer(base: u64, len: usize) -> DescriptorTablePointer {
    DescriptorTablePointer { limit: len as u16 - 1, base: VirtAddr::new_truncate(base) }
}

/// Makes every exception a landing.
pub fn install() {
    let Tables { stack, idt, gdt, task } = &TABLES;
    for (vector, entry) in idt.iter().enumerate() {
        write(entry, gate(vector));
    }
    task[9].store(stack.end() as u32, Relaxed);
    task[10].store((stack.end() >> 32) as u32, Relaxed);
    write(&gdt.task, task_descriptor(address(task)));
    cpu::load_tables(&pointer(address(gdt), size_of_val(gdt)), &pointer(address(idt), size_of_val(idt)), TASK);
}

fn address<T>(table: &T) -> u64 {
    core::ptr::from_ref(table).addr() as u64
}

fn write(entry: &[AtomicU64; 2], words: [u64; 2]) {
    entry.iter().zip(words).for_each(|(place, word)| place.store(word, Relaxed));
}

/// Returns a descriptor of a task. See: SDM volume 3, figure "Format of TSS and LDT Descriptors in 64-bit Mode".
fn task_descriptor(base: u64) -> [u64; 2] {
    const AVAILABLE_TSS: u64 = 0x89 << 40;
    [103 | (base & 0xff_ffff) << 16 | AVAILABLE_TSS | (base >> 24 & 0xff) << 56, base >> 32]
}

/// Executes LTR with a task at `base`, and returns the exception that ends it.
pub fn load_task(base: u64) -> u64 {
    const LTR_AX: [u8; 3] = [0x0f, 0x00, 0xd8];
    let entry = &TABLES.gdt.task;
    let before = entry.each_ref().map(|word| word.load(Relaxed));
    write(entry, task_descriptor(base));
    let mut state = State::at(0);
    state.general[RAX] = TASK.into();
    let vector = super::snippet::execute(&LTR_AX, &state);
    write(entry, before);
    vector
}

/// Returns an interrupt gate to the stub of `vector`, for any ring, on the first of the task's own stacks.
/// See: SDM volume 3, figure "64-Bit IDT Gate Descriptors".
fn gate(vector: usize) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0xee01 << 32;
    let stub = leap::stub(vector);
    let low = stub & 0xffff | KERNEL_CODE << 16 | PRESENT_INTERRUPT_GATE | (stub >> 16 & 0xffff) << 48;
    [low, stub >> 32]
}
