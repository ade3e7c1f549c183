//! The driver side of virtio-net, in poll mode: no interrupts, no allocation, no lock.
//!
//! Reading order: [`start`] (agreeing with the device), [`DriverQueue`] (one ring), [`Transport`] (how registers are reached).
//!
//! The device side is whoever has a window on this VM: what it writes is read once and checked, and a device that breaks a rule
//! is a [`DeviceFault`], not a panic and not a read outside a buffer.
#![no_std]

#[cfg(test)]
extern crate std;

mod init;
mod queue;
mod transport;

pub use init::{StartError, Started, start};
pub use queue::{DeviceFault, DriverQueue, QueueError, Received};
pub use transport::{Transport, VirtioMmio};
