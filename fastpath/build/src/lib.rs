//! The build script of a VNF: it links the VNF's program as an image for a virtual machine, or leaves it an ordinary
//! program.
//!
//! The crate needs no other, and stands beside `sluice-vnf`: a VNF has that as its one dependency, and this as its one
//! build-dependency. `fn main()` of the VNF's `build.rs` has one line, which calls [`image`]:
//!
//! ```
//! sluice_build::image();
//! ```
//!
//! and its `Cargo.toml` names both:
//!
//! ```toml
//! [dependencies]
//! sluice-vnf = "0.1"
//!
//! [build-dependencies]
//! sluice-build = "0.1"
//! ```
//!
//! For the target `x86_64-unknown-none` the programs of the package are linked as images for virtual machines, at the
//! guest-physical addresses that the host loads them to. For a target with an operating system they are ordinary
//! programs, and [`image`] does nothing.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::Path;

/// The linker script of a VM image.
const SCRIPT: &str = include_str!("vm.ld");

/// Arguments of the linker beside the script: an image has fixed addresses and no dynamic loader.
const ARGUMENTS: [&str; 5] = ["-no-pie", "-zmax-page-size=4096", "-znorelro", "--build-id=none", "--gc-sections"];

/// Links the programs of this package as VM images where the target has no operating system, and changes nothing else.
///
/// # Panics
/// If Cargo set no `OUT_DIR`, or the linker script can't be written there. A build script reports errors that way.
pub fn image() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = env::var_os("OUT_DIR").expect("OUT_DIR: call sluice_build::image from a build script");
    let script = Path::new(&folder).join("sluice-vm.ld");
    if let Err(error) = fs::write(&script, SCRIPT) {
        panic!("{}: {error}", script.display());
    }
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    for argument in ARGUMENTS {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
