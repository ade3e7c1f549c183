//! Files with channels.

mod lasting;

use crate::Name;
use rustix::fs::{
    CWD, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fchmod, fcntl_add_seals, fcntl_get_seals,
    fstat, ftruncate, memfd_create, openat,
};
use rustix::io::{Errno, pread};
use sluice_abi::channel::{POSITIONS, word};
use sluice_channel::{ChannelError, Kind, MAX_CAPACITY, MIN_CAPACITY, format, memory_len};
use sluice_vhost_user::memory::Mapping;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use zerocopy::IntoBytes;

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

impl Pages {
    /// Returns the name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Huge => "huge",
            Self::Advised => "advised",
            Self::Small => "small",
        }
    }
}

/// A file with a channel, as its host has it. The memory lasts as long as somebody has a descriptor or a mapping of it.
#[derive(Debug)]
pub struct ChannelFile {
    name: Name,
    file: OwnedFd,
    reader: OwnedFd,
    pages: Pages,
}

/// What the writer of a channel claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Number of bytes of the ring that were written since the channel was made, with what stands before each packet.
    pub written: u64,
    /// Number of writers that there have been.
    pub writers: u64,
}

impl ChannelFile {
    /// Makes an empty channel with a ring of `capacity` bytes. All of its memory is there, in the largest pages up to
    /// `most` that can be had. The file is at least [`memory_len`] bytes long.
    ///
    /// # Errors
    /// [`ChannelFileError`].
    pub fn create(name: Name, kind: Kind, capacity: u64, most: Pages) -> Result<Self, ChannelFileError> {
        Self::of(name, capacity, |name| create(name, kind, capacity, most))
    }

    /// Makes an empty channel in a new file `path`, or goes on with the channel that is there: the file has to be this
    /// user's, and as long. A channel whose header is another one is made anew, in place. The file's length is a power
    /// of two, as that of a device `ivshmem` has to be, and the file stays when this is dropped.
    ///
    /// It can't be sealed: whoever may write it can cut it, too, which ends processes that have it mapped.
    ///
    /// # Errors
    /// [`ChannelFileError`].
    pub fn at(path: &Path, name: Name, kind: Kind, capacity: u64) -> Result<Self, ChannelFileError> {
        Self::of(name, capacity, |_| lasting::open_or_create(path, kind, capacity))
    }

    fn of(name: Name, capacity: u64, make: impl FnOnce(&Name) -> Made) -> Result<Self, ChannelFileError> {
        // Before any memory is taken.
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(ChannelFileError::Channel { name, source: ChannelError::Capacity(capacity) });
        }
        let made = make(&name).and_then(|made| match made {
            Ok((file, pages)) => Ok(Ok((reader_of(&file)?, file, pages))),
            Err(source) => Ok(Err(source)),
        });
        match made {
            Ok(Ok((reader, file, pages))) => Ok(Self { name, file, reader, pages }),
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

    /// Returns the descriptor for readers, by which the memory can be read and not written. It can't be opened anew for
    /// writing by whoever is not privileged, and not the user of this process; after [`ChannelFile::seal_writer`] by
    /// nobody.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Returns what the writer claims, now. The file is read, and not mapped: whoever cuts it ends nobody here.
    ///
    /// # Errors
    /// The file was cut.
    pub fn claims(&self) -> io::Result<Claims> {
        let mut words = [0_u64; word::COUNT as usize];
        let bytes = words.as_mut_bytes();
        let len = bytes.len();
        match pread(&self.file, bytes, POSITIONS)? == len {
            true => Ok(Claims { written: words[word::PUBLISHED], writers: words[word::GENERATION] }),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Makes the writer that has the memory mapped by now the last one: nobody maps it for writing any more.
    ///
    /// # Errors
    /// The kernel is older than Linux 5.1; the channel has a path.
    pub fn seal_writer(&self) -> io::Result<()> {
        Ok(fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?)
    }
}

/// A file with a channel, and its pages; or why there can't be such a channel, or no file.
type Made = io::Result<Result<(OwnedFd, Pages), ChannelError>>;

/// Opens `file` anew, for reading only.
fn reader_of(file: &OwnedFd) -> io::Result<OwnedFd> {
    let path = std::format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes the file of a channel, and the channel in it.
fn create(name: &Name, kind: Kind, capacity: u64, most: Pages) -> Made {
    let len = memory_len(capacity);
    let huge = || allocated(name, len.next_multiple_of(LARGE_PAGE), MemfdFlags::HUGETLB).ok();
    let (file, is_huge) = match (most == Pages::Huge).then(huge).flatten() {
        Some(file) => (file, true),
        None => (allocated(name, len, MemfdFlags::empty())?, false),
    };
    // Others than the owner can't open a reader's descriptor anew, and he only for reading.
    fchmod(&file, Mode::RUSR)?;
    let mapping = map_writer(&file)?;
    let pages = match is_huge {
        true => Pages::Huge,
        false if most != Pages::Small && mapping.wants_large_pages() => Pages::Advised,
        false => Pages::Small,
    };
    if !is_huge {
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
    map_sealed(file, Mapping::of_file)
}

/// Maps a channel for a reader. To write into the memory would end the process.
///
/// # Errors
/// `file` is not sealed: whoever gave it could cut it, which would end this process.
pub fn map_reader(file: &impl AsFd) -> io::Result<Mapping> {
    map_sealed(file, Mapping::of_file_read_only)
}

fn map_sealed<F: AsFd>(file: &F, how: fn(&F, u64, u64) -> io::Result<Mapping>) -> io::Result<Mapping> {
    match is_sealed(file)? {
        true => map(file, how),
        false => Err(io::Error::other("the file is no sealed one, which nobody can cut")),
    }
}

/// Maps all of `file` as `how` does.
pub(crate) fn map<F: AsFd>(file: &F, how: fn(&F, u64, u64) -> io::Result<Mapping>) -> io::Result<Mapping> {
    how(file, 0, len(file)?)
}

/// Returns whether nobody can resize `file`.
pub(crate) fn is_sealed(file: &impl AsFd) -> io::Result<bool> {
    match fcntl_get_seals(file) {
        Ok(seals) => Ok(seals.contains(SIZE_SEALS)),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the length of a file.
fn len(file: &impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(file)?.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests;
