//! The gate: how a call gets from a VM's own view into its window and back.
//!
//! Two users: the monitor takes the three pages of `gate.S` ([`pages`]), a VM calls through them ([`isolated`]). The other gates
//! are here too: [`guarded`] (one VMFUNC each way around code of the VM's own) and [`hypercall`] (the monitor does the work).
#![no_std]

mod call;
mod page;

pub mod hypercall;

pub use call::{guarded, isolated};
pub use page::{CLOSE, ENTER, OPEN, Pages, RETURN, STACK_SAVED, STUB_ABORT, STUB_ENTRY, STUB_OUTSIDE, pages};
