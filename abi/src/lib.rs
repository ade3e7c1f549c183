//! The contract of Sluice: what the sender, the window, the receiver and the host agree on. Nothing here acts.
//!
//! # Specifications
//! Every citation in the project carries a number and a title, and means these revisions:
//! - **VIRTIO**: Virtual I/O Device (VIRTIO) Version 1.3, OASIS Committee Specification 01.
//! - **SDM**: Intel 64 and IA-32 Architectures Software Developer's Manual, order number 325462-080US.
//! - **Multiboot2**: Multiboot2 Specification version 2.0.
//!
//! # Why one crate
//! A layout that two sides must agree on is written once. The tempting alternative, each side with the structures it
//! needs, lets them drift apart silently; here a changed offset fails a compile-time assertion on both sides at once.
#![no_std]
#![forbid(unsafe_code)]

pub mod addr;
pub mod boot;
pub mod build_id;
pub mod call;
pub mod directory;
pub mod map;
pub mod mmio;
pub mod net;
pub mod packed;
pub mod pci;
pub mod peer_idx;
pub mod ring_idx;
pub mod run;
pub mod timer;
pub mod virtq;

pub use addr::{Gpa, Gva, Hpa};
pub use peer_idx::PeerIdx;
pub use ring_idx::RingIdx;
