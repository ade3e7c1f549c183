//! Memory that processes share.
#![allow(unsafe_code, reason = "maps memory")]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
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
