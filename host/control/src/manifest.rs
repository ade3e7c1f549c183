//! The manifest: a TOML file that says which VMs there are. See: docs/interfaces.md.

mod lan;

use crate::device::MAX_PAIRS;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
pub use lan::{Addresses, Mac};
use serde::{Deserialize, Deserializer, de};
use sluice_abi::boot::{ARGS_LEN, MAX_MODULES, Module};
use sluice_abi::directory::{GateKind, MAX_PEERS, NAME_LEN};

/// VMs that one host runs: one, and as many peers as it can have.
pub const MAX_VMS: usize = MAX_PEERS + 1;
/// VMs that may send to one: each has a queue pair of its own, behind the switch's.
const MAX_SENDERS: usize = MAX_PAIRS as usize - 1;
/// MiB of RAM that a VM may have. The lower bound leaves room for an image, the upper is what one window maps.
const RAM_MIB: core::ops::RangeInclusive<u32> = 4..=2048;
/// See: RFC 791 section 3.2 for the lower bound; frames have 16-bit lengths.
const MTU: core::ops::RangeInclusive<u16> = 68..=65_517;

/// All VMs, and how they share processors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Ticks of the time-stamp counter that a call may stay in the window when nothing else interrupts it (rule G10).
    #[serde(default = "default_watchdog")]
    pub watchdog_ticks: u64,
    /// Ticks that a call which the watchdog saw may then go on, if `watchdog_ticks` are not fewer; 0: it is aborted at
    /// once.
    #[serde(default = "default_grace")]
    pub grace_ticks: u64,
    /// Ticks after which a VM that shares its processor makes room for the next.
    #[serde(default = "default_quantum")]
    pub quantum_ticks: u64,
    /// Ticks (with the launcher nanoseconds) after which the switch forgets an address from which no frame came.
    #[serde(default = "default_ageing")]
    pub ageing_ticks: u64,
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

/// One VM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// Its name: a-z, 0-9, - and _, at most 16 bytes.
    pub name: String,
    /// Its RAM, MiB, an even number.
    pub ram_mib: u32,
    /// Boot module that holds its image.
    pub image: String,
    /// What the image gets as arguments.
    #[serde(default)]
    pub args: String,
    /// Processor that runs it; without, the host chooses.
    pub cpu: Option<usize>,
    /// How it reaches its peers.
    #[serde(deserialize_with = "gate")]
    pub gate: GateKind,
    /// VMs it may send to.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Boot modules it gets as files.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Largest payload of a frame to it, bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// Times that the host starts it again after it ended, however it did.
    #[serde(default)]
    pub restarts: u32,
    /// VMs to which the switch forwards what it transmits; without, its peers.
    pub lan: Option<Vec<String>>,
    /// Source addresses that it may use on the switch, beside its device's own.
    #[serde(default)]
    pub macs: Addresses,
    /// Whether its driver may give the device another address.
    #[serde(default)]
    pub set_mac: bool,
    /// File into which all frames go that the switch takes from it and forwards to it.
    pub tap: Option<String>,
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
    /// Not TOML, or not these keys.
    #[error("manifest: line {line}: {what}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        what: String,
    },
    /// Too many, or none.
    #[error("manifest: {0} VMs; 1 to {MAX_VMS} are possible")]
    Count(usize),
    /// One VM's entry.
    #[error("manifest: vm \"{vm}\": {what}")]
    Vm {
        /// Its name.
        vm: String,
        /// What is wrong with it.
        what: VmError,
    },
}

/// What is wrong with one VM's entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VmError {
    /// The name itself.
    #[error("name: a-z, 0-9, - and _, 1 to {NAME_LEN} bytes")]
    Name,
    /// Two VMs have it.
    #[error("name: used twice")]
    NameTwice,
    /// RAM size.
    #[error("ram_mib = {0}: an even number from {a} to {z} is needed", a = RAM_MIB.start(), z = RAM_MIB.end())]
    Ram(u32),
    /// MTU.
    #[error("mtu = {0}: {least} to {most} are possible", least = MTU.start(), most = MTU.end())]
    Mtu(u16),
    /// Arguments.
    #[error("args: {0} bytes; at most {ARGS_LEN} are possible")]
    Args(usize),
    /// Files.
    #[error("modules: {0}; at most {MAX_MODULES} are possible")]
    Modules(usize),
    /// A file's name.
    #[error("module \"{0}\": a name of 1 to 32 bytes without white space is needed")]
    ModuleName(String),
    /// Too many peers.
    #[error("peers: {0}; at most {MAX_PEERS} are possible")]
    Peers(usize),
    /// The device of a peer has no queue pair left for this VM.
    #[error("peer \"{0}\": {1} vms send to it; at most {MAX_SENDERS} are possible")]
    Senders(String, usize),
    /// Nobody has that name.
    #[error("peer \"{0}\": no such vm")]
    NoSuchPeer(String),
    /// Its own name.
    #[error("peer \"{0}\": a vm can't be its own peer")]
    Itself(String),
    /// What it has sent would be forgotten.
    #[error("restarts: a vm that has peers needs the gate isolated or hypercall for that")]
    Restarts,
    /// A name that is in a list twice.
    #[error("{0} \"{1}\": named twice")]
    Twice(&'static str, String),
    /// Nobody has that name.
    #[error("lan \"{0}\": no such vm")]
    NoSuchPort(String),
    /// Its own name.
    #[error("lan \"{0}\": the switch forwards nothing to the vm that it comes from")]
    OwnPort(String),
    /// Two VMs would have one address.
    #[error("mac {0}: the address of vm \"{1}\"")]
    MacOf(Mac, String),
    /// A file's name.
    #[error("tap \"{0}\": a file name of 1 to 32 bytes without white space and / is needed")]
    TapName(String),
    /// Two VMs would write one file.
    #[error("tap \"{0}\": vm \"{1}\" has the same")]
    TapTwice(String, String),
}

impl VmError {
    /// The key that is wrong.
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

    /// The ids of the VMs that VM `id` may send to, in the order of its directory.
    pub fn peers_of(&self, id: usize) -> impl Iterator<Item = usize> {
        let names = self.vms.get(id).map_or(&[][..], |vm| &vm.peers);
        names.iter().filter_map(|name| self.id_of(name))
    }

    /// The ids of the VMs that may send to VM `id` by a window, in their order.
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
