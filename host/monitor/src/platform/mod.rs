//! The machine: memory, console, processors, interrupts. Knows nothing of VMs.

pub mod console;
pub mod cpu;
pub mod descriptors;
pub mod exit;
pub mod frames;
pub mod heap;
pub mod hierarchy;
pub mod msr;
pub mod multiboot;
pub mod paging;
pub mod smp;
pub mod stream;
pub mod table;
