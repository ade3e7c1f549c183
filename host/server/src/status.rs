//! What the server says of itself: for people, and as JSON.

use serde::{Deserialize, Serialize};
use sluice_abi::net::F;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The state of the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Time since the server began, seconds.
    pub uptime_seconds: u64,
    /// The VMs, in the order of the policy.
    pub vms: Vec<VmStatus>,
}

/// The state of one VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VmStatus {
    /// The VM's name.
    pub name: String,
    /// The socket of its front-end.
    pub socket: PathBuf,
    /// The address of its device.
    pub mac: String,
    /// Time since its front-end connected, seconds; none if it is not there.
    pub connected_seconds: Option<u64>,
    /// Number of sessions that began.
    pub connects: u64,
    /// Why the last session ended.
    pub last_end: Option<String>,
    /// The virtio features that the driver accepted.
    pub features: u64,
    /// The rings in use.
    pub rings: Vec<RingStatus>,
    /// The windows on its peers, of a process that is connected.
    #[serde(default)]
    pub windows: Vec<WindowStatus>,
    /// Bytes of the frames that are counted as `taken`.
    pub taken_bytes: u64,
    /// Bytes of the frames that are counted as `forwarded`.
    pub forwarded_bytes: u64,
    /// The counters of the VM's port. See: [`sluice_control::Counters`].
    pub counters: BTreeMap<String, u64>,
}

/// A ring in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RingStatus {
    /// The number of the queue.
    pub queue: u16,
    /// The number of entries.
    pub size: u16,
}

/// A window of a process on a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowStatus {
    /// The name of the peer.
    pub peer: String,
    /// `open`, `closed`, or `draining`: closed once a call has ended.
    pub state: String,
    /// Number of frames that the process has put into the peer's queue since it connected.
    pub frames: u64,
}

impl VmStatus {
    /// Returns the counter `name`.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Returns the counters of drops, and of other causes for a look, that are not 0.
    fn drops(&self) -> String {
        let other = |name: &&String| !["taken", "forwarded", "notified"].contains(&name.as_str());
        let counted = self.counters.iter().filter(|(name, count)| other(name) && **count > 0);
        counted.map(|(name, count)| format!(" {name}={count}")).collect()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "up {} s, {} VMs", self.uptime_seconds, self.vms.len())?;
        for vm in &self.vms {
            let packed = F::from_bits_truncate(vm.features).contains(F::RING_PACKED);
            let format = if packed { "packed" } else { "split" };
            match vm.connected_seconds {
                Some(seconds) => writeln!(
                    f,
                    "{:16} {} connected {seconds} s, {} {format} rings, features {:#x}",
                    vm.name,
                    vm.mac,
                    vm.rings.len(),
                    vm.features
                )?,
                None => writeln!(f, "{:16} {} not connected", vm.name, vm.mac)?,
            }
            let [taken, forwarded] = ["taken", "forwarded"].map(|name| vm.counter(name));
            let (from, to) = (vm.taken_bytes, vm.forwarded_bytes);
            writeln!(
                f,
                "    from it {taken} frames, {from} bytes; to it {forwarded} frames, {to} bytes{}",
                vm.drops()
            )?;
            for WindowStatus { peer, state, frames } in &vm.windows {
                writeln!(f, "    window on {peer} {state}: {frames} frames")?;
            }
            if let Some(end) = &vm.last_end {
                writeln!(f, "    {} sessions; the last that ended: {end}", vm.connects)?;
            }
        }
        Ok(())
    }
}
