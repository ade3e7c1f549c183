//! Memory that processes share.
#![allow(unsafe_code, reason = "maps memory")]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use sluice_abi::directory::word;
use sluice_abi::map::DIRECTORY_LEN;
use sluice_memory::{PeerSlice, Table};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;

/// RAM of `len` bytes that nobody can resize: a peer that shrank it would end its senders.
pub fn ram(name: &str, len: u64) -> io::Result<OwnedFd> {
    let file = sized(name, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// All `len` bytes of `file`, of a VM's RAM that nobody can resize, for as long as this process lives.
pub fn map(file: &OwnedFd, len: u64) -> io::Result<PeerSlice<'static>> {
    // SAFETY: a new mapping of the kernel's choice, never unmapped, as long as the sealed file, reached through slices only.
    unsafe {
        let start = mmap(null_mut(), len as usize, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?;
        Ok(PeerSlice::from_raw(start.cast(), len))
    }
}

/// `len` bytes that no other process sees, for as long as this one lives.
pub fn private(len: u64) -> io::Result<PeerSlice<'static>> {
    // SAFETY: a new mapping of the kernel's choice, never unmapped, reached through slices only.
    unsafe {
        let start = mmap_anonymous(null_mut(), len as usize, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        Ok(PeerSlice::from_raw(start.cast(), len))
    }
}

/// The words of a directory that we write and others only read, and its file.
pub fn directory() -> io::Result<(OwnedFd, Table<'static, u64>)> {
    let file = sized("directory", DIRECTORY_LEN)?;
    // SAFETY: a new mapping of the kernel's choice, never unmapped, reached through the slice only.
    let pages = unsafe {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let pages = mmap(null_mut(), DIRECTORY_LEN as usize, access, MapFlags::SHARED, &file, 0)?;
        PeerSlice::from_raw(pages.cast(), DIRECTORY_LEN)
    };
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
    let words = pages.table(0, word::COUNT as u16).ok_or_else(|| io::Error::other("no room for a directory"))?;
    Ok((file, words))
}

fn sized(name: &str, len: u64) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, len)?;
    Ok(file)
}
