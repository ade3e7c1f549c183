//! The manifest: a TOML file that describes the VMs. See: docs/interfaces.md.

mod flows;
mod lan;

use crate::device::MAX_PAIRS;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
pub use flows::{FlowsConfig, flow_ports};
pub use lan::{Addresses, Mac};
use serde::{Deserialize, Deserializer, de};
use sluice_abi::boot::{ARGS_LEN, MAX_MODULES, Module};
use sluice_abi::directory::{GateKind, MAX_PEERS, NAME_LEN};

/// Largest number of VMs of a host: one, and as many peers as it can have.
pub const MAX_VMS: usize = MAX_PEERS + 1;
/// Largest number of VMs that may send to one. Each has a queue pair of its own, after the switch's.
const MAX_SENDERS: usize = MAX_PAIRS as usize - 1;
/// Range of a VM's RAM in MiB. The lower bound leaves room for an image; the upper is the most that a window maps.
const RAM_MIB: core::ops::RangeInclusive<u32> = 4..=2048;
/// Range of an MTU in bytes. The lower bound is that of RFC 791 section 3.2; the upper, that frames have 16-bit
/// lengths.
pub const MTU: core::ops::RangeInclusive<u16> = 68..=65_517;

/// A manifest: all VMs, and how they share processors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Ticks of the time-stamp counter that a call may stay in the window if nothing else interrupts it (rule G10).
    #[serde(default = "default_watchdog")]
    pub watchdog_ticks: u64,
    /// Ticks that a call may go on after the watchdog first saw it, at most `watchdog_ticks`. With 0 it is aborted at
    /// once.
    #[serde(default = "default_grace")]
    pub grace_ticks: u64,
    /// Ticks after which a VM that shares its processor makes room for the next.
    #[serde(default = "default_quantum")]
    pub quantum_ticks: u64,
    /// Ticks (with the launcher nanoseconds) after which the switch forgets an address from which no frame came.
    #[serde(default = "default_ageing")]
    pub ageing_ticks: u64,
    /// Ticks (with the launcher nanoseconds) from one print of the switch's counters, and of the flow tables, to the
    /// next; with 0 they are printed at the end alone.
    #[serde(default)]
    pub report_ticks: u64,
    /// The VMs; a VM's id is its index here.
    #[serde(rename = "vm", default)]
    pub vms: Vec<VmConfig>,
}

const fn default_watchdog() -> u64 {
    1 << 31
}

const fn default_grace() -> u64 {
    10_000_000
}

const fn default_quantum() -> u64 {
    2_000_000
}

/// Five minutes of a launcher, two of a processor of 2.5 GHz. See: IEEE 802.1Q clause 8.8.3 "Ageing".
const fn default_ageing() -> u64 {
    300_000_000_000
}

/// The entry of one VM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// Name of the VM: a-z, 0-9, - and _, at most 16 bytes.
    pub name: String,
    /// RAM of the VM in MiB, an even number.
    pub ram_mib: u32,
    /// Boot module with the VM's image.
    pub image: String,
    /// Arguments for the image.
    #[serde(default)]
    pub args: String,
    /// Processor that runs the VM; the host chooses if the key is missing.
    pub cpu: Option<usize>,
    /// Gate through which the VM reaches its peers.
    #[serde(deserialize_with = "gate")]
    pub gate: GateKind,
    /// VMs to which this one may send.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Boot modules that the VM gets as files.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Largest payload of a frame to the VM in bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// Number of times that the host starts the VM again after it ended in any way.
    #[serde(default)]
    pub restarts: u32,
    /// VMs to which the switch forwards the VM's frames; its peers if the key is missing.
    pub lan: Option<Vec<String>>,
    /// Source addresses that the VM may use on the switch, beside its device's own.
    #[serde(default)]
    pub macs: Addresses,
    /// Whether the driver may give the device another address.
    #[serde(default)]
    pub set_mac: bool,
    /// File for the capture of all frames that the switch takes from the VM and forwards to it.
    pub tap: Option<String>,
    /// The flow table of a VM with an in-VM switch.
    pub flows: Option<FlowsConfig>,
}

const fn default_mtu() -> u16 {
    1500
}

fn gate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GateKind, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = GateKind::ALL.into_iter().find(|kind| kind.name() == name);
    known.ok_or_else(|| de::Error::unknown_variant(&name, &["direct", "guarded", "isolated", "hypercall"]))
}

/// What is wrong with a manifest, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is not TOML, or has other keys.
    #[error("manifest: line {line}: {what}")]
    Syntax {
        /// Number of the line, from 1.
        line: usize,
        /// Message of the parser.
        what: String,
    },
    /// The manifest has too many VMs, or none.
    #[error("manifest: {0} VMs; 1 to {MAX_VMS} are possible")]
    Count(usize),
    /// The entry of a VM is wrong.
    #[error("manifest: vm \"{vm}\": {what}")]
    Vm {
        /// Name of the VM.
        vm: String,
        /// What is wrong with the entry.
        what: VmError,
    },
}

/// What is wrong with one VM's entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VmError {
    /// The name has other characters, or is too long.
    #[error("name: a-z, 0-9, - and _, 1 to {NAME_LEN} bytes")]
    Name,
    /// Two VMs have this name.
    #[error("name: used twice")]
    NameTwice,
    /// The RAM size is not possible.
    #[error("ram_mib = {0}: an even number from {a} to {z} is needed", a = RAM_MIB.start(), z = RAM_MIB.end())]
    Ram(u32),
    /// The MTU is not possible.
    #[error("mtu = {0}: {least} to {most} are possible", least = MTU.start(), most = MTU.end())]
    Mtu(u16),
    /// The arguments are too long.
    #[error("args: {0} bytes; at most {ARGS_LEN} are possible")]
    Args(usize),
    /// There are too many files.
    #[error("modules: {0}; at most {MAX_MODULES} are possible")]
    Modules(usize),
    /// The name of a file is not possible.
    #[error("module \"{0}\": a name of 1 to 32 bytes without white space is needed")]
    ModuleName(String),
    /// There are too many peers.
    #[error("peers: {0}; at most {MAX_PEERS} are possible")]
    Peers(usize),
    /// The device of a peer has no queue pair left for this VM.
    #[error("peer \"{0}\": {1} vms send to it; at most {MAX_SENDERS} are possible")]
    Senders(String, usize),
    /// No VM has that name.
    #[error("peer \"{0}\": no such vm")]
    NoSuchPeer(String),
    /// The name is that of the VM itself.
    #[error("peer \"{0}\": a vm can't be its own peer")]
    Itself(String),
    /// The ring positions of a VM that may start again would be lost.
    #[error("restarts: a vm that has peers needs the gate isolated or hypercall for that")]
    Restarts,
    /// A list has a name twice.
    #[error("{0} \"{1}\": named twice")]
    Twice(&'static str, String),
    /// No VM has that name.
    #[error("lan \"{0}\": no such vm")]
    NoSuchPort(String),
    /// The name is that of the VM itself.
    #[error("lan \"{0}\": the switch forwards nothing to the vm that it comes from")]
    OwnPort(String),
    /// Two VMs would have one address.
    #[error("mac {0}: the address of vm \"{1}\"")]
    MacOf(Mac, String),
    /// The name of a file is not possible.
    #[error("tap \"{0}\": a file name of 1 to 32 bytes without white space and / is needed")]
    TapName(String),
    /// A number of the flow table is not possible.
    #[error("flows: {0} = {1}: {2}")]
    Flows(&'static str, u64, &'static str),
    /// The device has no queue pair left for the slow path.
    #[error("flows: {0} vms send to this one; at most {most} are possible", most = MAX_SENDERS - 1)]
    FlowsSenders(usize),
    /// The file is no module of the VM's host.
    #[error("flows: switch \"{0}\": want \"learning\", \"openvswitch\", or a file name that ends with .toml")]
    FlowsSwitch(String),
    /// There is Open vSwitch without its folder, or a folder without it.
    #[error("flows: switch \"openvswitch\" needs a folder, and no other switch has one")]
    FlowsFolder,
    /// Two VMs would write one file.
    #[error("tap \"{0}\": vm \"{1}\" has the same")]
    TapTwice(String, String),
}

impl VmError {
    /// Returns the key that is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Name | Self::NameTwice => "name",
            Self::Ram(_) => "ram_mib",
            Self::Mtu(_) => "mtu",
            Self::Args(_) => "args",
            Self::Modules(_) | Self::ModuleName(_) => "modules",
            Self::Peers(_) | Self::Senders(..) | Self::NoSuchPeer(_) | Self::Itself(_) => "peers",
            Self::Restarts => "restarts",
            Self::Twice("peer", _) => "peers",
            Self::Twice(..) | Self::NoSuchPort(_) | Self::OwnPort(_) => "lan",
            Self::MacOf(..) => "macs",
            Self::TapName(_) | Self::TapTwice(..) => "tap",
            Self::Flows(..) | Self::FlowsSenders(_) | Self::FlowsSwitch(_) | Self::FlowsFolder => "flows",
        }
    }
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
            ManifestError::Syntax { line, what: error.message().lines().collect::<Vec<_>>().join(", ") }
        })?;
        if manifest.vms.is_empty() || manifest.vms.len() > MAX_VMS {
            return Err(ManifestError::Count(manifest.vms.len()));
        }
        for (id, vm) in manifest.vms.iter().enumerate() {
            manifest.check(id).map_err(|what| ManifestError::Vm { vm: vm.name.clone(), what })?;
        }
        Ok(manifest)
    }

    /// Returns the ids of the VMs to which VM `id` may send, in the order of its directory.
    pub fn peers_of(&self, id: usize) -> impl Iterator<Item = usize> {
        let names = self.vms.get(id).map_or(&[][..], |vm| &vm.peers);
        names.iter().filter_map(|name| self.id_of(name))
    }

    /// Returns the ids of the VMs that may send to VM `id` by a window, in ascending order.
    pub fn senders_to(&self, id: usize) -> impl Iterator<Item = usize> {
        (0..self.vms.len()).filter(move |&sender| self.peers_of(sender).any(|peer| peer == id))
    }

    fn id_of(&self, name: &str) -> Option<usize> {
        self.vms.iter().position(|vm| vm.name == name)
    }

    fn check(&self, id: usize) -> Result<(), VmError> {
        let vm = &self.vms[id];
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if !(1..=NAME_LEN).contains(&vm.name.len()) || !vm.name.bytes().all(named) {
            return Err(VmError::Name);
        }
        if self.id_of(&vm.name) != Some(id) {
            return Err(VmError::NameTwice);
        }
        if !RAM_MIB.contains(&vm.ram_mib) || !vm.ram_mib.is_multiple_of(2) {
            return Err(VmError::Ram(vm.ram_mib));
        }
        if !MTU.contains(&vm.mtu) {
            return Err(VmError::Mtu(vm.mtu));
        }
        if vm.args.len() > ARGS_LEN {
            return Err(VmError::Args(vm.args.len()));
        }
        let in_host = matches!(vm.gate, GateKind::Isolated | GateKind::Hypercall);
        if vm.restarts > 0 && !in_host && !vm.peers.is_empty() {
            return Err(VmError::Restarts);
        }
        check_modules(&vm.modules)?;
        self.check_peers(id)?;
        self.check_flows(id)?;
        self.check_lan(id)
    }

    fn check_peers(&self, id: usize) -> Result<(), VmError> {
        let vm = &self.vms[id];
        if vm.peers.len() > MAX_PEERS {
            return Err(VmError::Peers(vm.peers.len()));
        }
        for (index, peer) in vm.peers.iter().enumerate() {
            if self.id_of(peer).is_none() {
                return Err(VmError::NoSuchPeer(peer.clone()));
            }
            let senders = self.id_of(peer).map_or(0, |peer| self.senders_to(peer).count());
            if senders > MAX_SENDERS {
                return Err(VmError::Senders(peer.clone(), senders));
            }
            if *peer == vm.name {
                return Err(VmError::Itself(peer.clone()));
            }
            if vm.peers[..index].contains(peer) {
                return Err(VmError::Twice("peer", peer.clone()));
            }
        }
        Ok(())
    }
}

fn check_modules(names: &[String]) -> Result<(), VmError> {
    if names.len() > MAX_MODULES {
        return Err(VmError::Modules(names.len()));
    }
    let longest = size_of_val(&Module::default().name);
    let bad = |name: &&String| name.is_empty() || name.len() > longest || name.contains(char::is_whitespace);
    names.iter().find(bad).map_or(Ok(()), |name| Err(VmError::ModuleName(name.to_string())))
}

#[cfg(test)]
mod tests;
