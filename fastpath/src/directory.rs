//! The window directory as its VM reads it, while the host may be writing it. See: [`sluice_abi::directory`].

use sluice_abi::PeerIdx;
use sluice_abi::directory::{MAX_PEERS, Peer, PeerState, word};
use sluice_memory::SharedWords;

/// Times that an entry is read before the host counts as busy. The host writes some hundred words; one that was interrupted meanwhile, or has ended,
/// is not waited for: who asks may ask again. (Fewer in tests, where loom tries whatever may come between any two.)
const ATTEMPTS: usize = if cfg!(test) { 2 } else { 64 };

/// Why nothing is said of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The directory has no such index.
    #[error("no such peer is in the window directory")]
    Unknown,
    /// The host is writing the directory, or ended while it was: ask again later.
    #[error("the host is writing the window directory")]
    Busy,
}

/// A directory on pages that the host writes at any time.
pub(crate) struct Directory<W> {
    pub words: W,
    /// Words from one entry to the next.
    entry_len: usize,
}

impl<W: SharedWords> Directory<W> {
    /// The directory in the first `count` of `words`. `None`: its entries are shorter than this program's, or it does not end there.
    pub fn new(words: W, count: usize) -> Option<Self> {
        // The host writes this word before the VM starts, and never again.
        let bytes = (words.load(word::VERSION) >> 32) as usize;
        let entry_len = bytes / 8;
        let fits = bytes.is_multiple_of(8) && entry_len >= word::PEER_LEN && word::peer(MAX_PEERS, entry_len) <= count;
        fits.then_some(Self { words, entry_len })
    }

    /// Half of the word with the kind of the gate and the number of peers. The host writes it before the VM starts.
    pub fn gate(&self) -> u32 {
        self.words.load(word::GATE) as u32
    }

    /// The build id of the host's ring code. The host writes it with the first directory.
    pub fn build_id(&self) -> u64 {
        self.words.load(word::BUILD_ID)
    }

    /// The state of the peer at `index`: one load.
    pub fn state(&self, index: PeerIdx) -> PeerState {
        let known = index.get() < MAX_PEERS;
        let state = if known { self.load(index, word::PEER_STATE) as u32 } else { PeerState::Absent as u32 };
        // What a state tells of was written before it, and is not read before it.
        W::acquire();
        PeerState::from_word(state)
    }

    /// The entry of the peer at `index`.
    pub fn peer(&self, index: PeerIdx) -> Result<Peer, PeerError> {
        let read = || (index.get() < self.count()).then(|| self.entry(index));
        let (_, peer) = self.whole(read).ok_or(PeerError::Busy)?;
        peer.ok_or(PeerError::Unknown)
    }

    /// What `read` makes of the directory at one moment, and the sequence number then. `None`: the host was writing, each time.
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

    /// Whether what was read since the sequence number was loaded, and was `sequence`, is of that moment.
    fn is_still(&self, sequence: u64) -> bool {
        W::acquire();
        self.words.load(word::SEQUENCE) == sequence
    }

    /// Word `at` of the entry at `index`.
    fn load(&self, index: PeerIdx, at: usize) -> u64 {
        self.words.load(word::peer(index.get(), self.entry_len) + at)
    }

    /// Entries that count.
    fn count(&self) -> usize {
        ((self.words.load(word::GATE) >> 32) as usize).min(MAX_PEERS)
    }

    /// The entry at `index`, which is below [`MAX_PEERS`].
    fn entry(&self, index: PeerIdx) -> Peer {
        let words: [u64; word::PEER_LEN] = core::array::from_fn(|at| self.load(index, at));
        zerocopy::transmute!(words)
    }
}

/// What was last seen of a directory.
pub(crate) struct Seen {
    /// The sequence number then. [`u64::MAX`], which is odd: nothing was seen, or not all.
    sequence: u64,
    /// By [`PeerIdx`], the number of the entry that was seen; 0: none was.
    entries: [u64; MAX_PEERS],
}

impl Seen {
    /// Nothing.
    pub fn new() -> Self {
        Self { sequence: u64::MAX, entries: [0; MAX_PEERS] }
    }

    /// Looks at `directory`: one load if it says what it last said, else `changed` is called for each entry that is another one. `false`: the
    /// host is writing, not all is known of now, and nothing must be sent.
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

    /// Looks at the entries that are others than those that were seen; each is whole. `false`: the sequence number is no more what it was, and
    /// some were not looked at.
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
