//! The gate: how a call gets from a VM's own view of memory into its window on the peers' memory, and back, without a
//! VM exit.
//!
//! It stands on `sluice-abi` alone. A host lays the three pages of `gate.S` ([`pages`]) at one address of three views;
//! `sluice-fastpath`, which a VM links, calls through them ([`isolated`]). The other gates are here too: [`guarded`]
//! (one VMFUNC each way around code of the VM's own) and [`hypercall`] (the host does the work).
//!
//! ```
//! use sluice_gate::{CLOSE, OPEN, STUB_ENTRY, pages};
//!
//! const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];
//! let all = |page: &[u8; 4096]| -> Vec<usize> {
//!     page.windows(3).enumerate().filter(|(_, bytes)| *bytes == VMFUNC).map(|(at, _)| at).collect()
//! };
//!
//! // A call crosses four times. The stub's VMFUNC leads to the gate's first instruction, at the same address of the
//! // next view: no page has another one, at whatever byte a jump into it begins.
//! let pages = pages();
//! assert_eq!(all(pages.stub), [usize::from(OPEN) - 3]);
//! assert_eq!(all(pages.gate).len(), 2);
//! assert_eq!(all(pages.window), [usize::from(CLOSE) - 3]);
//! assert!(STUB_ENTRY < OPEN);
//! ```
//!
//! Start with [`Pages`] as a host, with [`isolated`] as a VM.
#![no_std]

mod code;

pub use code::{
    CLOSE, ENTER, OPEN, Pages, RETURN, STACK_SAVED, STUB_ABORT, STUB_ENTRY, STUB_OUTSIDE, guarded, hypercall, isolated,
    pages,
};
