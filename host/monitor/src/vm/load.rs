//! Loading a VM: its image, page tables, modules and boot information, into RAM in which nobody executes.
//!
//! What the image and the manifest say is checked before it is used. See: `sluice_abi::boot`.

use crate::platform::hierarchy::LARGE;
use crate::platform::hierarchy::bits::{PRESENT, WRITABLE};
use crate::vmx::registers::Registers;
use alloc::format;
use alloc::string::String;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use sluice_abi::boot::{ARGS_LEN, BootInfo, IMAGE_START, MAGIC, MAX_MODULES, Module};
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;
use zerocopy::IntoBytes;

/// Addresses of the boot page tables and of the boot information, below [`IMAGE_START`].
const PML4: u64 = 0x1000;
const IDENTITY_PDPT: u64 = 0x2000;
const IDENTITY_PD: u64 = 0x3000;
const SLOT_PDPT: u64 = 0x7000;
const BOOT_INFO: u64 = 0x8000;

const PRESENT_WRITE: u64 = PRESENT | WRITABLE;
const GIB: u64 = 1 << 30;

/// The state in which a loaded VM starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Address of the first instruction.
    pub entry: u64,
    /// Value of RSP.
    pub stack: u64,
    /// Address of the boot information, the value of RDI.
    pub boot_info: Gpa,
    /// Address of the page tables, the value of CR3.
    pub cr3: Gpa,
}

impl Start {
    /// Returns the general registers at the start. See: `sluice_abi::boot`.
    pub fn registers(&self) -> Registers {
        let mut registers = Registers::default();
        registers.0[Registers::RDI] = self.boot_info.0;
        registers
    }
}

/// Name and content of a file for a VM.
pub type File<'a> = (&'a str, &'a [u8]);

/// The content of a VM's RAM.
pub struct Contents<'a> {
    /// The VM's name, for messages.
    pub vm: &'a str,
    /// Image of the VM.
    pub image: File<'a>,
    /// Arguments of the VM.
    pub args: &'a str,
    /// Files of the VM.
    pub modules: &'a [File<'a>],
}

/// Fills `ram`. The error is one line that names the VM and the file.
pub fn load(ram: PeerSlice<'_>, contents: &Contents) -> Result<Start, String> {
    let (vm, (image, elf)) = (contents.vm, contents.image);
    let (entry, image_end) = load_image(ram, elf).map_err(|what| format!("vm \"{vm}\": image \"{image}\": {what}"))?;
    let mut info = BootInfo {
        magic: MAGIC,
        ram_len: ram.len(),
        free: Gpa(image_end.next_multiple_of(map::PAGE)),
        free_len: 0,
        module_count: contents.modules.len() as u64,
        args_len: contents.args.len() as u64,
        modules: [Module::default(); MAX_MODULES],
        args: [0; ARGS_LEN],
    };
    let args = info
        .args
        .get_mut(..contents.args.len())
        .ok_or_else(|| format!("vm \"{vm}\": args: longer than {ARGS_LEN} bytes"))?;
    args.copy_from_slice(contents.args.as_bytes());
    let end = load_modules(ram, contents, &mut info)?;
    info.free_len = end - info.free.0;
    write_tables(ram)
        .and_then(|()| ram.copy_from_slice(BOOT_INFO, info.as_bytes()))
        .map_err(|_| format!("vm \"{vm}\": ram_mib: too small"))?;
    Ok(Start { entry, stack: end & !15, boot_info: Gpa(BOOT_INFO), cr3: Gpa(PML4) })
}

/// Copies the segments of the image `elf`. Returns the entry point and the first byte behind the image.
fn load_image(ram: PeerSlice<'_>, elf: &[u8]) -> Result<(u64, u64), String> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(elf).map_err(|error| format!("not an ELF file: {error}"))?;
    if file.ehdr.e_machine != EM_X86_64 {
        return Err(format!("ELF machine {}, not x86-64", file.ehdr.e_machine));
    }
    let mut end = IMAGE_START.0;
    for segment in
        file.segments().ok_or("ELF file without segments")?.iter().filter(|segment| segment.p_type == PT_LOAD)
    {
        let bytes =
            file.segment_data(&segment).map_err(|error| format!("segment at {:#x}: {error}", segment.p_paddr))?;
        end = end.max(load_segment(ram, &segment, bytes)?);
    }
    if file.ehdr.e_entry < IMAGE_START.0 || file.ehdr.e_entry >= end {
        return Err(format!("entry point {:#x} is outside the image", file.ehdr.e_entry));
    }
    Ok((file.ehdr.e_entry, end))
}

fn load_segment(ram: PeerSlice<'_>, segment: &ProgramHeader, bytes: &[u8]) -> Result<u64, String> {
    let at = segment.p_paddr;
    let target = ram.sub(at, segment.p_memsz).ok().filter(|_| at >= IMAGE_START.0);
    let target = target.ok_or_else(|| format!("segment at {at:#x} ({} bytes) is outside RAM", segment.p_memsz))?;
    target.copy_from_slice(0, bytes).map_err(|_| format!("segment at {at:#x}: larger in the file than in memory"))?;
    zero(target, bytes.len() as u64);
    Ok(at + segment.p_memsz)
}

/// Zeroes `target` from offset `from` on, which the file does not fill: the VM may have run there before.
fn zero(target: PeerSlice<'_>, from: u64) {
    const ZEROS: [u8; map::PAGE as usize] = [0; map::PAGE as usize];
    for at in (from..target.len()).step_by(ZEROS.len()) {
        let len = (target.len() - at).min(map::PAGE);
        // The bytes end where `target` does.
        let _ = target.copy_from_slice(at, &ZEROS[..len as usize]);
    }
}

/// Copies the modules to the top of RAM. Returns the end of the memory below them.
fn load_modules(ram: PeerSlice<'_>, contents: &Contents, info: &mut BootInfo) -> Result<u64, String> {
    let mut end = ram.len();
    if contents.modules.len() > MAX_MODULES {
        return Err(format!("vm \"{}\": modules: more than {MAX_MODULES}", contents.vm));
    }
    for (entry, (name, bytes)) in info.modules.iter_mut().zip(contents.modules) {
        let too_large =
            || format!("vm \"{}\": module \"{name}\" ({} bytes): does not fit into RAM", contents.vm, bytes.len());
        end = end.checked_sub(bytes.len() as u64).ok_or_else(too_large)? & !(map::PAGE - 1);
        if end <= info.free.0 {
            return Err(too_large());
        }
        ram.copy_from_slice(end, bytes).map_err(|_| too_large())?;
        (entry.gpa, entry.len) = (Gpa(end), bytes.len() as u64);
        let name = name.as_bytes();
        let len = name.len().min(entry.name.len());
        entry.name[..len].copy_from_slice(&name[..len]);
    }
    Ok(end)
}

/// Writes page tables that map the first 4 GiB one to one, and the sluice slot. See: SDM volume 3, "4-Level Paging and
/// 5-Level Paging".
fn write_tables(ram: PeerSlice<'_>) -> Result<(), sluice_memory::OutOfRegion> {
    zero(ram.sub(PML4, BOOT_INFO - PML4)?, 0);
    ram.write(PML4, IDENTITY_PDPT | PRESENT_WRITE)?;
    ram.write(PML4 + 8 * map::SLOT_PML4_INDEX as u64, SLOT_PDPT | PRESENT_WRITE)?;
    for gib in 0..4 {
        ram.write(IDENTITY_PDPT + 8 * gib, (IDENTITY_PD + 4096 * gib) | PRESENT_WRITE)?;
    }
    for page in 0..4 * 512 {
        ram.write(IDENTITY_PD + 8 * page, page << 21 | PRESENT_WRITE | LARGE)?;
    }
    for gib in 0..map::SLOT_LEN / GIB {
        ram.write(SLOT_PDPT + 8 * gib, (map::SLOT_GPA + gib * GIB) | PRESENT_WRITE | LARGE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const RAM: usize = 4 << 20;

    /// A minimal executable: one segment of `memsz` bytes at `at`, four of them in the file.
    fn elf(at: u64, memsz: u64, entry: u64) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..20].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0]);
        file[24..32].copy_from_slice(&entry.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
        file[64..72].copy_from_slice(&[1, 0, 0, 0, 7, 0, 0, 0]);
        for (place, value) in [(72, 120), (80, at), (88, at), (96, 4), (104, memsz)] {
            file[place..place + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        file.extend(b"code");
        file
    }

    fn with_ram<R>(run: impl FnOnce(PeerSlice<'_>) -> R) -> R {
        // As the VM left it.
        run(PeerSlice::from_mut(&mut vec![u64::MAX; RAM / 8]))
    }

    fn try_load(image: &[u8], modules: &[File]) -> Result<Start, String> {
        with_ram(|ram| load(ram, &Contents { vm: "a", image: ("image", image), args: "send", modules }))
    }

    #[test]
    fn an_image_starts_at_its_entry_with_its_files() {
        let start = with_ram(|ram| {
            let files: [File; 1] = [("x.pcap", b"bytes")];
            let image = elf(0x20_0000, 0x1001, 0x20_0002);
            let start =
                load(ram, &Contents { vm: "a", image: ("image", &image), args: "send", modules: &files }).unwrap();
            assert_eq!(ram.read::<u32>(0x20_0000).unwrap().to_le_bytes(), *b"code");
            assert!((4..0x1001).all(|at| ram.read::<u8>(0x20_0000 + at) == Ok(0)), "not in the file");
            assert_eq!(ram.read::<u8>(0x20_1001), Ok(u8::MAX), "not the image's");
            let tables = (0..4 * 512).filter(|word| ram.read::<u64>(PML4 + 8 * word) != Ok(0)).count();
            assert_eq!(tables, 2 + 4 + 2 * 512, "page tables, and nothing that was there");
            assert_eq!(ram.read::<u64>(BOOT_INFO).unwrap(), MAGIC);
            assert_eq!(ram.read::<u32>(start.stack).unwrap().to_le_bytes(), *b"byte");
            start
        });
        assert_eq!(
            start,
            Start { entry: 0x20_0002, stack: RAM as u64 - 4096, boot_info: Gpa(0x8000), cr3: Gpa(0x1000) }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(Vec<u8>, &str); 6] = [
            (b"#!/bin/sh".to_vec(), "vm \"a\": image \"image\": not an ELF file"),
            (elf(0x1000, 4, 0x1000), "segment at 0x1000 (4 bytes) is outside RAM"),
            (elf(RAM as u64 - 2, 4, RAM as u64), "is outside RAM"),
            (elf(u64::MAX - 1, 4, 0), "is outside RAM"),
            (elf(0x20_0000, 2, 0x20_0000), "larger in the file than in memory"),
            (elf(0x20_0000, 4, 0x20_0004), "entry point 0x200004 is outside the image"),
        ];
        for (image, expected) in cases {
            let error = try_load(&image, &[]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let image = elf(0x20_0000, 4, 0x20_0000);
        let error = try_load(&image, &[("big", &vec![0; RAM])]).unwrap_err();
        assert_eq!(error, "vm \"a\": module \"big\" (4194304 bytes): does not fit into RAM");
        for len in 0..image.len() {
            assert!(try_load(&image[..len], &[]).is_err(), "accepted with {len} bytes");
        }
    }
}
