//! Where a side of a packed ring is.

use sluice_abi::packed::DescF;

/// Where a side is: slot, and wrap counter of the lap. See: VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub slot: u16,
    pub wrap: bool,
}

impl Position {
    /// Returns the position `count` slots further on in a ring of `size`; `count` is at most `size`.
    pub fn advance(self, count: u16, size: u16) -> Self {
        let slot = u32::from(self.slot) + u32::from(count);
        match slot.checked_sub(size.into()) {
            Some(slot) => Self { slot: slot as u16, wrap: !self.wrap },
            None => Self { slot: slot as u16, ..self },
        }
    }

    /// Returns whether a descriptor here, with these flags, is available.
    #[inline(always)]
    pub fn is_available(self, flags: DescF) -> bool {
        flags & (DescF::AVAIL | DescF::USED) == DescF::available(self.wrap)
    }

    /// Returns the flags of a descriptor that is used here, with `written` bytes.
    pub fn used(self, written: u32) -> DescF {
        let write = if written > 0 { DescF::WRITE } else { DescF::empty() };
        DescF::used(self.wrap) | write
    }

    /// Returns the position in vhost-user's form.
    pub fn to_base(self) -> u32 {
        u32::from(self.slot) | u32::from(self.wrap) << 15
    }
}
