//! The gate image: stub page, gate page, window page and window code, the same frames for every VM.

use crate::platform::frames::{self, OutOfFrames};
use crate::platform::table::Table;
use alloc::vec::Vec;
use core::fmt;
use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use sluice_abi::{Hpa, build_id, map};
use sluice_inside::BUILD_ID;
use sluice_memory::PeerSlice;

/// A run of the window's code or constants.
pub struct Part {
    /// Slot offset.
    pub offset: u64,
    /// Where it is.
    pub hpa: Hpa,
    /// Bytes, whole pages.
    pub len: u64,
    /// Code, not constants.
    pub execute: bool,
}

/// Everything of the host's that runs in a VM.
pub struct GateImage {
    /// Home: the stub.
    pub stub: Hpa,
    /// Gate view: open and close.
    pub gate: Hpa,
    /// Window view: enter and leave.
    pub window: Hpa,
    /// Window view: the operation.
    pub code: Vec<Part>,
}

/// Why the window image can't be used.
#[derive(Debug)]
pub enum ImageError {
    /// Not an ELF file.
    NotElf,
    /// A segment is outside the window's code range, writable, or cut short.
    BadSegment(u64),
    /// Its constants do not begin with a build id.
    NoBuildId,
    /// It was built of other sources, or by another compiler, than this monitor: this is its build id.
    OtherBuild(u64),
    /// No memory for it.
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
            Self::OtherBuild(id) => write!(
                f,
                "module \"window\": build id {id:016x}, and this monitor was built with {BUILD_ID:016x}: build both from the same sources"
            ),
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

fn load_code(elf: &[u8]) -> Result<Vec<Part>, ImageError> {
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

fn load_segment(elf: &[u8], segment: &ProgramHeader) -> Result<Part, ImageError> {
    let bad = ImageError::BadSegment(segment.p_vaddr);
    let offset = segment.p_vaddr.wrapping_sub(map::SLOT_VA);
    let inside =
        offset.checked_sub(map::CODE).is_some_and(|at| at < map::CODE_LEN && segment.p_memsz <= map::CODE_LEN - at);
    let usable = inside && offset.is_multiple_of(map::PAGE) && segment.p_flags & PF_W == 0;
    let (true, Some(bytes)) = (usable, bytes_of(elf, segment)) else {
        return Err(bad);
    };
    let len = segment.p_memsz.next_multiple_of(map::PAGE);
    let hpa = frames::alloc_contiguous(len, map::PAGE)?;
    write(hpa, len, bytes).ok_or(bad)?;
    Ok(Part { offset, hpa, len, execute: segment.p_flags & PF_X != 0 })
}

/// What of `elf` is in `segment`; `None`: it is cut short.
fn bytes_of<'e>(elf: &'e [u8], segment: &ProgramHeader) -> Option<&'e [u8]> {
    let (from, len) = (usize::try_from(segment.p_offset).ok()?, usize::try_from(segment.p_filesz).ok()?);
    elf.get(from..from.checked_add(len)?)
}

#[allow(unsafe_code, reason = "fills frames just allocated")]
fn write(hpa: Hpa, len: u64, bytes: &[u8]) -> Option<()> {
    // SAFETY: `len` bytes were just allocated at `hpa`, are identity-mapped and nobody else knows of them.
    let frames = unsafe { PeerSlice::from_raw(hpa.0 as *mut u8, len) };
    frames.copy_from_slice(0, bytes).ok()
}
