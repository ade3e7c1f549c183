//! The window directory as its VM reads it, while the host may be writing it. See: [`sluice_abi::directory`].

use sluice_abi::PeerIdx;
use sluice_abi::directory::{MAX_PEERS, Peer, PeerState, word};
use sluice_memory::SharedWords;

/// Times that an entry is read before the host counts as busy. It writes some hundred words; one that was interrupted meanwhile, or has ended,
/// is not waited for: who asks may ask again. (Fewer in tests, where loom tries whatever may come between any two.)
const ATTEMPTS: usize = if cfg!(test) { 2 } else { 64 };

/// Why nothing is said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The directory has no such place.
    #[error("no such peer is in the window directory")]
    Unknown,
    /// The host is writing the directory, or ended while it was: ask again later.
    #[error("the host is writing the window directory")]
    Busy,
}

/// A directory on a page that the host writes at any time.
pub(crate) struct Directory<W>(pub W);

impl<W: SharedWords> Directory<W> {
    /// Half of the word with the kind of the gate and the number of peers. The host writes it before the VM starts.
    pub fn gate(&self) -> u32 {
        self.0.load(word::GATE) as u32
    }

    /// The state of the peer at place `index`: one load.
    pub fn state(&self, index: usize) -> PeerState {
        let state = if index < MAX_PEERS { self.0.load(word::peer(index)) as u32 } else { PeerState::Absent as u32 };
        // What a state tells of was written before it, and is not read before it.
        W::acquire();
        PeerState::from_word(state)
    }

    /// The entry of the peer at place `index`.
    pub fn peer(&self, index: usize) -> Result<Peer, PeerError> {
        let (_, peer) = self.whole(|| self.entry(index)).ok_or(PeerError::Busy)?;
        peer.ok_or(PeerError::Unknown)
    }

    /// What `read` makes of the directory at one moment, and the sequence number then. `None`: the host was writing, each time.
    pub fn whole<R>(&self, mut read: impl FnMut() -> R) -> Option<(u64, R)> {
        for _ in 0..ATTEMPTS {
            let before = self.0.load(word::SEQUENCE);
            if before.is_multiple_of(2) {
                W::acquire();
                let result = read();
                W::acquire();
                if self.0.load(word::SEQUENCE) == before {
                    return Some((before, result));
                }
            }
            core::hint::spin_loop();
        }
        None
    }

    /// The entry at place `index`, if it counts.
    fn entry(&self, index: usize) -> Option<Peer> {
        let count = (self.0.load(word::GATE) >> 32) as usize;
        let read = || -> [u64; word::PEER_LEN] { core::array::from_fn(|at| self.0.load(word::peer(index) + at)) };
        (index < count.min(MAX_PEERS)).then(|| zerocopy::transmute!(read()))
    }
}

/// What was last seen of a directory.
pub(crate) struct Seen {
    /// The sequence number then. [`u64::MAX`], which is odd: nothing was seen.
    sequence: u64,
    peers: [Peer; MAX_PEERS],
    /// What is being read.
    next: [Peer; MAX_PEERS],
}

impl Seen {
    /// Nothing.
    pub fn new() -> Self {
        Self { sequence: u64::MAX, peers: [Peer::default(); MAX_PEERS], next: [Peer::default(); MAX_PEERS] }
    }

    /// Looks at `directory`: one load if it says what it last said, else `changed` is called for each entry that is another one. `false`: the
    /// host is writing, nothing is known of now, and nothing must be sent.
    #[inline(always)]
    pub fn refresh<W: SharedWords>(&mut self, directory: &Directory<W>, changed: impl FnMut(PeerIdx, &Peer)) -> bool {
        directory.0.load(word::SEQUENCE) == self.sequence || self.look_again(directory, changed)
    }

    #[cold]
    fn look_again<W: SharedWords>(
        &mut self,
        directory: &Directory<W>,
        mut changed: impl FnMut(PeerIdx, &Peer),
    ) -> bool {
        let next = &mut self.next;
        let read = || (0..).zip(&mut *next).for_each(|(at, peer)| *peer = directory.entry(at).unwrap_or_default());
        let Some((sequence, ())) = directory.whole(read) else { return false };
        for (index, (old, new)) in PeerIdx::all().zip(self.peers.iter_mut().zip(&self.next)) {
            if old != new {
                *old = *new;
                changed(index, new);
            }
        }
        self.sequence = sequence;
        true
    }
}

#[cfg(test)]
mod tests;
