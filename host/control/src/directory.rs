//! The content of a VM's window directory, as a host composes it.

use alloc::vec::Vec;
use sluice_abi::PeerIdx;
use sluice_abi::directory::{Header, MAX_PEERS, Peer};
use zerocopy::IntoBytes;

/// A directory before it is [published](crate::publish()): header and entries. [`crate::publish()`] sets the sequence
/// numbers and the number of entries.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Directory {
    /// The header of the directory.
    pub header: Header,
    /// The peers, by [`PeerIdx`]. Peers after the first [`MAX_PEERS`] are left out.
    pub peers: Vec<Peer>,
}

impl Directory {
    /// Returns the peers for which a directory has room.
    pub fn listed(&self) -> &[Peer] {
        self.peers.get(..MAX_PEERS).unwrap_or(&self.peers)
    }

    /// Returns the peers with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (PeerIdx, &Peer)> {
        PeerIdx::all().zip(&self.peers)
    }

    /// Returns the peer at `index`; an absent peer if none is listed there.
    pub fn peer(&self, index: PeerIdx) -> Peer {
        self.listed().get(index.get()).copied().unwrap_or_default()
    }
}

/// Returns the 64-bit words of `value`, in order.
pub(crate) fn words<T: IntoBytes + zerocopy::Immutable>(value: &T) -> impl Iterator<Item = u64> {
    value.as_bytes().as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}
