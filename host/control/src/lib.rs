//! The parts that all Sluice hosts share, independent of processor and operating system: the [`Manifest`] that
//! describes the VMs, the [`Device`] of each VM's network driver, the [`Network`] that turns both into window
//! directories, how a directory is [published](publish()), and the [`Switch`] behind the transmit queues.
//!
//! Two hosts use this crate: the monitor, and the launcher of the embedded default. Packets that a window carries do
//! not pass it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod calls;
mod device;
mod directory;
mod manifest;
mod network;
mod publish;
pub mod regions;
mod runs;
mod switch;

pub use calls::Call;
pub use device::{Device, Event, MAX_PAIRS};
pub use directory::Directory;
pub use manifest::{Addresses, FlowsConfig, MAX_VMS, Mac, Manifest, ManifestError, VmConfig, VmError};
pub use network::Network;
pub use publish::publish;
pub use runs::{RunError, Runs};
pub use switch::{Answer, Counters, Missed, PCAP_HEADER, Served, SlowPath, Switch, Tap, Told, pcap_record};
