//! The lock of a receive queue that several producers fill: an owner word, and what each owner has published.
//!
//! It lies in a page that the host shares with the producers, at [`crate::map::PEER_LOCK`] from the start of the peer's
//! regions, as words of 32 bits: word 0 is the owner word, and word *n* counts the buffers that owner *n* has
//! published, modulo 2^32. A producer takes the lock for one burst: it replaces [`FREE`] by its own [`word`], goes on
//! at the index that is in the used ring, publishes by one store to that index, and writes [`FREE`]. So a producer that
//! ends inside has published all of its burst or nothing, and the host frees the lock without a look at the ring.
//!
//! Every producer can write the whole page at any time.

use crate::map::PAGE;

/// The owner word of a lock that nobody has.
pub const FREE: u32 = 0;
/// The owner number of the host, which has no counter.
pub const HOST: u16 = u16::MAX;
/// The largest owner number of another producer. The smallest is 1.
pub const MAX_OWNER: u16 = (PAGE / 4 - 1) as u16;

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

const _: () = assert!(counter(MAX_OWNER) == PAGE - 4 && HOST > MAX_OWNER && owner(FREE) == 0);
