//! The windows of processes: what memory of a peer is mapped where, and how far a window is from open.

use rustix::fs::fstat;
use sluice_abi::Gpa;
use sluice_abi::directory::Region;
use sluice_abi::handover::Place;
use sluice_abi::map::{INDEX_REACH, PEER_STRIDE, SPECULATION_REACH};
use sluice_control::Call;
use sluice_vhost_user::message::body;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The smallest distance between the starts of two regions is a multiple of this, bytes: a large page of x86-64.
const ALIGN: u64 = 2 << 20;

/// What a process has mapped of a peer: the number of its memory, and the queue whose lock lies beside it.
pub type Placed = (u64, u16);

/// The window of one process on one peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The memory of the peer that the process was told to map; of a program within a VM the one of which the log says
    /// that it has no lock for it.
    pub asked: Option<Placed>,
    /// Whether the process has not answered to that. It is told of no other memory until it has, so that its answer is
    /// to the last, and a peer whose memory changes all the time fills nobody's socket.
    pub waits: bool,
    /// The memory of the peer that it has mapped.
    pub placed: Option<Placed>,
    /// The device that is the memory of the peer, if the window is that of a program within a VM.
    pub bar: Option<Bar>,
    pub state: State,
    /// Number of frames that went by the window.
    pub frames: u64,
    /// Number of buffers that its process had published, modulo 2^32, when the server looked last, if its queue has a
    /// lock.
    pub published: u32,
}

/// A device of a VM that is the memory of a peer: nobody can exchange it while the VM runs.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Its length, bytes.
    pub len: u64,
    /// The file behind it, once a window has opened.
    pub file: Option<Whole>,
}

impl Bar {
    /// Returns whether the device can be `file`.
    pub fn may_be(&self, file: &Whole) -> bool {
        self.len == file.len && self.file.is_none_or(|known| known == *file)
    }
}

/// A file that is all the memory of a front-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    device: u64,
    inode: u64,
    /// Its length, bytes.
    len: u64,
}

impl Whole {
    fn of(file: &File) -> Option<Self> {
        let stat = fstat(file).ok()?;
        Some(Self { device: stat.st_dev, inode: stat.st_ino, len: u64::try_from(stat.st_size).ok()? })
    }
}

/// How far a window is from open.
#[derive(Clone, Copy, Debug, Default)]
pub enum State {
    /// The process is not shown the peer, and no call of it goes by what it was shown.
    #[default]
    Closed,
    /// The process may send to the peer at any time.
    Open,
    /// The process is not shown the peer any more. This call began before, and has to end in time.
    Draining(Call, Instant),
}

impl State {
    /// Returns the name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Draining(..) => "draining",
        }
    }
}

/// The memory of a front-end as windows have it: the regions, with slot offsets from the start of the peer, the longest
/// first, and each with the file that shares it and where it begins there.
pub struct Layout<'f> {
    parts: Vec<(Region, u64, &'f File)>,
    whole: Option<Whole>,
}

impl<'f> Layout<'f> {
    /// Lays `memory` out as it lies in its file, if it is of one, so that a device with that file can be a window; else
    /// without gaps of gigabytes. `None`: it is more than a peer has room for, which is 6.25 GiB less 1 MiB, with each
    /// region at a large page.
    pub fn of(memory: &'f [(body::Region, File)]) -> Option<Self> {
        let mut parts: Vec<_> = memory.iter().collect();
        parts.sort_by_key(|(region, _)| (u64::MAX - region.len, region.gpa));
        Self::as_in_file(&parts).or_else(|| Self::compact(parts))
    }

    fn as_in_file(parts: &[&'f (body::Region, File)]) -> Option<Self> {
        let whole = Whole::of(&parts.first()?.1)?;
        let mut parts_of_it = Vec::new();
        for (index, (region, file)) in parts.iter().enumerate() {
            let slot_offset = region.offset;
            let end = slot_offset.checked_add(reach(index, region.len))?;
            if Whole::of(file)? != whole || end > PEER_STRIDE {
                return None;
            }
            parts_of_it.push((Region { gpa: Gpa(region.gpa), len: region.len, slot_offset }, region.offset, file));
        }
        let mut ranges: Vec<_> = parts_of_it.iter().map(|(it, ..)| (it.slot_offset, it.slot_offset + it.len)).collect();
        ranges.sort_unstable();
        let is_apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        is_apart.then_some(Self { parts: parts_of_it, whole: Some(whole) })
    }

    fn compact(parts: Vec<&'f (body::Region, File)>) -> Option<Self> {
        let (mut end, mut all) = (0_u64, Vec::new());
        for (index, (region, file)) in parts.into_iter().enumerate() {
            let page = fstat(file).map_or(ALIGN, |stat| (stat.st_blksize as u64).max(ALIGN));
            let slot_offset = end.checked_next_multiple_of(page)?;
            end = slot_offset + region.len;
            if slot_offset + reach(index, region.len) > PEER_STRIDE {
                return None;
            }
            all.push((Region { gpa: Gpa(region.gpa), len: region.len, slot_offset }, region.offset, file));
        }
        Some(Self { parts: all, whole: None })
    }

    /// Returns the file that is all of the memory, and lies in a window as it is; `None` if there is none.
    pub const fn whole(&self) -> Option<Whole> {
        self.whole
    }

    /// Returns the regions.
    pub fn regions(&self) -> Vec<Region> {
        self.parts.iter().map(|(region, ..)| *region).collect()
    }

    /// Returns the regions as places in the slot, where the peer begins at `base`, with copies of their files.
    pub fn places(&self, base: u64) -> io::Result<Vec<(Place, OwnedFd)>> {
        let place = |&(Region { slot_offset, len, .. }, file_offset, file): &(Region, u64, &File)| {
            let place = Place { slot_offset: base + slot_offset, len, file_offset };
            file.as_fd().try_clone_to_owned().map(|file| (place, file))
        };
        self.parts.iter().map(place).collect()
    }
}

/// Returns how far an access to region `index` may reach, bytes. See: [`sluice_abi::map`].
const fn reach(index: usize, len: u64) -> u64 {
    let reach = len.saturating_add(INDEX_REACH);
    if index == 0 && reach < SPECULATION_REACH { SPECULATION_REACH } else { reach }
}

#[cfg(test)]
mod tests;
