//! From the boot loader's modules to running VMs.

use crate::platform::{physical, smp};
use crate::println;
use crate::vm::{self, BootFiles, Module};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sluice_abi::map;
use sluice_control::Manifest;

/// Bytes of heap until the manifest is known.
pub const FIRST_HEAP: u64 = 1 << 20;

/// Runs the VMs of the manifest among `modules`. The error says what is wrong, or which VM failed.
pub fn run(modules: Vec<Module>) -> Result<(), String> {
    let text = modules.iter().find(|module| module.name == "manifest").ok_or("boot module \"manifest\": missing")?;
    let text = core::str::from_utf8(text.bytes).map_err(|error| format!("manifest: not UTF-8: {error}"))?;
    let manifest = Manifest::parse(text).map_err(|error| format!("{error}"))?;
    let more = control_plane(&manifest);
    physical::grow_heap(more)
        .map_err(|error| format!("{error}: {} VMs need {} MiB of heap", manifest.vms.len(), more >> 20))?;
    smp::start();
    println!("processors: {}, MiB free: {}, VMs: {}", smp::cpu_count(), physical::left() >> 20, manifest.vms.len());
    vm::run(BootFiles { manifest, modules })
}

/// Returns how many bytes of heap the VMs of `manifest` make the monitor need at most, whatever their drivers do.
fn control_plane(manifest: &Manifest) -> u64 {
    let of = |id: usize| {
        let peers = manifest.vms[id].peers.len() as u64;
        let queues = 3 + 2 * manifest.senders_to(id).count() as u64;
        let flows = manifest.vms[id].flows.as_ref();
        let flows = flows.map_or(0, |flows| TABLE + flows.entries * ENTRY + flows.lists * LIST);
        VM + peers * PEER + queues * QUEUE + flows
    };
    (0..manifest.vms.len()).map(of).sum()
}

/// Bytes of heap for a VM, with its console, its device and the state of its window, which is page-aligned.
const VM: u64 = (64 << 10) + map::STATE_LEN + map::PAGE;
/// Bytes of heap for each peer to which a VM may send: two directory entries, and the address of the peer's memory.
const PEER: u64 = 8 << 10;
/// Bytes of heap for each queue that the switch serves.
const QUEUE: u64 = 4 << 10;
/// Bytes of heap for a flow table, for each of its entries, and for each list of actions.
const TABLE: u64 = 256 << 10;
const ENTRY: u64 = 1 << 10;
const LIST: u64 = 1 << 9;
