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

/// The window of one process on one peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The memory of the peer that the process was told to map.
    pub asked: Option<u64>,
    /// Whether the process has not answered to that. It is told of no other memory until it has, so that its answer is
    /// to the last, and a peer whose memory changes all the time fills nobody's socket.
    pub waits: bool,
    /// The memory of the peer that it has mapped.
    pub placed: Option<u64>,
    pub state: State,
    /// Number of frames that went by the window.
    pub frames: u64,
    /// Number of buffers that its process had published, modulo 2^32, when the server looked last, if others fill the
    /// queue, too.
    pub published: u32,
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
pub struct Layout<'f>(Vec<(Region, u64, &'f File)>);

impl<'f> Layout<'f> {
    /// Lays `memory` out without gaps of gigabytes. `None`: it is more than a peer has room for, which is 6.25 GiB less
    /// 1 MiB, with each region at a large page.
    pub fn of(memory: &'f [(body::Region, File)]) -> Option<Self> {
        let mut parts: Vec<_> = memory.iter().collect();
        parts.sort_by_key(|(region, _)| (u64::MAX - region.len, region.gpa));
        let (mut end, mut all) = (0_u64, Vec::new());
        for (index, (region, file)) in parts.into_iter().enumerate() {
            let page = fstat(file).map_or(ALIGN, |stat| (stat.st_blksize as u64).max(ALIGN));
            let slot_offset = end.checked_next_multiple_of(page)?;
            let reach =
                if index == 0 { SPECULATION_REACH.max(region.len + INDEX_REACH) } else { region.len + INDEX_REACH };
            end = slot_offset + region.len;
            if slot_offset + reach > PEER_STRIDE {
                return None;
            }
            all.push((Region { gpa: Gpa(region.gpa), len: region.len, slot_offset }, region.offset, file));
        }
        Some(Self(all))
    }

    /// Returns the regions.
    pub fn regions(&self) -> Vec<Region> {
        self.0.iter().map(|(region, ..)| *region).collect()
    }

    /// Returns the regions as places in the slot, where the peer begins at `base`, with copies of their files.
    pub fn places(&self, base: u64) -> io::Result<Vec<(Place, OwnedFd)>> {
        let place = |&(Region { slot_offset, len, .. }, file_offset, file): &(Region, u64, &File)| {
            let place = Place { slot_offset: base + slot_offset, len, file_offset };
            file.as_fd().try_clone_to_owned().map(|file| (place, file))
        };
        self.0.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests;
