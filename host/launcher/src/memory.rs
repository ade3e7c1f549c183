//! Memory that processes share, and sleep on.
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

/// Wakes a thread that sleeps on the futex at `at` of a VM's `ram`; whether one did. Where the driver put its queues is its own choice, so what
/// is not within RAM, or not aligned, is no futex.
pub fn wake(ram: PeerSlice<'_>, at: Gpa) -> bool {
    let word = ram.sub(at.0, size_of::<AtomicU32>() as u64).ok().map(|word| word.as_ptr().cast::<AtomicU32>());
    let Some(word) = word.filter(|word| word.is_aligned()) else { return false };
    // SAFETY: the slice has four bytes there that are mapped, and they are aligned; nobody reads or writes them by this reference: the kernel
    // takes their address. One thread is woken: a VM has one, and who lets many sleep there makes nobody work for it.
    let word = unsafe { AtomicU32::from_ptr(word.cast()) };
    futex::wake(word, Flags::empty(), 1).is_ok_and(|woken| woken > 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::Timespec;
    use rustix::thread::gettid;
    use std::sync::mpsc;
    use std::{fs, thread};

    const LEN: u64 = 0x1000;

    /// Sleeps on the futex at `at` until somebody wakes it. Says first which thread that is.
    fn sleep_on(at: usize, who: &mpsc::Sender<i32>) {
        // SAFETY: mapped for as long as the process lives, and aligned; only the kernel reads it.
        let word = unsafe { AtomicU32::from_ptr(at as *mut u32) };
        who.send(gettid().as_raw_nonzero().get()).expect("the test");
        // Longer than any test run.
        let limit = Timespec { tv_sec: 100_000, tv_nsec: 0 };
        futex::wait(word, Flags::empty(), 0, Some(&limit)).expect("woken");
    }

    fn is_asleep(thread: i32) -> bool {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("a thread");
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
    }

    /// The driver says where: nothing outside its RAM wakes, and nothing that is not aligned.
    #[test]
    fn a_word_that_is_not_in_ram_or_not_aligned_is_no_futex() {
        let file = ram("a", 2 * LEN).expect("RAM");
        let all = map(&file, 2 * LEN).expect("a mapping");
        let ram = all.sub(0, LEN).expect("inside");
        let (send, receive) = mpsc::channel();
        let behind = all.as_ptr().addr() + LEN as usize;
        let sleeper = thread::spawn(move || sleep_on(behind, &send));
        let thread = receive.recv().expect("a thread");
        while !is_asleep(thread) {
            thread::yield_now();
        }
        for at in [LEN, LEN - 2, LEN - 1, 2, 1, u64::MAX, u64::MAX - 3] {
            assert!(!wake(ram, Gpa(at)), "{at:#x}");
        }
        assert!(wake(all, Gpa(LEN)), "it was asleep until now");
        sleeper.join().expect("no panic");
    }
}
