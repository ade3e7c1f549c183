//! The keys of the manifest for the flow table of an in-VM switch.

use super::{MAX_SENDERS, Manifest, VmError};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::Deserialize;

/// Largest number of entries, and of lists of actions: what the sluice slot has room for.
const MOST: u64 = 1 << 20;

/// The flow table of a VM, and the full switch behind it. Times are in ticks of the time-stamp counter, with the
/// launcher and the server in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowsConfig {
    /// The full switch: `learning`, `openvswitch`, or the name of a file with flows.
    #[serde(default = "default_switch")]
    pub switch: String,
    /// Number of entries of the table, a power of two.
    #[serde(default = "default_entries")]
    pub entries: u64,
    /// Number of different lists of actions, a power of two.
    #[serde(default = "default_lists")]
    pub lists: u64,
    /// Time after which the VM uses no entry any more if the host is silent.
    #[serde(default = "default_lease")]
    pub lease_ticks: u64,
    /// Time after which the VM loses its windows if it does not report that a change is done.
    #[serde(default = "default_revoke")]
    pub revoke_ticks: u64,
    /// Time after which a flow that is not used is removed.
    #[serde(default = "default_idle")]
    pub idle_ticks: u64,
    /// With `openvswitch`: the folder with its control socket `ovs-vswitchd.ctl`, and the socket of each port, which
    /// has the name of its VM.
    pub folder: Option<String>,
    /// With `openvswitch`: the bridge.
    #[serde(default = "default_bridge")]
    pub bridge: String,
}

impl FlowsConfig {
    /// Returns the name of the file with flows, if the full switch is one.
    pub fn file(&self) -> Option<&str> {
        self.switch.ends_with(".toml").then_some(&self.switch)
    }

    /// Checks all values, for a table with `senders` VMs that send to its VM.
    ///
    /// # Errors
    /// [`VmError`].
    pub fn check(&self, senders: usize) -> Result<(), VmError> {
        let power = |least: u64, number: u64| number.is_power_of_two() && (least..=MOST).contains(&number);
        if !power(4, self.entries) {
            return Err(VmError::Flows("entries", self.entries, "a power of two from 4 to 1048576 is needed"));
        }
        if !power(1, self.lists) {
            return Err(VmError::Flows("lists", self.lists, "a power of two up to 1048576 is needed"));
        }
        let times =
            [("lease_ticks", self.lease_ticks), ("revoke_ticks", self.revoke_ticks), ("idle_ticks", self.idle_ticks)];
        if let Some((key, value)) = times.into_iter().find(|(_, value)| *value == 0 || *value > u64::MAX / 4) {
            return Err(VmError::Flows(key, value, "1 to 2^62 are possible"));
        }
        if self.file().is_none() && !["learning", "openvswitch"].contains(&self.switch.as_str()) {
            return Err(VmError::FlowsSwitch(self.switch.clone()));
        }
        if (self.switch == "openvswitch") != self.folder.is_some() {
            return Err(VmError::FlowsFolder);
        }
        if senders >= MAX_SENDERS { Err(VmError::FlowsSenders(senders)) } else { Ok(()) }
    }
}

/// Returns the ids of the VMs at the ports of an in-VM switch, with the number of each port: `peers` by their index,
/// and behind those the `senders` that only send to it.
pub fn flow_ports(peers: &[usize], senders: &[usize]) -> Vec<(u16, usize)> {
    let others = senders.iter().filter(|sender| !peers.contains(sender));
    let all = (0..).zip(peers).chain((sluice_abi::directory::MAX_PEERS as u16..).zip(others));
    all.map(|(port, id)| (port, *id)).collect()
}

fn default_switch() -> String {
    "learning".to_string()
}

fn default_bridge() -> String {
    "br0".to_string()
}

const fn default_entries() -> u64 {
    4096
}

const fn default_lists() -> u64 {
    256
}

const fn default_lease() -> u64 {
    10_000_000_000
}

const fn default_revoke() -> u64 {
    1_000_000_000
}

const fn default_idle() -> u64 {
    10_000_000_000
}

impl Manifest {
    pub(super) fn check_flows(&self, id: usize) -> Result<(), VmError> {
        let Some(flows) = &self.vms[id].flows else { return Ok(()) };
        flows.check(self.senders_to(id).count())
    }

    /// Returns the ids of the VMs at the ports of VM `id`'s in-VM switch, with the number of each port: its peers by
    /// their index, and behind those the VMs that only send to it.
    pub fn ports_of(&self, id: usize) -> Vec<(u16, usize)> {
        let (peers, senders): (Vec<_>, Vec<_>) = (self.peers_of(id).collect(), self.senders_to(id).collect());
        flow_ports(&peers, &senders)
    }
}
