//! What a VNF would like its network device to be.

use crate::{RX_SIZE, RingFormat};
use sluice_abi::net::{F, Offloads};

/// What a VNF would like its network device to be. The device may offer less; [`crate::VirtioNet::features`] tells what was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Format of the receive queue.
    pub format: RingFormat,
    /// Entries of the receive queue, a power of two up to [`RX_SIZE`]: as many buffers are with the device.
    pub entries: u16,
    /// What senders may leave to this VM. With a segmentation, frames of up to 64 KiB arrive, and buffers must be 64 KiB long.
    pub offloads: Offloads,
    /// A frame may fill several buffers, and is put together in the first. Only a device that does not fill buffers needs it.
    /// See: VIRTIO 5.1.6.4 "Processing of Incoming Packets".
    pub mergeable: bool,
}

impl Default for Options {
    /// [`RX_SIZE`] entries used in order, no offloads, one buffer per frame.
    fn default() -> Self {
        RingFormat::default().into()
    }
}

impl From<RingFormat> for Options {
    fn from(format: RingFormat) -> Self {
        Self { format, entries: RX_SIZE as u16, offloads: Offloads::empty(), mergeable: false }
    }
}

impl Options {
    /// The features that the device is asked for.
    pub(crate) fn features(self) -> F {
        let offloads = [
            (Offloads::CSUM, F::GUEST_CSUM),
            (Offloads::TSO4, F::GUEST_TSO4),
            (Offloads::TSO6, F::GUEST_TSO6),
            (Offloads::ECN, F::GUEST_ECN),
            (Offloads::UFO, F::GUEST_UFO),
        ];
        let wanted = offloads.into_iter().filter(|(offload, _)| self.offloads.contains(*offload));
        let merge = if self.mergeable { F::MRG_RXBUF } else { F::empty() };
        wanted.fold(self.format.features().union(merge), |features, (_, feature)| features.union(feature))
    }
}
