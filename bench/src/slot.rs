//! The sluice slot of this process: memory at the addresses where the window view of a VM has it, and the window image
//! among it, which is called there. And memory elsewhere, in pages of a wanted size.
#![allow(unsafe_code, reason = "maps memory at fixed addresses, loads an image there and calls it")]

use anyhow::{Context, Result, bail};
use core::ffi::c_void;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD};
use elf::endian::LittleEndian;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect};
use sluice_abi::call::Status;
use sluice_abi::map;
use sluice_inside::{Slot, Window};
use sluice_memory::PeerSlice;
use std::os::fd::OwnedFd;
use vm_memory::MmapRegion;
use vm_memory::mmap::MmapRegionBuilder;

type Entry = extern "sysv64" fn(u64, *mut Window) -> u64;

/// The window image, its state and its request block, where the window view has them. There is one place for it.
pub struct Image {
    entry: Entry,
    state: PeerSlice<'static>,
    /// The request block.
    pub request: PeerSlice<'static>,
}

/// Returns `len` zeroed bytes, or those of `file`, at slot offset `offset`. They stay mapped for as long as the program
/// runs.
pub fn map_at(offset: u64, len: u64, file: Option<&OwnedFd>) -> Result<PeerSlice<'static>> {
    let (at, len) = ((map::SLOT_VA + offset) as *mut c_void, len.next_multiple_of(map::PAGE) as usize);
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: NOREPLACE takes nothing that is already mapped.
    let mapped = unsafe {
        match file {
            Some(file) => mmap(at, len, rights, MapFlags::SHARED | MapFlags::FIXED_NOREPLACE, file, 0),
            None => mmap_anonymous(at, len, rights, MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE),
        }
    };
    let mapped = mapped.ok().filter(|&mapped| mapped == at).with_context(|| format!("no memory at {at:p}"))?;
    // SAFETY: just mapped, never unmapped, and only slices lead into it; of a file that is cut off, an access beyond
    // its end ends the program.
    Ok(unsafe { PeerSlice::from_raw(mapped.cast(), len as u64) })
}

/// Returns the whole slot.
pub fn whole() -> Slot {
    // SAFETY: who attaches a peer with it maps the peer's memory before, for good, or the program ends.
    unsafe { Slot::at(map::SLOT_VA as *mut u8) }
}

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Returns `count` words of 0 that begin at a multiple of 2 MiB, for which the kernel is asked to take pages of 2 MiB,
/// or not to. They stay mapped for as long as the program runs.
pub fn pages(count: usize, large: bool) -> Result<&'static mut [u64]> {
    let bytes = (count * size_of::<u64>()).next_multiple_of(LARGE_PAGE);
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: this is a new mapping at an address of the system's choice.
    let mapped = unsafe { mmap_anonymous(core::ptr::null_mut(), bytes + LARGE_PAGE, rights, MapFlags::PRIVATE) }?;
    let at = mapped.wrapping_byte_add(mapped.align_offset(LARGE_PAGE));
    let advice = if large { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
    // SAFETY: the advice changes no byte, and the range is in the mapping: the first multiple of 2 MiB is less than
    // 2 MiB behind the mapping's start.
    unsafe { madvise(at, bytes, advice) }?;
    // SAFETY: the words are in the mapping, which has bytes of 0, stays, and is reached by nothing else.
    Ok(unsafe { core::slice::from_raw_parts_mut(at.cast(), count) })
}

/// Returns `memory` as rust-vmm addresses it.
pub fn region(memory: PeerSlice<'static>) -> Result<MmapRegion> {
    let builder = MmapRegionBuilder::new(usize::try_from(memory.len())?);
    // SAFETY: the slice's memory is mapped for as long as the program runs, and anyone may write it at any time, which
    // a region expects of its memory as well.
    let builder = unsafe { builder.with_raw_mmap_pointer(memory.as_ptr()) };
    Ok(builder.build()?)
}

impl Image {
    /// Maps the segments of the image whose file is `bytes`, its state and its request block.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
        let at = map::SLOT_VA + map::CODE;
        if file.ehdr.e_machine != EM_X86_64 || file.ehdr.e_entry != at {
            bail!("no window image");
        }
        let code = map_at(map::CODE, map::CODE_LEN, None)?;
        for segment in file.segments().context("no segments")?.iter().filter(|segment| segment.p_type == PT_LOAD) {
            let offset = segment.p_vaddr.wrapping_sub(at);
            code.copy_from_slice(offset, file.segment_data(&segment)?).ok().context("a segment is outside")?;
        }
        let rights = MprotectFlags::READ | MprotectFlags::EXEC;
        // SAFETY: the pages are the image's, and nobody writes there any more.
        unsafe { mprotect(code.as_ptr().cast(), map::CODE_LEN as usize, rights) }?;
        Ok(Self {
            // SAFETY: the image's entry point has this signature (trampoline/inside/src/bin/window.rs).
            entry: unsafe { core::mem::transmute::<*mut u8, Entry>(code.as_ptr()) },
            state: map_at(map::STATE, map::STATE_LEN, None)?,
            request: map_at(map::REQUEST, map::PAGE, None)?,
        })
    }

    /// Makes the image's state that of a window without packets and peers, and returns it.
    pub fn new_window(&mut self) -> &mut Window {
        // SAFETY: the state's place has `map::STATE_LEN` bytes and is aligned to a page. Nobody else uses it: nothing
        // but the result and the calls of the entry point, which have `self` for themselves, leads there.
        unsafe { Window::init(self.state.as_ptr().cast()) }
    }

    /// Lets the image send the first `count` packets of the request block.
    #[inline(always)]
    pub fn transmit(&mut self, count: u64) -> Status {
        // No reference to the state exists during the call: it is the image's.
        Status((self.entry)(count, self.state.as_ptr().cast()))
    }
}
