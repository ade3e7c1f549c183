//! Memory that processes share, and words of it on which they sleep.
#![allow(unsafe_code, reason = "maps memory; a futex is a word of it")]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::thread::futex::{self, Flags};
use sluice_abi::Gpa;
use sluice_abi::directory::word;
use sluice_abi::map::DIRECTORY_LEN;
use sluice_memory::{PeerSlice, Table};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::atomic::AtomicU32;

/// Returns RAM of `len` bytes that nobody can resize: a peer that shrank it would end its senders.
pub fn ram(name: &str, len: u64) -> io::Result<OwnedFd> {
    let file = sized(name, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Maps all `len` bytes of `file`, which is a VM's RAM that nobody can resize, for as long as this process lives.
pub fn map(file: &OwnedFd, len: u64) -> io::Result<PeerSlice<'static>> {
    // SAFETY: the kernel chooses where the new mapping is. It is never unmapped, and reached through slices only. The
    // mapping is as long as the file, which is sealed.
    unsafe {
        let start = mmap(null_mut(), len as usize, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?;
        Ok(PeerSlice::from_raw(start.cast(), len))
    }
}

/// Wakes a thread that sleeps on the futex at `at` of a VM's `ram`. Returns whether one did. The driver chose the
/// address: a word that is not within RAM, or not aligned, is no futex.
pub fn wake(ram: PeerSlice<'_>, at: Gpa) -> bool {
    let word = ram.sub(at.0, size_of::<AtomicU32>() as u64).ok().map(|word| word.as_ptr().cast::<AtomicU32>());
    let Some(word) = word.filter(|word| word.is_aligned()) else { return false };
    // SAFETY: the slice has four mapped, aligned bytes there. This process does not access them by the reference: the
    // kernel takes the address.
    let word = unsafe { AtomicU32::from_ptr(word.cast()) };
    futex::wake(word, Flags::empty(), 1).is_ok_and(|woken| woken > 0)
}

/// Returns `len` bytes that no other process sees, for as long as this process lives.
pub fn private(len: u64) -> io::Result<PeerSlice<'static>> {
    // SAFETY: the kernel chooses where the new mapping is. It is never unmapped, and reached through slices only.
    unsafe {
        let start = mmap_anonymous(null_mut(), len as usize, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        Ok(PeerSlice::from_raw(start.cast(), len))
    }
}

/// Returns a directory that this process writes and others can only read: its file, and its words.
pub fn directory() -> io::Result<(OwnedFd, Table<'static, u64>)> {
    let file = sized("directory", DIRECTORY_LEN)?;
    // SAFETY: the kernel chooses where the new mapping is. It is never unmapped, and reached through slices only.
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

#[cfg(test)]
mod tests;
