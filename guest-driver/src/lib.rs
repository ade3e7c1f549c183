//! The driver side of virtio-net, in poll mode: no interrupts, no allocation, no lock.
//!
//! The crate stands on `sluice-abi` and `sluice-memory`; `sluice-fastpath` puts pools and bursts on top. Alone it is a
//! driver for an operating system or a program without one, over virtio-mmio or virtio-pci.
//!
//! ```
//! use sluice_abi::Gpa;
//! use sluice_abi::net::F;
//! use sluice_driver::{DeviceFault, DriverQueue, QueueError};
//! use sluice_memory::PeerSlice;
//!
//! // A receive queue of 16 entries. `Setup` agrees on the features, and tells the device where the queue lies.
//! const LEN: usize = DriverQueue::<16>::MEMORY_LEN as usize;
//! let memory = PeerSlice::from_mut(vec![0u128; LEN / 16].leak());
//! let mut queue = DriverQueue::<16, u32>::new(Gpa(0x10_0000), memory, 16, F::VERSION_1)?;
//!
//! // Buffers go to the device with a token each, which comes back with what the device wrote.
//! assert!((0..16).all(|number| queue.give(Gpa(0x20_0000 + u64::from(number) * 2048), 2048, number)));
//! queue.publish();
//! assert_eq!((queue.room(), queue.is_ready()), (0, Ok(false)));
//!
//! // A device that says it used more buffers than it has is at fault, for good. The index is at byte 2 of its area.
//! let index = queue.addresses().device.0 - 0x10_0000 + 2;
//! assert!(memory.write(index, 17_u16).is_ok());
//! assert_eq!(queue.is_ready(), Err(DeviceFault::UsedIdx));
//! # Ok::<(), QueueError>(())
//! ```
//!
//! Reading order: [`Setup`] (agreeing with the device), [`DriverQueue`] (one queue), [`Receiver`] (frames out of
//! buffers), [`Sender`] (headers of frames to be sent), [`ControlQueue`], [`Transport`] (how a device is reached).
//!
//! Whoever has a window on this VM is its device side. The driver reads each word of the device once and checks it. A
//! device that breaks a rule causes a [`DeviceFault`], and neither a panic nor an access outside a buffer.
#![no_std]

#[cfg(test)]
extern crate std;

mod control;
mod init;
mod queue;
mod receive;
mod send;
mod transport;

pub use control::{Cause, Command, ControlError, ControlQueue};
pub use init::{Setup, StartError, Started, Wanted, link_status, renew_queue, reset};
pub use queue::{DeviceFault, DriverQueue, QueueError, Received, Token};
pub use receive::{Arrival, ArrivedFrame, Part, Receiver, asks_nothing};
pub use send::{SendError, Sender};
pub use transport::{
    Function, MappedFunction, PciError, RegisterBlock, Registers, Transport, VirtioMmio, VirtioPci, Width, acknowledge,
};
