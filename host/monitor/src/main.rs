//! The reference hypervisor: boots from a Multiboot2 loader, builds views, runs VMs and counts their exits.
//!
//! Layers, each of which uses only those below it: `boot` and `start` (from the boot loader to running VMs), `vm` (what
//! a VM is and may do), `vmx` (the processor's virtual-machine extensions), `platform` (memory, console, processors).
//!
//! The monitor runs on bare metal only. Built for any other target, it is a program that says so; the files that need
//! no VMX are tested there.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod platform;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod vm;
#[cfg(target_os = "none")]
mod vmx;

// The files that need neither VMX nor ring 0, for unit tests: memory is the test's own, and a fake stands for the
// processor.
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "the rest of the monitor is left out")]
mod platform {
    pub mod cpu;
    pub mod hierarchy;
    #[path = "fake_msr.rs"]
    pub mod msr;
    pub mod physical;
    pub mod stream;
    pub mod table;
}
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "the rest of the monitor is left out")]
mod vm {
    mod bases;
    mod console;
    mod emulate;
    mod exit {
        mod debug;
        mod event;
        mod registration;
    }
    mod gate_image;
    mod load;
    mod news;
    mod ram;
    mod tables;
    mod view;
}
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "the rest of the monitor is left out")]
mod vmx {
    pub mod control;
    pub mod ept;
    pub mod features;
    pub mod field;
    pub mod guest;
    #[path = "fake.rs"]
    pub mod instruction;
    pub mod reason;
    pub mod registers;
    pub mod tsx;
    pub mod vmcs;
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("sluice-monitor runs on bare metal: `cargo xtask image` makes a bootable image of it");
    std::process::exit(2);
}
