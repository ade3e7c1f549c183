//! The reference hypervisor: boots from a Multiboot2 loader, builds views, runs VMs, counts their exits.
//!
//! Layers, each using only those after it: `vm` (what a VM is and may do), `load` (what it starts with), `vmx` (the processor's
//! virtual-machine extensions), `platform` (memory, console, processors).
//!
//! It runs on bare metal only. Built for any other target it is a program that says so, and what needs no VMX is tested there.
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

// The views and a VM's controls, as tests make them: in their own memory, for a processor that takes notes.
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "what the rest of the monitor calls")]
mod platform {
    pub mod cpu;
    pub mod frames;
    pub mod hierarchy;
    #[path = "fake_msr.rs"]
    pub mod msr;
    pub mod stream;
    pub mod table;
}
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "what the rest of the monitor calls")]
mod vm {
    mod bases;
    mod console;
    mod debug;
    mod descriptor_table;
    mod event;
    mod fault;
    mod fetch;
    mod image;
    mod news;
    mod operand;
    mod ram;
    mod reason;
    mod registration;
    mod segment;
    mod state;
    mod tables;
    mod view;
    mod walk;
}
#[cfg(all(test, not(target_os = "none")))]
#[allow(dead_code, reason = "what the rest of the monitor calls")]
mod vmx {
    pub mod control;
    pub mod ept;
    pub mod features;
    pub mod field;
    #[path = "fake.rs"]
    pub mod instruction;
    pub mod registers;
    pub mod tsx;
    pub mod vmcs;
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("sluice-monitor runs on bare metal: `cargo xtask image` makes a bootable image of it");
    std::process::exit(2);
}
