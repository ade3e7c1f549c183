//! A VM that breaks the rules, and its victim. The first argument names an attack of `attacks`, or `victim`.
//!
//! Attacker and victim are the same image with the same RAM, so each knows the other's addresses. They run under the
//! monitor only.
//!
//! # Adding an attack
//! An attack is a function in a file of `attacks`, with a line in the file's `ATTACKS`. What has to come of it is a
//! test in tests/system/containment, and its section in docs/threat-model.md names the test.
//!
//! Attacks are safe code. Three files are the instructions that they are made of: `leap.rs` enters any address with any
//! registers, and the tables of `descriptors.rs` catch how that ends; `cpu.rs` has registers, counted waits, and memory
//! at any address; `host.rs` has the host's stub and its hypercalls. What the processor or a peer reads is a `Page`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod attacks;

#[cfg(target_os = "none")]
sluice_vnf::main!(attacks::run);
#[cfg(target_os = "none")]
sluice_vnf::heap!(1 << 18);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the attacks are a VM image of the monitor: build it for x86_64-unknown-none");
    std::process::exit(2);
}
