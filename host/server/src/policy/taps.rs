//! The taps of a policy: ports of the switch that are devices of the host's network.

use super::file::{File, Rates};
use super::parts::{Owner, check_limit, check_name, line, list, named, write_rest};
use super::{Policy, Wrong, wrong};
use serde::{Deserialize, Serialize};
use sluice_abi::net::DEFAULT_MTU;
use sluice_control::{Addresses, Limit, MTU, Mac, Member, PortConfig};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Largest number of taps.
const MAX_TAPS: usize = 64;
/// Longest name of a device, bytes. See: netdevice(7), `IFNAMSIZ`.
const MAX_DEVICE: usize = 15;

/// The table of one tap, before it is checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: Spanned<String>,
    device: Spanned<String>,
    macs: Option<Spanned<Addresses>>,
    mtu: Option<Spanned<u16>>,
    offloads: Option<bool>,
    #[serde(default)]
    pub lan: Vec<Spanned<String>>,
    limit: Option<Spanned<Rates>>,
    capture: Option<Spanned<PathBuf>>,
}

impl Entry {
    /// Returns where in the text the value of `key` begins, or the tap's name if the key is not there.
    pub fn at(&self, key: &str) -> usize {
        let start = match key {
            "device" => Some(self.device.span()),
            "macs" => self.macs.as_ref().map(Spanned::span),
            "mtu" => self.mtu.as_ref().map(Spanned::span),
            "limit" => self.limit.as_ref().map(Spanned::span),
            "capture" => self.capture.as_ref().map(Spanned::span),
            _ => None,
        };
        start.unwrap_or_else(|| self.name.span()).start
    }
}

/// A tap: a device of the host's network that is a port of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The name, of the kind that VMs have, and none of theirs.
    pub name: String,
    /// The name of the device.
    pub device: String,
    /// Number of the line that names the device, from 1.
    pub line: usize,
    /// Source addresses of the network behind it.
    pub macs: Addresses,
    /// Largest payload of a frame to it, bytes.
    pub mtu: u16,
    /// Whether checksums and segments are left to the kernel, and by it.
    pub offloads: bool,
    /// The ids of the ports to which its frames are forwarded.
    pub lan: Vec<usize>,
    /// How many frames may come from it.
    pub limit: Limit,
    /// The file to which its frames are captured.
    pub capture: Option<PathBuf>,
}

impl Tap {
    /// Returns whether the device of this tap stays open as that of `new`.
    pub fn keeps_device(&self, new: &Self) -> bool {
        let parts = |tap: &Self| (tap.name.clone(), tap.device.clone(), tap.mtu, tap.offloads);
        parts(self) == parts(new)
    }

    /// Returns what the network knows of the tap.
    pub fn member(&self) -> Member {
        Member::front_end(self.name.clone(), Mac::NONE, self.mtu, self.macs.clone())
    }

    /// Returns what the switch knows of the tap.
    pub fn port(&self) -> PortConfig {
        PortConfig { lan: self.lan.clone(), uplink: None, limit: self.limit, is_network: true }
    }
}

/// Returns the taps of `file`, whose text is `text`, each checked on its own and against the others.
pub fn read(file: &File, text: &str, folder: &Path) -> Result<Vec<Tap>, Wrong> {
    if file.taps.len() > MAX_TAPS {
        let at = file.taps[MAX_TAPS].name.span().start;
        return wrong(at, format!("[[tap]]: {} taps; at most {MAX_TAPS} are possible", file.taps.len()));
    }
    (0..file.taps.len()).map(|index| tap(file, index, text, folder)).collect()
}

/// Returns tap `index` of `file`.
fn tap(file: &File, index: usize, text: &str, folder: &Path) -> Result<Tap, Wrong> {
    let entry = &file.taps[index];
    let (name, device) = (entry.name.get_ref().clone(), entry.device.get_ref().clone());
    let fail = |key: &str, what: String| wrong(entry.at(key), format!("tap \"{name}\": {key}: {what}"));
    if let Err(what) = check_name(&name) {
        return fail("name", what);
    }
    let is_same = |other: &str| other == name;
    if file.vms.iter().any(|vm| is_same(vm.name.get_ref()))
        || file.taps[..index].iter().any(|tap| is_same(tap.name.get_ref()))
    {
        return fail("name", "used twice".into());
    }
    let is_part = |part: char| part.is_ascii_graphic() && !"/:%".contains(part);
    if !(1..=MAX_DEVICE).contains(&device.len()) || !device.chars().all(is_part) || [".", ".."].contains(&&*device) {
        return fail("device", format!("\"{device}\"; the name of a device has 1 to {MAX_DEVICE} bytes without / : %"));
    }
    if let Some(other) = file.taps[..index].iter().find(|other| *other.device.get_ref() == device) {
        return fail("device", format!("\"{device}\": it is the device of tap \"{}\"", other.name.get_ref()));
    }
    let mtu = entry.mtu.as_ref().map_or(DEFAULT_MTU, |mtu| *mtu.get_ref());
    if !MTU.contains(&mtu) {
        return fail("mtu", format!("{mtu}; {} to {} are possible", MTU.start(), MTU.end()));
    }
    let limit = entry.limit.as_ref().map_or_else(Limit::default, |rates| (*rates.get_ref()).into());
    if let Err(what) = check_limit(limit) {
        return fail("limit", what);
    }
    let lan = named(file, &Owner { kind: "tap", name: &name }, "lan", &entry.lan)?;
    let macs = entry.macs.as_ref().map_or(Addresses::Any, |macs| macs.get_ref().clone());
    let capture = entry.capture.as_ref().map(|path| folder.join(path.get_ref()));
    let (line, offloads) = (line(text, entry.at("device")), entry.offloads.unwrap_or(true));
    Ok(Tap { name, device, line, macs, mtu, offloads, lan, limit, capture })
}

/// What a tap means.
#[derive(Debug, Serialize)]
pub struct Means {
    name: String,
    device: String,
    macs: Vec<String>,
    mtu: u16,
    offloads: bool,
    lan: Vec<String>,
    packets_per_second: Option<u64>,
    bits_per_second: Option<u64>,
    capture: Option<PathBuf>,
}

impl Means {
    /// Returns what `tap` of `policy` means.
    pub fn of(policy: &Policy, tap: &Tap) -> Self {
        Self {
            name: tap.name.clone(),
            device: tap.device.clone(),
            macs: list(&tap.macs),
            mtu: tap.mtu,
            offloads: tap.offloads,
            lan: policy.names(&tap.lan).map(str::to_owned).collect(),
            packets_per_second: tap.limit.packets_per_second,
            bits_per_second: tap.limit.bits_per_second,
            capture: tap.capture.clone(),
        }
    }

    /// Returns whether this is the tap `name`, and sends nothing to `other`.
    pub fn is_mute_to(&self, name: &str, other: &str) -> bool {
        self.name == name && !self.lan.iter().any(|it| it == other)
    }
}

impl std::fmt::Display for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let offloads = if self.offloads { "" } else { ", no offloads" };
        writeln!(f, "tap {}: device {} of the host's network, MTU {}{offloads}", self.name, self.device, self.mtu)?;
        let lan = if self.lan.is_empty() { "nobody".into() } else { self.lan.join(", ") };
        let macs = if self.macs == ["any"] { "any address that is no vm's".into() } else { self.macs.join(", ") };
        writeln!(f, "    sends to {lan}, from {macs}")?;
        write_rest(f, [self.packets_per_second, self.bits_per_second], self.capture.as_deref())
    }
}
