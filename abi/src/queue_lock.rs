//! The lock of a receive queue: an owner word, what each owner has published, and, of a packed queue, how far its
//! producers came. All producers of a queue take its lock where there are several, and where its ring is packed.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the owner word |
//! | 4 *n* | 4 | number of buffers that owner *n* has published, modulo 2^32 |
//! | [`PROGRESS`] | 8 | of a packed queue: [`Progress`] |
//! | [`JOURNAL`] | 2,048 | of a packed queue: the used descriptors of the burst, as it will write them |
//!
//! It lies in a page that the host shares with the producers, at [`crate::map::PEER_LOCK`] from the start of the peer's
//! regions. A producer takes the lock for one burst: it replaces [`FREE`] by its own [`word`], goes on where the one
//! before came, publishes, and writes [`FREE`]. Where that is a split ring says by the index in its used ring, and to
//! publish is one store to that index. So a producer that ends inside has published all of its burst or nothing, and
//! the host frees the lock without a look at the ring.
//!
//! A packed ring does not say where its device side is, and a burst is written over several descriptors of it, the
//! first one last. So the progress says where the producer before came, and while it writes a burst what that is:
//! whoever takes the lock completes a burst of which the first descriptor is still available.
//!
//! # Why what will be written, and not what was there
//! A burst that is begun could as well be taken back. But to complete it is what the producer itself does next, and
//! reads nothing of the ring that was not read before.
//!
//! Every producer can write the whole page at any time.

use crate::call::MAX_BURST;
use crate::map::PAGE;

/// The owner word of a lock that nobody has.
pub const FREE: u32 = 0;
/// The owner number of the host, which has no counter.
pub const HOST: u16 = u16::MAX;
/// The largest owner number of another producer. The smallest is 1.
pub const MAX_OWNER: u16 = (PROGRESS / 4 - 1) as u16;
/// Offset in the page of the word with the [`Progress`], in bytes.
pub const PROGRESS: u64 = JOURNAL - 8;
/// Offset in the page of the journal, in bytes: for each slot behind the position the last 64 bits of its used
/// descriptor. A word with [`crate::packed::DescF::NEXT`] is that of a slot to which nothing is written.
pub const JOURNAL: u64 = PAGE - 8 * MAX_BURST as u64;

/// Returns the owner word of producer `owner` for its burst number `burst`, modulo 65,536. By the burst a host tells
/// whether a producer has left the lock since it looked last.
pub const fn word(owner: u16, burst: u16) -> u32 {
    (burst as u32) << 16 | owner as u32
}

/// Returns the owner number in `word`; 0 if nobody has the lock.
pub const fn owner(word: u32) -> u16 {
    word as u16
}

/// Returns the owner number that a host gives its VM `id`: from 1 on.
pub const fn number_of(id: usize) -> u16 {
    1 + id as u16
}

/// Returns the offset in the page of the counter of producer `owner`, in bytes.
pub const fn counter(owner: u16) -> u64 {
    4 * owner as u64
}

/// How far the producers of a packed queue came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first slot that is not published (bits 14:0), and its wrap counter (15).
    pub position: u16,
    /// Number of slots from there on that the journal has; 0 if no burst is being written.
    pub burst: u16,
    /// Number of slots before the position that producers other than the host have published, modulo 2^32.
    pub published: u32,
}

impl Progress {
    /// Returns the progress that `word` says: position (15:0), burst (31:16), published (63:32).
    pub const fn from_word(word: u64) -> Self {
        Self { position: word as u16, burst: (word >> 16) as u16, published: (word >> 32) as u32 }
    }

    /// Returns the word that says it.
    pub const fn to_word(self) -> u64 {
        self.position as u64 | (self.burst as u64) << 16 | (self.published as u64) << 32
    }
}

const _: () = assert!(counter(MAX_OWNER) + 4 == PROGRESS && HOST > MAX_OWNER && owner(FREE) == 0);
const _: () = assert!(PROGRESS.is_multiple_of(8) && MAX_OWNER >= 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_is_one_word() {
        for word in [0, 0x0123_4567_89ab_cdef, u64::MAX, 1 << 15, 1 << 16, 1 << 32] {
            assert_eq!(Progress::from_word(word).to_word(), word);
        }
        let progress = Progress { position: 0x8007, burst: 3, published: 9 };
        assert_eq!(progress.to_word(), 0x0000_0009_0003_8007);
    }
}
