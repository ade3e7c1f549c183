//! Pages that were written, for a peer that is being migrated. See: "Vhost-user Protocol", "Migration".

use crate::Regions;
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;

/// A bitmap with one bit for each 4 KiB of the peer's guest-physical space: bit `page % 8` of byte `page / 8`. Others
/// may set and clear bits of it meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct DirtyLog {
    bitmap: PeerSlice<'static>,
}

impl DirtyLog {
    /// Returns the log in `bitmap`.
    pub const fn new(bitmap: PeerSlice<'static>) -> Self {
        Self { bitmap }
    }

    /// Returns whether the log has a bit for every page of `regions`.
    pub(super) fn covers(&self, regions: &Regions) -> bool {
        let pages = self.bitmap.len().saturating_mul(8);
        regions.end().0.div_ceil(map::PAGE) <= pages
    }

    /// Marks the pages of the `len` bytes at `at`.
    pub(super) fn mark(&self, at: Gpa, len: u64) {
        if len == 0 {
            return;
        }
        for page in at.0 / map::PAGE..=at.0.saturating_add(len - 1) / map::PAGE {
            // In bounds: `covers` was asked, and what is written lies in the regions.
            let _ = self.bitmap.set_bits(page / 8, 1 << (page % 8));
        }
    }
}
