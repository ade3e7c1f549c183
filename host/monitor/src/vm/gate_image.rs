//! The gate image: stub page, gate page, window page and window code. All VMs share their frames.

use crate::platform::physical::{self, OutOfFrames};
use crate::platform::table::Table;
use alloc::vec::Vec;
use core::fmt;
use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use sluice_abi::{Hpa, build_id, map};
use sluice_inside::BUILD_ID;

/// A run of the window's code or constants.
pub struct CodePart {
    /// Slot offset of the first byte.
    pub offset: u64,
    /// Host-physical address of the first byte.
    pub hpa: Hpa,
    /// Length in bytes, a multiple of the page.
    pub len: u64,
    /// Whether the run is code, not constants.
    pub execute: bool,
}

/// The host's code in a VM.
pub struct GateImage {
    /// The stub, which home maps.
    pub stub: Hpa,
    /// The page of the gate view, which opens and closes the window.
    pub gate: Hpa,
    /// The page of the window view by which calls enter and leave.
    pub window: Hpa,
    /// The code of the operation, which the window view maps.
    pub code: Vec<CodePart>,
}

/// Why the window image can't be used.
#[derive(Debug)]
pub enum ImageError {
    /// The image is not an ELF file.
    NotElf,
    /// The segment at this address is outside the window's code range, writable, or cut short.
    BadSegment(u64),
    /// The constants of the image do not begin with a build id.
    NoBuildId,
    /// The image with this build id was built from other sources, or by another compiler, than this monitor.
    OtherBuild(u64),
    /// No memory is left for the image.
    OutOfFrames,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "module \"window\": not an ELF file"),
            Self::BadSegment(at) => {
                write!(f, "module \"window\": segment at {at:#x} is outside the code range, writable or cut short")
            }
            Self::NoBuildId => write!(f, "module \"window\": has no build id where its constants begin"),
            Self::OtherBuild(id) => {
                write!(f, "module \"window\": build id {id:016x}, and this monitor was built with {BUILD_ID:016x}: ")?;
                write!(f, "build both from the same sources")
            }
            Self::OutOfFrames => write!(f, "module \"window\": no memory left"),
        }
    }
}

impl From<OutOfFrames> for ImageError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl GateImage {
    /// Lays out the pages of `trampoline/gate` and the window image `elf`.
    pub fn load(elf: &[u8]) -> Result<Self, ImageError> {
        let pages = sluice_gate::pages();
        let [stub, gate, window] = [pages.stub, pages.gate, pages.window].map(|image| {
            let table = Table::alloc()?;
            table.fill(image);
            Ok::<_, OutOfFrames>(table.hpa())
        });
        Ok(Self { stub: stub?, gate: gate?, window: window?, code: load_code(elf)? })
    }
}

fn load_code(elf: &[u8]) -> Result<Vec<CodePart>, ImageError> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(elf).map_err(|_| ImageError::NotElf)?;
    let segments = file.segments().ok_or(ImageError::NotElf)?;
    let constants = segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_X == 0);
    let id = constants.filter_map(|segment| bytes_of(elf, &segment)).find_map(build_id::find);
    match id.ok_or(ImageError::NoBuildId)? {
        BUILD_ID => {}
        other => return Err(ImageError::OtherBuild(other)),
    }
    segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0)
        .map(|segment| load_segment(elf, &segment))
        .collect()
}

fn load_segment(elf: &[u8], segment: &ProgramHeader) -> Result<CodePart, ImageError> {
    let bad = ImageError::BadSegment(segment.p_vaddr);
    let offset = segment.p_vaddr.wrapping_sub(map::SLOT_VA);
    let inside =
        offset.checked_sub(map::CODE).is_some_and(|at| at < map::CODE_LEN && segment.p_memsz <= map::CODE_LEN - at);
    let usable = inside && offset.is_multiple_of(map::PAGE) && segment.p_flags & PF_W == 0;
    let (true, Some(bytes)) = (usable, bytes_of(elf, segment)) else {
        return Err(bad);
    };
    let len = segment.p_memsz.next_multiple_of(map::PAGE);
    let hpa = physical::alloc_contiguous(len, map::PAGE)?;
    let frames = physical::slice(hpa, len);
    frames.and_then(|frames| frames.copy_from_slice(0, bytes).ok()).ok_or(bad)?;
    Ok(CodePart { offset, hpa, len, execute: segment.p_flags & PF_X != 0 })
}

/// Returns the bytes of `segment` in the file `elf`; `None` if the file is cut short.
fn bytes_of<'e>(elf: &'e [u8], segment: &ProgramHeader) -> Option<&'e [u8]> {
    let (from, len) = (usize::try_from(segment.p_offset).ok()?, usize::try_from(segment.p_filesz).ok()?);
    elf.get(from..from.checked_add(len)?)
}
