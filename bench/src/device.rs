//! Somebody's device side of a receive queue, and what it can be.

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use sluice_abi::net;

/// A ring's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// Descriptor table, available and used ring
    Split,
    /// The same; buffers are used in the order in which they were made available
    InOrder,
    /// One ring of descriptors
    Packed,
}

/// Whose code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Impl {
    /// The window image, loaded where the window view has it
    SluiceWindow,
    /// The same code as a library for this processor
    SluiceNative,
    /// The same for a queue that others fill, too: with its lock, which nobody else wants
    SluiceShared,
    /// DPDK's vhost library
    #[value(name = "rte_vhost")]
    RteVhost,
    /// rust-vmm's virtio-queue
    VirtioQueue,
    /// The bytes alone
    Copy,
}

impl Ring {
    /// The features that driver and device negotiate.
    pub const fn features(self) -> net::F {
        match self {
            Self::Split => net::F::VERSION_1,
            Self::InOrder => net::F::VERSION_1.union(net::F::IN_ORDER),
            Self::Packed => net::F::VERSION_1.union(net::F::RING_PACKED),
        }
    }
}

impl Impl {
    /// The formats it knows.
    pub const fn rings(self) -> &'static [Ring] {
        match self {
            Self::VirtioQueue => &[Ring::Split],
            Self::SluiceShared => &[Ring::Split, Ring::InOrder],
            _ => &[Ring::Split, Ring::InOrder, Ring::Packed],
        }
    }

    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it writes `num_buffers` of the header. rte_vhost leaves it as it was where no buffers are merged.
    pub const fn counts_buffers(self) -> bool {
        !matches!(self, Self::RteVhost)
    }
}

/// As on the command line.
impl Serialize for Ring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default().serialize(serializer)
    }
}

/// A device side with a queue of each format that it knows.
pub trait Device {
    /// Frames 0 to `count`, `len` bytes each, will be sent to the queue of format `ring`, once for each call of
    /// `enqueue`.
    fn prepare(&mut self, ring: Ring, count: u16, len: u16) -> anyhow::Result<()>;
    /// Puts the frames into the driver's buffers, publishes them, and returns their number. This is measured.
    fn enqueue(&mut self) -> usize;
    /// Does the rest of the work, which is not measured.
    fn finish(&mut self) {}
}
