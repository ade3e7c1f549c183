//! Memory that processes share, and words of it on which they sleep.

use rustix::thread::futex::{self, Flags};
use sluice_abi::Gpa;
use sluice_abi::call::CALLS;
use sluice_abi::directory::word;
use sluice_abi::map::{DIRECTORY_LEN, PAGE};
use sluice_memory::{PeerSlice, Table};
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::sealed::{resizable_by_nobody, written_here};
use std::io;
use std::os::fd::OwnedFd;

/// Returns RAM of `len` bytes that nobody can resize: a peer that shrank it would end its senders.
pub fn ram(name: &str, len: u64) -> io::Result<OwnedFd> {
    resizable_by_nobody(name, len).map(OwnedFd::from)
}

/// Maps all `len` bytes of `file`, which is a VM's RAM that nobody can resize, for as long as this process lives.
pub fn map(file: &OwnedFd, len: u64) -> io::Result<PeerSlice<'static>> {
    let mapping = Mapping::of_file(file, 0, len)?;
    Ok(Box::leak(Box::new(mapping)).slice())
}

/// Wakes a thread that sleeps on the futex at `at` of a VM's `ram`. Returns whether one did. The driver chose the
/// address: a word that is not within RAM, or not aligned, is no futex.
pub fn wake(ram: PeerSlice<'_>, at: Gpa) -> bool {
    let wake = |word| futex::wake(word, Flags::empty(), 1).is_ok_and(|woken| woken > 0);
    ram.atomic32(at.0).is_some_and(wake)
}

/// Returns `len` bytes that no other process sees, for as long as this process lives.
pub fn private(len: u64) -> io::Result<PeerSlice<'static>> {
    map(&ram("private", len)?, len)
}

/// Returns `len` bytes that this process writes and others can only read: the file, and the memory.
pub fn own(name: &str, len: u64) -> io::Result<(OwnedFd, PeerSlice<'static>)> {
    let (file, mapping) = written_here(name, len)?;
    Ok((file.into(), Box::leak(Box::new(mapping)).slice()))
}

/// Returns a directory that this process writes and others can only read: its file, and its words.
pub fn directory() -> io::Result<(OwnedFd, Table<'static, u64>)> {
    let (file, pages) = own("directory", DIRECTORY_LEN)?;
    let words = pages.table(0, word::COUNT as u16).ok_or_else(|| io::Error::other("no room for a directory"))?;
    Ok((file, words))
}

/// Returns a request block that nobody can resize: its file, and its words.
pub fn request() -> io::Result<(OwnedFd, Table<'static, u64>)> {
    let file = ram("request block", PAGE)?;
    let words = map(&file, PAGE)?.table(0, CALLS as u16 + 1);
    Ok((file, words.ok_or_else(|| io::Error::other("no room for a request block"))?))
}

#[cfg(test)]
mod tests;
