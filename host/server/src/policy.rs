//! The policy file: which VMs there are, and who may send to whom. See: docs/interfaces.md.
//!
//! Reading order: [`Policy::read`], [`Policy`] (what the file means), `file` (what stands in it), `taps` (the ports
//! that are no VMs), `channels`, `switches`, `parts` (what several have), `meaning` (all of it in words).

mod channels;
mod file;
mod meaning;
mod parts;
mod switches;
mod taps;

pub use channels::{Access, Channel, Memory, OWN};
use file::{Entry, File};
use parts::{Owner, check_limit, check_name, check_path, line, listed, named};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::handover::window_file;
use sluice_abi::map::PACKETS_LEN;
use sluice_abi::run::RUN_ALIGN;
use sluice_control::{Addresses, FlowsConfig, Limit, MAX_PAIRS, MTU, Mac, Member, PortConfig};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use taps::Tap;

/// Largest length of a policy file, and of a file with flows, bytes.
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
    /// The channels.
    pub channels: Vec<Channel>,
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
    /// Length of its RAM in bytes, if it is a process, or a program in a VM; else a front-end has the VM's memory.
    pub ram_len: Option<u64>,
    /// The file with that RAM, which a VM has as an ivshmem device, if it is a program in a VM.
    pub window_file: Option<PathBuf>,
    /// The ids of the VMs into whose queues it may put frames by itself.
    pub peers: Vec<usize>,
    /// The flow table of its in-VM switch, if it has one.
    pub flows: Option<FlowsConfig>,
    /// The text of the file with flows that decides about frames without an entry there, if one does.
    pub rules: Option<String>,
    /// The id of the VM with the in-VM switch to which all its frames go.
    pub uplink: Option<usize>,
}

impl Vm {
    /// Returns what the network knows of the VM.
    fn member(&self) -> Member {
        let Self { name, mac, mtu, pairs, macs, ram_len, peers, flows, uplink, .. } = self.clone();
        Member { name, mac, mtu, pairs, macs, ram_len, peers, has_flows: flows.is_some(), uplink }
    }

    /// Returns the file that the VM has as a device, if it has one, and its length in bytes.
    pub fn window(&self) -> Option<(&Path, u64)> {
        self.window_file.as_deref().zip(self.ram_len.map(|len| window_file::RAM + len))
    }

    /// Returns what the switch knows of the VM.
    pub fn port(&self) -> PortConfig {
        PortConfig { lan: self.lan.clone(), uplink: self.uplink, limit: self.limit, is_network: false }
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
        let text = text_of(path).map_err(|error| PolicyError::Read { path: path.into(), error })?;
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
        if file.vms.is_empty() && file.channels.is_empty() || file.vms.len() > MAX_VMS {
            return wrong(0, format!("[[vm]]: {} VMs; 1 to {MAX_VMS} are possible", file.vms.len()));
        }
        let folder = file.server.folder.clone();
        let control = file.server.control(&folder);
        check_path(0, "control", &control)?;
        let vms = (0..file.vms.len()).map(|id| vm(&file, id, &folder)).collect::<Result<Vec<_>, _>>()?;
        let taps = taps::read(&file, text, &folder)?;
        let channels = channels::read(&file, &folder)?;
        let ageing = Duration::from_secs(file.server.ageing_seconds);
        let mut policy = Self { folder, control, ageing, vms, taps, channels };
        policy.check_files(&file)?;
        policy.check_macs(&file)?;
        policy.check_pairs(&file)?;
        policy.check_switches(&file)?;
        Ok(policy)
    }

    /// Returns what the network knows of all VMs and taps, by id.
    pub fn members(&self) -> Vec<Member> {
        self.vms.iter().map(Vm::member).chain(self.taps.iter().map(Tap::member)).collect()
    }

    /// Returns the ids of the VMs that send to VM `id` by queue pairs of their own: by windows, or by an uplink.
    pub fn senders_to(&self, id: usize) -> Vec<usize> {
        let sends = |vm: &Vm| vm.peers.contains(&id) || vm.uplink == Some(id);
        (0..self.vms.len()).filter(|&sender| sends(&self.vms[sender])).collect()
    }

    /// Returns the id here of VM `id` of `new`, if what is connected may go on as that.
    fn before(&self, new: &Self, id: usize) -> Option<usize> {
        let parts = |policy: &Self, id: usize| {
            let vm = &policy.vms[id];
            let peers: Vec<_> = policy.names(&vm.peers).map(str::to_owned).collect();
            let memory = (vm.ram_len, vm.window_file.clone());
            // The ports of an in-VM switch are those of its peers and senders.
            let flows = vm.flows.clone().map(|flows| {
                let senders = policy.senders_to(id);
                (flows, vm.rules.clone(), policy.names(&senders).map(str::to_owned).collect::<Vec<_>>())
            });
            (vm.name.clone(), vm.socket.clone(), vm.mac, vm.pairs, vm.mtu, memory, peers, flows)
        };
        let wanted = parts(new, id);
        (0..self.vms.len()).find(|&old| parts(self, old) == wanted)
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
            let files = [("capture", vm.capture.as_ref()), ("window_file", vm.window_file.as_ref())];
            for (key, path) in [("socket", Some(&vm.socket))].into_iter().chain(files) {
                check(entry.at(key), format!("vm \"{}\"", vm.name), key, path)?;
            }
        }
        for (tap, entry) in self.taps.iter().zip(&file.taps) {
            check(entry.at("capture"), format!("tap \"{}\"", tap.name), "capture", tap.capture.as_ref())?;
        }
        for (channel, entry) in self.channels.iter().zip(&file.channels) {
            let owner = || format!("channel \"{}\"", channel.memory.name);
            channel.files().try_for_each(|(key, path)| check(entry.at(key), owner(), key, Some(path)))?;
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
}

/// Returns what the file at `path` has.
fn text_of(path: &Path) -> io::Result<String> {
    let (mut file, mut text) = (std::fs::File::open(path)?.take(MAX_LEN + 1), String::new());
    file.read_to_string(&mut text)?;
    let long = || io::Error::other(format!("longer than {MAX_LEN} bytes"));
    if text.len() as u64 > MAX_LEN { Err(long()) } else { Ok(text) }
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
    let (pairs, mtu) =
        (entry.pairs().unwrap_or_else(|| 1 + file.senders_to(&name) + u16::from(entry.flows().is_some())), entry.mtu());
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
    let owner = Owner { kind: "vm", name: &name };
    let (ram_len, window_file) = ram(entry, &owner, folder)?;
    let peers = peers(file, entry, &owner, ram_len.is_some(), window_file.is_some())?;
    let lan = named(file, &owner, "lan", &entry.lan)?;
    let uplink = named(file, &owner, "uplink", entry.uplink.as_slice())?.first().copied();
    let capture = entry.capture().map(|path| folder.join(path));
    let (mac, macs, flows, rules) = (entry.mac(), entry.macs(), entry.flows().cloned(), None);
    Ok(Vm {
        name,
        socket,
        mac,
        macs,
        pairs,
        mtu,
        lan,
        limit,
        capture,
        ram_len,
        window_file,
        peers,
        flows,
        rules,
        uplink,
    })
}

/// Returns the length of the VM's RAM, and the file with that, if it is a program that sends by itself.
fn ram(entry: &Entry, owner: &Owner<'_>, folder: &Path) -> Result<(Option<u64>, Option<PathBuf>), Wrong> {
    let fail = |key: &str, what: String| wrong(entry.at(key), format!("vm \"{}\": {key}: {what}", owner.name));
    let ram_len = entry.ram_mib().map(|mib| u64::from(mib) << 20);
    if ram_len.is_some_and(|len| !len.is_multiple_of(RUN_ALIGN) || !(RUN_ALIGN..=PACKETS_LEN).contains(&len)) {
        return fail("ram_mib", format!("an even number from 2 to {} is needed", PACKETS_LEN >> 20));
    }
    let window_file = entry.window_file().map(|path| folder.join(path));
    match (ram_len, &window_file) {
        (None, Some(_)) => fail("window_file", "only a program has one: a VM with ram_mib".into()),
        // An ivshmem device of QEMU has such a length.
        (Some(len), Some(_)) if !(len + window_file::RAM).is_power_of_two() => {
            fail("ram_mib", "beside window_file a power of two less 2 is needed: 30, 62, 126 and so on".into())
        }
        _ => Ok((ram_len, window_file)),
    }
}

/// Returns the VMs into whose queues the VM may put frames by itself: `is_process`, or `is_in_vm`.
fn peers(file: &File, entry: &Entry, owner: &Owner<'_>, is_process: bool, is_in_vm: bool) -> Result<Vec<usize>, Wrong> {
    let peers = named(file, owner, "peers", &entry.peers)?;
    let fail = |what: String| wrong(entry.at("peers"), format!("vm \"{}\": peers: {what}", owner.name));
    if !is_process && !peers.is_empty() {
        return fail("only a process has some: a VM with ram_mib".into());
    }
    if peers.len() > MAX_PEERS {
        return fail(format!("{}; at most {MAX_PEERS} are possible", peers.len()));
    }
    match peers.iter().find(|&&peer| is_in_vm && file.vms[peer].ram_mib().is_some()) {
        Some(&peer) => {
            fail(format!("\"{}\" is no VM whose memory could be an ivshmem device", file.vms[peer].name.get_ref()))
        }
        None => Ok(peers),
    }
}

#[cfg(test)]
mod tests;
