//! The first processor's way from the boot loader to the verdict.
#![allow(unsafe_code, reason = "the entry point has a fixed name")]

use crate::platform::{descriptors, exit, frames, heap, multiboot, smp};
use crate::{println, vm};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::panic::PanicInfo;
use multiboot::Module;
use multiboot2::BootInformation;
use sluice_control::{Manifest, VmConfig};

global_asm!(include_str!("boot.S"));

/// What the monitor has to work with.
pub struct Machine {
    /// What the user wants.
    pub manifest: Manifest,
    modules: Vec<Module>,
}

impl Machine {
    /// The boot module named `name`.
    pub fn module(&self, name: &str) -> Option<&[u8]> {
        self.modules.iter().find(|module| module.name == name).map(|module| module.bytes)
    }

    /// The files of a VM.
    pub fn modules_of<'a>(&'a self, config: &'a VmConfig) -> Result<Vec<(&'a str, &'a [u8])>, String> {
        let find = |name: &'a String| {
            let bytes = self.module(name);
            bytes
                .map(|bytes| (name.as_str(), bytes))
                .ok_or_else(|| format!("vm \"{}\": module \"{name}\": no such boot module", config.name))
        };
        config.modules.iter().map(find).collect()
    }
}

/// Called by boot.S with what the boot loader left in EAX and EBX.
#[unsafe(no_mangle)]
extern "sysv64" fn monitor_main(magic: u32, information: u32) -> ! {
    let boot = multiboot::load(magic, information).and_then(|boot| Ok((multiboot::free(&boot)?, boot)));
    let ((from, to), boot) = boot.unwrap_or_else(|error| exit::finish(Err(error)));
    frames::init(from, to);
    if let Err(error) = heap::grow(FIRST) {
        exit::finish(Err(error));
    }
    descriptors::init();
    descriptors::mask_legacy_interrupts();
    exit::finish(run(&boot));
}

/// Runs what the boot loader brought.
fn run(boot: &BootInformation) -> Result<(), String> {
    let modules = multiboot::modules(boot)?;
    let text = modules.iter().find(|module| module.name == "manifest").ok_or("boot module \"manifest\": missing")?;
    let text = core::str::from_utf8(text.bytes).map_err(|error| format!("manifest: not UTF-8: {error}"))?;
    let manifest = Manifest::parse(text).map_err(|error| format!("{error}"))?;
    let more = control_plane(&manifest);
    heap::grow(more).map_err(|error| format!("{error}: {} VMs need {} MiB of heap", manifest.vms.len(), more >> 20))?;
    smp::start();
    println!("processors: {}, MiB free: {}, VMs: {}", smp::cpu_count(), frames::left() >> 20, manifest.vms.len());
    vm::run(Box::leak(Box::new(Machine { manifest, modules })))
}

/// Bytes of heap for what comes before a manifest says how many it needs.
const FIRST: u64 = 1 << 20;

/// Bytes of heap that the VMs of `manifest` make the monitor need at most, whatever their drivers do.
fn control_plane(manifest: &Manifest) -> u64 {
    let of = |id: usize| {
        let peers = manifest.vms[id].peers.len() as u64;
        let queues = 3 + 2 * manifest.senders_to(id).count() as u64;
        VM + peers * PEER + queues * QUEUE
    };
    (0..manifest.vms.len()).map(of).sum()
}

/// What the monitor keeps of a VM, bytes, its console's line and its device among it.
const VM: u64 = 64 << 10;
/// What it keeps of each peer that a VM may send to: two directory entries, and where the peer's memory is.
const PEER: u64 = 8 << 10;
/// What it keeps of a queue that the switch serves.
const QUEUE: u64 = 4 << 10;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    exit::finish(Err(format_args!("the monitor panicked: {info}")));
}
