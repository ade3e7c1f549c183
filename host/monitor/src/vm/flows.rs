//! The in-VM switches: their flow memory, and when the monitor looks after it.
//!
//! Leases are renewed, and VMs that do not report in time lose their windows, whenever a VM has its turn and whenever
//! frames of a slow path are served. So a lease is longer than a few turns of all VMs, whatever the manifest says.

use super::boot_files::BootFiles;
use super::mailbox;
use super::network;
use super::ram::Ram;
use super::view::FlowFrames;
use crate::platform::cpu;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sluice_control::Manifest;
use sluice_flows::{FlowSetup, FlowSwitches, Windows};
use x86_64::instructions::random::RdRand;

/// Number of turns for which a lease lasts at least.
const TURNS: u64 = 4;

/// Whether any VM has an in-VM switch.
static ARE_THERE: AtomicBool = AtomicBool::new(false);

/// Returns the in-VM switches of the manifest, and their memory, by VM.
pub fn build(files: &BootFiles) -> Result<(FlowSwitches, Vec<Option<FlowFrames>>), String> {
    let manifest = leased(&files.manifest);
    let (mut switches, mut all) = (FlowSwitches::new(manifest.vms.len()), Vec::new());
    for (id, vm) in manifest.vms.iter().enumerate() {
        let wrong = |what: String| format!("vm \"{}\": {what}", vm.name);
        let no_memory = |_| wrong("no memory left for its flow table".into());
        let Some(config) = &vm.flows else {
            all.push(None);
            continue;
        };
        let (table_len, records_len) = FlowSetup::lens(config).map_err(|error| wrong(format!("{error}")))?;
        let (table, records) = (Ram::alloc(table_len).map_err(no_memory)?, Ram::alloc(records_len).map_err(no_memory)?);
        let memory = table.all().zip(records.all()).ok_or_else(|| wrong("no flow table".into()))?;
        let setup =
            FlowSetup { memory, seed: seed(), file: file(files, config.file()).map_err(wrong)?, has_outside: false };
        switches.add(&manifest, id, setup).map_err(|error| wrong(format!("{error}")))?;
        all.push(Some(FlowFrames { table: (table.hpa, table_len), records: (records.hpa, records_len) }));
    }
    ARE_THERE.store(!switches.is_empty(), Relaxed);
    Ok((switches, all))
}

/// Returns the manifest with leases that last for a few turns of all VMs.
fn leased(manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    let round = manifest.quantum_ticks.saturating_mul(manifest.vms.len() as u64);
    let least = round.saturating_add(manifest.watchdog_ticks).saturating_mul(TURNS);
    for flows in manifest.vms.iter_mut().filter_map(|vm| vm.flows.as_mut()) {
        flows.lease_ticks = flows.lease_ticks.max(least);
    }
    manifest
}

/// Returns the text of the boot module `name`, if there is to be one.
fn file<'f>(files: &'f BootFiles, name: Option<&str>) -> Result<Option<&'f str>, String> {
    let Some(name) = name else { return Ok(None) };
    let bytes = files.module(name).ok_or_else(|| format!("flows: \"{name}\": no such boot module"))?;
    core::str::from_utf8(bytes).map(Some).map_err(|error| format!("flows: \"{name}\": not UTF-8: {error}"))
}

/// Returns a number that a VM can't guess; on a processor without RDRAND it is the time.
fn seed() -> [u64; 2] {
    let random = || RdRand::new().and_then(|random| random.get_u64()).unwrap_or_else(cpu::ticks);
    [random(), random()]
}

/// Looks after all tables, in the time of VM `vm`, which is not in a window. Windows that have to be closed are closed
/// on return.
pub fn look_after(vm: u32) {
    if !ARE_THERE.load(Relaxed) {
        return;
    }
    for (late, windows) in network::turn_flows(cpu::ticks()) {
        network::close(late, windows == Windows::Close);
        mailbox::ask(late);
        if windows == Windows::Close {
            network::wait_for(vm, [late].into_iter().filter(|&late| late != vm));
            network::flows_closed(late, cpu::ticks());
        }
    }
}

/// Returns the line about the flow table of VM `vm`, which is called `name`, if it has one.
pub fn line(vm: u32, name: &str) -> Option<String> {
    let mut line = None;
    network::with_flows(|flows| line = flows.line(vm, name, cpu::ticks()));
    line
}
