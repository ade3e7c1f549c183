//! Files that have a path, and outlast their host: for virtual machines, which have them as memory of a device.

use super::{LARGE_PAGE, Made, Pages, len};
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, OFlags, fallocate, fstat, fstatfs, ftruncate, openat};
use rustix::io::{Errno, pread};
use rustix::process::geteuid;
use sluice_abi::channel::{Header, MAGIC, POSITIONS, VERSION, word};
use sluice_channel::{ChannelError, Kind, format, memory_len};
use sluice_memory::PeerSlice;
use sluice_vhost_user::memory::Mapping;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use zerocopy::{FromZeros, IntoBytes};

/// See: statfs(2), `HUGETLBFS_MAGIC`.
const HUGETLBFS: u64 = 0x9584_58f6;

/// Opens the file at `path` with a channel, or makes it. See: [`super::ChannelFile::at`].
pub fn open_or_create(path: &Path, kind: Kind, capacity: u64) -> Made {
    let needed = memory_len(capacity).next_power_of_two();
    // A link that another user has put there leads nowhere.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let (file, is_new) = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => (file, false),
        Err(Errno::NOENT) => (openat(CWD, path, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?, true),
        Err(error) => return Err(error.into()),
    };
    let system = fstatfs(&file)?;
    let is_huge = system.f_type as u64 == HUGETLBFS;
    let page = if is_huge { (system.f_bsize as u64).max(LARGE_PAGE) } else { 1 };
    let wanted = needed.next_multiple_of(page);
    if is_new {
        ftruncate(&file, wanted)?;
    }
    check(&file, wanted)?;
    // All of huge pages, as a mapping takes them all; else as much as anybody touches.
    let used = if is_huge { wanted } else { memory_len(capacity) };
    fallocate(&file, FallocateFlags::empty(), 0, used)?;
    let pages = if is_huge { Pages::Huge } else { Pages::Small };
    if has(&file, kind, capacity)? {
        return Ok(Ok((file, pages)));
    }
    let mapping = Mapping::of_file(&file, 0, wanted)?;
    Ok(begin(mapping.slice(), kind, capacity)?.map(|()| (file, pages)))
}

/// Checks that a file is this user's, and of `wanted` bytes.
fn check(file: &OwnedFd, wanted: u64) -> io::Result<()> {
    let (stat, found) = (fstat(file)?, len(file)?);
    let why = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_uid != geteuid().as_raw() => "the file is another user's".to_owned(),
        FileType::RegularFile if found == wanted => return Ok(()),
        FileType::RegularFile => {
            std::format!("the file has {found} bytes, and the channel {wanted}: remove it, and it is made anew")
        }
        _ => "no file".to_owned(),
    };
    Err(io::Error::other(why))
}

/// Returns whether `file` has such a channel. What is in it may be a virtual machine's claim.
fn has(file: &OwnedFd, kind: Kind, capacity: u64) -> io::Result<bool> {
    let mut found = Header::new_zeroed();
    let wanted = Header { magic: MAGIC, version: VERSION, kind: kind.0, capacity, reserved: [0; 5] };
    Ok(pread(file, found.as_mut_bytes(), 0)? == size_of::<Header>() && found == wanted)
}

/// Makes an empty channel of `memory`, whatever was there.
fn begin(memory: PeerSlice<'_>, kind: Kind, capacity: u64) -> io::Result<Result<(), ChannelError>> {
    let words = [0_u64; word::COUNT as usize];
    memory.write(POSITIONS, words).map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(format(memory, kind, capacity))
}

#[cfg(test)]
mod tests;
