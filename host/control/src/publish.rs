//! Writing a window directory while its VM reads it: the one writer of all hosts.

use crate::Directory;
use crate::directory::words;
use sluice_abi::directory::{Header, MAX_PEERS, Peer, word};
use sluice_memory::SharedWords;

/// Makes `page`, which nobody else writes, say what `new` says; nothing is written if it does. The sequence numbers are the page's own, not `new`'s.
///
/// In the order that [`sluice_abi::directory`] promises: the sequence number becomes odd, then the entries that change get the next even number,
/// then what differs is written, the peers' states last, then the sequence number becomes even. Between the two there are stores and nothing that can
/// fail.
///
/// # Why it compares with the page
/// What the host remembers of the page is no more true once a writer was stopped in the middle (its thread was ended, or it panicked in `page`).
/// The page itself tells what is missing, so the next call makes it whole, whatever the last one left. No VM can write it.
/// An entry's own number is written before the entry's other words, so none that the last writer had begun to change has the number of before.
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
    // Behind the entries: as many as the page says that it has, a later writer looks through.
    write(page, 0, words(&header), is_sequence);
    W::release();
    for index in indices(changed) {
        write(page, entry(index), words(&peer(new, index)), |at| at != word::PEER_STATE);
    }
    W::release();
    page.store(word::SEQUENCE, even);
}

/// The header that goes with the entries of `new`.
fn header(new: &Directory) -> Header {
    Header { entry_len: size_of::<Peer>() as u32, peer_count: new.listed().len() as u32, ..new.header }
}

fn is_sequence(at: usize) -> bool {
    at == word::SEQUENCE
}

/// First word of entry `index`.
fn entry(index: usize) -> usize {
    word::peer(index, word::PEER_LEN)
}

/// Entry `index`; zero where there is none.
fn peer(new: &Directory, index: usize) -> Peer {
    new.listed().get(index).copied().unwrap_or_default()
}

/// By bits, the entries that `page`, which has the first `said`, does not have as `new` has them.
fn changed<W: SharedWords>(page: &W, new: &Directory, said: usize) -> u64 {
    let count = new.listed().len().max(said);
    let differs =
        |&index: &usize| differs(page, entry(index), words(&peer(new, index)), |at| at == word::PEER_SEQUENCE);
    (0..count).filter(differs).fold(0, |changed, index| changed | 1 << index)
}

fn indices(bits: u64) -> impl Iterator<Item = usize> {
    (0..MAX_PEERS).filter(move |index| bits >> index & 1 == 1)
}

/// Whether any of `words` but those that are `skipped` is another on `page`, from word `start` on.
fn differs<W: SharedWords>(
    page: &W,
    start: usize,
    words: impl Iterator<Item = u64>,
    skipped: impl Fn(usize) -> bool,
) -> bool {
    (0..).zip(words).any(|(at, word)| !skipped(at) && page.load(start + at) != word)
}

/// Writes those of `words` that differ and are not `skipped`.
fn write<W: SharedWords>(page: &W, start: usize, words: impl Iterator<Item = u64>, skipped: impl Fn(usize) -> bool) {
    let new = (0..).zip(words).filter(|&(at, word)| !skipped(at) && page.load(start + at) != word);
    new.for_each(|(at, word)| page.store(start + at, word));
}

#[cfg(test)]
mod tests;
