//! What the boot loader tells: memory and modules. See: Multiboot2, "Boot information format".
#![allow(unsafe_code, reason = "reads what the boot loader left in memory")]

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use multiboot2::{BootInformation, BootInformationHeader, LoadError, MemoryAreaType};
use thiserror::Error;

unsafe extern "C" {
    static monitor_end: u8;
}

/// A file that the boot loader put in memory.
pub struct Module {
    /// Its name: the first word of its command line.
    pub name: String,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// Why there is nothing to start from.
#[derive(Debug, Error)]
pub enum BootError {
    /// EAX has not the loader's magic.
    #[error("not started by a Multiboot2 boot loader (magic {0:#x})")]
    Magic(u32),
    /// The information is not what the standard says.
    #[error("boot information: {0:?}")]
    Information(LoadError),
    /// It has no memory map.
    #[error("boot information: no memory map")]
    NoMap,
    /// All memory is used, or above 4 GiB.
    #[error("boot information: no usable memory above the modules")]
    NoMemory,
}

/// Finds the boot information at `at`, which a Multiboot2 loader says with `magic` that it left there.
///
/// # Errors
/// [`BootError::Magic`], [`BootError::Information`].
pub fn load(magic: u32, at: u32) -> Result<BootInformation<'static>, BootError> {
    if magic != multiboot2::MAGIC {
        return Err(BootError::Magic(magic));
    }
    // SAFETY: a Multiboot2 loader (checked by its magic) left its information here, one to one; nobody writes it.
    unsafe { BootInformation::load(at as usize as *const BootInformationHeader) }.map_err(BootError::Information)
}

/// The modules that the loader put in memory.
///
/// # Errors
/// What is wrong with the name of one, in words.
pub fn modules(information: &BootInformation) -> Result<Vec<Module>, String> {
    information.module_tags().map(module).collect()
}

fn module(tag: &multiboot2::ModuleTag) -> Result<Module, String> {
    let line = tag.cmdline().map_err(|error| alloc::format!("boot module: name: {error:?}"))?;
    let name = line.split_whitespace().next().unwrap_or("").to_string();
    let (start, len) = (tag.start_address() as usize, tag.module_size() as usize);
    // SAFETY: the loader put the module here, one to one; frames are taken only behind the last module.
    let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
    Ok(Module { name, bytes })
}

/// The largest run of usable memory below 4 GiB, behind the monitor and its modules: first byte, end.
///
/// # Errors
/// [`BootError::NoMap`], [`BootError::NoMemory`]. Nothing is allocated.
pub fn free(information: &BootInformation) -> Result<(u64, u64), BootError> {
    const FOUR_GIB: u64 = 4 << 30;
    let used = information.module_tags().map(|tag| u64::from(tag.end_address())).max().unwrap_or(0);
    let from = used.max(information.end_address() as u64).max((&raw const monitor_end) as u64);
    let map = information.memory_map_tag().ok_or(BootError::NoMap)?;
    map.memory_areas()
        .iter()
        .filter(|area| area.typ() == MemoryAreaType::Available)
        .map(|area| (area.start_address().max(from), area.end_address().min(FOUR_GIB)))
        .filter(|(start, end)| start < end)
        .max_by_key(|(start, end)| end - start)
        .ok_or(BootError::NoMemory)
}
