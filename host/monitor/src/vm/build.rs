//! How the VMs of a manifest are made, before any of them runs.

use super::boot_files::BootFiles;
use super::gate_image::GateImage;
use super::load::{self, Start};
use super::ram::Ram;
use super::ring_code::SharedSwitch;
use super::view::PeerMemory;
use super::vm::{Limits, NewVm, Vm};
use super::{flows, lan, mailbox, network};
use crate::platform::physical::OutOfFrames;
use crate::platform::table::Table;
use crate::platform::{cpu, smp};
use crate::println;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sluice_abi::{Hpa, PeerIdx, map};
use sluice_control::{Manifest, Network};

/// Builds every VM of the manifest, gives each to `keep`, and puts the network in place. The error says what is wrong
/// with the machine or the manifest.
pub fn build(files: &BootFiles, mut keep: impl FnMut(usize, Vm)) -> Result<(), String> {
    let manifest = &files.manifest;
    let window = files.module("window").ok_or("module \"window\": missing")?;
    let image = GateImage::load(window).map_err(|error| format!("{error}"))?;
    let no_memory = |name: &str| format!("vm \"{name}\": no memory left");
    let rams = rams(manifest)?;
    let msr_bitmap = msr_bitmap().map_err(|_| no_memory("all"))?;
    let (mut switches, frames) = flows::build(files)?;
    for (id, config) in manifest.vms.iter().enumerate() {
        let peers: Vec<PeerMemory> = manifest
            .peers_of(id)
            .zip(PeerIdx::all())
            .map(|(peer, index)| PeerMemory { offset: map::peer_base(index), ram: rams[peer] })
            .collect();
        let new = NewVm {
            id: id as u32,
            name: config.name.clone(),
            gate: config.gate,
            ram: rams[id],
            start: load_ram(files, id, rams[id])?,
            peers,
            limits: limits(manifest),
            image: &image,
            msr_bitmap,
            flows: frames[id],
        };
        keep(id, Vm::new(new).map_err(|_| no_memory(&config.name))?);
        assign(manifest, id);
        mailbox::ask(id as u32);
        switches.start(id as u32, cpu::ticks());
    }
    let switch = SharedSwitch::new(manifest, &rams).map_err(|_| no_memory("all"))?;
    lan::begin_captures(manifest);
    network::install(Network::new(manifest), switch, switches);
    Ok(())
}

fn rams(manifest: &Manifest) -> Result<Vec<Ram>, String> {
    let ram = |vm: &sluice_control::VmConfig| {
        let too_large = |_| format!("vm \"{}\": ram_mib = {}: more than this machine has left", vm.name, vm.ram_mib);
        Ram::alloc(u64::from(vm.ram_mib) << 20).map_err(too_large)
    };
    manifest.vms.iter().map(ram).collect()
}

fn limits(manifest: &Manifest) -> Limits {
    Limits {
        watchdog: manifest.watchdog_ticks,
        grace: manifest.grace_ticks.min(manifest.watchdog_ticks),
        quantum: manifest.quantum_ticks,
        report: manifest.report_ticks,
    }
}

/// Fills the RAM of VM `id` with what the manifest says.
pub fn load_ram(files: &BootFiles, id: usize, ram: Ram) -> Result<Start, String> {
    let config = &files.manifest.vms[id];
    let modules = files.modules_of(config)?;
    let image_elf = files
        .module(&config.image)
        .ok_or_else(|| format!("vm \"{}\": image \"{}\": no such boot module", config.name, config.image))?;
    let contents =
        load::Contents { vm: &config.name, image: (&config.image, image_elf), args: &config.args, modules: &modules };
    load::load(ram.all().ok_or("no RAM")?, &contents)
}

/// Assigns VM `id` to the manifest's processor, or to one of its own as long as there are any.
fn assign(manifest: &Manifest, id: usize) {
    let config = &manifest.vms[id];
    let cpu = config.cpu.unwrap_or(id) % smp::cpu_count();
    mailbox::assign(id as u32, cpu);
    println!("vm {}: gate {}, {} MiB, processor {cpu}", config.name, config.gate.name(), config.ram_mib);
}

/// Returns the MSR bitmap: a VM may read and write FS and GS base itself. Accesses to all other MSRs exit, and are
/// refused.
fn msr_bitmap() -> Result<Hpa, OutOfFrames> {
    const FS_AND_GS_BASE: u64 = 0b11;
    /// Byte 1,024: reads of MSRs from C000_0000; byte 3,072: writes. See: SDM volume 3, "MSR-Bitmap Address".
    const READS: usize = 1024 / 8;
    const WRITES: usize = 3072 / 8;
    let bitmap = Table::alloc()?;
    for index in 0..Table::WORDS {
        bitmap.set(index, u64::MAX);
    }
    for area in [READS, WRITES] {
        bitmap.set(area + 0x100 / 64, !FS_AND_GS_BASE);
    }
    Ok(bitmap.hpa())
}
