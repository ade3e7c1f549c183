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
    heap::init();
    descriptors::init();
    descriptors::mask_legacy_interrupts();
    let verdict = run(magic, information);
    exit::finish(verdict.as_ref().copied().map_err(String::as_str));
}

fn run(magic: u32, information: u32) -> Result<(), String> {
    let (modules, free) = multiboot::read(magic, information)?;
    frames::init(free.0, free.1);
    let text = modules.iter().find(|module| module.name == "manifest").ok_or("boot module \"manifest\": missing")?;
    let text = core::str::from_utf8(text.bytes).map_err(|error| format!("manifest: not UTF-8: {error}"))?;
    let manifest = Manifest::parse(text).map_err(|error| format!("{error}"))?;
    smp::start();
    println!("processors: {}, MiB free: {}, VMs: {}", smp::cpu_count(), (free.1 - free.0) >> 20, manifest.vms.len());
    vm::run(Box::leak(Box::new(Machine { manifest, modules })))
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    exit::finish(Err(&format!("the monitor panicked: {info}")));
}
