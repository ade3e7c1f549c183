//! Writing a window directory while its VM reads it. All hosts use this code.

use crate::Directory;
use crate::directory::words;
use sluice_abi::directory::{Header, MAX_PEERS, Peer, word};
use sluice_memory::SharedWords;

/// Writes `new` to `page`, which nobody else writes. If the page has that content already, nothing is written. The
/// sequence numbers are those of the page, not of `new`.
///
/// The order is that of [`sluice_abi::directory`]: the sequence number becomes odd, the entries that change get the
/// next even number, the words that differ are written, the peers' states last, and the sequence number becomes even.
/// Between the first store and the last nothing can fail.
///
/// # Why it compares with the page
/// The host can't rely on a copy of the page, since a writer may have been stopped in the middle (its thread was ended,
/// or it panicked in `page`). The page itself shows what is missing, so the next call completes it. No VM can write it.
/// An entry's own sequence number is written before its other words, so no entry that a stopped writer began to change
/// has its old number.
pub fn publish<W: SharedWords>(page: &W, new: &Directory) {
    let before = page.load(word::SEQUENCE);
    let header = header(new);
    let said = (page.load(word::GATE) >> 32) as usize;
    let changed = changed(page, new, said.min(MAX_PEERS));
    if before.is_multiple_of(2) && changed == 0 && !differs(page, 0, words(&header), is_sequence) {
        return;
    }
    let odd = before | 1;
    let even = odd.wrapping_add(1);
    page.store(word::SEQUENCE, odd);
    W::release();
    indices(changed).for_each(|index| page.store(entry(index) + word::PEER_SEQUENCE, even));
    W::release();
    for index in indices(changed) {
        let is_later = |at| at == word::PEER_SEQUENCE || at == word::PEER_STATE;
        write(page, entry(index), words(&peer(new, index)), is_later);
    }
    W::release();
    // The header follows the entries: a later writer compares as many entries as the page says that it has.
    write(page, 0, words(&header), is_sequence);
    W::release();
    for index in indices(changed) {
        write(page, entry(index), words(&peer(new, index)), |at| at != word::PEER_STATE);
    }
    W::release();
    page.store(word::SEQUENCE, even);
}

/// Returns the header for the entries of `new`.
fn header(new: &Directory) -> Header {
    Header { entry_len: size_of::<Peer>() as u32, peer_count: new.listed().len() as u32, ..new.header }
}

fn is_sequence(at: usize) -> bool {
    at == word::SEQUENCE
}

/// Returns the first word of entry `index`.
fn entry(index: usize) -> usize {
    word::peer(index, word::PEER_LEN)
}

/// Returns entry `index`; all zero if there is none.
fn peer(new: &Directory, index: usize) -> Peer {
    new.listed().get(index).copied().unwrap_or_default()
}

/// Returns the entries in which `page`, which has the first `said`, differs from `new`, by bits.
fn changed<W: SharedWords>(page: &W, new: &Directory, said: usize) -> u64 {
    let count = new.listed().len().max(said);
    let differs =
        |&index: &usize| differs(page, entry(index), words(&peer(new, index)), |at| at == word::PEER_SEQUENCE);
    (0..count).filter(differs).fold(0, |changed, index| changed | 1 << index)
}

fn indices(bits: u64) -> impl Iterator<Item = usize> {
    (0..MAX_PEERS).filter(move |index| bits >> index & 1 == 1)
}

/// Returns whether any of `words` that is not `skipped` differs from `page`, from word `start` on.
fn differs<W: SharedWords>(
    page: &W,
    start: usize,
    words: impl Iterator<Item = u64>,
    skipped: impl Fn(usize) -> bool,
) -> bool {
    (0..).zip(words).any(|(at, word)| !skipped(at) && page.load(start + at) != word)
}

/// Writes those of `words` that differ from `page`, from word `start` on, and are not `skipped`.
fn write<W: SharedWords>(page: &W, start: usize, words: impl Iterator<Item = u64>, skipped: impl Fn(usize) -> bool) {
    let new = (0..).zip(words).filter(|&(at, word)| !skipped(at) && page.load(start + at) != word);
    new.for_each(|(at, word)| page.store(start + at, word));
}

#[cfg(test)]
mod tests;
