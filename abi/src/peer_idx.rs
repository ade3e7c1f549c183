//! The index of a peer in the directory.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Largest number of peers of one VM.
pub const MAX_PEERS: usize = 64;

/// Index of a peer in the window directory of the VM that names it, 0 to [`MAX_PEERS`] - 1. A peer with a larger number
/// is always absent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PeerIdx(pub u8);

impl PeerIdx {
    /// Returns the peer with index `index`; `None` if a directory has no such index.
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_PEERS { Some(Self(index as u8)) } else { None }
    }

    /// Returns every index of a directory, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_PEERS as u8).map(Self)
    }

    /// Returns the number, to index a list with.
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for PeerIdx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerIdx({})", self.0)
    }
}

impl fmt::Display for PeerIdx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

const _: () = assert!(MAX_PEERS < u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_directory_has_is_no_index() {
        let last = MAX_PEERS - 1;
        let known = [0, last, MAX_PEERS, 256, usize::MAX].map(PeerIdx::new);
        assert_eq!(known, [Some(PeerIdx(0)), Some(PeerIdx(last as u8)), None, None, None]);
        assert!(PeerIdx::all().map(PeerIdx::get).eq(0..MAX_PEERS));
    }
}
