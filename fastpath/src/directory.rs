//! The window directory as its VM reads it, while the host may be writing it. See: [`sluice_abi::directory`].

use crate::GateError;
use core::mem::offset_of;
use sluice_abi::PeerIdx;
use sluice_abi::directory::{Header, MAGIC, MAX_PEERS, Peer, PeerState, VERSION, word};
use sluice_memory::{PeerSlice, SharedWords, Table};

/// Number of times that an entry is read before the host counts as busy. The host writes some hundred words; a host
/// that was interrupted meanwhile, or has ended, is not waited for, and the caller may ask again. (Tests try fewer
/// times, as loom tries every interleaving.)
const ATTEMPTS: usize = if cfg!(test) { 2 } else { 64 };

/// Reasons for which the directory has no answer about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The directory has no such index.
    #[error("no such peer is in the window directory")]
    Unknown,
    /// The host is writing the directory, or ended while it did. The caller may ask again later.
    #[error("the host is writing the window directory")]
    Busy,
}

/// A directory on pages that the host writes at any time.
pub(crate) struct Directory<W> {
    pub words: W,
    /// Number of words from one entry to the next.
    entry_len: usize,
}

impl Directory<Table<'static, u64>> {
    /// Returns the directory in `memory`. The host writes the words that are read here before it starts the VM, and
    /// never again.
    pub fn in_pages(memory: PeerSlice<'static>) -> Result<Self, GateError> {
        let magic = memory.read::<u64>(0).map_err(|_| GateError::Directory)?;
        if magic != MAGIC {
            return Err(GateError::NoDirectory(magic));
        }
        let version = memory.read(offset_of!(Header, version) as u64).map_err(|_| GateError::Directory)?;
        if version != VERSION {
            return Err(GateError::Version(version));
        }
        let count = (memory.len() / 8).min(u16::MAX.into());
        let words = memory.table(0, count as u16).ok_or(GateError::Directory)?;
        Self::new(words, count as usize).ok_or(GateError::Directory)
    }
}

impl<W: SharedWords> Directory<W> {
    /// Returns the directory in the first `count` of `words`; `None` if its entries are shorter than this program's, or
    /// the directory does not end there.
    pub fn new(words: W, count: usize) -> Option<Self> {
        // The host writes this word before the VM starts, and never again.
        let bytes = (words.load(word::VERSION) >> 32) as usize;
        let entry_len = bytes / 8;
        let fits = bytes.is_multiple_of(8) && entry_len >= word::PEER_LEN && word::peer(MAX_PEERS, entry_len) <= count;
        fits.then_some(Self { words, entry_len })
    }

    /// Returns the number of the gate's kind. The host writes it before the VM starts.
    pub fn gate(&self) -> u32 {
        self.words.load(word::GATE) as u32
    }

    /// Returns the build id of the host's ring code. The host writes it with the first directory.
    pub fn build_id(&self) -> u64 {
        self.words.load(word::BUILD_ID)
    }

    /// Returns the state of the peer at `index`, which takes one load.
    pub fn state(&self, index: PeerIdx) -> PeerState {
        let known = index.get() < MAX_PEERS;
        let state = if known { self.load(index, word::PEER_STATE) as u32 } else { PeerState::Absent as u32 };
        // The host wrote the rest of the change before the state, and nothing of it is read before the state.
        W::acquire();
        PeerState::from_word(state)
    }

    /// Returns the entry of the peer at `index`.
    pub fn peer(&self, index: PeerIdx) -> Result<Peer, PeerError> {
        let read = || (index.get() < self.count()).then(|| self.entry(index));
        let (_, peer) = self.whole(read).ok_or(PeerError::Busy)?;
        peer.ok_or(PeerError::Unknown)
    }

    /// Returns what `read` makes of the directory at one moment, and the sequence number then; `None` if the host was
    /// writing each time.
    pub fn whole<R>(&self, mut read: impl FnMut() -> R) -> Option<(u64, R)> {
        for _ in 0..ATTEMPTS {
            let before = self.words.load(word::SEQUENCE);
            if before.is_multiple_of(2) {
                W::acquire();
                let result = read();
                if self.is_still(before) {
                    return Some((before, result));
                }
            }
            core::hint::spin_loop();
        }
        None
    }

    /// Returns whether the sequence number is still `sequence`, so that all reads since it was loaded are of one
    /// moment.
    fn is_still(&self, sequence: u64) -> bool {
        W::acquire();
        self.words.load(word::SEQUENCE) == sequence
    }

    /// Returns word `at` of the entry at `index`.
    fn load(&self, index: PeerIdx, at: usize) -> u64 {
        self.words.load(word::peer(index.get(), self.entry_len) + at)
    }

    /// Returns the number of entries that are valid.
    fn count(&self) -> usize {
        ((self.words.load(word::GATE) >> 32) as usize).min(MAX_PEERS)
    }

    /// Returns the entry at `index`, which is below [`MAX_PEERS`].
    fn entry(&self, index: PeerIdx) -> Peer {
        let words: [u64; word::PEER_LEN] = core::array::from_fn(|at| self.load(index, at));
        zerocopy::transmute!(words)
    }
}

/// The state of a directory when it was last read.
pub(crate) struct Seen {
    /// The sequence number then; [`u64::MAX`], which is odd, if not all was read.
    sequence: u64,
    /// The sequence number of each entry, by [`PeerIdx`]; 0 if the entry was not read.
    entries: [u64; MAX_PEERS],
}

impl Seen {
    /// Returns the state before anything was read.
    pub fn new() -> Self {
        Self { sequence: u64::MAX, entries: [0; MAX_PEERS] }
    }

    /// Reads `directory`: one load if nothing changed, else `changed` is called for each entry that did. Returns
    /// `false` while the host is writing: then not all changes are known, and nothing must be sent.
    #[inline(always)]
    pub fn refresh<W: SharedWords>(&mut self, directory: &Directory<W>, changed: impl FnMut(PeerIdx, &Peer)) -> bool {
        directory.words.load(word::SEQUENCE) == self.sequence || self.look_again(directory, changed)
    }

    #[cold]
    fn look_again<W: SharedWords>(
        &mut self,
        directory: &Directory<W>,
        mut changed: impl FnMut(PeerIdx, &Peer),
    ) -> bool {
        for _ in 0..ATTEMPTS {
            let sequence = directory.words.load(word::SEQUENCE);
            if sequence.is_multiple_of(2) {
                W::acquire();
                if self.look_at_entries(directory, sequence, &mut changed) && directory.is_still(sequence) {
                    self.sequence = sequence;
                    return true;
                }
            }
            core::hint::spin_loop();
        }
        false
    }

    /// Calls `changed` for the entries that changed, each of which is whole. Returns `false` if the sequence number is
    /// no longer `sequence`: then some entries were not read.
    fn look_at_entries<W: SharedWords>(
        &mut self,
        directory: &Directory<W>,
        sequence: u64,
        changed: &mut impl FnMut(PeerIdx, &Peer),
    ) -> bool {
        let count = directory.count();
        for (index, seen) in PeerIdx::all().zip(&mut self.entries) {
            let counts = index.get() < count;
            let number = if counts { directory.load(index, word::PEER_SEQUENCE) } else { 0 };
            if number == *seen {
                continue;
            }
            let peer = if counts { directory.entry(index) } else { Peer::default() };
            if !directory.is_still(sequence) {
                return false;
            }
            *seen = number;
            changed(index, &peer);
        }
        true
    }
}

#[cfg(test)]
mod tests;
