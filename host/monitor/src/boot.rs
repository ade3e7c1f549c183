//! The entry point, and what the boot loader hands over: memory and modules. See: Multiboot2, "Boot information
//! format".
#![allow(unsafe_code, reason = "the entry point, and memory that the boot loader filled")]

use crate::platform::physical::{self, Room};
use crate::platform::{descriptors, verdict};
use crate::start::{self, FIRST_HEAP};
use crate::vm::Module;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::arch::global_asm;
use core::panic::PanicInfo;
use multiboot2::{BootInformation, BootInformationHeader, LoadError, MemoryAreaType};
use thiserror::Error;

unsafe extern "C" {
    static monitor_end: u8;
}

global_asm!(include_str!("boot.S"), MONITOR_MAIN = sym monitor_main);

/// Called by boot.S with the values of EAX and EBX at the entry point.
extern "sysv64" fn monitor_main(magic: u32, information: u32) -> ! {
    // SAFETY: this function is called once, by boot.S, with what the boot loader left.
    let boot = unsafe { load(magic, information) }.and_then(|boot| Ok((free(&boot)?, boot)));
    let (room, boot) = boot.unwrap_or_else(|error| verdict::finish(Err(error)));
    physical::init(room);
    if let Err(error) = physical::grow_heap(FIRST_HEAP) {
        verdict::finish(Err(error));
    }
    descriptors::init();
    descriptors::mask_legacy_interrupts();
    verdict::finish(modules(&boot).and_then(start::run));
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    verdict::finish(Err(format_args!("the monitor panicked: {info}")));
}

/// Why the boot information can't be used.
#[derive(Debug, Error)]
enum BootError {
    /// EAX does not hold the magic of a Multiboot2 loader.
    #[error("not started by a Multiboot2 boot loader (magic {0:#x})")]
    Magic(u32),
    /// The information is not laid out as the standard says.
    #[error("boot information: {0:?}")]
    Information(LoadError),
    /// The information has no memory map.
    #[error("boot information: no memory map")]
    NoMap,
    /// All memory is used, or above 4 GiB.
    #[error("boot information: no usable memory above the modules")]
    NoMemory,
}

/// Finds the boot information at `at`, which a Multiboot2 loader with the magic `magic` left there.
///
/// # Errors
/// [`BootError::Magic`], [`BootError::Information`].
///
/// # Safety
/// The values are those of EAX and EBX at the entry point.
unsafe fn load(magic: u32, at: u32) -> Result<BootInformation<'static>, BootError> {
    if magic != multiboot2::MAGIC {
        return Err(BootError::Magic(magic));
    }
    // SAFETY: a Multiboot2 loader (checked by its magic) left its information here, mapped one to one; nobody writes
    // it.
    unsafe { BootInformation::load(at as usize as *const BootInformationHeader) }.map_err(BootError::Information)
}

/// Returns the modules that the loader put in memory.
///
/// # Errors
/// A message that says what is wrong with the name of a module.
fn modules(information: &BootInformation) -> Result<Vec<Module>, String> {
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

/// Returns the largest run of usable memory below 4 GiB, behind the monitor and its modules.
///
/// # Errors
/// [`BootError::NoMap`], [`BootError::NoMemory`]. Nothing is allocated.
fn free(information: &BootInformation) -> Result<Room, BootError> {
    const FOUR_GIB: u64 = 4 << 30;
    let used = information.module_tags().map(|tag| u64::from(tag.end_address())).max().unwrap_or(0);
    let from = used.max(information.end_address() as u64).max((&raw const monitor_end) as u64);
    let map = information.memory_map_tag().ok_or(BootError::NoMap)?;
    let largest = map
        .memory_areas()
        .iter()
        .filter(|area| area.typ() == MemoryAreaType::Available)
        .map(|area| (area.start_address().max(from), area.end_address().min(FOUR_GIB)))
        .filter(|(start, end)| start < end)
        .max_by_key(|(start, end)| end - start)
        .ok_or(BootError::NoMemory)?;
    // SAFETY: boot.S maps the first 4 GiB one to one. The loader says that this is memory; monitor, modules and
    // information end before it.
    Ok(unsafe { Room::new(largest.0, largest.1) })
}
