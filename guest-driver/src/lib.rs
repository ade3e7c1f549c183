//! The driver side of virtio-net, in poll mode: no interrupts, no allocation, no lock.
//!
//! Reading order: [`Setup`] (agreeing with the device), [`DriverQueue`] (one queue), [`Receiver`] (frames out of buffers),
//! [`Sender`] (headers of frames to be sent), [`ControlQueue`], [`Transport`] (how a device is reached).
//!
//! The device side is whoever has a window on this VM: what it writes is read once and checked, and a device that breaks a rule
//! is a [`DeviceFault`], not a panic and not a read outside a buffer.
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
pub use receive::{Arrival, Frame, Part, Receiver, asks_nothing};
pub use send::{SendError, Sender};
pub use transport::{Function, MappedFunction, PciError, Registers, Transport, VirtioMmio, VirtioPci, Width};
