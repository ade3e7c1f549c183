//! Instructions of a guest that the monitor executes in the processor's place: from operands to memory, with the checks
//! and exceptions of the processor. Nothing here knows of VMs, only of RAM, registers and the current VMCS.

pub mod descriptor_table;
pub mod fault;
pub mod fetch;
mod operand;
mod segment;
pub mod walk;
