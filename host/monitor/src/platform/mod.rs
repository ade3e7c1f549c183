//! The machine: memory, console, processors, interrupts. Nothing here knows of VMs.

pub mod console;
pub mod cpu;
pub mod descriptors;
pub mod hierarchy;
pub mod msr;
pub mod paging;
pub mod physical;
pub mod smp;
pub mod stream;
pub mod table;
pub mod verdict;
