//! The lock of a queue that windows fill together with the switch, or whose ring is packed, in memory of the server's
//! own.

use rustix::fd::AsFd;
use sluice_abi::handover::Place;
use sluice_abi::map::{PAGE, PEER_LOCK};
use sluice_abi::queue_lock::{FREE, HOST, word};
use sluice_inside::LockPage;
use sluice_vhost_user::memory::{DeviceRing, Mapping};
use sluice_vhost_user::sealed::resizable_by_nobody;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The lock, for as long as its front-end or process is connected.
pub struct Lock {
    file: File,
    page: Mapping,
    /// Whether any window takes the lock, so that the switch needs it, too.
    pub is_used: bool,
    seen: Seen,
}

/// The longest time between two looks that counts. In a longer one the server stood still, and those whom it serves may
/// have, too.
const MOST: Duration = Duration::from_millis(100);

/// The owner word that the server found last.
struct Seen {
    word: u32,
    /// For how long it has found that, and when it did last.
    age: Duration,
    last: Instant,
}

impl Seen {
    /// Notes that `word` is found `now`. Returns for how long it is.
    fn find(&mut self, word: u32, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.last).min(MOST);
        let age = if word == self.word { self.age + since } else { Duration::ZERO };
        *self = Self { word, age, last: now };
        age
    }
}

impl Lock {
    /// Makes a lock that nobody has.
    pub fn new() -> io::Result<Self> {
        let file = resizable_by_nobody("sluice queue lock", PAGE)?;
        let page = Mapping::of_file(&file, 0, PAGE)?;
        let seen = Seen { word: FREE, age: Duration::ZERO, last: Instant::now() };
        Ok(Self { file, page, is_used: false, seen })
    }

    /// Returns the place of the lock's page in a window on a peer that begins at slot offset `base`, with a copy of its
    /// file.
    pub fn place(&self, base: u64) -> io::Result<(Place, OwnedFd)> {
        let place = Place { slot_offset: base + PEER_LOCK, len: PAGE, file_offset: 0 };
        Ok((place, self.file.as_fd().try_clone_to_owned()?))
    }

    /// Returns the page with the lock, which whoever has it mapped can write at any time.
    pub fn page(&self) -> Option<LockPage<'_>> {
        LockPage::new(self.page.slice())
    }

    /// Takes the lock of `ring` for the switch, if it is free within some microseconds, and goes on where the producer
    /// before came. Nobody is waited for twice: who had it when that was too short may have been stopped.
    #[must_use = "the queue is a window's without the lock"]
    pub fn take(&mut self, ring: &mut DeviceRing) -> bool {
        let Some(page) = self.page() else { return false };
        let (lock, mine, holder) = (page.lock, word(HOST, 0), page.lock.holder());
        let taken = if holder != FREE && holder == self.seen.word { lock.take_now(mine) } else { lock.take(mine) };
        if !taken {
            self.seen.find(holder, Instant::now());
        } else if ring.enter(&page).is_err() {
            // Who looks after the window finds the same.
            lock.release();
            return false;
        }
        taken
    }

    /// Leaves `ring` to the windows, where it stands.
    pub fn release(&self, ring: &DeviceRing) {
        if let Some(page) = self.page() {
            ring.queue().leave(&page);
            page.lock.release();
        }
    }

    /// Begins with `ring`, which no window fills yet.
    pub fn begin(&mut self, ring: &DeviceRing) {
        self.is_used = true;
        if let Some(page) = self.page() {
            ring.queue().leave(&page);
        }
    }

    /// Returns the owner word, if somebody has the lock, and for how long the server has found the same word there.
    pub fn holder(&mut self) -> Option<(u32, Duration)> {
        let holder = self.page()?.lock.holder();
        let age = self.seen.find(holder, Instant::now());
        (holder != FREE).then_some((holder, age))
    }

    /// Frees the lock if it has still the owner word `holder`, whose owner writes nothing any more, and completes in
    /// `ring` what that has begun to publish. Returns whether it had.
    pub fn take_over(&self, holder: u32, ring: &mut DeviceRing) -> bool {
        let page = self.page().filter(|page| page.lock.take_over(holder, word(HOST, 0)));
        page.is_some_and(|page| {
            // Whoever looks at the page finds the same fault.
            let _ = ring.enter(&page);
            page.lock.release();
            true
        })
    }

    /// Returns how many buffers `owner` has published, modulo 2^32, as it says itself.
    pub fn published(&self, owner: u16) -> u32 {
        self.page().map_or(0, |page| page.published(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_word_ages_while_the_server_looks_and_no_longer() {
        let (begin, ms) = (Instant::now(), Duration::from_millis);
        let mut seen = Seen { word: FREE, age: Duration::ZERO, last: begin };
        let ages =
            [(7, 5_000), (7, 5_001), (7, 5_050), (7, 65_000), (8, 65_001), (8, 65_002), (7, 65_003), (7, 65_010)];
        let ages = ages.map(|(word, at)| seen.find(word, begin + ms(at)));
        assert_eq!(ages, [0, 1, 50, 150, 0, 1, 0, 7].map(ms));
    }
}
