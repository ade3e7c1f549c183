//! Links the window image by its own script, and names what the ring code is made of.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Sources that the window's state and its code come from, and the gate that leads there. In a package of this crate
/// alone, the others are other packages, which its version names.
const SOURCES: [&str; 4] = ["src", "../gate/src", "../../memory/src", "../../abi/src"];

fn main() -> io::Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/window.ld");
    println!("cargo:rerun-if-changed={script}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for argument in ["-no-pie", "-zmax-page-size=4096", "-znorelro", "--build-id=none", "--gc-sections"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
    println!("cargo:rustc-env=SLUICE_BUILD_ID={:016x}", build_id()?);
    Ok(())
}

/// A hash of all sources and of the compiler's version: what `sluice_inside::BUILD_ID` is.
fn build_id() -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    let compiler = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output()?;
    compiler.stdout.hash(&mut hasher);
    for folder in SOURCES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        if folder.is_dir() {
            println!("cargo:rerun-if-changed={}", folder.display());
            hash(&folder, &mut hasher)?;
        }
    }
    Ok(hasher.finish())
}

/// Names and bytes of all files in `folder`, in an order that does not depend on the disk.
fn hash(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        path.file_name().hash(hasher);
        if path.is_dir() { hash(&path, hasher)? } else { fs::read(&path)?.hash(hasher) }
    }
    Ok(())
}
