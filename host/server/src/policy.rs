//! The policy file: which VMs there are, and who may send to whom. See: docs/interfaces.md.
//!
//! Reading order: [`Policy::read`], [`Policy`] (what the file means), `file` (what stands in it).

mod file;

use file::File;
use serde::Serialize;
use sluice_abi::directory::NAME_LEN;
use sluice_control::{Addresses, FrontEnd, Limit, MAX_PAIRS, MTU, Mac, PortConfig};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
}

impl Vm {
    /// Returns whether a front-end of this VM may go on as one of `new`.
    pub fn keeps_session(&self, new: &Self) -> bool {
        let parts = |vm: &Self| (vm.name.clone(), vm.socket.clone(), vm.mac, vm.pairs, vm.mtu);
        parts(self) == parts(new)
    }

    /// Returns what the network knows of the VM.
    pub fn front_end(&self) -> FrontEnd {
        FrontEnd { mac: self.mac, mtu: self.mtu, pairs: self.pairs, macs: self.macs.clone() }
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
        Ok(policy)
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
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if !(1..=NAME_LEN).contains(&name.len()) || !name.bytes().all(named) {
        return fail("name", format!("a-z, 0-9, - and _, 1 to {NAME_LEN} bytes"));
    }
    if file.vms[..id].iter().any(|other| *other.name.get_ref() == name) {
        return fail("name", "used twice".into());
    }
    let (pairs, mtu) = (entry.pairs(), entry.mtu());
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
    let lan = lan(file, id)?;
    let capture = entry.capture().map(|path| folder.join(path));
    Ok(Vm { name, socket, mac: entry.mac(), macs: entry.macs(), pairs, mtu, lan, limit, capture })
}

/// Returns the ids of the VMs that VM `id` of `file` may send to.
fn lan(file: &File, id: usize) -> Result<Vec<usize>, Wrong> {
    let (mut lan, own) = (Vec::new(), file.vms[id].name.get_ref());
    for name in &file.vms[id].lan {
        let (at, name) = (name.span().start, name.get_ref());
        let fail = |what: &str| wrong(at, format!("vm \"{own}\": lan \"{name}\": {what}"));
        match file.vms.iter().position(|vm| vm.name.get_ref() == name) {
            None => return fail("no such vm"),
            Some(other) if other == id => return fail("the switch forwards nothing to the vm that it comes from"),
            Some(other) if lan.contains(&other) => return fail("named twice"),
            Some(other) => lan.push(other),
        }
    }
    Ok(lan)
}

fn check_path(at: usize, key: &str, path: &Path) -> Result<(), Wrong> {
    let len = path.as_os_str().len();
    let what = || format!("{key} \"{}\": a path of {len} bytes; at most {MAX_PATH} are possible", path.display());
    if len > MAX_PATH { wrong(at, what()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
