//! A VM that breaks the rules, and its victim. `attack.rs` lists the attacks; the first argument names one, or `victim`.
//!
//! Attacker and victim are the same image with the same RAM, so each knows the other's addresses. They run under the monitor only.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod aborted;
#[cfg(target_os = "none")]
mod alias;
#[cfg(target_os = "none")]
mod attack;
#[cfg(target_os = "none")]
mod chains;
#[cfg(target_os = "none")]
mod control;
#[cfg(target_os = "none")]
mod crossing;
#[cfg(target_os = "none")]
mod debug;
#[cfg(target_os = "none")]
mod debugged;
#[cfg(target_os = "none")]
mod descriptors;
#[cfg(target_os = "none")]
mod emulated;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod home;
#[cfg(target_os = "none")]
mod hostile;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod leap;
#[cfg(target_os = "none")]
mod leftovers;
#[cfg(target_os = "none")]
mod lives;
#[cfg(target_os = "none")]
mod masked;
#[cfg(target_os = "none")]
mod modes;
#[cfg(target_os = "none")]
mod msr;
#[cfg(target_os = "none")]
mod nmi;
#[cfg(target_os = "none")]
mod numbered;
#[cfg(target_os = "none")]
mod overrun;
#[cfg(target_os = "none")]
mod processor;
#[cfg(target_os = "none")]
mod quarantine;
#[cfg(target_os = "none")]
mod registers;
#[cfg(target_os = "none")]
mod revoke;
#[cfg(target_os = "none")]
mod ring;
#[cfg(target_os = "none")]
mod rings;
#[cfg(target_os = "none")]
mod row;
#[cfg(target_os = "none")]
mod runs;
#[cfg(target_os = "none")]
mod scribble;
#[cfg(target_os = "none")]
mod segments;
#[cfg(target_os = "none")]
mod snippet;
#[cfg(target_os = "none")]
mod starts;
#[cfg(target_os = "none")]
mod stepping;
#[cfg(target_os = "none")]
mod sweep;
#[cfg(target_os = "none")]
mod tables;
#[cfg(target_os = "none")]
mod timer;
#[cfg(target_os = "none")]
mod vectors;
#[cfg(target_os = "none")]
mod victim;
#[cfg(target_os = "none")]
mod wrap;
#[cfg(target_os = "none")]
mod x87;

#[cfg(target_os = "none")]
sluice_vnf::main!(attack::run);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the attacks are a VM image of the monitor: build it for x86_64-unknown-none");
    std::process::exit(2);
}
