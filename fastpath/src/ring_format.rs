//! Formats of a queue.

use sluice_abi::net::F;

/// The format of a queue that a driver asks for. See: VIRTIO 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues", 6
/// "Reserved Feature Bits".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RingFormat {
    /// A split ring, whose buffers are used in any order.
    Split,
    /// A split ring, whose buffers are used in the order in which they were made available.
    #[default]
    InOrder,
    /// A packed ring.
    Packed,
}

impl RingFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Split, Self::InOrder, Self::Packed];

    /// Returns the name in arguments and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::InOrder => "in-order",
            Self::Packed => "packed",
        }
    }

    /// Returns the format with the name `name`; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns the features of the format.
    pub const fn features(self) -> F {
        match self {
            Self::Split => F::empty(),
            Self::InOrder => F::IN_ORDER,
            Self::Packed => F::RING_PACKED.union(F::IN_ORDER),
        }
    }
}
