//! The parts that all Sluice hosts share, independent of processor and operating system: the [`Manifest`] that
//! describes the VMs, the [`Device`] of each VM's network driver, the [`Network`] that turns both into window
//! directories, how a directory is [published](publish()), and the [`Switch`] behind the transmit queues.
//!
//! Three hosts use this crate: the monitor, the launcher of the embedded default, and the server for vhost-user.
//! Packets that a window carries do not pass it.
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
pub use manifest::{Addresses, FlowsConfig, MAX_VMS, MTU, Mac, Manifest, ManifestError, VmConfig, VmError, flow_ports};
pub use network::{Member, Network};
pub use publish::publish;
pub use runs::{RunError, Runs};
pub use switch::{
    Answer, Counters, Limit, Missed, PCAP_HEADER, PortConfig, RamRings, Ring, Rings, Served, SlowPath, Switch, Tap,
    Told, pcap_record,
};
