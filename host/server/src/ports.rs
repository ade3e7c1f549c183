//! The connections of all VMs and the devices of all taps, as the switch sees them: rings, which end with them.

use crate::connection::Connection;
use crate::log::Quota;
use crate::process::Process;
use crate::rings::{PortRing, SharedRing};
use crate::server::FlowFiles;
use crate::tap::{TapDevice, TapRing};
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_control::Rings;
use std::fs::File;
use tracing::Level;

/// The ports of all VMs and taps, by id.
#[derive(Default)]
pub struct Ports(Vec<Port>);

/// The port of one VM, or of one tap.
#[derive(Default)]
pub struct Port {
    pub connection: Option<Connection>,
    /// The device, if this is the port of a tap.
    pub tap: Option<TapDevice>,
    /// The file that a VM has as a device, if this is the port of a program within it.
    pub window_file: Option<File>,
    /// The flow memory of its in-VM switch, if it has one.
    pub flows: Option<FlowFiles>,
    /// Number of sessions that began, or of times that the device was opened.
    pub connects: u64,
    /// Why the last session ended, or the device was lost.
    pub last_end: Option<String>,
    /// How many lines the VM has in the log.
    pub quota: Quota,
    /// Number of queues that broke the protocol.
    broken: u64,
}

impl Port {
    /// Returns whether frames may come from the port.
    pub const fn is_there(&self) -> bool {
        self.connection.is_some() || self.tap.is_some()
    }

    /// Logs a line of this VM or tap by `line`, unless nobody wants its level, or there were too many lately.
    pub fn log(&mut self, level: Level, line: impl FnOnce()) {
        if self.quota.wants(level) {
            line();
        }
    }
}

impl Ports {
    /// Returns `count` ports to which nobody is connected.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Port::default()).collect())
    }

    /// Adds the port of a tap, whose device is open.
    pub fn add_tap(&mut self, tap: TapDevice) {
        self.0.push(Port { tap: Some(tap), connects: 1, ..Port::default() });
    }

    pub fn get(&self, vm: usize) -> Option<&Port> {
        self.0.get(vm)
    }

    pub fn get_mut(&mut self, vm: usize) -> Option<&mut Port> {
        self.0.get_mut(vm)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Port> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.0.iter_mut()
    }

    pub fn connection(&mut self, vm: usize) -> Option<&mut Connection> {
        self.get_mut(vm)?.connection.as_mut()
    }

    /// Returns the process that is VM `vm`, if there is one and it has not to end.
    pub fn process(&mut self, vm: usize) -> Option<&mut Process> {
        self.connection(vm).filter(|connection| connection.fault().is_none())?.process()
    }

    /// Puts the ports into another order: each was at the place that `before` has, or is new.
    pub fn reorder(&mut self, before: &[Option<usize>]) {
        let mut old: Vec<_> = std::mem::take(&mut self.0).into_iter().map(Some).collect();
        let port = |before: &Option<usize>| before.and_then(|before| old.get_mut(before)?.take()).unwrap_or_default();
        self.0 = before.iter().map(port).collect();
    }
}

impl Rings for Ports {
    type Ring<'r> = PortRing<'r>;

    fn ring(&mut self, vm: u32, queue: &Queue) -> Option<Self::Ring<'_>> {
        let port = self.0.get_mut(vm as usize)?;
        if let Some(tap) = &mut port.tap {
            return tap.fault().is_none().then_some(PortRing::Tap(TapRing(tap)));
        }
        let connection = port.connection.as_mut().filter(|connection| connection.fault().is_none())?;
        Some(match connection.ring_and_lock(queue)? {
            (ring, Some(lock)) if lock.is_used => PortRing::Shared(SharedRing::new(ring, lock)),
            (ring, _) => PortRing::Device(ring),
        })
    }

    fn blame(&mut self, vm: u32, index: u16, clause: Clause) {
        let Some(port) = self.0.get_mut(vm as usize) else { return };
        port.broken += 1;
        if let Some(connection) = &mut port.connection {
            connection.end(format!("ring {index}: {clause:?}"), false);
        }
    }

    fn broken(&self, vm: u32) -> u64 {
        self.0.get(vm as usize).map_or(0, |port| port.broken)
    }
}
