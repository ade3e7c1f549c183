//! Shared memory that nobody can resize: a file that its other users could cut would end this process with a touch
//! behind its end.

use crate::memory::Mapping;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::io;

/// Returns a new file of `len` zero bytes, which everybody who has it may map and nobody can resize. `name` is for
/// `/proc` alone.
pub fn resizable_by_nobody(name: &str, len: u64) -> io::Result<File> {
    let file = sized(name, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Returns a new file of `len` zero bytes, and the only mapping that can ever write there.
pub fn written_here(name: &str, len: u64) -> io::Result<(File, Mapping)> {
    let file = sized(name, len)?;
    let mapping = Mapping::of_file(&file, 0, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
    Ok((file, mapping))
}

fn sized(name: &str, len: u64) -> io::Result<File> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, len)?;
    Ok(file.into())
}
