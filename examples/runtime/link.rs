//! Build script of every image: as a VM it is linked by linker/vm.ld, as a process like any program.

use std::env::var;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../runtime/link.rs");
    if var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../linker/vm.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    for argument in ["-no-pie", "-zmax-page-size=4096", "-znorelro", "--build-id=none", "--gc-sections"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
