//! How the monitor hands a VM its image, arguments and modules.
//!
//! The image is a 64-bit ELF executable, linked at its guest-physical addresses, from [`IMAGE_START`] up. It starts at
//! its entry point in 64-bit mode, interrupts off, with RDI = the GPA of [`BootInfo`], RSP = the top of
//! [`BootInfo::free`] rounded down to 16 bytes, and page tables that map the VM's RAM and the first 4 GiB one to one
//! (entry 0) and the sluice slot at [`crate::map::SLOT_VA`] (entry 128), all writable and executable: the EPT holds the
//! real limits.

use crate::Gpa;
use crate::map::PAGE;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a [`BootInfo`]: "SluiceBt".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceBt");
/// Lowest guest-physical address an image may use. Below lie page tables and boot information.
pub const IMAGE_START: Gpa = Gpa(0x10_0000);
/// The page right below an image. No memory backs it, so a stack at the start of the image that grows beyond its end
/// stops the VM and overwrites nothing.
pub const STACK_GUARD: Gpa = Gpa(IMAGE_START.0 - PAGE);
/// Largest length of the VM's arguments, in bytes.
pub const ARGS_LEN: usize = 512;
/// Largest number of modules of one VM.
pub const MAX_MODULES: usize = 4;

/// A file that the manifest gives to the VM. The host puts it into the VM's RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Module {
    /// Address of the first byte.
    pub gpa: Gpa,
    /// Length in bytes.
    pub len: u64,
    /// Name of the file, padded with zeros.
    pub name: [u8; 32],
}

/// The boot information, which the VM finds at RDI. The host writes it before the VM starts; afterwards it is the VM's
/// own RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// [`MAGIC`]
    pub magic: u64,
    /// Length of RAM in bytes. RAM starts at GPA 0.
    pub ram_len: u64,
    /// Address of the first byte of free RAM.
    pub free: Gpa,
    /// Length of free RAM in bytes. The VM's first stack is at its top.
    pub free_len: u64,
    /// Number of entries of `modules` that are valid.
    pub module_count: u64,
    /// Number of bytes of `args` that are valid.
    pub args_len: u64,
    /// The files of the VM.
    pub modules: [Module; MAX_MODULES],
    /// The VM's arguments, UTF-8.
    pub args: [u8; ARGS_LEN],
}

const _: () = assert!(size_of::<BootInfo>() == 48 + 48 * MAX_MODULES + ARGS_LEN);
const _: () = assert!(size_of::<BootInfo>() as u64 <= PAGE);
