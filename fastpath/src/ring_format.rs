//! Formats of a queue.

use sluice_abi::net::F;

/// What a driver would like its queue to be. See: VIRTIO 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues", 6 "Reserved Feature Bits".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RingFormat {
    /// Split, buffers used in any order.
    Split,
    /// Split, buffers used in the order in which they were made available.
    #[default]
    InOrder,
    /// Packed.
    Packed,
}

impl RingFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Split, Self::InOrder, Self::Packed];

    /// The name that an argument and a report use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::InOrder => "in-order",
            Self::Packed => "packed",
        }
    }

    /// The format with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The features that make it.
    pub const fn features(self) -> F {
        match self {
            Self::Split => F::empty(),
            Self::InOrder => F::IN_ORDER,
            Self::Packed => F::RING_PACKED.union(F::IN_ORDER),
        }
    }
}
