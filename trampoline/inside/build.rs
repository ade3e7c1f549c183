//! Links the window image by its own script.

use std::env;

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/window.ld");
    println!("cargo:rerun-if-changed={script}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for argument in ["-no-pie", "-zmax-page-size=4096", "-znorelro", "--build-id=none", "--gc-sections"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
}
