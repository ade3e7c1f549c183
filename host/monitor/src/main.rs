//! The reference hypervisor: boots from a Multiboot2 loader, builds views, runs VMs, counts their exits.
//!
//! Layers, each using only those after it: `vm` (what a VM is and may do), `load` (what it starts with), `vmx` (the processor's
//! virtual-machine extensions), `platform` (memory, console, processors).
//!
//! It runs on bare metal only. Built for any other target it is a program that says so, and its pure parts are tested there.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(any(target_os = "none", test))]
mod load;
#[cfg(target_os = "none")]
mod platform;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod vm;
#[cfg(target_os = "none")]
mod vmx;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("sluice-monitor runs on bare metal: `cargo xtask image` makes a bootable image of it");
    std::process::exit(2);
}
