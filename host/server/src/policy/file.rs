//! What stands in a policy file, before it is checked.

use super::{channels, taps};
use serde::Deserialize;
use sluice_abi::net::DEFAULT_MTU;
use sluice_control::{Addresses, FlowsConfig, Limit, Mac};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// All of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub server: Server,
    #[serde(rename = "vm", default)]
    pub vms: Vec<Entry>,
    #[serde(rename = "tap", default)]
    pub taps: Vec<taps::Entry>,
    #[serde(rename = "channel", default)]
    pub channels: Vec<channels::Entry>,
}

impl File {
    /// Returns how many VMs have a queue pair of their own at the VM of this name.
    pub fn senders_to(&self, name: &str) -> u16 {
        let sends = |vm: &&Entry| vm.peers.iter().chain(&vm.uplink).any(|peer| peer.get_ref() == name);
        self.vms.iter().filter(sends).count() as u16
    }
}

/// The table of the server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    pub folder: PathBuf,
    control: PathBuf,
    pub ageing_seconds: u64,
}

impl Default for Server {
    /// Five minutes. See: IEEE 802.1Q clause 8.8.3 "Ageing".
    fn default() -> Self {
        Self { folder: "/run/sluice".into(), control: "control.sock".into(), ageing_seconds: 300 }
    }
}

impl Server {
    /// Returns the path of the control socket.
    pub fn control(&self, folder: &Path) -> PathBuf {
        folder.join(&self.control)
    }
}

/// The table of one VM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: Spanned<String>,
    socket: Option<Spanned<PathBuf>>,
    mac: Spanned<Mac>,
    macs: Option<Spanned<Addresses>>,
    pairs: Option<Spanned<u16>>,
    mtu: Option<Spanned<u16>>,
    #[serde(default)]
    pub lan: Vec<Spanned<String>>,
    limit: Option<Spanned<Rates>>,
    capture: Option<Spanned<PathBuf>>,
    ram_mib: Option<Spanned<u32>>,
    window_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub peers: Vec<Spanned<String>>,
    flows: Option<Spanned<FlowsConfig>>,
    pub uplink: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    packets_per_second: Option<u64>,
    bits_per_second: Option<u64>,
}

impl From<Rates> for Limit {
    fn from(Rates { packets_per_second, bits_per_second }: Rates) -> Self {
        Self { packets_per_second, bits_per_second }
    }
}

impl Entry {
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|path| path.get_ref().as_path())
    }

    pub fn mac(&self) -> Mac {
        *self.mac.get_ref()
    }

    pub fn macs(&self) -> Addresses {
        self.macs.as_ref().map_or_else(Addresses::default, |macs| macs.get_ref().clone())
    }

    pub fn pairs(&self) -> Option<u16> {
        self.pairs.as_ref().map(|pairs| *pairs.get_ref())
    }

    pub fn ram_mib(&self) -> Option<u32> {
        self.ram_mib.as_ref().map(|mib| *mib.get_ref())
    }

    pub fn window_file(&self) -> Option<&Path> {
        self.window_file.as_ref().map(|path| path.get_ref().as_path())
    }

    pub fn flows(&self) -> Option<&FlowsConfig> {
        self.flows.as_ref().map(Spanned::get_ref)
    }

    pub fn mtu(&self) -> u16 {
        self.mtu.as_ref().map_or(DEFAULT_MTU, |mtu| *mtu.get_ref())
    }

    pub fn limit(&self) -> Limit {
        self.limit.as_ref().map_or_else(Limit::default, |rates| (*rates.get_ref()).into())
    }

    pub fn capture(&self) -> Option<&Path> {
        self.capture.as_ref().map(|path| path.get_ref().as_path())
    }

    /// Returns where in the text the value of `key` begins, or the VM's name if the key is not there.
    pub fn at(&self, key: &str) -> usize {
        let start = match key {
            "socket" => self.socket.as_ref().map(Spanned::span),
            "mac" => Some(self.mac.span()),
            "macs" => self.macs.as_ref().map(Spanned::span),
            "pairs" => self.pairs.as_ref().map(Spanned::span),
            "mtu" => self.mtu.as_ref().map(Spanned::span),
            "limit" => self.limit.as_ref().map(Spanned::span),
            "ram_mib" => self.ram_mib.as_ref().map(Spanned::span),
            "window_file" => self.window_file.as_ref().map(Spanned::span),
            "peers" => self.peers.first().map(Spanned::span),
            "lan" => self.lan.first().map(Spanned::span),
            "flows" => self.flows.as_ref().map(Spanned::span),
            "uplink" => self.uplink.as_ref().map(Spanned::span),
            "capture" => self.capture.as_ref().map(Spanned::span),
            _ => None,
        };
        start.unwrap_or_else(|| self.name.span()).start
    }
}
