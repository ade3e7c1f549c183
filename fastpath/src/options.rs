//! The options of a VNF for its network device.

use crate::{RX_SIZE, RingFormat, TX_SIZE, VirtioNetError};
use sluice_abi::net::{F, Offloads};

/// The options of a VNF for its network device. The device may offer less; [`crate::VirtioNet::features`] tells what
/// was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Format of all queues.
    pub format: RingFormat,
    /// Number of entries of each receive queue, a power of two up to [`RX_SIZE`]. As many buffers are with the device.
    pub entries: u16,
    /// Number of entries of the transmit queue, a power of two up to [`TX_SIZE`]. As many frames can be with the
    /// device.
    pub tx_entries: u16,
    /// Number of queue pairs to use if the device has as many, at least 1. With 1 the device is not asked for several:
    /// its only receive queue is for the one VM that may send to this one, or else for the host's switch. With more,
    /// pair 0 is for the host's switch, and each further pair for one VM that may send to this one through a window.
    /// See: VIRTIO 5.1.6.5.6 "Automatic receive steering in multiqueue mode".
    pub pairs: u16,
    /// The pair on whose transmit queue frames are sent; any other transmit queue stays idle. The flow memory of an
    /// in-VM switch names one ([`sluice_abi::flows::Header::slow_pair`]), and else pair 0 is right.
    pub tx_pair: u16,
    /// The work that senders may leave to this VM. With a segmentation, frames of up to 64 KiB arrive, and buffers must
    /// be 64 KiB long.
    pub offloads: Offloads,
    /// The work that this VM may leave to the device in frames that it sends.
    pub tx_offloads: Offloads,
    /// Whether a frame may fill several buffers, to be put together in the first. Only a device that does not fill
    /// buffers needs this. See: VIRTIO 5.1.6.4 "Processing of Incoming Packets".
    pub mergeable: bool,
    /// Further features to take if they are offered. Only these have an effect: [`F::CTRL_VQ`], [`F::CTRL_RX`],
    /// [`F::CTRL_MAC_ADDR`], [`F::GUEST_ANNOUNCE`], [`F::EVENT_IDX`].
    pub features: F,
}

/// The features that have an effect in [`Options::features`].
const FREE: F = F::CTRL_VQ.union(F::CTRL_RX).union(F::CTRL_MAC_ADDR).union(F::GUEST_ANNOUNCE).union(F::EVENT_IDX);

impl Default for Options {
    /// Returns options with queues that are used in order, one of [`RX_SIZE`] entries to receive and one of [`TX_SIZE`]
    /// to send, one buffer for each frame, no offloads of frames that arrive and all of frames that are sent, and the
    /// control queue for receive filters and the device's address.
    fn default() -> Self {
        RingFormat::default().into()
    }
}

impl From<RingFormat> for Options {
    fn from(format: RingFormat) -> Self {
        Self {
            format,
            entries: RX_SIZE as u16,
            tx_entries: TX_SIZE as u16,
            pairs: 1,
            tx_pair: 0,
            offloads: Offloads::empty(),
            tx_offloads: Offloads::all(),
            mergeable: false,
            features: F::CTRL_VQ.union(F::CTRL_RX).union(F::CTRL_MAC_ADDR),
        }
    }
}

impl Options {
    /// Returns the features that the receive queues need.
    pub(crate) fn features(self) -> F {
        let merge = if self.mergeable { F::MRG_RXBUF } else { F::empty() };
        let to_driver = [F::GUEST_CSUM, F::GUEST_TSO4, F::GUEST_TSO6, F::GUEST_ECN, F::GUEST_UFO];
        self.format.features().union(merge).union(chosen(self.offloads, to_driver))
    }

    /// Returns the features that the whole device is asked for.
    pub(crate) fn device_features(self) -> F {
        let pairs = if self.pairs > 1 { F::CTRL_VQ.union(F::MQ) } else { F::empty() };
        let to_device = [F::CSUM, F::HOST_TSO4, F::HOST_TSO6, F::HOST_ECN, F::HOST_UFO];
        let sending = chosen(self.tx_offloads, to_device);
        self.features() | pairs | sending | self.features & FREE
    }

    /// Returns whether these options are possible with buffers for frames of `longest` bytes and room for `pairs` queue
    /// pairs.
    pub(crate) fn check(self, longest: u16, pairs: usize) -> Result<(), VirtioNetError> {
        let is_size = |entries: u16, most| entries.is_power_of_two() && usize::from(entries) <= most;
        if !is_size(self.entries, RX_SIZE) {
            return Err(VirtioNetError::Entries(self.entries));
        }
        if !is_size(self.tx_entries, TX_SIZE) {
            return Err(VirtioNetError::TxEntries(self.tx_entries));
        }
        if self.pairs == 0 || usize::from(self.pairs) > pairs {
            return Err(VirtioNetError::Pairs { pairs: self.pairs, most: pairs });
        }
        let segmented = self.offloads.intersects(Offloads::all() - Offloads::CSUM);
        if segmented && longest < crate::BufferLen::KiB64.longest_frame() {
            return Err(VirtioNetError::Segments { longest });
        }
        Ok(())
    }
}

/// Returns the features of the offloads, out of `features` for checksums, segments over IPv4 and IPv6, with ECN, and
/// UDP fragments.
fn chosen(offloads: Offloads, features: [F; 5]) -> F {
    let all = [Offloads::CSUM, Offloads::TSO4, Offloads::TSO6, Offloads::ECN, Offloads::UFO];
    let wanted = all.into_iter().zip(features).filter(|(offload, _)| offloads.contains(*offload));
    wanted.fold(F::empty(), |all, (_, feature)| all | feature)
}
