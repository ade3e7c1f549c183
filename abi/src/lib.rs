//! The contract of Sluice: the layouts and numbers that the sender, the window, the receiver and the host agree on.
//! Nothing here acts.
//!
//! Every other crate of Sluice stands on this one, which needs none of them. Alone it serves whoever writes another
//! side of the contract: a hypervisor that offers windows, a driver that receives by them, a tool that reads rings.
//!
//! ```
//! use sluice_abi::PeerIdx;
//! use sluice_abi::call::{Accepted, Packet};
//! use sluice_abi::net::{Hdr, HdrF, Offloads, gso};
//!
//! // One entry of a call: 1,514 bytes at offset 4096 of packet memory go, behind their header, to the second peer.
//! let packet = Packet::new(4096, 1514, PeerIdx(1)).with_hdr();
//! assert_eq!((size_of_val(&packet), packet.has_hdr()), (8, true));
//!
//! // What a call accepted: bit by bit, up to 256 packets.
//! let mut accepted = Accepted::default();
//! accepted.insert_run(0, 32);
//! assert_eq!((accepted.count(), accepted.contains(31), accepted.contains(32)), (32, true, false));
//!
//! // A header that leaves segmentation to the receiver fits only a receiver that agreed to that.
//! let flags = HdrF::NEEDS_CSUM.bits();
//! let (gso_type, csum_start, csum_offset) = (gso::TCPV4, 34, 16);
//! let hdr = Hdr { flags, gso_type, hdr_len: 54, gso_size: 1460, csum_start, csum_offset, num_buffers: 1 };
//! assert!(hdr.fits(64_000, Offloads::CSUM | Offloads::TSO4));
//! assert!(!hdr.fits(64_000, Offloads::CSUM));
//! ```
//!
//! Start with [`map`] (which address is what), [`directory`] (whom a VM may send to, and how) and [`call`] (what a VM
//! asks for, and the answer). The formats of VIRTIO are in [`virtq`], [`packed`], [`net`], [`mmio`] and [`pci`]; what a
//! VM finds at its start is in [`boot`], and what a process gets of a server in [`handover`]; memory that one side
//! writes for many readers is a [`channel`].
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
pub mod channel;
pub mod directory;
pub mod flows;
pub mod handover;
pub mod lapic;
pub mod map;
pub mod mmio;
pub mod net;
pub mod packed;
pub mod pci;
pub mod peer_idx;
pub mod queue_lock;
pub mod ring_idx;
pub mod run;
pub mod virtq;

pub use addr::{Gpa, Gva, Hpa};
pub use peer_idx::PeerIdx;
pub use ring_idx::RingIdx;
