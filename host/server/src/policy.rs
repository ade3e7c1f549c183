//! The policy file: which VMs there are, and who may send to whom. See: docs/interfaces.md.
//!
//! Reading order: [`Policy::read`], [`Policy`] (what the file means), `file` (what stands in it).

mod file;

use file::File;
use serde::Serialize;
use sluice_abi::directory::{MAX_PEERS, NAME_LEN};
use sluice_abi::map::PACKETS_LEN;
use sluice_abi::run::RUN_ALIGN;
use sluice_control::{Addresses, Limit, MAX_PAIRS, MTU, Mac, Member, PortConfig};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Largest length of a policy file, bytes.
const MAX_LEN: u64 = 1 << 20;
/// Largest number of VMs.
pub const MAX_VMS: usize = 256;
/// Longest path of a socket, bytes. See: unix(7), `sun_path`.
const MAX_PATH: usize = 107;

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
    /// The ids of the VMs to which its frames are forwarded.
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
        PortConfig { lan: self.lan.clone(), limit: self.limit }
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
        Self::parse(&text).map_err(|wrong| {
            let before = text.as_bytes().iter().take(wrong.at);
            let line = before.filter(|&&byte| byte == b'\n').count() + 1;
            PolicyError::Line { path: path.into(), line, what: wrong.what }
        })
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
        let policy = Self { folder, control, ageing: Duration::from_secs(file.server.ageing_seconds), vms };
        policy.check_files(&file)?;
        policy.check_macs(&file)?;
        policy.check_pairs(&file)?;
        Ok(policy)
    }

    /// Returns what the network knows of the VMs.
    pub fn members(&self) -> Vec<Member> {
        self.vms.iter().map(Vm::member).collect()
    }

    /// Returns whether another VM puts frames into the queues of VM `id` by itself.
    pub fn is_peer(&self, id: usize) -> bool {
        self.vms.iter().any(|vm| vm.peers.contains(&id))
    }

    /// Returns the id here of VM `id` of `new`, if what is connected may go on as that.
    pub fn before(&self, new: &Self, id: usize) -> Option<usize> {
        let parts = |policy: &Self, id: usize| {
            let (vm, is_peer) = (&policy.vms[id], policy.is_peer(id));
            let peers: Vec<_> = policy.names(&vm.peers).map(str::to_owned).collect();
            (vm.name.clone(), vm.socket.clone(), vm.mac, vm.pairs, vm.mtu, vm.ram_len, peers, is_peer)
        };
        let wanted = parts(new, id);
        (0..self.vms.len()).find(|&old| parts(self, old) == wanted)
    }

    /// Checks that a VM has a queue pair for each VM that puts frames into its queues by itself.
    fn check_pairs(&self, file: &File) -> Result<(), Wrong> {
        for (id, vm) in self.vms.iter().enumerate() {
            let senders = self.vms.iter().filter(|other| other.peers.contains(&id)).count();
            if usize::from(vm.pairs) <= senders {
                let (name, pairs, needed) = (&vm.name, vm.pairs, senders + 1);
                let what = format!("pairs: {pairs}; {needed} are needed: one for the switch, and one for each sender");
                return wrong(file.vms[id].at("pairs"), format!("vm \"{name}\": {what}"));
            }
        }
        Ok(())
    }

    /// Checks that no two parts have one socket or file.
    fn check_files(&self, file: &File) -> Result<(), Wrong> {
        let mut seen = BTreeMap::from([(&self.control, "the control socket".to_owned())]);
        for (vm, entry) in self.vms.iter().zip(&file.vms) {
            for (key, path) in [("socket", Some(&vm.socket)), ("capture", vm.capture.as_ref())] {
                let owner = format!("the {key} of vm \"{}\"", vm.name);
                if let Some(other) = path.and_then(|path| seen.insert(path, owner)) {
                    let path = path.map_or_else(String::new, |path| path.display().to_string());
                    return wrong(entry.at(key), format!("vm \"{}\": {key} \"{path}\": it is {other}", vm.name));
                }
            }
        }
        Ok(())
    }

    /// Checks that no address is that of two VMs.
    fn check_macs(&self, file: &File) -> Result<(), Wrong> {
        let mut seen: BTreeMap<[u8; 6], usize> = BTreeMap::new();
        for (id, vm) in self.vms.iter().enumerate() {
            let listed = match &vm.macs {
                Addresses::Any => &[][..],
                Addresses::These(macs) => macs,
            };
            for (key, mac) in [("mac", vm.mac)].into_iter().chain(listed.iter().map(|&mac| ("macs", mac))) {
                match seen.insert(mac.0, id) {
                    Some(other) if other != id => {
                        let (name, owner) = (&vm.name, &self.vms[other].name);
                        let what = format!("vm \"{name}\": {key} {mac}: an address of vm \"{owner}\"");
                        return wrong(file.vms[id].at(key), what);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Returns the names of the VMs with these ids.
    pub fn names<'p>(&'p self, ids: &'p [usize]) -> impl Iterator<Item = &'p str> {
        ids.iter().filter_map(|&id| self.vms.get(id).map(|vm| vm.name.as_str()))
    }

    /// Returns what the policy means, for people and programs.
    pub fn meaning(&self) -> Meaning {
        let vm = |vm: &Vm| Means {
            name: vm.name.clone(),
            socket: vm.socket.clone(),
            mac: vm.mac.to_string(),
            macs: match &vm.macs {
                Addresses::Any => vec!["any".into()],
                Addresses::These(macs) => macs.iter().map(ToString::to_string).collect(),
            },
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
        Meaning { control, ageing_seconds, vms: self.vms.iter().map(vm).collect() }
    }
}

/// What a policy means.
#[derive(Debug, Serialize)]
pub struct Meaning {
    control: PathBuf,
    ageing_seconds: u64,
    vms: Vec<Means>,
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
            let answers = |name: &&String| self.vms.iter().any(|it| it.name == **name && !it.lan.contains(&vm.name));
            let mute: Vec<_> = vm.lan.iter().filter(answers).cloned().collect();
            if !mute.is_empty() {
                writeln!(f, "    gets no answer from {}: they may not send to it", mute.join(", "))?;
            }
            if !vm.macs.is_empty() {
                writeln!(f, "    may also send from {}", vm.macs.join(", "))?;
            }
            let limits = [(vm.packets_per_second, "packets"), (vm.bits_per_second, "bits")];
            for (rate, unit) in limits.iter().filter_map(|(rate, unit)| Some(((*rate)?, unit))) {
                writeln!(f, "    at most {rate} {unit} a second")?;
            }
            if let Some(bytes) = vm.ram_bytes {
                writeln!(f, "    a process with {} MiB of RAM", bytes >> 20)?;
            }
            if !vm.peers.is_empty() {
                let peers = vm.peers.join(", ");
                writeln!(f, "    writes into the memory of {peers}: nothing protects them from it")?;
            }
            if let Some(path) = &vm.capture {
                writeln!(f, "    captured to {}", path.display())?;
            }
        }
        Ok(())
    }
}

/// Returns VM `id` of `file`, checked on its own.
fn vm(file: &File, id: usize, folder: &Path) -> Result<Vm, Wrong> {
    let entry = &file.vms[id];
    let name = entry.name.get_ref().clone();
    let fail = |key: &str, what: String| wrong(entry.at(key), format!("vm \"{name}\": {key}: {what}"));
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if !(1..=NAME_LEN).contains(&name.len()) || !name.bytes().all(fits) {
        return fail("name", format!("a-z, 0-9, - and _, 1 to {NAME_LEN} bytes"));
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
    if [limit.packets_per_second, limit.bits_per_second].contains(&Some(0)) {
        return fail("limit", "a rate of 0; 1 is the least, and lan = [] lets nothing through".into());
    }
    let ram_len = entry.ram_mib().map(|mib| u64::from(mib) << 20);
    if ram_len.is_some_and(|len| !len.is_multiple_of(RUN_ALIGN) || !(RUN_ALIGN..=PACKETS_LEN).contains(&len)) {
        return fail("ram_mib", format!("an even number from 2 to {} is needed", PACKETS_LEN >> 20));
    }
    let peers = named(file, id, "peers", &entry.peers)?;
    if ram_len.is_none() && !peers.is_empty() {
        return fail("peers", "only a process has some: a VM with ram_mib".into());
    }
    if peers.len() > MAX_PEERS {
        return fail("peers", format!("{}; at most {MAX_PEERS} are possible", peers.len()));
    }
    let lan = named(file, id, "lan", &entry.lan)?;
    let capture = entry.capture().map(|path| folder.join(path));
    let (mac, macs) = (entry.mac(), entry.macs());
    Ok(Vm { name, socket, mac, macs, pairs, mtu, lan, limit, capture, ram_len, peers })
}

/// Returns the ids of the VMs that `names`, the value of `key` of VM `id` of `file`, names.
fn named(file: &File, id: usize, key: &str, names: &[Spanned<String>]) -> Result<Vec<usize>, Wrong> {
    let (mut found, own) = (Vec::new(), file.vms[id].name.get_ref());
    for name in names {
        let (at, name) = (name.span().start, name.get_ref());
        let fail = |what: &str| wrong(at, format!("vm \"{own}\": {key} \"{name}\": {what}"));
        match file.vms.iter().position(|vm| vm.name.get_ref() == name) {
            None => return fail("no such vm"),
            Some(other) if other == id && key == "lan" => {
                return fail("the switch forwards nothing to the vm that it comes from");
            }
            Some(other) if other == id => return fail("a vm can't be its own peer"),
            Some(other) if found.contains(&other) => return fail("named twice"),
            Some(other) => found.push(other),
        }
    }
    Ok(found)
}

fn check_path(at: usize, key: &str, path: &Path) -> Result<(), Wrong> {
    let len = path.as_os_str().len();
    let what = || format!("{key} \"{}\": a path of {len} bytes; at most {MAX_PATH} are possible", path.display());
    if len > MAX_PATH { wrong(at, what()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
