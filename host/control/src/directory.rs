//! What a host wants a VM's window directory to say.

use alloc::vec::Vec;
use sluice_abi::PeerIdx;
use sluice_abi::directory::{Header, MAX_PEERS, Peer};
use zerocopy::IntoBytes;

/// A directory before it is [published](crate::publish): header and entries. Of both, [`crate::publish`] sets the sequence numbers and the number of
/// entries.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Directory {
    /// How the directory begins.
    pub header: Header,
    /// The peers, by [`PeerIdx`]. What is behind the first [`MAX_PEERS`] is left out.
    pub peers: Vec<Peer>,
}

impl Directory {
    /// The peers that there is room for.
    pub fn listed(&self) -> &[Peer] {
        self.peers.get(..MAX_PEERS).unwrap_or(&self.peers)
    }

    /// The peers with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (PeerIdx, &Peer)> {
        PeerIdx::all().zip(&self.peers)
    }

    /// The peer at `index`; one that is not listed is absent.
    pub fn peer(&self, index: PeerIdx) -> Peer {
        self.listed().get(index.get()).copied().unwrap_or_default()
    }
}

/// The 64-bit words of `value`, in order.
pub(crate) fn words<T: IntoBytes + zerocopy::Immutable>(value: &T) -> impl Iterator<Item = u64> {
    value.as_bytes().as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}
