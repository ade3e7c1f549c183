//! The manifest: a TOML file that says which VMs there are. See: docs/interfaces.md.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, de};
use sluice_abi::boot::{ARGS_LEN, MAX_MODULES, Module};
use sluice_abi::directory::{GateKind, MAX_PEERS, NAME_LEN};

/// VMs that one host runs: one, and as many peers as it can have.
pub const MAX_VMS: usize = MAX_PEERS + 1;
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
    /// Ticks that a call which the watchdog saw may then go on, if `watchdog_ticks` are not fewer; 0: it is aborted at once.
    #[serde(default = "default_grace")]
    pub grace_ticks: u64,
    /// Ticks after which a VM that shares its processor makes room for the next.
    #[serde(default = "default_quantum")]
    pub quantum_ticks: u64,
    /// The VMs; a VM's id is its place here.
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
    #[error("ram_mib = {0}: an even number from {least} to {most} is needed", least = RAM_MIB.start(), most = RAM_MIB.end())]
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
    /// Nobody has that name.
    #[error("peer \"{0}\": no such vm")]
    NoSuchPeer(String),
    /// Its own name.
    #[error("peer \"{0}\": a vm can't be its own peer")]
    Itself(String),
    /// What it has sent would be forgotten.
    #[error("restarts: a vm that has peers needs the gate isolated or hypercall for that")]
    Restarts,
    /// A receive queue has one producer at a time.
    #[error("peer \"{0}\": \"{1}\" sends to it already, and a receive queue has one sender")]
    SecondSender(String, String),
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
        self.check_peers(id)
    }

    fn check_peers(&self, id: usize) -> Result<(), VmError> {
        let vm = &self.vms[id];
        if vm.peers.len() > MAX_PEERS {
            return Err(VmError::Peers(vm.peers.len()));
        }
        for (place, peer) in vm.peers.iter().enumerate() {
            if self.id_of(peer).is_none() {
                return Err(VmError::NoSuchPeer(peer.clone()));
            }
            if *peer == vm.name {
                return Err(VmError::Itself(peer.clone()));
            }
            let earlier = self.vms[..id].iter().find(|other| other.peers.contains(peer));
            let again = vm.peers[..place].contains(peer).then_some(vm);
            if let Some(other) = earlier.or(again) {
                return Err(VmError::SecondSender(peer.clone(), other.name.clone()));
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
mod tests {
    use super::*;
    use alloc::format;

    const A: &str = "[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"send\"\ngate = \"isolated\"\n";
    const B: &str = "[[vm]]\nname = \"b\"\nram_mib = 16\nimage = \"receive\"\ngate = \"direct\"\n";

    #[test]
    fn what_is_left_out_has_a_default() {
        let manifest = Manifest::parse(&format!("{A}peers = [\"b\"]\n{B}")).unwrap();
        assert_eq!((manifest.watchdog_ticks, manifest.vms[0].mtu), (1 << 31, 1500));
        assert_eq!(manifest.peers_of(0).collect::<Vec<_>>(), [1]);
        assert_eq!(manifest.vms[0].gate, GateKind::Isolated);
    }

    #[test]
    fn a_vm_is_started_again_where_nothing_is_forgotten() {
        let restarted = |text: &str| Manifest::parse(text).map(|manifest| manifest.vms[0].restarts);
        assert_eq!(restarted(&format!("{B}restarts = 3")), Ok(3));
        assert_eq!(restarted(&format!("{A}restarts = 2\npeers = [\"b\"]\n{B}")), Ok(2));
        assert_eq!(restarted(A), Ok(0));
    }

    #[test]
    fn a_vm_sends_to_64_peers() {
        let others = |each: fn(u32) -> String| (0..MAX_PEERS as u32).map(each).collect::<String>();
        let peers = others(|id| format!("\"v{id}\", "));
        let all = others(|id| B.replace("\"b\"", &format!("\"v{id}\"")));
        let manifest = Manifest::parse(&format!("{A}peers = [{peers}]\n{all}")).unwrap();
        assert!(manifest.peers_of(0).eq(1..=MAX_PEERS));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        let vm = |name: &str, rest: &str| {
            format!("[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
        };
        let peers = |count| format!("peers = [{}]", "\"b\", ".repeat(count));
        let cases = [
            (String::new(), "manifest: 0 VMs; 1 to 65 are possible"),
            ("[[vm]".into(), "manifest: line 1: "),
            (format!("{A}colour = 3"), "manifest: line 6: unknown field `colour`"),
            (A.replace("isolated", "wooden"), "manifest: line 5: unknown variant `wooden`"),
            (A.replace("16", "-1"), "manifest: line 3: "),
            (A.replace("ram_mib = 16\n", ""), "manifest: line 1: missing field `ram_mib`"),
            (vm("A", ""), "manifest: vm \"A\": name: a-z"),
            (format!("{A}{A}"), "manifest: vm \"a\": name: used twice"),
            (A.replace("16", "15"), "manifest: vm \"a\": ram_mib = 15: an even number from 4 to 2048 is needed"),
            (A.replace("16", "4096"), "manifest: vm \"a\": ram_mib = 4096: an even"),
            (format!("{A}mtu = 67"), "manifest: vm \"a\": mtu = 67: 68 to 65517 are possible"),
            (format!("{A}args = \"{}\"", "x".repeat(513)), "manifest: vm \"a\": args: 513 bytes"),
            (
                vm("a", "restarts = 1\npeers = [\"b\"]") + B,
                "manifest: vm \"a\": restarts: a vm that has peers needs the gate isolated or hypercall",
            ),
            (format!("{A}modules = [\"a b\"]"), "manifest: vm \"a\": module \"a b\": a name of"),
            (format!("{A}peers = [\"x\"]"), "manifest: vm \"a\": peer \"x\": no such vm"),
            (format!("{A}peers = [\"a\"]"), "manifest: vm \"a\": peer \"a\": a vm can't be its own peer"),
            (format!("{A}peers = [\"b\", \"b\"]\n{B}"), "manifest: vm \"a\": peer \"b\": \"a\" sends to it already"),
            (
                format!("{A}peers = [\"b\"]\n{B}{}", vm("c", "peers = [\"b\"]")),
                "manifest: vm \"c\": peer \"b\": \"a\" sends to it",
            ),
            ((0..66).map(|id| vm(&format!("v{id}"), "")).collect(), "manifest: 66 VMs; 1 to 65 are possible"),
            (vm("a", &peers(65)), "manifest: vm \"a\": peers: 65; at most 64 are possible"),
        ];
        for (text, expected) in cases {
            let error = Manifest::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}\nwanted {expected}");
        }
    }
}
