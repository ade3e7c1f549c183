//! The policy file: which VMs there are, and who may send to whom. See: docs/interfaces.md.
//!
//! Reading order: [`Policy::read`], [`Policy`] (what the file means), `file` (what stands in it), `taps` (the ports
//! that are no VMs), `parts` (what both have).

mod file;
mod parts;
mod taps;

use file::File;
use parts::{Owner, check_limit, check_name, check_path, line, list, listed, named, write_rest};
use serde::Serialize;
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::map::PACKETS_LEN;
use sluice_abi::run::RUN_ALIGN;
use sluice_control::{Addresses, Limit, MAX_PAIRS, MTU, Mac, Member, PortConfig};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use taps::Tap;

/// Largest length of a policy file, bytes.
const MAX_LEN: u64 = 1 << 20;
/// Largest number of VMs.
pub const MAX_VMS: usize = 256;

/// A policy that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The folder of all paths that are not absolute.
    pub folder: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// Time after which the switch forgets an address from which no frame came.
    pub ageing: Duration,
    /// The VMs; a VM's id is its index here.
    pub vms: Vec<Vm>,
    /// The taps; a tap's id is its index here, behind the ids of all VMs.
    pub taps: Vec<Tap>,
}

/// A VM that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// The name: a-z, 0-9, - and _, at most 16 bytes.
    pub name: String,
    /// The socket of its front-end.
    pub socket: PathBuf,
    /// The address of its device.
    pub mac: Mac,
    /// Source addresses that it may use beside that.
    pub macs: Addresses,
    /// Number of queue pairs.
    pub pairs: u16,
    /// Largest payload of a frame to the VM, bytes.
    pub mtu: u16,
    /// The ids of the VMs and taps to which its frames are forwarded.
    pub lan: Vec<usize>,
    /// How many frames it may transmit.
    pub limit: Limit,
    /// The file to which its frames are captured.
    pub capture: Option<PathBuf>,
    /// Length of its RAM in bytes, if it is a process; else a front-end has the VM's memory.
    pub ram_len: Option<u64>,
    /// The ids of the VMs into whose queues it may put frames by itself.
    pub peers: Vec<usize>,
}

impl Vm {
    /// Returns what the network knows of the VM.
    fn member(&self) -> Member {
        let Self { name, mac, mtu, pairs, macs, ram_len, peers, .. } = self.clone();
        Member { name, mac, mtu, pairs, macs, ram_len, peers }
    }

    /// Returns what the switch knows of the VM.
    pub fn port(&self) -> PortConfig {
        PortConfig { lan: self.lan.clone(), limit: self.limit, is_network: false }
    }
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The key, and what is wrong with it.
        what: String,
    },
}

/// What is wrong with the value of a key, and where in the text the value begins.
#[derive(Debug)]
struct Wrong {
    at: usize,
    what: String,
}

/// Returns the error of a value that begins at `at`.
fn wrong<T>(at: usize, what: String) -> Result<T, Wrong> {
    Err(Wrong { at, what })
}

impl Policy {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let read = || -> io::Result<String> {
            let (mut file, mut text) = (std::fs::File::open(path)?.take(MAX_LEN + 1), String::new());
            file.read_to_string(&mut text)?;
            let long = || io::Error::other(format!("longer than {MAX_LEN} bytes"));
            if text.len() as u64 > MAX_LEN { Err(long()) } else { Ok(text) }
        };
        let text = read().map_err(|error| PolicyError::Read { path: path.into(), error })?;
        let named =
            |wrong: Wrong| PolicyError::Line { path: path.into(), line: line(&text, wrong.at), what: wrong.what };
        Self::parse(&text).map_err(named)
    }

    /// Reads and checks a policy.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|error| {
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            Wrong { at: error.span().map_or(0, |span| span.start), what }
        })?;
        if file.vms.is_empty() || file.vms.len() > MAX_VMS {
            return wrong(0, format!("[[vm]]: {} VMs; 1 to {MAX_VMS} are possible", file.vms.len()));
        }
        let folder = file.server.folder.clone();
        let control = file.server.control(&folder);
        check_path(0, "control", &control)?;
        let vms = (0..file.vms.len()).map(|id| vm(&file, id, &folder)).collect::<Result<Vec<_>, _>>()?;
        let taps = taps::read(&file, text, &folder)?;
        let policy = Self { folder, control, ageing: Duration::from_secs(file.server.ageing_seconds), vms, taps };
        policy.check_files(&file)?;
        policy.check_macs(&file)?;
        policy.check_pairs(&file)?;
        Ok(policy)
    }

    /// Returns what the network knows of all VMs and taps, by id.
    pub fn members(&self) -> Vec<Member> {
        self.vms.iter().map(Vm::member).chain(self.taps.iter().map(Tap::member)).collect()
    }

    /// Returns whether another VM puts frames into the queues of VM `id` by itself.
    pub fn is_peer(&self, id: usize) -> bool {
        self.vms.iter().any(|vm| vm.peers.contains(&id))
    }

    /// Returns the id here of VM `id` of `new`, if what is connected may go on as that.
    fn before(&self, new: &Self, id: usize) -> Option<usize> {
        let parts = |policy: &Self, id: usize| {
            let (vm, is_peer) = (&policy.vms[id], policy.is_peer(id));
            let peers: Vec<_> = policy.names(&vm.peers).map(str::to_owned).collect();
            (vm.name.clone(), vm.socket.clone(), vm.mac, vm.pairs, vm.mtu, vm.ram_len, peers, is_peer)
        };
        let wanted = parts(new, id);
        (0..self.vms.len()).find(|&old| parts(self, old) == wanted)
    }

    /// Checks that a process has a queue pair for each VM that puts frames into its queues by itself. Those that do so
    /// with a front-end's share one where it has too few.
    fn check_pairs(&self, file: &File) -> Result<(), Wrong> {
        for (id, vm) in self.vms.iter().enumerate() {
            let senders = self.vms.iter().filter(|other| other.peers.contains(&id)).count();
            if vm.ram_len.is_some() && usize::from(vm.pairs) <= senders {
                let (name, pairs, needed) = (&vm.name, vm.pairs, senders + 1);
                let what = format!("pairs: {pairs}; {needed} are needed: one for the switch, and one for each sender");
                return wrong(file.vms[id].at("pairs"), format!("vm \"{name}\": {what}"));
            }
        }
        Ok(())
    }

    /// Checks that no two parts have one socket or file.
    fn check_files(&self, file: &File) -> Result<(), Wrong> {
        let mut seen = BTreeMap::from([(self.control.clone(), "the control socket".to_owned())]);
        let mut check = |at: usize, owner: String, key: &str, path: Option<&PathBuf>| match path {
            Some(path) => match seen.insert(path.clone(), format!("the {key} of {owner}")) {
                Some(other) => wrong(at, format!("{owner}: {key} \"{}\": it is {other}", path.display())),
                None => Ok(()),
            },
            None => Ok(()),
        };
        for (vm, entry) in self.vms.iter().zip(&file.vms) {
            for (key, path) in [("socket", Some(&vm.socket)), ("capture", vm.capture.as_ref())] {
                check(entry.at(key), format!("vm \"{}\"", vm.name), key, path)?;
            }
        }
        for (tap, entry) in self.taps.iter().zip(&file.taps) {
            check(entry.at("capture"), format!("tap \"{}\"", tap.name), "capture", tap.capture.as_ref())?;
        }
        Ok(())
    }

    /// Checks that no address is that of two VMs or taps.
    fn check_macs(&self, file: &File) -> Result<(), Wrong> {
        let mut seen: BTreeMap<[u8; 6], String> = BTreeMap::new();
        let mut check = |at: usize, owner: String, key: &str, mac: Mac| match seen.insert(mac.0, owner.clone()) {
            Some(other) if other != owner => wrong(at, format!("{owner}: {key} {mac}: an address of {other}")),
            _ => Ok(()),
        };
        for (vm, entry) in self.vms.iter().zip(&file.vms) {
            let owner = || format!("vm \"{}\"", vm.name);
            check(entry.at("mac"), owner(), "mac", vm.mac)?;
            listed(&vm.macs).iter().try_for_each(|&mac| check(entry.at("macs"), owner(), "macs", mac))?;
        }
        for (tap, entry) in self.taps.iter().zip(&file.taps) {
            let owner = || format!("tap \"{}\"", tap.name);
            listed(&tap.macs).iter().try_for_each(|&mac| check(entry.at("macs"), owner(), "macs", mac))?;
        }
        Ok(())
    }

    /// Returns what the switch knows of all VMs and taps, by id.
    pub fn port_configs(&self) -> impl Iterator<Item = PortConfig> {
        self.vms.iter().map(Vm::port).chain(self.taps.iter().map(Tap::port))
    }

    /// Returns the ids that the VMs and taps of `new` have here, in the order of `new`; none for those whose session or
    /// device can't go on.
    pub fn stay(&self, new: &Self) -> Vec<Option<usize>> {
        let vms = (0..new.vms.len()).map(|vm| self.before(new, vm));
        let tap = |tap| self.taps.iter().position(|old| old.keeps_device(tap)).map(|at| self.vms.len() + at);
        vms.chain(new.taps.iter().map(tap)).collect()
    }

    /// Returns the number of VMs and taps, whose ids are below it.
    pub fn ports(&self) -> usize {
        self.vms.len() + self.taps.len()
    }

    /// Returns the name of the VM or tap with this id.
    pub fn name(&self, id: usize) -> Option<&str> {
        let tap = || self.taps.get(id.checked_sub(self.vms.len())?).map(|tap| tap.name.as_str());
        self.vms.get(id).map(|vm| vm.name.as_str()).or_else(tap)
    }

    /// Returns the names of the VMs and taps with these ids.
    pub fn names<'p>(&'p self, ids: &'p [usize]) -> impl Iterator<Item = &'p str> {
        ids.iter().filter_map(|&id| self.name(id))
    }

    /// Returns the capture files of all VMs and taps, by id.
    pub fn captures(&self) -> impl Iterator<Item = Option<&Path>> {
        let vms = self.vms.iter().map(|vm| vm.capture.as_deref());
        vms.chain(self.taps.iter().map(|tap| tap.capture.as_deref()))
    }

    /// Returns what the policy means, for people and programs.
    pub fn meaning(&self) -> Meaning {
        let vm = |vm: &Vm| Means {
            name: vm.name.clone(),
            socket: vm.socket.clone(),
            mac: vm.mac.to_string(),
            macs: list(&vm.macs),
            pairs: vm.pairs,
            mtu: vm.mtu,
            lan: self.names(&vm.lan).map(str::to_owned).collect(),
            packets_per_second: vm.limit.packets_per_second,
            bits_per_second: vm.limit.bits_per_second,
            capture: vm.capture.clone(),
            ram_bytes: vm.ram_len,
            peers: self.names(&vm.peers).map(str::to_owned).collect(),
        };
        let (control, ageing_seconds) = (self.control.clone(), self.ageing.as_secs());
        let taps = self.taps.iter().map(|tap| taps::Means::of(self, tap)).collect();
        Meaning { control, ageing_seconds, vms: self.vms.iter().map(vm).collect(), taps }
    }
}

/// What a policy means.
#[derive(Debug, Serialize)]
pub struct Meaning {
    control: PathBuf,
    ageing_seconds: u64,
    vms: Vec<Means>,
    taps: Vec<taps::Means>,
}

#[derive(Debug, Serialize)]
struct Means {
    name: String,
    socket: PathBuf,
    mac: String,
    macs: Vec<String>,
    pairs: u16,
    mtu: u16,
    lan: Vec<String>,
    packets_per_second: Option<u64>,
    bits_per_second: Option<u64>,
    capture: Option<PathBuf>,
    ram_bytes: Option<u64>,
    peers: Vec<String>,
}

impl std::fmt::Display for Meaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "control socket {}, addresses age in {} s", self.control.display(), self.ageing_seconds)?;
        for vm in &self.vms {
            writeln!(f, "vm {}: {} at {}", vm.name, vm.mac, vm.socket.display())?;
            writeln!(f, "    queue pairs: {}, MTU {}", vm.pairs, vm.mtu)?;
            let list = |names: &[String]| if names.is_empty() { "nobody".into() } else { names.join(", ") };
            writeln!(f, "    sends to {}", list(&vm.lan))?;
            let is_mute = |name: &&String| {
                self.vms.iter().any(|it| it.name == **name && !it.lan.contains(&vm.name))
                    || self.taps.iter().any(|it| it.is_mute_to(name, &vm.name))
            };
            let mute: Vec<_> = vm.lan.iter().filter(is_mute).cloned().collect();
            if !mute.is_empty() {
                writeln!(f, "    gets no answer from {}: they may not send to it", mute.join(", "))?;
            }
            if !vm.macs.is_empty() {
                writeln!(f, "    may also send from {}", vm.macs.join(", "))?;
            }
            if let Some(bytes) = vm.ram_bytes {
                writeln!(f, "    a process with {} MiB of RAM", bytes >> 20)?;
            }
            if !vm.peers.is_empty() {
                let peers = vm.peers.join(", ");
                writeln!(f, "    writes into the memory of {peers}: nothing protects them from it")?;
            }
            write_rest(f, [vm.packets_per_second, vm.bits_per_second], vm.capture.as_deref())?;
        }
        self.taps.iter().try_for_each(|tap| write!(f, "{tap}"))
    }
}

/// Returns VM `id` of `file`, checked on its own.
fn vm(file: &File, id: usize, folder: &Path) -> Result<Vm, Wrong> {
    let entry = &file.vms[id];
    let name = entry.name.get_ref().clone();
    let fail = |key: &str, what: String| wrong(entry.at(key), format!("vm \"{name}\": {key}: {what}"));
    if let Err(what) = check_name(&name) {
        return fail("name", what);
    }
    if file.vms[..id].iter().any(|other| *other.name.get_ref() == name) {
        return fail("name", "used twice".into());
    }
    let (pairs, mtu) = (entry.pairs().unwrap_or_else(|| 1 + file.senders_to(&name)), entry.mtu());
    if !(1..=MAX_PAIRS).contains(&pairs) {
        return fail("pairs", format!("{pairs}; 1 to {MAX_PAIRS} are possible"));
    }
    if !MTU.contains(&mtu) {
        return fail("mtu", format!("{mtu}; {} to {} are possible", MTU.start(), MTU.end()));
    }
    let socket = folder.join(entry.socket().map_or_else(|| format!("{name}.sock").into(), Path::to_path_buf));
    check_path(entry.at("socket"), "socket", &socket)?;
    let limit = entry.limit();
    if let Err(what) = check_limit(limit) {
        return fail("limit", what);
    }
    let ram_len = entry.ram_mib().map(|mib| u64::from(mib) << 20);
    if ram_len.is_some_and(|len| !len.is_multiple_of(RUN_ALIGN) || !(RUN_ALIGN..=PACKETS_LEN).contains(&len)) {
        return fail("ram_mib", format!("an even number from 2 to {} is needed", PACKETS_LEN >> 20));
    }
    let owner = Owner { kind: "vm", name: &name };
    let peers = named(file, &owner, "peers", &entry.peers)?;
    if ram_len.is_none() && !peers.is_empty() {
        return fail("peers", "only a process has some: a VM with ram_mib".into());
    }
    if peers.len() > MAX_PEERS {
        return fail("peers", format!("{}; at most {MAX_PEERS} are possible", peers.len()));
    }
    let lan = named(file, &owner, "lan", &entry.lan)?;
    let capture = entry.capture().map(|path| folder.join(path));
    let (mac, macs) = (entry.mac(), entry.macs());
    Ok(Vm { name, socket, mac, macs, pairs, mtu, lan, limit, capture, ram_len, peers })
}

#[cfg(test)]
mod tests;
