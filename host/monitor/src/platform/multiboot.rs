//! What the boot loader tells: memory and modules. See: Multiboot2, "Boot information format".
#![allow(unsafe_code, reason = "reads what the boot loader left in memory")]

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};

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

/// Reads the boot information at `at`: the modules, and the free memory (first byte, end).
pub fn read(magic: u32, at: u32) -> Result<(Vec<Module>, (u64, u64)), String> {
    if magic != multiboot2::MAGIC {
        return Err(alloc::format!("not started by a Multiboot2 boot loader (magic {magic:#x})"));
    }
    // SAFETY: a Multiboot2 loader (checked by its magic) left its information here, one to one; nobody writes it.
    let information = unsafe { BootInformation::load(at as usize as *const BootInformationHeader) }
        .map_err(|error| alloc::format!("boot information: {error:?}"))?;
    let modules = information.module_tags().map(module).collect::<Result<Vec<_>, _>>()?;
    let used = modules.iter().map(|module| module.bytes.as_ptr_range().end as u64).max().unwrap_or(0);
    let from = used.max(information.end_address() as u64).max((&raw const monitor_end) as u64);
    Ok((modules, free(&information, from)?))
}

fn module(tag: &multiboot2::ModuleTag) -> Result<Module, String> {
    let line = tag.cmdline().map_err(|error| alloc::format!("boot module: name: {error:?}"))?;
    let name = line.split_whitespace().next().unwrap_or("").to_string();
    let (start, len) = (tag.start_address() as usize, tag.module_size() as usize);
    // SAFETY: the loader put the module here, one to one; frames are taken only behind the last module.
    let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
    Ok(Module { name, bytes })
}

/// The largest run of usable memory below 4 GiB, from `from` up.
fn free(information: &BootInformation, from: u64) -> Result<(u64, u64), String> {
    const FOUR_GIB: u64 = 4 << 30;
    let map = information.memory_map_tag().ok_or("boot information: no memory map")?;
    map.memory_areas()
        .iter()
        .filter(|area| area.typ() == MemoryAreaType::Available)
        .map(|area| (area.start_address().max(from), area.end_address().min(FOUR_GIB)))
        .filter(|(start, end)| start < end)
        .max_by_key(|(start, end)| end - start)
        .ok_or_else(|| "boot information: no usable memory above the modules".into())
}
