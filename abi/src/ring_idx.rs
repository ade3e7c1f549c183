//! Free-running 16-bit ring indices.

use core::fmt;

/// A free-running index of a split virtqueue: it counts entries and wraps at 65,536.
///
/// See: VIRTIO 2.7.6 "The Virtqueue Available Ring". Two indices have no order, only a distance:
/// there is no `<` here on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct RingIdx(pub u16);

impl RingIdx {
    /// Returns the index `count` entries further on.
    #[inline(always)]
    pub const fn advance(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Returns the number of entries that `self` is ahead of `earlier`, 0 to 65,535.
    #[inline(always)]
    pub const fn ahead_of(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Returns whether the entry at `event` is one of the `count` entries before `self`. Every entry is among 65,536 of
    /// them. See: VIRTIO 2.7.7.1 "Driver Requirements: Used Buffer Notification Suppression".
    pub const fn has_passed(self, event: Self, count: u64) -> bool {
        (self.ahead_of(event).wrapping_sub(1) as u64) < count
    }
}

impl fmt::Debug for RingIdx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingIdx({})", self.0)
    }
}
