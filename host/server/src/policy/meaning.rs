//! What a policy means, for people and programs.

use super::parts::{list, write_rest};
use super::{Policy, Vm, channels, taps};
use serde::Serialize;
use sluice_abi::handover::window_file;
use std::path::PathBuf;

impl Policy {
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
            window_file: vm.window_file.clone(),
            peers: self.names(&vm.peers).map(str::to_owned).collect(),
            flow_entries: vm.flows.as_ref().map(|flows| flows.entries),
            full_switch: vm.flows.as_ref().map(|flows| flows.switch.clone()),
            uplink: vm.uplink.and_then(|id| self.name(id)).map(str::to_owned),
        };
        let (control, ageing_seconds) = (self.control.clone(), self.ageing.as_secs());
        let taps = self.taps.iter().map(|tap| taps::Means::of(self, tap)).collect();
        let channels = self.channels.iter().map(channels::Means::of).collect();
        Meaning { control, ageing_seconds, vms: self.vms.iter().map(vm).collect(), taps, channels }
    }
}

/// What a policy means.
#[derive(Debug, Serialize)]
pub struct Meaning {
    control: PathBuf,
    ageing_seconds: u64,
    vms: Vec<Means>,
    taps: Vec<taps::Means>,
    channels: Vec<channels::Means>,
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
    window_file: Option<PathBuf>,
    peers: Vec<String>,
    flow_entries: Option<u64>,
    full_switch: Option<String>,
    uplink: Option<String>,
}

impl std::fmt::Display for Meaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "control socket {}, addresses age in {} s", self.control.display(), self.ageing_seconds)?;
        for vm in &self.vms {
            writeln!(f, "vm {}: {} at {}", vm.name, vm.mac, vm.socket.display())?;
            writeln!(f, "    queue pairs: {}, MTU {}", vm.pairs, vm.mtu)?;
            match &vm.uplink {
                Some(uplink) => writeln!(f, "    sends all to the in-VM switch {uplink}")?,
                None if vm.lan.is_empty() => writeln!(f, "    sends to nobody")?,
                None => writeln!(f, "    sends to {}", vm.lan.join(", "))?,
            }
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
            match (vm.ram_bytes, &vm.window_file) {
                (Some(bytes), Some(file)) => {
                    let (ram, all) = (bytes >> 20, (bytes + window_file::RAM) >> 20);
                    writeln!(f, "    a program in a VM with {ram} MiB of RAM: {}, {all} MiB", file.display())?;
                }
                (Some(bytes), None) => writeln!(f, "    a process with {} MiB of RAM", bytes >> 20)?,
                (None, _) => {}
            }
            if let Some((entries, switch)) = vm.flow_entries.zip(vm.full_switch.as_ref()) {
                writeln!(f, "    an in-VM switch with a flow table of {entries} entries, by {switch}")?;
            }
            if !vm.peers.is_empty() {
                let peers = vm.peers.join(", ");
                writeln!(f, "    writes into the memory of {peers}: nothing protects them from it")?;
            }
            write_rest(f, [vm.packets_per_second, vm.bits_per_second], vm.capture.as_deref())?;
        }
        self.taps.iter().try_for_each(|tap| write!(f, "{tap}"))?;
        self.channels.iter().try_for_each(|channel| write!(f, "{channel}"))
    }
}
