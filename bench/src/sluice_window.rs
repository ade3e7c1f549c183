//! Ours as the window view runs it: the very image, at the addresses it is linked for, with what the monitor would map
//! there.
#![allow(unsafe_code, reason = "loads an image and calls it")]

use crate::arena::{Arena, map_at};
use crate::device::{Device, Ring};
use crate::sender::Sender;
use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD};
use elf::endian::LittleEndian;
use rustix::mm::{MprotectFlags, mprotect};
use sluice_abi::call::Status;
use sluice_abi::directory::Queue;
use sluice_abi::map;
use sluice_inside::Window;
use sluice_memory::PeerSlice;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Entry = extern "sysv64" fn(u64, *mut Window) -> u64;

/// The image, its state and its request block. There is one place for it.
struct Image {
    entry: Entry,
    state: PeerSlice<'static>,
    request: PeerSlice<'static>,
}

/// The image with a driver's queues.
pub struct SluiceWindow {
    image: MutexGuard<'static, Image>,
    sender: Sender,
    count: u16,
}

impl SluiceWindow {
    /// With `queues` of the driver in `arena`, run by the image in file `path`. One at a time.
    pub fn new(path: &Path, arena: &Arena, queues: &[(Ring, Queue)], longest: u16) -> Result<Self> {
        static IMAGE: OnceLock<Mutex<Image>> = OnceLock::new();
        // Its place in memory can be taken once: who comes meanwhile waits.
        static LOADING: Mutex<()> = Mutex::new(());
        let loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if IMAGE.get().is_none() {
            let image = load(&fs::read(path)?).with_context(|| path.display().to_string())?;
            IMAGE.get_or_init(|| Mutex::new(image));
        }
        drop(loading);
        let image = IMAGE.get().context("no image")?.lock().unwrap_or_else(PoisonError::into_inner);
        let state = image.state.as_ptr().cast::<Window>();
        // SAFETY: the state's place is long enough (asserted in sluice-inside) and aligned to a page, and nobody else
        // uses it: the lock is held for as long as the result lives.
        let window = unsafe { Window::init(state) };
        let sender = Sender::new(window, image.request, arena, queues, longest)?;
        Ok(Self { image, sender, count: 0 })
    }
}

/// Maps the image's segments, its state and its request block.
fn load(bytes: &[u8]) -> Result<Image> {
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
    Ok(Image {
        // SAFETY: the image's entry point has this signature (trampoline/inside/src/bin/window.rs).
        entry: unsafe { core::mem::transmute::<*mut u8, Entry>(code.as_ptr()) },
        state: map_at(map::STATE, map::STATE_LEN, None)?,
        request: map_at(map::REQUEST, map::PAGE, None)?,
    })
}

// SAFETY: addresses that are the same in every thread.
unsafe impl Send for Image {}

impl Device for SluiceWindow {
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> Result<()> {
        self.count = count;
        self.sender.prepare(ring, count, len)
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        // No reference to the state exists during the call: it is the image's.
        let status = (self.image.entry)(u64::from(self.count), self.image.state.as_ptr().cast());
        if Status(status) == Status::OK { usize::from(self.count) } else { 0 }
    }
}
