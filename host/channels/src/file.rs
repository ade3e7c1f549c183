//! Files with channels.

use crate::Name;
use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fchmod, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create, open,
};
use rustix::io::Errno;
use sluice_channel::{ChannelError, Kind, format, memory_len};
use sluice_vhost_user::memory::Mapping;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of a large page.
const LARGE_PAGE: u64 = 2 << 20;
/// What each file with a channel has: nobody resizes it, or takes these away.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Reasons for which there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFileError {
    /// The system has no such file or memory.
    #[error("memory for channel {name}: {source}")]
    Memory {
        /// The channel.
        name: Name,
        /// What the system says.
        source: io::Error,
    },
    /// A channel can't be like that.
    #[error("channel {name}: {source}")]
    Channel {
        /// The channel.
        name: Name,
        /// Why not.
        source: ChannelError,
    },
}

/// The pages that a channel lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Pages of 2 MiB that the system's administrator had set aside (`MFD_HUGETLB`).
    Huge,
    /// The kernel was asked for pages of 2 MiB, and gives them if /sys/kernel/mm/transparent_hugepage/shmem_enabled
    /// says so and there are some (`MADV_HUGEPAGE`).
    Advised,
    /// Pages of 4 KiB.
    Small,
}

/// A file with a channel, as its host has it. The memory lasts as long as somebody has a descriptor or a mapping of it.
#[derive(Debug)]
pub struct ChannelFile {
    name: Name,
    file: OwnedFd,
    pages: Pages,
}

impl ChannelFile {
    /// Makes an empty channel with a ring of `capacity` bytes. All of its memory is there: in pages of 2 MiB if they
    /// can be had. The file is at least [`memory_len`] bytes long.
    ///
    /// # Errors
    /// [`ChannelFileError`].
    pub fn create(name: Name, kind: Kind, capacity: u64) -> Result<Self, ChannelFileError> {
        match create(&name, kind, capacity) {
            Ok(Ok((file, pages))) => Ok(Self { name, file, pages }),
            Ok(Err(source)) => Err(ChannelFileError::Channel { name, source }),
            Err(source) => Err(ChannelFileError::Memory { name, source }),
        }
    }

    /// Returns the channel's name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the pages that it lies in.
    pub const fn pages(&self) -> Pages {
        self.pages
    }

    /// Returns the descriptor for the one writer.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Returns a descriptor for a reader, by which the memory can be read and not written. It can't be opened anew for
    /// writing by whoever is not privileged; after [`ChannelFile::seal_writer`] by nobody.
    ///
    /// # Errors
    /// The system has no descriptor left, or no /proc.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        let path = std::format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Makes the writer that has the memory mapped by now the last one: nobody maps it for writing any more.
    ///
    /// # Errors
    /// The kernel is older than Linux 5.1.
    pub fn seal_writer(&self) -> io::Result<()> {
        Ok(fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?)
    }
}

/// Makes the file of a channel, and the channel in it.
fn create(name: &Name, kind: Kind, capacity: u64) -> io::Result<Result<(OwnedFd, Pages), ChannelError>> {
    let len = memory_len(capacity.min(sluice_channel::MAX_CAPACITY));
    let (file, huge) = match allocated(name, len.next_multiple_of(LARGE_PAGE), MemfdFlags::HUGETLB) {
        Ok(file) => (file, true),
        Err(_) => (allocated(name, len, MemfdFlags::empty())?, false),
    };
    // Others than the owner can't open a reader's descriptor anew, and he only for reading.
    fchmod(&file, Mode::RUSR)?;
    let mapping = map_writer(&file)?;
    let pages = match huge {
        true => Pages::Huge,
        false if mapping.wants_large_pages() => Pages::Advised,
        false => Pages::Small,
    };
    if !huge {
        fallocate(&file, FallocateFlags::empty(), 0, len)?;
    }
    Ok(format(mapping.slice(), kind, capacity).map(|()| (file, pages)))
}

/// Returns a file of `len` bytes that nobody can resize.
fn allocated(name: &Name, len: u64, kind: MemfdFlags) -> io::Result<OwnedFd> {
    let file = memfd_create(name.as_ref(), MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | kind)?;
    ftruncate(&file, len)?;
    if kind == MemfdFlags::HUGETLB {
        fallocate(&file, FallocateFlags::empty(), 0, len)?;
    }
    fcntl_add_seals(&file, SIZE_SEALS)?;
    Ok(file)
}

/// Maps a channel for its writer.
///
/// # Errors
/// `file` is not sealed, or can't be written.
pub fn map_writer(file: &impl AsFd) -> io::Result<Mapping> {
    Mapping::of_file(file, 0, sealed_len(file)?)
}

/// Maps a channel for a reader. To write into the memory would end the process.
///
/// # Errors
/// `file` is not sealed: whoever gave it could cut it, which would end this process.
pub fn map_reader(file: &impl AsFd) -> io::Result<Mapping> {
    Mapping::of_file_read_only(file, 0, sealed_len(file)?)
}

/// Returns the length of a file that nobody can resize.
fn sealed_len(file: &impl AsFd) -> io::Result<u64> {
    match fcntl_get_seals(file) {
        Ok(seals) if seals.contains(SIZE_SEALS) => Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0)),
        Ok(_) | Err(Errno::INVAL) => Err(io::Error::other("the file is no sealed one, which nobody can cut")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
